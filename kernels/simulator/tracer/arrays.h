#pragma once

#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/simulator/tracer/ordering.h"
#include "kernels/simulator/tracer/report.h"
#include "kernels/simulator/tracer/symbols.h"

namespace headshare::simulator::tracer {

// Four bytes of memory: the last write, and two of the reads since. Two readers are enough to notice that a writer is
// not ordered with all of them, but for rare mixtures of partial warps. Trivial: all zero means untouched.
struct Word {
  Access write;
  Access reads[2];
};
constexpr unsigned word_bytes = 4;

// An allocation of the device, a __shared__ variable, or the dynamic shared memory of a launch.
struct Array {
  Space space = Space::global;
  AddressRange range;
  std::string name;              // shared memory's; the names of allocations are the arena's business
  bool written_by_host = false;  // somewhere, unseen: all of it counts as initialised
  std::uint32_t life = 0;        // shared: the first phase of the block whose contents these are

  std::size_t bytes() const { return range.end - range.begin; }
  std::string shown_name() const;
  Word& word(std::size_t index) {
    if (!words_) make_words();
    return words_[index];
  }

  // One bit for each byte of the word.
  bool initialised(std::size_t word, unsigned byte_mask) const {
    return written_by_host || (initialised_[word] & byte_mask) == byte_mask;
  }
  void set_initialised(std::size_t word, unsigned byte_mask) {
    if (!written_by_host) initialised_[word] = static_cast<std::uint8_t>(initialised_[word] | byte_mask);
  }
  void set_range_initialised(std::size_t offset, std::size_t count);
  void forget_contents();  // nothing is initialised

 private:
  void make_words();
  struct Free {
    void operator()(Word* words) const { std::free(words); }
  };
  std::unique_ptr<Word[], Free> words_;    // made when it is first touched
  std::vector<std::uint8_t> initialised_;  // of each word
};

// Everything that a kernel may touch, by address.
class Arrays {
 public:
  void allocated(void* memory, std::size_t bytes, bool managed);
  void freed(void* memory);
  void host_wrote(void* memory, std::size_t bytes);

  void launch_begins();  // shared variables are those of the host thread that runs it
  void set_dynamic_shared(void* memory, std::size_t bytes);

  Array* find(std::uintptr_t address);  // null: none holds it
  Array* find_shared_variable(std::uintptr_t address);
  bool in_thread_locals(std::uintptr_t address) const { return thread_locals_.contains(address); }
  const Array& dynamic_shared() const { return dynamic_shared_; }
  bool in_dynamic_room(std::uintptr_t address) const;  // also beyond what the launch asked for

 private:
  Array* find_allocation(std::uintptr_t address);

  std::map<std::uintptr_t, Array> allocations_;
  std::vector<Array> shared_variables_;  // in the order of their addresses
  AddressRange thread_locals_;
  Array dynamic_shared_;
};

}  // namespace headshare::simulator::tracer
