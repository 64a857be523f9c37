#include "kernels/simulator/tracer/requests.h"

#include <algorithm>
#include <bit>

namespace headshare::simulator::tracer {
namespace {

// Sorts them; the first ones are then the distinct ones, and how many those are is returned.
unsigned keep_distinct(std::uint32_t* values, unsigned count) {
  if (!std::is_sorted(values, values + count)) std::sort(values, values + count);
  return static_cast<unsigned>(std::unique(values, values + count) - values);
}

}  // namespace

void WarpRequests::finish() {
  for (; used_warps_ != 0; used_warps_ &= used_warps_ - 1) {
    const auto warp = static_cast<std::size_t>(std::countr_zero(used_warps_));
    for (const Request& request : waiting_[warp]) count(request);
    waiting_[warp].clear();
    std::fill_n(executed_.begin() + static_cast<std::ptrdiff_t>(warp * lanes_of_warp), lanes_of_warp, 0);
  }
}

void WarpRequests::count(const Request& request) {
  std::uint32_t offsets[lanes_of_warp];
  if (space_ == Space::global) {
    unsigned active = 0;
    for (unsigned lane = 0; lane < lanes_of_warp; ++lane)
      if ((request.lanes >> lane & 1) != 0) offsets[active++] = request.offsets[lane];
    count_sectors(offsets, active);
  } else {
    // The banks hand out 128 bytes in a pass: lanes that want 8 or 16 bytes each are served 16 or 8 at a time.
    const unsigned at_once = bytes_ <= 4 ? lanes_of_warp : bytes_ <= 8 ? lanes_of_warp / 2 : lanes_of_warp / 4;
    for (unsigned first = 0; first < lanes_of_warp; first += at_once) {
      unsigned active = 0;
      for (unsigned lane = first; lane < first + at_once; ++lane)
        if ((request.lanes >> lane & 1) != 0) offsets[active++] = request.offsets[lane];
      if (active > 0) count_passes(offsets, active);
    }
  }
  ++requests_;
  lanes_ += static_cast<unsigned>(std::popcount(request.lanes));
}

void WarpRequests::count_sectors(const std::uint32_t* offsets, unsigned count) {
  std::uint32_t distinct[lanes_of_warp];
  std::copy_n(offsets, count, distinct);
  count = keep_distinct(distinct, count);
  // In this order a sector comes up again only directly after itself.
  std::uint32_t next = 0;  // the first sector that is not counted yet
  for (unsigned i = 0; i < count; ++i) {
    const std::uint32_t first = std::max(distinct[i] / sector_bytes, next);
    const std::uint32_t last = (distinct[i] + bytes_ - 1) / sector_bytes;
    if (last < first) continue;
    moved_ += last - first + 1;
    next = last + 1;
  }
  least_ += (std::uint64_t{count} * bytes_ + sector_bytes - 1) / sector_bytes;
}

void WarpRequests::count_passes(const std::uint32_t* offsets, unsigned count) {
  constexpr unsigned bank_bytes = 4, most_words = lanes_of_warp;  // 128 bytes
  const unsigned words_per_lane = std::max(1u, bytes_ / bank_bytes);
  std::uint32_t words[most_words];
  unsigned wanted = 0;
  for (unsigned i = 0; i < count; ++i)
    for (unsigned k = 0; k < words_per_lane; ++k) words[wanted++] = offsets[i] / bank_bytes + k;
  wanted = keep_distinct(words, wanted);  // lanes that want the same word get it in the same pass
  unsigned asked[shared_banks] = {};
  unsigned most = 0;
  for (unsigned i = 0; i < wanted; ++i) most = std::max(most, ++asked[words[i] % shared_banks]);
  moved_ += most;
  ++least_;
}

void WarpRequests::add_to(Site& site) const {
  site.requests += requests_;
  site.lanes += lanes_;
  if (space_ == Space::global) {
    site.sectors += moved_;
    site.least_sectors += least_;
  } else {
    site.passes += moved_;
    site.least_passes += least_;
  }
}

}  // namespace headshare::simulator::tracer
