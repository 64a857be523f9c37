#include "kernels/adam.h"

#include <algorithm>

#include "kernels/adam_factors.h"
#include "kernels/chunk.cuh"
#include "kernels/device_memory.h"
#include "kernels/warp.cuh"

namespace headshare::kernels {
namespace {

constexpr int threads = 256;
constexpr Size of_block = 8 * threads;  // elements
constexpr int most_arrays = 32;         // that one kernel takes: they are its arguments, which have 4 KB

// Several parameters for one kernel, and which blocks have which of them: number i those from first_block[i] on.
template <class Arrays>
struct Group {
  Arrays arrays[most_arrays];
  int first_block[most_arrays + 1];
  int count = 0;

  __device__ int of_this_block() const {
    int i = 0;
    while (static_cast<int>(blockIdx.x) >= first_block[i + 1]) ++i;
    return i;
  }
};

// Calls run(group, blocks) for all arrays, as many at a time as fit.
template <class Arrays, class Run>
void for_each_group(std::span<const Arrays> all, const Run& run) {
  for (std::size_t begin = 0; begin < all.size(); begin += most_arrays) {
    Group<Arrays> group;
    int blocks = 0;
    for (const Arrays& arrays : all.subspan(begin, std::min<std::size_t>(most_arrays, all.size() - begin))) {
      group.first_block[group.count] = blocks;
      group.arrays[group.count++] = arrays;
      blocks += static_cast<int>(groups_of(arrays.n, of_block));
    }
    group.first_block[group.count] = blocks;
    run(group, blocks);
  }
}

// Neighbouring threads take neighbouring chunks of all four arrays. Every thread reads the one scale: the caches make
// that cheaper than a kernel that would write it to all.
template <class T>
__global__ void __launch_bounds__(threads)
    adam_kernel(Group<AdamArrays<T>> group, AdamFactors<T> factors, const double* gradient_scale) {
  const T scale = static_cast<T>(*gradient_scale);
  if (scale != scale) return;
  const int own = group.of_this_block();
  const AdamArrays<T> arrays = group.arrays[own];
  const Size first = (blockIdx.x - group.first_block[own]) * of_block;
  const Size end = arrays.n - first < of_block ? arrays.n : first + of_block;
  const T* const gradient = arrays.gradient + first;
  T *const parameter = arrays.parameter + first, *const mean = arrays.mean + first;
  T* const variance = arrays.variance + first;
  chunks_of(end - first, gradient, parameter, mean, variance).for_each(threadIdx.x, threads, [&](Size i, auto count) {
    const auto g = load_chunk<count>(gradient + i);
    auto p = load_chunk<count>(parameter + i), m = load_chunk<count>(mean + i), v = load_chunk<count>(variance + i);
    for (int k = 0; k < count; ++k) factors.update(g[k] * scale, p[k], m[k], v[k]);
    store_chunk(p, parameter + i);
    store_chunk(m, mean + i);
    store_chunk(v, variance + i);
  });
}

template <class T>
__global__ void __launch_bounds__(threads) squares_of_blocks_kernel(Group<Numbers<T>> group, double* sums) {
  __shared__ double partial[threads / warp_size];
  const int own = group.of_this_block();
  const Numbers<T> numbers = group.arrays[own];
  const Size first = (blockIdx.x - group.first_block[own]) * of_block;
  const Size end = numbers.n - first < of_block ? numbers.n : first + of_block;
  double sum = 0;
  for (Size i = first + threadIdx.x; i < end; i += threads)
    sum += static_cast<double>(numbers.data[i]) * static_cast<double>(numbers.data[i]);
  sum = block_sum<threads>(sum, partial);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// One block.
__global__ void __launch_bounds__(threads) add_blocks_kernel(Size n, const double* sums, double* total) {
  __shared__ double partial[threads / warp_size];
  double sum = 0;
  for (Size i = threadIdx.x; i < n; i += threads) sum += sums[i];
  sum = block_sum<threads>(sum, partial);
  if (threadIdx.x == 0) *total = sum;
}

__global__ void gradient_scale_kernel(double factor, double limit, const double* loss, const double* squared_norm,
                                      double* scale) {
  *scale = scale_of_gradients(factor, limit, *loss, *squared_norm);
}

}  // namespace

template <class T>
void adam(Cuda device, const AdamStep& step, const double* gradient_scale, std::span<const AdamArrays<T>> all) {
  const AdamFactors<T> factors = adam_factors<T>(step);
  for_each_group(all, [&](const Group<AdamArrays<T>>& group, int blocks) {
    launch(adam_kernel<T>, static_cast<unsigned>(blocks), threads, 0, device.stream, group, factors, gradient_scale);
  });
}

template <class T>
void squared_norm(Cuda device, std::span<const Numbers<T>> arrays, double* total) {
  Size blocks = 0;
  for (const Numbers<T>& numbers : arrays) blocks += groups_of(numbers.n, of_block);
  double* const sums = device_scratch<double>(0, blocks);
  double* next = sums;
  for_each_group(arrays, [&](const Group<Numbers<T>>& group, int count) {
    launch(squares_of_blocks_kernel<T>, static_cast<unsigned>(count), threads, 0, device.stream, group, next);
    next += count;
  });
  launch(add_blocks_kernel, 1, threads, 0, device.stream, blocks, sums, total);
}

void gradient_scale(Cuda device, double factor, double limit, const double* loss, const double* squared_norm,
                    double* scale) {
  launch(gradient_scale_kernel, 1, 1, 0, device.stream, factor, limit, loss, squared_norm, scale);
}

template void adam(Cuda, const AdamStep&, const double*, std::span<const AdamArrays<float>>);
template void adam(Cuda, const AdamStep&, const double*, std::span<const AdamArrays<double>>);
template void squared_norm(Cuda, std::span<const Numbers<float>>, double*);
template void squared_norm(Cuda, std::span<const Numbers<double>>, double*);

}  // namespace headshare::kernels
