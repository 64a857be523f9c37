#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/simulator/tracer/ordering.h"
#include "kernels/simulator/tracer/report.h"

namespace headshare::simulator::tracer {

// Puts together what a GPU does at once: the accesses of a warp's 32 lanes by one instruction.
//
// Here the lanes run one after the other, so the k-th time that a lane executes the instruction since the last barrier
// is taken for the same moment as the k-th time of every other lane. That is exact as long as the lanes go through
// their loops together, which is how a kernel should be written, and a good guess otherwise.
class WarpRequests {
 public:
  WarpRequests(Space space, unsigned bytes) : space_(space), bytes_(bytes) {}

  void add(unsigned thread, std::uint32_t offset) {
    const unsigned warp = thread / lanes_of_warp, lane = thread % lanes_of_warp;
    auto& waiting = waiting_[warp];
    const std::uint32_t k = executed_[thread]++;
    if (k >= waiting.size()) waiting.resize(k + 1);
    waiting[k].lanes |= 1u << lane;
    waiting[k].offsets[lane] = offset;
    used_warps_ |= 1u << warp;
  }

  void finish();                  // counts what waits; all warps are at a barrier, or at the end
  void add_to(Site& site) const;  // the counts so far

 private:
  struct Request {
    Request() {}  // offsets of lanes that take no part are never read, so they need not be set
    std::uint32_t lanes = 0;
    std::uint32_t offsets[lanes_of_warp];  // from the array's begin, in bytes
  };

  void count(const Request& request);
  void count_sectors(const std::uint32_t* offsets, unsigned count);
  void count_passes(const std::uint32_t* offsets, unsigned count);

  Space space_;
  unsigned bytes_;  // per lane
  std::uint32_t used_warps_ = 0;
  std::array<std::uint32_t, lanes_of_warp * most_warps> executed_{};
  std::array<std::vector<Request>, most_warps> waiting_;
  std::uint64_t requests_ = 0, lanes_ = 0, moved_ = 0, least_ = 0;  // moved, least: sectors or passes
};

}  // namespace headshare::simulator::tracer
