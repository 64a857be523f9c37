#include "kernels/dropout.h"

#include "core/random.h"
#include "kernels/dropout_rule.h"
#include "kernels/warp.cuh"

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

// A warp takes 256 elements at a time. Each lane runs the generator once, for eight neighbouring elements, and keeps
// the outcome as eight bits. The lanes then walk over the elements side by side, so that each load and store of the
// warp is one piece of memory, and fetch their bit from the lane that has it. All eight loads come before the first
// store: the compiler may not move them there by itself, because y may be x.
template <class T>
__global__ void dropout_kernel(Size n, DropoutMask mask, DropoutRule<T> rule, const T* x, T* y) {
  const int lane = threadIdx.x % warp_size;
  const Size first_warp = global_thread() / warp_size, all_warps = all_threads() / warp_size;
  for (Size first = first_warp * per_warp; first < n; first += all_warps * per_warp) {
    T values[per_counter];
    for (int k = 0; k < per_counter; ++k) {
      const Size i = first + k * warp_size + lane;
      values[k] = i < n ? x[i] : T(0);
    }
    const auto counter = static_cast<std::uint64_t>(first / per_counter + lane);
    const unsigned kept = kept_of_counter(counter, mask, rule.threshold);
    for (int k = 0; k < per_counter; ++k) {
      const Size i = first + k * warp_size + lane;
      const unsigned bits = __shfl_sync(all_lanes, kept, (k * warp_size + lane) / per_counter);
      const bool keep = (bits >> lane % per_counter & 1u) != 0;
      if (i < n) y[i] = keep ? values[k] * rule.scale : T(0);
    }
  }
}

}  // namespace

template <class T>
void dropout(Cuda device, Size n, const DropoutMask& mask, const T* x, T* y) {
  const DropoutRule<T> rule = dropout_rule<T>(mask);
  const Size counters = (n + per_counter - 1) / per_counter;  // one thread each
  launch(dropout_kernel<T>, loop_blocks(counters, threads), threads, 0, device.stream, n, mask, rule, x, y);
}

template void dropout(Cuda, Size, const DropoutMask&, const float*, float*);
template void dropout(Cuda, Size, const DropoutMask&, const double*, double*);

}  // namespace headshare::kernels
