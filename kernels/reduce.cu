#include "kernels/reduce.h"

#include <algorithm>
#include <array>

#include "kernels/adam.h"
#include "kernels/device_memory.h"
#include "kernels/largest.h"
#include "kernels/rows.cuh"

namespace headshare::kernels {
namespace {

// Workspaces, the last ones: kernels that have partial sums of their own call sum() to add them up.
constexpr int first_slot = 15, second_slot = 14, total_slot = 13;

// ---- Sum ------------------------------------------------------------------------------------------------------------
// A long sum is cut into chunks, a block for each, or a few rows could not keep a GPU busy. The chunks' sums are then
// summed in turn. Each sum has one owner and a fixed order: atomic additions would need no second kernel, but change
// the last bits from run to run.

// inner = 1: team r adds up chunk r of all chunks of all rows.                     x: [outer, n]; sums: [outer, chunks]
template <int team, class T>
__global__ void sum_rows_kernel(Size all_chunks, Size chunk, Size n, Size chunks, const T* x, Wide<T>* sums) {
  __shared__ Wide<T> partial[warps_of<team>];
  const Size r = row_of_team<team>();
  if (r >= all_chunks) return;
  const Size first = r % chunks * chunk, last = first + chunk < n ? first + chunk : n;
  const T* const row = x + r / chunks * n;
  Wide<T> sum = 0;
  for (Size k = first + member_of_team<team>(); k < last; k += team) sum += static_cast<Wide<T>>(row[k]);
  sum = team_sum<team>(sum, partial);
  if (member_of_team<team>() == 0) sums[r] = sum;
}

// inner > 1: a block adds up one chunk of 32 x width columns, so that a warp reads neighbours. Its `column_rows` warps
// take rows in turn.                                                 x: [outer, n, inner]; sums: [outer, chunks, inner]
constexpr int column_rows = 8;

template <int width, class T>
__global__ void sum_columns_kernel(Size n, Size inner, Size chunk, Size chunks, const T* x, Wide<T>* sums) {
  constexpr int columns = warp_size * width;
  __shared__ Chunk<Wide<T>, width> partial[column_rows][warp_size];
  const Size groups = (inner + columns - 1) / columns, c = blockIdx.x / groups;  // c: of [outer, chunks]
  const Size column = blockIdx.x % groups * columns + threadIdx.x * width;
  const Size first = c % chunks * chunk, last = first + chunk < n ? first + chunk : n;
  const T* const from = x + c / chunks * n * inner + column;
  Chunk<Wide<T>, width> sum = {};
  const auto add = [&](const Chunk<Wide<T>, width>& values) {
    for (int i = 0; i < width; ++i) sum[i] += values[i];
  };
  if (column < inner) {
    for (Size k = first + threadIdx.y; k < last; k += column_rows) add(load_chunk<width>(from + k * inner));
  }
  partial[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= inner) return;
  for (int i = 1; i < column_rows; ++i) add(partial[i][threadIdx.x]);
  store_chunk(sum, sums + c * inner + column);
}

template <int width, class T>
void sum_columns(Cuda device, Size outer, Size n, Size inner, Size chunk, Size chunks, const T* x, Wide<T>* sums) {
  launch(sum_columns_kernel<width, T>, groups_of(inner, warp_size * width) * groups_of(outer * chunks, 1),
         dim3(warp_size, column_rows), 0, device.stream, n, inner, chunk, chunks, x, sums);
}

template <class T>
void sum_by_chunks(Cuda device, Size outer, Size n, Size inner, const T* x, Wide<T>* y, int slot, int other_slot) {
  constexpr int width = width_of<T, Wide<T>>;
  const Size longest = inner == 1 ? 16 * 1024 : 256;
  const Size chunks = std::max<Size>(1, (n + longest - 1) / longest), chunk = std::min(n, longest);
  Wide<T>* const sums = chunks == 1 ? y : device_scratch<Wide<T>>(slot, outer * chunks * inner);
  if (inner == 1) {
    launch_rows(sum_rows_kernel<warp_size, T>, sum_rows_kernel<long_row_team, T>, device, outer * chunks, chunk, n,
                chunks, x, sums);
  } else if (in_chunks<width>(inner, x, sums)) {
    sum_columns<width>(device, outer, n, inner, chunk, chunks, x, sums);
  } else {
    sum_columns<1>(device, outer, n, inner, chunk, chunks, x, sums);
  }
  if (chunks > 1) sum_by_chunks(device, outer, chunks, inner, sums, y, other_slot, slot);
}

// ---- Maximum --------------------------------------------------------------------------------------------------------
template <class T>
struct Best {
  T value;
  std::int32_t index;
};

// The larger one, the first of equal ones; two NaNs are equal.
template <class T>
__device__ Best<T> better(Best<T> a, Best<T> b) {
  if (exceeds(b.value, a.value)) return b;
  if (exceeds(a.value, b.value)) return a;
  return b.index < a.index ? b : a;
}

// All members call it, and get the result. `partial`: as for team_sum.
template <int team, class T>
__device__ Best<T> team_best(Best<T> mine, Best<T>* partial) {
  for (int step = warp_size / 2; step > 0; step /= 2)
    mine = better(mine, {__shfl_xor_sync(all_lanes, mine.value, step), __shfl_xor_sync(all_lanes, mine.index, step)});
  if constexpr (team > warp_size) {
    share_with_block<team>(mine, partial);
    for (int i = 0; i < warps_of<team>; ++i) mine = better(mine, partial[i]);
  }
  return mine;
}

// inner = 1. y or index may be null.                                                    x: [rows, n]; y, index: [rows]
template <int team, class T>
__global__ void max_of_rows_kernel(Size rows, Size n, const T* x, T* y, std::int32_t* index) {
  __shared__ Best<Wide<T>> partial[warps_of<team>];
  const Size row = row_of_team<team>();
  if (row >= rows) return;
  // Members without an element have this to offer; it loses to every element of the row, -infinity too.
  Best<Wide<T>> best{-std::numeric_limits<Wide<T>>::infinity(), std::numeric_limits<std::int32_t>::max()};
  chunks_of(n, x + row * n).for_each(member_of_team<team>(), team, [&](Size k, auto count) {
    const auto values = load_chunk<count>(x + row * n + k);
    for (int i = 0; i < count; ++i) best = better(best, {values[i], static_cast<std::int32_t>(k + i)});
  });
  best = team_best<team>(best, partial);
  if (member_of_team<team>() != 0) return;
  if (y != nullptr) y[row] = static_cast<T>(best.value);
  if (index != nullptr) index[row] = best.index;
}

constexpr int threads = 256;

// inner > 1: a thread per result; neighbours read neighbouring columns.
template <class T>
__global__ void max_of_columns_kernel(Size results, Size n, Size inner, const T* x, T* y, std::int32_t* index) {
  for (Size i = global_thread(); i < results; i += all_threads()) {
    const T* const from = x + i / inner * n * inner + i % inner;
    Best<T> best{from[0], 0};
    for (Size k = 1; k < n; ++k) best = better(best, {from[k * inner], static_cast<std::int32_t>(k)});
    y[i] = best.value;
    if (index != nullptr) index[i] = best.index;
  }
}

// dx is 0 everywhere else already.
template <class T>
__global__ void max_backward_kernel(Size results, Size n, Size inner, const std::int32_t* index, const T* dy, T* dx) {
  for (Size i = global_thread(); i < results; i += all_threads())
    dx[(i / inner * n + index[i]) * inner + i % inner] = dy[i];
}

}  // namespace

template <class T>
void sum(Cuda device, Size outer, Size n, Size inner, const T* x, Wide<T>* y) {
  sum_by_chunks(device, outer, n, inner, x, y, first_slot, second_slot);
}

template <class T>
void max(Cuda device, Size outer, Size n, Size inner, const T* x, T* y, std::int32_t* index) {
  check_not_empty("max", outer * inner, n);
  if (inner == 1)
    launch_rows(max_of_rows_kernel<warp_size, T>, max_of_rows_kernel<long_row_team, T>, device, outer, n, x, y, index);
  else
    launch(max_of_columns_kernel<T>, loop_blocks(outer * inner, threads), threads, 0, device.stream, outer * inner, n,
           inner, x, y, index);
}

template <class T>
void max_backward(Cuda device, Size outer, Size n, Size inner, const std::int32_t* index, const T* dy, T* dx) {
  fill_bytes(device, 0, dx, outer * n * inner * static_cast<Size>(sizeof(T)));
  launch(max_backward_kernel<T>, loop_blocks(outer * inner, threads), threads, 0, device.stream, outer * inner, n,
         inner, index, dy, dx);
}

template <class T>
void argmax(Cuda device, Size rows, Size n, const T* x, std::int32_t* index) {
  check_not_empty("argmax", rows, n);
  T* const no_values = nullptr;
  launch_rows(max_of_rows_kernel<warp_size, T>, max_of_rows_kernel<long_row_team, T>, device, rows, n, x, no_values,
              index);
}

template <class T>
double sum_of_squares(Cuda device, Size n, const T* x) {
  double result = 0;
  double* const total = device_scratch<double>(total_slot, 1);
  squared_norm<T>(device, std::array{Numbers<T>{n, x}}, total);
  copy_to_host(device, total, &result, sizeof result);
  return result;
}

template void sum(Cuda, Size, Size, Size, const float*, float*);
template void sum(Cuda, Size, Size, Size, const double*, double*);
template void sum(Cuda, Size, Size, Size, const BFloat16*, float*);
template void max(Cuda, Size, Size, Size, const float*, float*, std::int32_t*);
template void max(Cuda, Size, Size, Size, const double*, double*, std::int32_t*);
template void max_backward(Cuda, Size, Size, Size, const std::int32_t*, const float*, float*);
template void max_backward(Cuda, Size, Size, Size, const std::int32_t*, const double*, double*);
template void argmax(Cuda, Size, Size, const float*, std::int32_t*);
template void argmax(Cuda, Size, Size, const double*, std::int32_t*);
template void argmax(Cuda, Size, Size, const BFloat16*, std::int32_t*);
template double sum_of_squares(Cuda, Size, const float*);
template double sum_of_squares(Cuda, Size, const double*);

}  // namespace headshare::kernels
