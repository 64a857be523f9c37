#pragma once

#include <type_traits>
#include <utility>

#include "kernels/cuda.cuh"

// What almost every kernel needs: the thread's own number, loops over registers, and sums and maxima over a warp or a
// block. All in a fixed order, so that the same input gives the same bits, run after run.
namespace headshare::kernels {

constexpr int warp_size = 32;
constexpr unsigned all_lanes = 0xffffffffu;

// The number of this thread among all of a one-dimensional grid, and their number: the start and the step of a loop
// that covers any n with any grid.
__device__ inline Size global_thread() { return Size{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline Size all_threads() { return Size{gridDim.x} * blockDim.x; }

// Blocks of `threads` threads for such a loop over n elements: enough to fill a large GPU several times over, no more.
constexpr unsigned loop_blocks(Size n, int threads) {
  constexpr Size most = 4096;
  const Size blocks = (n + threads - 1) / threads;
  return static_cast<unsigned>(blocks < most ? blocks : most);
}

// body(0), ..., body(count - 1), with numbers that the compiler knows. Registers have no addresses: an array stays in
// them only where every index is known, and a compiler leaves a loop with a large body a loop.
template <int count, class Body>
__device__ inline void unrolled(const Body& body) {
  [&]<int... i>(std::integer_sequence<int, i...>) { (body(std::integral_constant<int, i>{}), ...); }
  (std::make_integer_sequence<int, count>{});
}

// Every lane of the warp gets the result. Five steps: each adds the value of the lane 16, 8, 4, 2 and 1 further.
template <class T>
__device__ inline T warp_sum(T value) {
  for (int step = warp_size / 2; step > 0; step /= 2) value += __shfl_xor_sync(all_lanes, value, step);
  return value;
}

// NaN counts as the largest number: a comparison alone would lose it.
template <class T>
__device__ inline T larger(T a, T b) {
  return b > a || b != b ? b : a;
}

template <class T>
__device__ inline T warp_max(T value) {
  for (int step = warp_size / 2; step > 0; step /= 2) value = larger(value, __shfl_xor_sync(all_lanes, value, step));
  return value;
}

// Each warp of a block of `threads` threads, a multiple of 32, tells the others its value: partial[w] is that of warp
// w. All threads of the block call it. `partial` is shared memory for one value per warp, used by nobody else until the
// next __syncthreads of the caller.
template <int threads, class T>
__device__ inline void share_with_block(T value_of_warp, T* partial) {
  static_assert(threads % warp_size == 0 && threads <= 1024);
  if (threadIdx.x % warp_size == 0) partial[threadIdx.x / warp_size] = value_of_warp;
  __syncthreads();
}

// The sum over a block, and the maximum; every thread gets it. `partial` as above.
template <int threads, class T>
__device__ inline T block_sum(T value, T* partial) {
  share_with_block<threads>(warp_sum(value), partial);
  T sum = partial[0];
  for (int i = 1; i < threads / warp_size; ++i) sum += partial[i];
  return sum;
}

template <int threads, class T>
__device__ inline T block_max(T value, T* partial) {
  share_with_block<threads>(warp_max(value), partial);
  T max = partial[0];
  for (int i = 1; i < threads / warp_size; ++i) max = larger(max, partial[i]);
  return max;
}

}  // namespace headshare::kernels
