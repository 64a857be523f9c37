#include "kernels/elementwise.h"

#include "kernels/chunk.cuh"
#include "kernels/elementwise_functions.h"
#include "kernels/warp.cuh"

namespace headshare::kernels {
namespace {

constexpr int threads = 256;

// exp(-x^2 / 2), and what it helps to find: the probability that a standard normal number is below x (Abramowitz and
// Stegun 1964, 7.1.26, as in vector.h).
struct Normal {
  float bell, below;
};

__device__ Normal normal(float x) {
  const float bell = __expf(-0.5f * x * x);
  const float t = __fdividef(1.0f, 1.0f + 0.231641888f * std::abs(x));
  float p = 0.5307027145f * t - 0.7265760135f;
  p = p * t + 0.7107068705f;
  p = p * t - 0.142248368f;
  p = p * t + 0.127414796f;
  const float tail = p * t * bell;
  return {bell, x < 0 ? tail : 1.0f - tail};
}

// Op, as a kernel computes it for elements of type T.
template <class Op, class T>
struct OnDevice : Op {};

// The library's erfc takes more instructions than a GPU has time for while it moves the two bytes that are kept of the
// result. This is within 2e-7 of max(1, |x|), times |dy|.
template <>
struct OnDevice<Gelu, BFloat16> {
  __device__ float operator()(float x) const { return x * normal(x).below; }
};
template <>
struct OnDevice<GeluBackward, BFloat16> {
  __device__ float operator()(float x, float dy) const {
    const Normal at_x = normal(x);
    return dy * (at_x.below + x * (0.398942280f * at_x.bell));
  }
};

template <class Op, class T>
__global__ void map_kernel(Size n, const T* x, T* y) {
  chunks_of(n, x, y).for_each(global_thread(), all_threads(), [&](Size i, auto count) {
    auto values = load_chunk<count>(x + i);
    for (int k = 0; k < count; ++k) values[k] = OnDevice<Op, T>{}(values[k]);
    store_chunk(values, y + i);
  });
}

template <class Op, class T>
__global__ void map_kernel(Size n, const T* a, const T* b, T* y) {
  chunks_of(n, a, b, y).for_each(global_thread(), all_threads(), [&](Size i, auto count) {
    auto values = load_chunk<count>(a + i);
    const auto others = load_chunk<count>(b + i);
    for (int k = 0; k < count; ++k) values[k] = OnDevice<Op, T>{}(values[k], others[k]);
    store_chunk(values, y + i);
  });
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
    y[i] = static_cast<T>(OnDevice<Op, T>{}(static_cast<Wide<T>>(a[from_a]), static_cast<Wide<T>>(b[from_b])));
  }
}

template <class T>
__global__ void affine_kernel(Size n, const T* x, Wide<T> scale, Wide<T> shift, T* y) {
  chunks_of(n, x, y).for_each(global_thread(), all_threads(), [&](Size i, auto count) {
    auto values = load_chunk<count>(x + i);
    for (int k = 0; k < count; ++k) values[k] = scale * values[k] + shift;
    store_chunk(values, y + i);
  });
}

}  // namespace

template <class Op, class T>
void map(Cuda device, Size n, const T* x, T* y) {
  void (*const kernel)(Size, const T*, T*) = map_kernel<Op, T>;
  launch(kernel, chunk_blocks<T>(n, threads), threads, 0, device.stream, n, x, y);
}

template <class Op, class T>
void map(Cuda device, Size n, const T* a, const T* b, T* y) {
  void (*const kernel)(Size, const T*, const T*, T*) = map_kernel<Op, T>;
  launch(kernel, chunk_blocks<T>(n, threads), threads, 0, device.stream, n, a, b, y);
}

template <class Op, class T>
void map(Cuda device, const BroadcastSizes& sizes, const T* a, const T* b, T* y) {
  Size n = 1;
  for (int d = 0; d < sizes.rank; ++d) n *= sizes.extents[d];
  launch(map_broadcast_kernel<Op, T>, loop_blocks(n, threads), threads, 0, device.stream, n, sizes, a, b, y);
}

template <class T>
void affine(Cuda device, Size n, const T* x, Wide<T> scale, Wide<T> shift, T* y) {
  launch(affine_kernel<T>, chunk_blocks<T>(n, threads), threads, 0, device.stream, n, x, scale, shift, y);
}

using Here = Cuda;

}  // namespace headshare::kernels

#include "kernels/elementwise_instances.h"

// bfloat16 is for the device alone, and for what a Transformer that is trained in it needs.
namespace headshare::kernels {

template void map<Relu>(Cuda, Size, const BFloat16*, BFloat16*);
template void map<Gelu>(Cuda, Size, const BFloat16*, BFloat16*);

template void map<Add>(Cuda, Size, const BFloat16*, const BFloat16*, BFloat16*);
template void map<Subtract>(Cuda, Size, const BFloat16*, const BFloat16*, BFloat16*);
template void map<Multiply>(Cuda, Size, const BFloat16*, const BFloat16*, BFloat16*);
template void map<ReluBackward>(Cuda, Size, const BFloat16*, const BFloat16*, BFloat16*);
template void map<GeluBackward>(Cuda, Size, const BFloat16*, const BFloat16*, BFloat16*);

template void map<Add>(Cuda, const BroadcastSizes&, const BFloat16*, const BFloat16*, BFloat16*);
template void map<Subtract>(Cuda, const BroadcastSizes&, const BFloat16*, const BFloat16*, BFloat16*);
template void map<Multiply>(Cuda, const BroadcastSizes&, const BFloat16*, const BFloat16*, BFloat16*);
template void map<ReluBackward>(Cuda, const BroadcastSizes&, const BFloat16*, const BFloat16*, BFloat16*);
template void map<GeluBackward>(Cuda, const BroadcastSizes&, const BFloat16*, const BFloat16*, BFloat16*);

template void affine(Cuda, Size, const BFloat16*, float, float, BFloat16*);

}  // namespace headshare::kernels
