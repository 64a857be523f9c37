#include "kernels/simulator/tracer/arrays.h"

#include <algorithm>
#include <iterator>
#include <new>

#include "core/error.h"
#include "kernels/simulator/block_runner.h"
#include "kernels/simulator/device_arena.h"

namespace headshare::simulator::tracer {
namespace {

std::size_t words_of(std::size_t bytes) { return (bytes + word_bytes - 1) / word_bytes; }

AddressRange range_of(const void* memory, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  return {begin, begin + bytes};
}

}  // namespace

std::string Array::shown_name() const {
  return space == Space::shared ? name : simulator::find_allocation(reinterpret_cast<const void*>(range.begin)).name;
}

void Array::make_words() {
  // Zeros from the operating system cost nothing until they are touched.
  words_.reset(static_cast<Word*>(std::calloc(words_of(bytes()), sizeof(Word))));
  if (!words_) fail("tracer: no memory to follow ", bytes(), " bytes");
}

void Array::forget_contents() { initialised_.assign(written_by_host ? 0 : words_of(bytes()), 0); }

void Array::set_range_initialised(std::size_t offset, std::size_t count) {
  for (const std::size_t end = std::min(offset + count, bytes()); offset < end;) {
    const std::size_t in_word = offset % word_bytes;
    const std::size_t here = std::min(word_bytes - in_word, end - offset);
    set_initialised(offset / word_bytes, ((1u << here) - 1) << in_word);
    offset += here;
  }
}

void Arrays::allocated(void* memory, std::size_t bytes, bool managed) {
  Array array;
  array.range = range_of(memory, bytes);
  array.written_by_host = managed;  // the host may write it at any time, and tells nobody
  array.forget_contents();
  allocations_.insert_or_assign(array.range.begin, std::move(array));
}

void Arrays::freed(void* memory) { allocations_.erase(reinterpret_cast<std::uintptr_t>(memory)); }

void Arrays::host_wrote(void* memory, std::size_t bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  if (Array* const array = find_allocation(address)) array->set_range_initialised(address - array->range.begin, bytes);
}

void Arrays::launch_begins() {
  const AddressRange block = thread_local_block();
  if (block.begin == thread_locals_.begin && !shared_variables_.empty()) return;
  thread_locals_ = block;
  shared_variables_.clear();
  for (const ThreadLocal& variable : thread_locals()) {
    Array array;
    array.space = Space::shared;
    array.range = {block.begin + variable.offset, block.begin + variable.offset + variable.bytes};
    array.name = variable.name;
    shared_variables_.push_back(std::move(array));
  }
}

void Arrays::set_dynamic_shared(void* memory, std::size_t bytes) {
  const AddressRange range = range_of(memory, bytes);
  if (range.begin == dynamic_shared_.range.begin && range.end == dynamic_shared_.range.end) return;
  dynamic_shared_ = {};
  dynamic_shared_.space = Space::shared;
  dynamic_shared_.range = range;
  dynamic_shared_.name = "dynamic shared memory";
}

bool Arrays::in_dynamic_room(std::uintptr_t address) const {
  return address - dynamic_shared_.range.begin < most_shared_bytes;
}

Array* Arrays::find(std::uintptr_t address) {
  if (dynamic_shared_.range.contains(address)) return &dynamic_shared_;
  if (thread_locals_.contains(address)) return find_shared_variable(address);
  return find_allocation(address);
}

Array* Arrays::find_shared_variable(std::uintptr_t address) {
  const auto after = std::upper_bound(shared_variables_.begin(), shared_variables_.end(), address,
                                      [](std::uintptr_t x, const Array& array) { return x < array.range.begin; });
  if (after == shared_variables_.begin()) return nullptr;
  Array& array = *std::prev(after);
  return array.range.contains(address) ? &array : nullptr;
}

Array* Arrays::find_allocation(std::uintptr_t address) {
  const auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return nullptr;
  Array& array = std::prev(after)->second;
  return array.range.contains(address) ? &array : nullptr;
}

}  // namespace headshare::simulator::tracer
