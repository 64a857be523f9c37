#pragma once

#include <cmath>
#include <limits>

#include "kernels/chunk.cuh"
#include "kernels/cuda.h"
#include "kernels/warp.cuh"

// Rows of n elements, each worked on by a team of threads: a warp for short rows, a whole block for long ones. Kernels
// are templates over `team`, the number of threads of one. Member m of a team takes elements m, m + team, m + 2 team,
// ... of its row, or chunks in the same way (chunk.cuh), so that neighbouring threads read neighbouring elements; where
// an output is also an input, each element is read and written by one and the same thread. What a row's second pass
// reads again lies in a cache by then.
namespace headshare::kernels {

constexpr int long_row_team = 256;
constexpr Size longest_short_row = 1024;  // 32 elements per lane: more would keep one warp busy and the others waiting

// Where a team's warps leave their values for each other, in shared memory. A warp needs none; an array needs a size.
template <int team>
constexpr int warps_of = team / warp_size;

template <int team>
__device__ inline Size row_of_team() {
  return global_thread() / team;
}

template <int team>
__device__ inline int member_of_team() {
  return static_cast<int>(threadIdx.x % team);
}

// All members call these two, and get the result. `partial`: shared memory, T[warps_of<team>], for this one call.
template <int team, class T>
__device__ inline T team_sum(T value, T* partial) {
  if constexpr (team == warp_size)
    return warp_sum(value);
  else
    return block_sum<team>(value, partial);
}

template <int team, class T>
__device__ inline T team_max(T value, T* partial) {
  if constexpr (team == warp_size)
    return warp_max(value);
  else
    return block_max<team>(value, partial);
}

// kernel(rows, n, arguments...), with teams that suit rows of n elements. Only warps can come without a row, those of
// the last block; nobody waits for them, so they may return at once.
template <class... Parameters, class... Arguments>
void launch_rows(void (*for_short_rows)(Size, Size, Parameters...), void (*for_long_rows)(Size, Size, Parameters...),
                 Cuda device, Size rows, Size n, Arguments... arguments) {
  constexpr int warps = 4;  // rows of a block
  if (n <= longest_short_row)
    launch(for_short_rows, groups_of(rows, warps), warps * warp_size, 0, device.stream, rows, n, arguments...);
  else
    launch(for_long_rows, groups_of(rows, 1), long_row_team, 0, device.stream, rows, n, arguments...);
}

// ---- Softmax in one pass less (Milakov and Gimelshein 2018) ---------------------------------------------------------

// e^x, as far as numbers of type T can tell: for bfloat16 the hardware's own, within (2 + |x|) 1.2e-7 of the result.
// The library's takes so many instructions more that they, not the memory, would decide about the time.
template <class T>
__device__ inline Wide<T> exponential(Wide<T> x) {
  if constexpr (std::is_same_v<T, BFloat16>)
    return __expf(x);
  else
    return std::exp(x);
}

// The largest of the numbers of type T seen so far, and the sum of exp(x - maximum) over them. When the maximum rises,
// what has been summed shrinks to the new scale; so one pass finds both.
template <class T>
struct OnlineSum {
  // Not -infinity: a row of only -infinity (masked) must come out with sum 0, and infinity minus infinity is NaN.
  Wide<T> maximum = std::numeric_limits<Wide<T>>::lowest();
  Wide<T> sum = 0;

  __device__ void add(Wide<T> x) {
    const bool rises = x > maximum;
    // 0 < factor <= 1: one exponential serves both cases
    const Wide<T> factor = exponential<T>(rises ? maximum - x : x - maximum);
    sum = rises ? sum * factor + Wide<T>(1) : sum + factor;
    maximum = rises ? x : maximum;
  }

  // Several at a time: the scale changes once for all of them, so there is little more than one exponential for each.
  template <int count>
  __device__ void add(const Chunk<Wide<T>, count>& x) {
    if constexpr (count == 1) return add(x[0]);
    Wide<T> largest = maximum;
    for (int k = 0; k < count; ++k) largest = x[k] > largest ? x[k] : largest;
    sum *= exponential<T>(maximum - largest);
    for (int k = 0; k < count; ++k) sum += exponential<T>(x[k] - largest);
    maximum = largest;
  }

  // log sum exp(x); -infinity where everything is masked.
  __device__ Wide<T> logarithm() const { return maximum + std::log(sum); }
};

// What all members have seen together; each of them gets it. A NaN is in `sum` since it was added. +infinity makes the
// sum NaN here, as infinity minus infinity. `maxima` and `sums`: as `partial` of team_sum.
template <int team, class T>
__device__ inline OnlineSum<T> team_total(OnlineSum<T> mine, Wide<T>* maxima, Wide<T>* sums) {
  const Wide<T> maximum = team_max<team>(mine.maximum, maxima);
  return {maximum, team_sum<team>(mine.sum * exponential<T>(mine.maximum - maximum), sums)};
}

}  // namespace headshare::kernels
