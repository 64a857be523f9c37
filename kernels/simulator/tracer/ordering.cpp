#include "kernels/simulator/tracer/ordering.h"

#include <algorithm>
#include <bit>

namespace headshare::simulator::tracer {

void Ordering::launch_begins() {
  first_of_launch_ = phase_ + 1;
  first_of_block_.clear();
}

void Ordering::block_begins() {
  next_phase();
  first_of_block_.push_back(phase_);
}

void Ordering::barrier() { next_phase(); }

void Ordering::next_phase() {
  ++phase_;
  for (; synchronized_warps_ != 0; synchronized_warps_ &= synchronized_warps_ - 1) {
    auto& known = known_[static_cast<std::size_t>(std::countr_zero(synchronized_warps_))];
    for (unsigned lane = 0; lane < lanes_of_warp; ++lane) {
      known[lane].fill(0);
      known[lane][lane] = 1;  // later than what the others know: nothing yet
    }
  }
}

void Ordering::warp_synchronized(unsigned warp, unsigned lanes) {
  synchronized_warps_ |= 1u << warp;
  auto& known = known_[warp];
  Clocks together{};
  for (unsigned lane = 0; lane < lanes_of_warp; ++lane) {
    if ((lanes >> lane & 1) == 0) continue;
    for (unsigned i = 0; i < lanes_of_warp; ++i) together[i] = std::max(together[i], known[lane][i]);
  }
  for (unsigned lane = 0; lane < lanes_of_warp; ++lane) {
    if ((lanes >> lane & 1) == 0) continue;
    known[lane] = together;
    ++known[lane][lane];
  }
}

unsigned Ordering::block(std::uint32_t phase) const {
  const auto after = std::upper_bound(first_of_block_.begin(), first_of_block_.end(), phase);
  return static_cast<unsigned>(after - first_of_block_.begin()) - 1;
}

}  // namespace headshare::simulator::tracer
