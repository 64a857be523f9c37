#include "kernels/elementwise.h"

#include "kernels/elementwise_functions.h"
#include "kernels/warp.cuh"

namespace headshare::kernels {
namespace {

constexpr int threads = 256;

template <class Op, class T>
__global__ void map_kernel(Size n, const T* x, T* y) {
  for (Size i = global_thread(); i < n; i += all_threads()) y[i] = Op{}(x[i]);
}

template <class Op, class T>
__global__ void map_kernel(Size n, const T* a, const T* b, T* y) {
  for (Size i = global_thread(); i < n; i += all_threads()) y[i] = Op{}(a[i], b[i]);
}

// The offset of element i in both operands, from the last dimension to the first.
template <class Op, class T>
__global__ void map_broadcast_kernel(Size n, BroadcastSizes sizes, const T* a, const T* b, T* y) {
  for (Size i = global_thread(); i < n; i += all_threads()) {
    Size rest = i, from_a = 0, from_b = 0;
    for (int d = sizes.rank - 1; d >= 0; --d) {
      const Size index = rest % sizes.extents[d];
      rest /= sizes.extents[d];
      from_a += index * sizes.a_strides[d];
      from_b += index * sizes.b_strides[d];
    }
    y[i] = Op{}(a[from_a], b[from_b]);
  }
}

template <class T>
__global__ void affine_kernel(Size n, const T* x, T scale, T shift, T* y) {
  for (Size i = global_thread(); i < n; i += all_threads()) y[i] = scale * x[i] + shift;
}

}  // namespace

template <class Op, class T>
void map(Cuda device, Size n, const T* x, T* y) {
  void (*const kernel)(Size, const T*, T*) = map_kernel<Op, T>;
  launch(kernel, loop_blocks(n, threads), threads, 0, device.stream, n, x, y);
}

template <class Op, class T>
void map(Cuda device, Size n, const T* a, const T* b, T* y) {
  void (*const kernel)(Size, const T*, const T*, T*) = map_kernel<Op, T>;
  launch(kernel, loop_blocks(n, threads), threads, 0, device.stream, n, a, b, y);
}

template <class Op, class T>
void map(Cuda device, const BroadcastSizes& sizes, const T* a, const T* b, T* y) {
  Size n = 1;
  for (int d = 0; d < sizes.rank; ++d) n *= sizes.extents[d];
  launch(map_broadcast_kernel<Op, T>, loop_blocks(n, threads), threads, 0, device.stream, n, sizes, a, b, y);
}

template <class T>
void affine(Cuda device, Size n, const T* x, T scale, T shift, T* y) {
  launch(affine_kernel<T>, loop_blocks(n, threads), threads, 0, device.stream, n, x, scale, shift, y);
}

using Here = Cuda;

}  // namespace headshare::kernels

#include "kernels/elementwise_instances.h"
