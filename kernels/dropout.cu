#include "kernels/dropout.h"

#include "core/random.h"
#include "kernels/chunk.cuh"
#include "kernels/dropout_rule.h"

namespace headshare::kernels {
namespace {

constexpr int threads = 256, per_counter = 8;  // elements that share one counter of the generator
constexpr Size per_warp = warp_size * per_counter;

// Bit j: is element 8 counter + j kept?
__device__ unsigned kept_of_counter(std::uint64_t counter, const DropoutMask& mask, std::int32_t threshold) {
  const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
  const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
  const PhiloxCounter words =
      philox({low(counter), high(counter), low(mask.site), high(mask.site)}, {low(mask.seed), high(mask.seed)});
  unsigned kept = 0;
  for (int j = 0; j < per_counter; ++j) {
    const auto number = static_cast<std::int32_t>(words[j / 2] >> (j % 2 == 0 ? 0 : 16) & 0xFFFFu);
    kept |= static_cast<unsigned>(number >= threshold) << j;
  }
  return kept;
}

// One warp, all lanes: elements first .. first + 255. Each lane runs the generator once, for eight neighbouring
// elements, and keeps the outcome as eight bits. The lanes then walk over the elements side by side, `width` at a time,
// so that each load and store of the warp is one piece of memory, and fetch their bits from the lane that has them. All
// loads come before the first store: the compiler may not move them there by itself, because y may be x.
template <int width, class T>
__device__ void drop_out(Size n, Size first, const DropoutMask& mask, const DropoutRule<Wide<T>>& rule, const T* x,
                         T* y) {
  constexpr int rounds = per_counter / width;
  const int lane = threadIdx.x % warp_size;
  Chunk<Wide<T>, width> values[rounds];
  for (int k = 0; k < rounds; ++k) {
    const Size i = first + (k * warp_size + lane) * width;
    values[k] = i < n ? load_chunk<width>(x + i) : Chunk<Wide<T>, width>{};
  }
  const auto counter = static_cast<std::uint64_t>(first / per_counter + lane);
  const unsigned kept = kept_of_counter(counter, mask, rule.threshold);
  for (int k = 0; k < rounds; ++k) {
    const int within = (k * warp_size + lane) * width;  // the warp's elements
    const unsigned bits = __shfl_sync(all_lanes, kept, within / per_counter) >> within % per_counter;
    for (int j = 0; j < width; ++j) values[k][j] = (bits >> j & 1u) != 0 ? values[k][j] * rule.scale : Wide<T>(0);
    if (first + within < n) store_chunk(values[k], y + first + within);
  }
}

template <class T>
__global__ void dropout_kernel(Size n, DropoutMask mask, DropoutRule<Wide<T>> rule, const T* x, T* y) {
  const Size first_warp = global_thread() / warp_size, all_warps = all_threads() / warp_size;
  const bool in_chunks = chunks_of(n, x, y).first == 0;  // the numbers of a counter begin on whole chunks
  for (Size first = first_warp * per_warp; first < n; first += all_warps * per_warp) {
    if (in_chunks && first + per_warp <= n)
      drop_out<width_of<T>>(n, first, mask, rule, x, y);
    else
      drop_out<1>(n, first, mask, rule, x, y);
  }
}

}  // namespace

template <class T>
void dropout(Cuda device, Size n, const DropoutMask& mask, const T* x, T* y) {
  const auto rule = dropout_rule<Wide<T>>(mask);
  const Size counters = (n + per_counter - 1) / per_counter;  // one thread each
  launch(dropout_kernel<T>, loop_blocks(counters, threads), threads, 0, device.stream, n, mask, rule, x, y);
}

template void dropout(Cuda, Size, const DropoutMask&, const float*, float*);
template void dropout(Cuda, Size, const DropoutMask&, const double*, double*);
template void dropout(Cuda, Size, const DropoutMask&, const BFloat16*, BFloat16*);

}  // namespace headshare::kernels
