#include "tests/traced/lessons.h"

#include "kernels/warp.cuh"

namespace headshare::test {
namespace {

using kernels::launch;

constexpr int threads = 128;
constexpr int tile_size = 32;

__device__ int thread_number() { return static_cast<int>(kernels::global_thread()); }

__global__ void copy_coalesced_kernel(int n, const float* x, float* y) {
  const int i = thread_number();
  if (i < n) y[i] = x[i];
}

__global__ void copy_strided_kernel(int n, int step, const float* x, float* y) {
  const int i = thread_number();
  const int from = i % (n / step) * step + i / (n / step);
  if (i < n) y[from] = x[from];
}

__global__ void copy_broadcast_kernel(int n, const float* x, float* y) {
  const int i = thread_number();
  if (i < n) y[i] = x[0];
}

__global__ void copy_vectors_kernel(int n, const float4* x, float4* y) {
  const int i = thread_number();
  if (4 * i < n) y[i] = x[i];
}

__global__ void transpose_naive_kernel(int n, const float* x, float* y) {
  const int column = static_cast<int>(blockIdx.x * tile_size + threadIdx.x);
  const int row = static_cast<int>(blockIdx.y * tile_size + threadIdx.y);
  y[column * n + row] = x[row * n + column];
}

// By way of shared memory, so that both sides are read and written along rows. With `padding` 0 a column of the tile
// lies in a single bank.
template <int padding>
__global__ void transpose_shared_kernel(int n, const float* x, float* y) {
  __shared__ float tile[tile_size][tile_size + padding];
  const int from_row = static_cast<int>(blockIdx.y * tile_size), from_column = static_cast<int>(blockIdx.x * tile_size);
  const int i = static_cast<int>(threadIdx.y), j = static_cast<int>(threadIdx.x);
  tile[i][j] = x[(from_row + i) * n + from_column + j];
  __syncthreads();
  y[(from_column + i) * n + from_row + j] = tile[j][i];
}

dim3 tiles(int n) {
  const auto per_side = static_cast<unsigned>(n / tile_size);
  return {per_side, per_side};
}

}  // namespace

void copy_coalesced(kernels::Cuda device, const float* x, float* y, int n) {
  launch(copy_coalesced_kernel, kernels::groups_of(n, threads), threads, 0, device.stream, n, x, y);
}
void copy_strided(kernels::Cuda device, const float* x, float* y, int n, int step) {
  launch(copy_strided_kernel, kernels::groups_of(n, threads), threads, 0, device.stream, n, step, x, y);
}
void copy_broadcast(kernels::Cuda device, const float* x, float* y, int n) {
  launch(copy_broadcast_kernel, kernels::groups_of(n, threads), threads, 0, device.stream, n, x, y);
}
void copy_vectors(kernels::Cuda device, const float* x, float* y, int n) {
  launch(copy_vectors_kernel, kernels::groups_of(n / 4, threads), threads, 0, device.stream, n,
         reinterpret_cast<const float4*>(x), reinterpret_cast<float4*>(y));
}
void transpose_naive(kernels::Cuda device, const float* x, float* y, int n) {
  launch(transpose_naive_kernel, tiles(n), {tile_size, tile_size}, 0, device.stream, n, x, y);
}
void transpose_shared(kernels::Cuda device, const float* x, float* y, int n) {
  launch(transpose_shared_kernel<0>, tiles(n), {tile_size, tile_size}, 0, device.stream, n, x, y);
}
void transpose_padded(kernels::Cuda device, const float* x, float* y, int n) {
  launch(transpose_shared_kernel<1>, tiles(n), {tile_size, tile_size}, 0, device.stream, n, x, y);
}

}  // namespace headshare::test
