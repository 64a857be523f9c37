#include "tests/traced/planted.h"

#include "kernels/warp.cuh"

// The line that a problem must name ends in a comment with the words that the test looks for.
namespace headshare::test {
namespace {

using kernels::all_lanes;
using kernels::launch;
using kernels::warp_size;

__global__ void missing_barrier_kernel(const float* x, float* y) {
  __shared__ float tile[64];
  const int i = static_cast<int>(threadIdx.x);
  tile[i] = x[i];
  __syncthreads();
  const float next = tile[(i + 1) % 64];  // reads too late
  tile[i] = next;                         // writes too early
  __syncthreads();
  y[i] = tile[i];
}

// Every lane wants what a lane of the other half has written; how they synchronize, `Synchronize` decides.
template <class Synchronize>
__device__ void mirror(const float* x, float* y, float* tile) {
  const int lane = static_cast<int>(threadIdx.x);
  tile[lane] = x[lane];  // written by one lane
  Synchronize{}();
  y[lane] = tile[warp_size - 1 - lane];  // read by another
}

struct NotAtAll {
  __device__ void operator()() const {}
};
struct OfHalves {
  __device__ void operator()() const { __syncwarp(threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u); }
};
struct ByShuffle {  // hands values on, but promises nothing about memory
  __device__ void operator()() const { (void)__shfl_sync(all_lanes, 0, 0); }
};

__global__ void missing_syncwarp_kernel(const float* x, float* y) {
  __shared__ float tile[warp_size];
  tile[threadIdx.x] = 0;
  __syncwarp();
  mirror<NotAtAll>(x, y, tile);
}
__global__ void syncwarp_of_halves_kernel(const float* x, float* y) {
  __shared__ float tile[warp_size];
  mirror<OfHalves>(x, y, tile);
}
__global__ void shuffle_for_syncwarp_kernel(const float* x, float* y) {
  __shared__ float tile[warp_size];
  mirror<ByShuffle>(x, y, tile);
}

__global__ void histogram_kernel(const int* bins, int* counts) {
  counts[bins[threadIdx.x]] += 1;  // counts without atomicAdd
}

__global__ void blocks_that_share_kernel(float* sum) {
  if (threadIdx.x == 0) *sum += 1;  // every block
}

__global__ void read_past_the_end_kernel(const float* x, float* y) {
  const int i = static_cast<int>(threadIdx.x);
  y[i] = x[i + 1];  // past the end
}

__global__ void index_past_shared_kernel(const float* x, float* y) {
  __shared__ float row[64];
  const int i = static_cast<int>(threadIdx.x);
  row[i] = x[i];
  __syncthreads();
  y[i] = row[i + 1];  // past the row
}

__global__ void index_past_dynamic_shared_kernel(const float* x, float* y) {
  DYNAMIC_SHARED(float, buffer);
  const int i = static_cast<int>(threadIdx.x);
  buffer[i] = x[i];  // more than the launch asked for
  y[i] = 0;
}

__global__ void read_unwritten_shared_kernel(float* y) {
  __shared__ float half[64];
  const int i = static_cast<int>(threadIdx.x);
  if (i < 32) half[i] = 1;
  __syncthreads();
  y[i] = half[i];  // never written
}

__global__ void copy_kernel(int n, const float* x, float* y) {
  const int i = static_cast<int>(kernels::global_thread());
  if (i < n) y[i] = x[i];  // copies
}

__global__ void misaligned_vectors_kernel(const float* x, float* y) {
  const float4 four = *reinterpret_cast<const float4*>(x + 4 * threadIdx.x + 1);  // not at a multiple of 16 bytes
  reinterpret_cast<float4*>(y)[threadIdx.x] = four;
}

__global__ void read_hidden_pointer_kernel(Hidden x, float* y) {
  y[threadIdx.x] = x.values[threadIdx.x];  // the host's
}

__global__ void divergent_barrier_kernel(float* y) {
  if (threadIdx.x < 32)
    __syncthreads();  // one half
  else
    __syncthreads();  // the other half
  y[threadIdx.x] = 1;
}

__global__ void deadlock_kernel(float* y) {
  if (threadIdx.x < 16)
    __syncwarp();
  else
    __syncthreads();
  y[threadIdx.x] = 1;
}

__global__ void shuffle_from_inactive_lane_kernel(float* y) {
  const int lane = static_cast<int>(threadIdx.x);
  float value = static_cast<float>(lane);
  if (lane < 16) value = __shfl_sync(0x0000ffffu, value, 20);  // lane 20 is not there
  y[lane] = value;
}

__global__ void early_return_kernel(int n, const float* x, float* y) {
  __shared__ float tile[128];
  const int i = static_cast<int>(threadIdx.x);
  if (i >= n) return;
  tile[i] = x[i];
  __syncthreads();
  y[i] = tile[n - 1 - i];
}

__global__ void shuffles_of_partial_warps_kernel(const float* x, float* y) {
  __shared__ float tile[warp_size];
  const int lane = static_cast<int>(threadIdx.x), first = lane / 8 * 8;
  const unsigned group = 0xffu << first;
  float sum = x[lane];
  for (int step = 4; step > 0; step /= 2) sum += __shfl_xor_sync(group, sum, step, 8);
  tile[lane] = sum;
  __syncwarp(group);
  y[lane] = tile[first + 7 - lane % 8];
}

}  // namespace

void missing_barrier(kernels::Cuda device, const float* x, float* y) {
  launch(missing_barrier_kernel, 1, 64, 0, device.stream, x, y);
}
void missing_syncwarp(kernels::Cuda device, const float* x, float* y) {
  launch(missing_syncwarp_kernel, 1, 32, 0, device.stream, x, y);
}
void syncwarp_of_halves(kernels::Cuda device, const float* x, float* y) {
  launch(syncwarp_of_halves_kernel, 1, 32, 0, device.stream, x, y);
}
void shuffle_for_syncwarp(kernels::Cuda device, const float* x, float* y) {
  launch(shuffle_for_syncwarp_kernel, 1, 32, 0, device.stream, x, y);
}
void histogram_without_atomics(kernels::Cuda device, const int* bins, int* counts) {
  launch(histogram_kernel, 1, 64, 0, device.stream, bins, counts);
}
void blocks_that_share(kernels::Cuda device, float* sum) {
  launch(blocks_that_share_kernel, 4, 32, 0, device.stream, sum);
}
void read_past_the_end(kernels::Cuda device, const float* x, float* y, int n) {
  launch(read_past_the_end_kernel, 1, n, 0, device.stream, x, y);
}
void index_past_shared(kernels::Cuda device, const float* x, float* y) {
  launch(index_past_shared_kernel, 1, 64, 0, device.stream, x, y);
}
void index_past_dynamic_shared(kernels::Cuda device, const float* x, float* y) {
  launch(index_past_dynamic_shared_kernel, 1, 64, 32 * sizeof(float), device.stream, x, y);
}
void read_unwritten_shared(kernels::Cuda device, float* y) {
  launch(read_unwritten_shared_kernel, 1, 64, 0, device.stream, y);
}
void copy_all(kernels::Cuda device, const float* x, float* y, int n) {
  launch(copy_kernel, kernels::groups_of(n, 256), 256, 0, device.stream, n, x, y);
}
void misaligned_vectors(kernels::Cuda device, const float* x, float* y) {
  launch(misaligned_vectors_kernel, 1, 32, 0, device.stream, x, y);
}
void read_hidden_pointer(kernels::Cuda device, Hidden x, float* y) {
  launch(read_hidden_pointer_kernel, 1, 32, 0, device.stream, x, y);
}
void divergent_barrier(kernels::Cuda device, float* y) { launch(divergent_barrier_kernel, 1, 64, 0, device.stream, y); }
void deadlock(kernels::Cuda device, float* y) { launch(deadlock_kernel, 1, 32, 0, device.stream, y); }
void shuffle_from_inactive_lane(kernels::Cuda device, float* y) {
  launch(shuffle_from_inactive_lane_kernel, 1, 32, 0, device.stream, y);
}
void early_return(kernels::Cuda device, const float* x, float* y, int n) {
  launch(early_return_kernel, 1, 128, 0, device.stream, n, x, y);
}
void shuffles_of_partial_warps(kernels::Cuda device, const float* x, float* y) {
  launch(shuffles_of_partial_warps_kernel, 1, 32, 0, device.stream, x, y);
}

}  // namespace headshare::test
