#include <cmath>
#include <limits>

#include "kernels/cuda.cuh"
#include "lesson.h"
#include "tutorials/support/step.h"

namespace headshare::lesson {

using kernels::launch;

// ---- Given, and wrong on purpose ------------------------------------------------------------------------------------

// [show unchecked]
__global__ void scaled_relu_unchecked_kernel(float scale, float shift, const float* x, float* y) {
  const Size i = Size{blockIdx.x} * blockDim.x + threadIdx.x;
  y[i] = fmaxf(0.0f, scale * x[i] + shift);
}
// [end show]

// [show differences]
__global__ void differences_without_barrier_kernel(const float* x, float* difference) {
  __shared__ float values[row_threads];
  const int i = static_cast<int>(threadIdx.x);
  values[i] = x[i];
  difference[i] = i == 0 ? values[i] : values[i] - values[i - 1];
}
// [end show]

// ---- Given, and right -----------------------------------------------------------------------------------------------

// [show strided]
__global__ void copy_strided_kernel(Size n, Size first, Size stride, const float* x, float* y) {
  const Size i = Size{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[first + i * stride];
}
// [end show]

void scaled_relu_unchecked(Cuda device, Size n, float scale, float shift, const float* x, float* y) {
  launch(scaled_relu_unchecked_kernel, kernels::groups_of(n, block_threads), block_threads, 0, device.stream, scale,
         shift, x, y);
}
void differences_without_barrier(Cuda device, const float* x, float* difference) {
  launch(differences_without_barrier_kernel, 1, row_threads, 0, device.stream, x, difference);
}
void copy_strided(Cuda device, Size n, Size first, Size stride, const float* x, float* y) {
  launch(copy_strided_kernel, kernels::groups_of(n, block_threads), block_threads, 0, device.stream, n, first, stride,
         x, y);
}

// ---- Step 1: one thread for each element ----------------------------------------------------------------------------

// [show relu]
__global__ void scaled_relu_kernel(Size n, float scale, float shift, const float* x, float* y) {
  // [step 1] Find the one element of this thread, and compute it; a thread beyond the end does nothing.
  // [hint] Before this block come blockIdx.x blocks of blockDim.x threads each.
  // [hint] i = Size{blockIdx.x} * blockDim.x + threadIdx.x. In the last block, i may be n or more.
  const Size i = Size{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) y[i] = fmaxf(0.0f, scale * x[i] + shift);
  // [stub]
  // // (the body of the kernel: yours)
  // [end]
}

void scaled_relu(Cuda device, Size n, float scale, float shift, const float* x, float* y) {
  // [step 1] Launch just enough blocks of block_threads threads for n elements, and write the kernel above.
  // [hint] n / block_threads rounds down; 1000 elements need 8 blocks of 128 threads, and so do 1024, but 1025 need 9.
  // [hint] launch(kernel, blocks, threads of a block, bytes of shared memory, device.stream, arguments ...).
  const auto blocks = static_cast<unsigned>((n + block_threads - 1) / block_threads);
  launch(scaled_relu_kernel, blocks, block_threads, 0, device.stream, n, scale, shift, x, y);
  // [end]
}
// [end show]

// ---- Step 3: a thread has a row -------------------------------------------------------------------------------------

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

// [show threads]
__global__ void softmax_by_threads_kernel(Size rows, Size n, const float* x, float* y) {
  // [step 3] Compute the softmax of this thread's own row in three loops: maximum, sum, result.
  // [hint] Row r starts at x + r * n. A thread whose r is rows or more does nothing.
  // [hint] The maximum of nothing is minus_infinity. Subtract the maximum inside exp, or exp(100) overflows.
  const Size row = Size{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const float* const from = x + row * n;
  float maximum = minus_infinity, sum = 0;
  for (Size i = 0; i < n; ++i) maximum = fmaxf(maximum, from[i]);
  for (Size i = 0; i < n; ++i) sum += expf(from[i] - maximum);
  for (Size i = 0; i < n; ++i) y[row * n + i] = expf(from[i] - maximum) / sum;
  // [stub]
  // // (the body of the kernel: yours)
  // [end]
}

void softmax_by_threads(Cuda device, Size rows, Size n, const float* x, float* y) {
  // [step 3] Launch one thread for each row, in blocks of block_threads, and write the kernel above.
  // [hint] As in step 1; there are now as many things to do as rows.
  const auto blocks = static_cast<unsigned>((rows + block_threads - 1) / block_threads);
  launch(softmax_by_threads_kernel, blocks, block_threads, 0, device.stream, rows, n, x, y);
  // [end]
}
// [end show]

// ---- Step 4: a warp has a row ---------------------------------------------------------------------------------------

// Two ways to make one number of two.
struct Larger {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};
struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};

// [show over_warp]
// Combines the values of all 32 lanes; each of them gets the result. All 32 must call it.
template <class Combine>
__device__ float over_warp(float mine, Combine combine) {
  // [step 4] Combine the values of all lanes in five exchanges: with the lane 16 away, then 8, 4, 2 and 1.
  // [hint] __shfl_xor_sync(0xffffffffu, mine, 16) is `mine` of the lane whose number differs in the bit of 16.
  // [hint] for (int step = 16; step > 0; step /= 2) mine = combine(mine, ...);
  for (int step = warp_lanes / 2; step > 0; step /= 2) mine = combine(mine, __shfl_xor_sync(0xffffffffu, mine, step));
  return mine;
  // [stub]
  // return combine(mine, mine);
  // [end]
}
// [end show]

// [show warps]
__global__ void softmax_by_warps_kernel(Size rows, Size n, const float* x, float* y) {
  // [step 4] Compute the softmax of this warp's row: lane l takes the elements l, l + 32, l + 64, ...
  // [hint] The row is the thread's number in the grid divided by 32; the lane is the remainder.
  // [hint] Each lane has a maximum of its own elements: over_warp(maximum, Larger{}) makes it that of the row.
  const Size thread = Size{blockIdx.x} * blockDim.x + threadIdx.x;
  const Size row = thread / warp_lanes, lane = thread % warp_lanes;
  if (row >= rows) return;  // all lanes of a warp, or none
  const float* const from = x + row * n;
  float maximum = minus_infinity, sum = 0;
  for (Size i = lane; i < n; i += warp_lanes) maximum = fmaxf(maximum, from[i]);
  maximum = over_warp(maximum, Larger{});
  for (Size i = lane; i < n; i += warp_lanes) sum += expf(from[i] - maximum);
  sum = over_warp(sum, Sum{});
  for (Size i = lane; i < n; i += warp_lanes) y[row * n + i] = expf(from[i] - maximum) / sum;
  // [stub]
  // // (the body of the kernel: yours)
  // [end]
}

void softmax_by_warps(Cuda device, Size rows, Size n, const float* x, float* y) {
  // [step 4] Launch one warp for each row, in blocks of block_threads, and write the two functions above.
  // [hint] How many threads is that? As many things to do as rows * 32.
  const auto blocks = static_cast<unsigned>((rows * warp_lanes + block_threads - 1) / block_threads);
  launch(softmax_by_warps_kernel, blocks, block_threads, 0, device.stream, rows, n, x, y);
  // [end]
}
// [end show]

// ---- Step 5: a block has a row --------------------------------------------------------------------------------------

// [show over_block]
// Combines the values of all threads of the block; each gets the result. All of them must call it. `shared` has room
// for row_threads numbers, and is free again, for whatever comes next, when the function returns.
template <class Combine>
__device__ float over_block(float mine, float* shared, Combine combine) {
  // [step 5] Put __syncthreads() where a thread needs what others have written, or overwrites what others still read.
  // [hint] In which three places do threads depend on each other: before the loop, in it, and after it?
  // [hint] All threads must reach the same barrier: never inside `if (me < half)`.
  // [hint] After the write to shared[me]; at the end of each round of the loop; after the read of shared[0].
  const int me = static_cast<int>(threadIdx.x);
  shared[me] = mine;
  __syncthreads();
  for (int half = row_threads / 2; half > 0; half /= 2) {
    if (me < half) shared[me] = combine(shared[me], shared[me + half]);
    __syncthreads();
  }
  const float result = shared[0];
  __syncthreads();
  return result;
  // [stub]
  // const int me = static_cast<int>(threadIdx.x);
  // shared[me] = mine;
  // for (int half = row_threads / 2; half > 0; half /= 2) {
  //   if (me < half) shared[me] = combine(shared[me], shared[me + half]);
  // }
  // const float result = shared[0];
  // return result;
  // [end]
}
// [end show]

// [show blocks]
__global__ void softmax_by_blocks_kernel(Size n, const float* x, float* y) {
  __shared__ float shared[row_threads];
  const Size row = blockIdx.x;
  const float* const from = x + row * n;
  float maximum = minus_infinity, sum = 0;
  for (Size i = threadIdx.x; i < n; i += row_threads) maximum = fmaxf(maximum, from[i]);
  maximum = over_block(maximum, shared, Larger{});
  for (Size i = threadIdx.x; i < n; i += row_threads) sum += expf(from[i] - maximum);
  sum = over_block(sum, shared, Sum{});
  for (Size i = threadIdx.x; i < n; i += row_threads) y[row * n + i] = expf(from[i] - maximum) / sum;
}

void softmax_by_blocks(Cuda device, Size rows, Size n, const float* x, float* y) {
  launch(softmax_by_blocks_kernel, static_cast<unsigned>(rows), row_threads, 0, device.stream, n, x, y);
}
// [end show]

}  // namespace headshare::lesson
