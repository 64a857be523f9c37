#include "tensor/storage.h"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include "core/error.h"
#include "core/memory.h"
#include "kernels/device_memory.h"

namespace headshare {
namespace {

constexpr Size alignment = 64;

// Blocks come in four sizes per power of two, so at most a quarter of a block is wasted and sizes that differ a little
// (batches of different lengths) share blocks.
Size block_size(Size bytes) {
  if (bytes <= 4 * alignment) return std::max((bytes + alignment - 1) / alignment, Size{1}) * alignment;
  const Size step = static_cast<Size>(std::bit_floor(static_cast<std::uint64_t>(bytes - 1))) / 4;
  return (bytes + step - 1) / step * step;
}

class BlockCache {
 public:
  explicit BlockCache(Device device) : device_(device) {}

  std::byte* take(Size bytes) {
    const Size size = block_size(bytes);
    const std::lock_guard lock(mutex_);
    std::byte* block;
    if (std::vector<std::byte*>& free = free_[size]; free.empty()) {
      block = ask_system(size);
      if (block == nullptr) {  // what is kept for reuse in other sizes may be just what is missing
        release_free_blocks();
        block = ask_system(size);
      }
      if (block == nullptr)
        fail("out of memory: ", size >> 20, " MiB more were needed, ", statistics_.bytes_in_use >> 20,
             " MiB are in use; use fewer tokens a batch or a smaller model");
      ++statistics_.system_allocations;
    } else {
      block = free.back();
      free.pop_back();
      statistics_.bytes_cached -= size;
    }
    statistics_.bytes_in_use += size;
    statistics_.peak_bytes_in_use = std::max(statistics_.peak_bytes_in_use, statistics_.bytes_in_use);
    return block;
  }

  void give_back(std::byte* block, Size bytes) {
    const Size size = block_size(bytes);
    const std::lock_guard lock(mutex_);
    free_[size].push_back(block);
    statistics_.bytes_in_use -= size;
    statistics_.bytes_cached += size;
  }

  MemoryStatistics statistics() {
    const std::lock_guard lock(mutex_);
    return statistics_;
  }

  void reset_peak() {
    const std::lock_guard lock(mutex_);
    statistics_.peak_bytes_in_use = statistics_.bytes_in_use;
  }

  void release() {
    const std::lock_guard lock(mutex_);
    release_free_blocks();
  }

 private:
  std::byte* ask_system(Size size) const {
    return static_cast<std::byte*>(device_ == Device::cpu ? allocate_memory(size) : kernels::allocate_device(size));
  }

  void release_free_blocks() {  // under the lock
    for (auto& [size, blocks] : free_) {
      for (std::byte* block : blocks) device_ == Device::cpu ? free_memory(block) : kernels::free_device(block);
      blocks.clear();
    }
    statistics_.bytes_cached = 0;
  }

  const Device device_;
  std::mutex mutex_;
  std::map<Size, std::vector<std::byte*>> free_;
  MemoryStatistics statistics_{};
};

BlockCache& cache(Device device) {
  // Never destroyed: tensors in static variables may die after they would have been.
  static BlockCache* const cpu = new BlockCache(Device::cpu);
  static BlockCache* const cuda = new BlockCache(Device::cuda);
  return device == Device::cpu ? *cpu : *cuda;
}

}  // namespace

Storage::Storage(Size bytes, Device device) : data_(cache(device).take(bytes)), bytes_(bytes), device_(device) {}
Storage::~Storage() { cache(device_).give_back(data_, bytes_); }

MemoryStatistics memory_statistics(Device device) { return cache(device).statistics(); }
void reset_peak_memory(Device device) { cache(device).reset_peak(); }
void release_cached_memory(Device device) { cache(device).release(); }

void wait_for(Device device) {
  if (device == Device::cuda) kernels::synchronize(kernels::cuda());
}

}  // namespace headshare
