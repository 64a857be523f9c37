#pragma once

#include <array>
#include <cstdint>
#include <vector>

// Which accesses of a launch are ordered by barriers, and which may happen in any order on a GPU.
namespace headshare::simulator::tracer {

constexpr unsigned lanes_of_warp = 32;
constexpr unsigned most_warps = 32;  // of a block

// Who accessed a word of memory last. All zero: nobody.
struct Access {
  std::uint32_t phase;   // the time between two barriers of one block; see Ordering
  std::uint32_t clock;   // the lane's own time within it
  std::uint32_t site;    // which instruction on which array
  std::uint16_t thread;  // of the block
  std::uint8_t bytes;    // of the word, one bit each
  std::uint8_t atomic;   // 0 or 1
};

// Blocks run one after the other here, so time falls into phases that never come back: a new one begins with every
// block and at every barrier. One number then says which block an access belongs to, and whether a barrier lies
// between it and another.
//
// Within a phase only __syncwarp orders accesses, those of the lanes that it names, and what it orders is passed on:
// lanes 0 and 1, then 1 and 2, order 0 before 2. That is what vector clocks express (Mattern 1988): each lane has a
// clock, and knows for every other lane of its warp up to which time on that one's clock it has synchronized with it.
class Ordering {
 public:
  void launch_begins();
  void block_begins();
  void barrier();
  void warp_synchronized(unsigned warp, unsigned lanes);

  std::uint32_t phase() const { return phase_; }
  std::uint32_t first_phase_of_block() const { return first_of_block_.back(); }
  std::uint32_t first_phase_of_launch() const { return first_of_launch_; }
  std::uint32_t clock(unsigned thread) const { return own(thread)[thread % lanes_of_warp]; }
  unsigned block(std::uint32_t phase) const;  // of this launch

  // `before` came first here. May it come second on a GPU, and matter? What happened before phase `oldest` is over.
  bool unordered(const Access& before, const Access& now, std::uint32_t oldest) const {
    if (before.phase < oldest) return false;
    if ((before.bytes & now.bytes) == 0 || (before.atomic & now.atomic) != 0) return false;
    if (before.phase != now.phase) return before.phase < first_phase_of_block();  // blocks are not ordered
    if (before.thread == now.thread) return false;
    if (before.thread / lanes_of_warp != now.thread / lanes_of_warp) return true;
    return own(now.thread)[before.thread % lanes_of_warp] < before.clock;
  }

 private:
  using Clocks = std::array<std::uint32_t, lanes_of_warp>;
  const Clocks& own(unsigned thread) const { return known_[thread / lanes_of_warp][thread % lanes_of_warp]; }
  void next_phase();

  std::uint32_t phase_ = 0, first_of_launch_ = 0;
  std::vector<std::uint32_t> first_of_block_;  // of each block of this launch so far
  std::vector<std::array<Clocks, lanes_of_warp>> known_ = std::vector<std::array<Clocks, lanes_of_warp>>(most_warps);
  std::uint32_t synchronized_warps_ = ~0u;  // whose clocks have moved in this phase
};

}  // namespace headshare::simulator::tracer
