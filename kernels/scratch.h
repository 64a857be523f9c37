#pragma once

#include <array>
#include <cstddef>
#include <type_traits>

#include "core/error.h"
#include "core/memory.h"

namespace headshare::kernels {

// Working memory of a kernel. The system hands out memory page by page and clears each page at its first touch, about a
// microsecond per 4 KiB, which can be longer than the arithmetic on it. So a thread keeps what it once got and uses it
// again.
class ScratchBuffer {
 public:
  ScratchBuffer() = default;
  ScratchBuffer(const ScratchBuffer&) = delete;
  ScratchBuffer& operator=(const ScratchBuffer&) = delete;
  ~ScratchBuffer() { release(); }

  // At least `bytes` bytes, at the start of a cache line. Growing forgets the content.
  void* at_least(std::size_t bytes) {
    if (bytes > capacity_) {
      release();
      memory_ = allocate_memory(static_cast<Size>(bytes));
      if (memory_ == nullptr) fail("out of memory: a kernel needed ", bytes >> 20, " MiB to work in");
      capacity_ = bytes;
    }
    return memory_;
  }

 private:
  void release() {
    free_memory(memory_);
    memory_ = nullptr;
    capacity_ = 0;
  }

  void* memory_ = nullptr;
  std::size_t capacity_ = 0;
};

constexpr int scratch_slots = 16;

// Room for n values in the calling thread's buffer number `slot` (0 to 15): uninitialized, at the start of a cache
// line, valid until the same thread asks for the same slot again. All kernels share the slots, so a kernel that holds
// one calls no other kernel. Other threads may use the memory while its owner waits for them.
template <class T>
T* scratch(int slot, Size n) {
  static_assert(std::is_trivially_copyable_v<T>);
  static thread_local std::array<ScratchBuffer, scratch_slots> buffers;
  return static_cast<T*>(buffers[static_cast<std::size_t>(slot)].at_least(static_cast<std::size_t>(n) * sizeof(T)));
}

}  // namespace headshare::kernels
