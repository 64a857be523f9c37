#include "kernels/top_k.h"

#include "kernels/ranked.h"
#include "kernels/warp.cuh"

// A block has a row. Each thread passes over its share once and keeps the best it has seen, in order, in registers;
// then the threads' first ones compete, and who wins shows its next. What a thread keeps is enough even if all of the
// results are its own. Where more are wanted than registers hold, another pass looks for those that come after.
namespace headshare::kernels {
namespace {

constexpr int threads = 256, warps = threads / warp_size;

template <int kept, class T>
__device__ inline void insert(const Ranked<T>& candidate, Ranked<T> (&best)[kept]) {
  for (int i = kept - 1; i > 0; --i)
    if (comes_before(candidate, best[i - 1]))
      best[i] = best[i - 1];
    else if (comes_before(candidate, best[i]))
      best[i] = candidate;
  if (comes_before(candidate, best[0])) best[0] = candidate;
}

// What the warps of a block tell each other. Two arrays: a pair would have bytes between its members that nobody
// writes.
template <class T>
struct FirstOfWarps {
  T values[warps];
  std::int32_t index[warps];

  __device__ Ranked<T> operator[](int warp) const { return {values[warp], index[warp]}; }
};

// The first of the block's candidates in order; every thread gets it.                             of_warps: shared
template <class T>
__device__ inline Ranked<T> first_of_block(Ranked<T> own, FirstOfWarps<T>& of_warps) {
  for (int step = warp_size / 2; step > 0; step /= 2) {
    const Ranked<T> other{__shfl_xor_sync(all_lanes, own.value, step), __shfl_xor_sync(all_lanes, own.index, step)};
    if (comes_before(other, own)) own = other;
  }
  __syncthreads();  // everybody has read what the last call left
  if (threadIdx.x % warp_size == 0) {
    of_warps.values[threadIdx.x / warp_size] = own.value;
    of_warps.index[threadIdx.x / warp_size] = own.index;
  }
  __syncthreads();
  Ranked<T> first = of_warps[0];
  for (int i = 1; i < warps; ++i)
    if (comes_before(of_warps[i], first)) first = of_warps[i];
  return first;
}

template <int kept, class T>
__global__ void __launch_bounds__(threads, sizeof(T) == 4 ? 2 : 1)
    top_k_kernel(Size n, int count, const T* x, T* values, std::int32_t* index) {
  __shared__ FirstOfWarps<T> of_warps;
  const Size row = blockIdx.x;
  const T* const numbers = x + row * n;
  Ranked<T> last{};  // of the results so far
  for (int done = 0; done < count; done += kept) {
    Ranked<T> best[kept] = {};
    for (Size i = threadIdx.x; i < n; i += threads) {
      const Ranked<T> candidate{numbers[i], static_cast<std::int32_t>(i)};
      if (comes_before(candidate, best[kept - 1]) && (done == 0 || comes_before(last, candidate)))
        insert(candidate, best);
    }
    for (int i = done; i < count && i < done + kept; ++i) {
      last = first_of_block(best[0], of_warps);
      if (best[0].index == last.index)
        for (int k = 0; k < kept; ++k) best[k] = k + 1 < kept ? best[k + 1] : Ranked<T>{};
      if (threadIdx.x == 0) values[row * count + i] = last.value, index[row * count + i] = last.index;
    }
  }
}

}  // namespace

template <class T>
void top_k(Cuda device, Size rows, Size n, Size count, const T* x, T* values, std::int32_t* index) {
  check_count(n, count);
  if (count == 0) return;
  launch(count <= 8 ? top_k_kernel<8, T> : top_k_kernel<16, T>, static_cast<unsigned>(rows), threads, 0, device.stream,
         n, static_cast<int>(count), x, values, index);
}

template void top_k(Cuda, Size, Size, Size, const float*, float*, std::int32_t*);
template void top_k(Cuda, Size, Size, Size, const double*, double*, std::int32_t*);

}  // namespace headshare::kernels
