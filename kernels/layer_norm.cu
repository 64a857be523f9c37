#include "kernels/layer_norm.h"

#include <algorithm>

#include "kernels/chunk.cuh"
#include "kernels/device_memory.h"
#include "kernels/rows.cuh"

namespace headshare::kernels {
namespace {

template <class T>
__device__ Wide<T> sum_at(const T* x, const T* residual, Size i) {
  const auto value = static_cast<Wide<T>>(x[i]);
  return residual == nullptr ? value : value + static_cast<Wide<T>>(residual[i]);
}

// For rows of any length, wherever they lie. Three passes over a row: mean, variance, output. Only the first goes to
// memory, the others find the row in a cache; so x + residual is added up again in each, and `sum` is written at the
// end, when nobody needs x any longer.
template <int team, class T>
__global__ void layer_norm_kernel(Size rows, Size n, const T* x, const T* residual, const Wide<T>* gain,
                                  const Wide<T>* bias, Wide<T> epsilon, T* sum, T* y, Wide<T>* mean,
                                  Wide<T>* reciprocal_deviation) {
  __shared__ Wide<T> sums[warps_of<team>], square_sums[warps_of<team>];
  const Size row = row_of_team<team>();
  if (row >= rows) return;
  const Size start = row * n;
  const int member = member_of_team<team>();
  Wide<T> total = 0, squares = 0;
  for (Size i = member; i < n; i += team) total += sum_at(x, residual, start + i);
  const Wide<T> center = team_sum<team>(total, sums) / static_cast<Wide<T>>(n);
  // From the mean, in a second pass: sum x^2 / n - mean^2 would cancel where the mean is large.
  for (Size i = member; i < n; i += team) {
    const Wide<T> deviation = sum_at(x, residual, start + i) - center;
    squares += deviation * deviation;
  }
  const Wide<T> variance = team_sum<team>(squares, square_sums) / static_cast<Wide<T>>(n);
  const Wide<T> scale = Wide<T>(1) / std::sqrt(variance + epsilon);
  for (Size i = member; i < n; i += team) {
    const Wide<T> value = sum_at(x, residual, start + i);
    if (sum != nullptr) sum[start + i] = static_cast<T>(value);
    y[start + i] = static_cast<T>((value - center) * scale * gain[i] + bias[i]);
  }
  if (member != 0) return;
  if (mean != nullptr) mean[row] = center;
  if (reciprocal_deviation != nullptr) reciprocal_deviation[row] = scale;
}

// ---- Rows in registers ----------------------------------------------------------------------------------------------
// A row in whole chunks that is not too long stays in the registers of its team: all its loads are under way at once,
// and a GPU waits for memory once per row instead of three times. Member m holds chunks m, m + team, ...

constexpr int most_held = 32;  // numbers of a row per member: longest_short_row is what a warp can hold
static_assert(longest_short_row == warp_size * most_held);
constexpr Size longest_held_row = long_row_team * most_held;

template <class T>
constexpr int width = width_of<T, Wide<T>>;  // of a chunk

// Calls body(c, i) for each of its chunks: chunk c of this member begins at element i.
template <int team, int chunks, int width, class Body>
__device__ void for_each_held(Size n, Body body) {
  for (int c = 0; c < chunks; ++c) {
    const int i = (c * team + member_of_team<team>()) * width;
    if (i < n) body(c, i);
  }
}

template <int team, class T>
__global__ void layer_norm_in_registers_kernel(Size rows, Size n, const T* x, const T* residual, const Wide<T>* gain,
                                               const Wide<T>* bias, Wide<T> epsilon, T* sum, T* y, Wide<T>* mean,
                                               Wide<T>* reciprocal_deviation) {
  constexpr int size = width<T>, chunks = most_held / size;
  __shared__ Wide<T> sums[warps_of<team>], square_sums[warps_of<team>];
  const Size row = row_of_team<team>();
  if (row >= rows) return;
  const Size start = row * n;
  const auto for_each_chunk = [&](auto body) { for_each_held<team, chunks, size>(n, body); };
  Chunk<Wide<T>, size> values[chunks];
  for_each_chunk([&](int c, int i) { values[c] = load_chunk<size>(x + start + i); });
  if (residual != nullptr) {
    for_each_chunk([&](int c, int i) {
      const auto other = load_chunk<size>(residual + start + i);
      for (int k = 0; k < size; ++k) values[c][k] += other[k];
    });
  }
  Wide<T> total = 0, squares = 0;
  for_each_chunk([&](int c, int) {
    for (int k = 0; k < size; ++k) total += values[c][k];
  });
  const Wide<T> center = team_sum<team>(total, sums) / static_cast<Wide<T>>(n);
  for_each_chunk([&](int c, int) {
    for (int k = 0; k < size; ++k) squares += (values[c][k] - center) * (values[c][k] - center);
  });
  const Wide<T> variance = team_sum<team>(squares, square_sums) / static_cast<Wide<T>>(n);
  const Wide<T> scale = Wide<T>(1) / std::sqrt(variance + epsilon);
  for_each_chunk([&](int c, int i) {
    if (sum != nullptr) store_chunk(values[c], sum + start + i);
    const auto gains = load_chunk<size>(gain + i), biases = load_chunk<size>(bias + i);
    for (int k = 0; k < size; ++k) values[c][k] = (values[c][k] - center) * scale * gains[k] + biases[k];
    store_chunk(values[c], y + start + i);
  });
  if (member_of_team<team>() != 0) return;
  if (mean != nullptr) mean[row] = center;
  if (reciprocal_deviation != nullptr) reciprocal_deviation[row] = scale;
}

// ---- Backward -------------------------------------------------------------------------------------------------------
// dx needs sums over rows of the matrices, d_gain and d_bias sums over columns. Each block takes some rows, and leaves
// what they give to d_gain and d_bias in a row of its own of a matrix, whose columns a second kernel adds up in a fixed
// order.                                                                                   block_sums: [blocks, 2, n]

// For short rows in whole chunks. A warp takes a row at a time into its registers, and each lane keeps the sums of its
// columns there as well, from row to row; dy and x are read once.
constexpr int held_warps = 4;         // of a block
constexpr Size fewest_held_rows = 8;  // of a block, so that the sums are few beside the rows

// Dynamic shared memory: Wide<T>[held_warps][2][n].
template <int chunks, class T>
__global__ void __launch_bounds__(held_warps* warp_size)
    layer_norm_backward_in_registers_kernel(Size rows, Size n, Size block_rows, const T* dy, const T* x,
                                            const Wide<T>* gain, const Wide<T>* mean,
                                            const Wide<T>* reciprocal_deviation, T* dx, Wide<T>* block_sums) {
  constexpr int size = width<T>;
  using Numbers = Chunk<Wide<T>, size>;
  DYNAMIC_SHARED(Wide<T>, sums_of_warps);
  const auto for_each_chunk = [&](auto body) { for_each_held<warp_size, chunks, size>(n, body); };
  const int warp = threadIdx.x / warp_size;
  const Size first = blockIdx.x * block_rows, last = first + block_rows < rows ? first + block_rows : rows;
  Numbers gain_sums[chunks] = {}, bias_sums[chunks] = {};
  for (Size row = first + warp; row < last; row += held_warps) {
    const Size start = row * n;
    const Wide<T> center = mean[row], scale = reciprocal_deviation[row];
    Numbers d[chunks], normalized[chunks];
    for_each_chunk([&](int c, int i) {
      d[c] = load_chunk<size>(dy + start + i);
      normalized[c] = load_chunk<size>(x + start + i);
    });
    Wide<T> g_sum = 0, g_normalized_sum = 0;
    for_each_chunk([&](int c, int i) {
      const auto gains = load_chunk<size>(gain + i);
      for (int k = 0; k < size; ++k) {
        normalized[c][k] = (normalized[c][k] - center) * scale;
        const Wide<T> g = gains[k] * d[c][k];
        g_sum += g;
        g_normalized_sum += g * normalized[c][k];
        gain_sums[c][k] += d[c][k] * normalized[c][k];
        bias_sums[c][k] += d[c][k];
      }
    });
    const Wide<T> mean_g = warp_sum(g_sum) / static_cast<Wide<T>>(n);
    const Wide<T> mean_g_normalized = warp_sum(g_normalized_sum) / static_cast<Wide<T>>(n);
    for_each_chunk([&](int c, int i) {
      const auto gains = load_chunk<size>(gain + i);
      for (int k = 0; k < size; ++k)
        d[c][k] = scale * (gains[k] * d[c][k] - mean_g - normalized[c][k] * mean_g_normalized);
      store_chunk(d[c], dx + start + i);
    });
  }
  for_each_chunk([&](int c, int i) {
    store_chunk(gain_sums[c], sums_of_warps + 2 * warp * n + i);
    store_chunk(bias_sums[c], sums_of_warps + (2 * warp + 1) * n + i);
  });
  __syncthreads();
  for (Size i = threadIdx.x; i < 2 * n; i += held_warps * warp_size) {
    Wide<T> sum = sums_of_warps[i];
    for (int w = 1; w < held_warps; ++w) sum += sums_of_warps[2 * w * n + i];
    block_sums[blockIdx.x * 2 * n + i] = sum;
  }
}

// For rows of any length. A block takes `block_rows` rows, first row by row, a warp for each; then column by column, a
// thread for each, from the cache.
constexpr int threads = 256, warps = threads / warp_size;
constexpr int block_rows = 16;
constexpr int batch = 8;  // rows of which a thread asks for its column before it waits for the first

template <class T>
struct RowTerms {
  T mean, scale;                // of the forward
  T mean_g, mean_g_normalized;  // sum_j g_j / n and sum_j g_j normalized_j / n
};

// One warp: all lanes get the terms of the row.
template <class T>
__device__ RowTerms<Wide<T>> terms_of_row(Size n, const T* dy, const T* x, const Wide<T>* gain, Wide<T> mean,
                                          Wide<T> scale) {
  Wide<T> g_sum = 0, g_normalized_sum = 0;
  for (Size i = threadIdx.x % warp_size; i < n; i += warp_size) {
    const Wide<T> g = gain[i] * static_cast<Wide<T>>(dy[i]);
    g_sum += g;
    g_normalized_sum += g * ((static_cast<Wide<T>>(x[i]) - mean) * scale);
  }
  return {mean, scale, warp_sum(g_sum) / static_cast<Wide<T>>(n), warp_sum(g_normalized_sum) / static_cast<Wide<T>>(n)};
}

template <class T>
__global__ void layer_norm_backward_kernel(Size rows, Size n, const T* dy, const T* x, const Wide<T>* gain,
                                           const Wide<T>* mean, const Wide<T>* reciprocal_deviation, T* dx,
                                           Wide<T>* block_sums) {
  __shared__ RowTerms<Wide<T>> terms[block_rows];
  const Size first = Size{blockIdx.x} * block_rows;
  const int count = static_cast<int>(rows - first < block_rows ? rows - first : block_rows);
  for (int r = threadIdx.x / warp_size; r < count; r += warps) {
    const Size row = first + r;
    const auto of_row = terms_of_row(n, dy + row * n, x + row * n, gain, mean[row], reciprocal_deviation[row]);
    if (threadIdx.x % warp_size == 0) terms[r] = of_row;
  }
  __syncthreads();  // the terms are there; and nobody reads another's dy or x again, which dx may replace
  for (Size column = threadIdx.x; column < n; column += threads) {
    Wide<T> gain_sum = 0, bias_sum = 0;
    for (int begin = 0; begin < count; begin += batch) {
      const Size start = (first + begin) * n + column;
      Wide<T> d[batch], value[batch];
      for (int k = 0; k < batch; ++k) {
        d[k] = begin + k < count ? static_cast<Wide<T>>(dy[start + k * n]) : Wide<T>(0);
        value[k] = begin + k < count ? static_cast<Wide<T>>(x[start + k * n]) : Wide<T>(0);
      }
      for (int k = 0; k < batch && begin + k < count; ++k) {
        const RowTerms<Wide<T>>& row = terms[begin + k];
        const Wide<T> normalized = (value[k] - row.mean) * row.scale;
        dx[start + k * n] =
            static_cast<T>(row.scale * (gain[column] * d[k] - row.mean_g - normalized * row.mean_g_normalized));
        gain_sum += d[k] * normalized;
        bias_sum += d[k];
      }
    }
    block_sums[blockIdx.x * 2 * n + column] = gain_sum;
    block_sums[(blockIdx.x * 2 + 1) * n + column] = bias_sum;
  }
}

// The sums over all blocks. sum() of reduce.h would do that too, but of d_gain and d_bias in turn, in up to four launches
// that take longer than the numbers. A block adds up 16 columns, two whole sectors of float32, and its 64 rows of threads
// take rows in turn: many threads, each of which waits for few numbers.
constexpr int added_columns = 16, adding_rows = 64;

template <class T>
__global__ void add_block_sums_kernel(Size blocks, Size n, const T* block_sums, T* d_gain, T* d_bias) {
  __shared__ T partial[adding_rows][added_columns];
  const Size column = Size{blockIdx.x} * added_columns + threadIdx.x;  // of 2 n
  T sum = 0;
  if (column < 2 * n) {
    for (Size b = threadIdx.y; b < blocks; b += adding_rows) sum += block_sums[b * 2 * n + column];
  }
  partial[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= 2 * n) return;
  for (int i = 1; i < adding_rows; ++i) sum += partial[i][threadIdx.x];
  (column < n ? d_gain[column] : d_bias[column - n]) = sum;
}

// Calls run(chunks, blocks) with as few chunks per lane as hold a row, as a std::integral_constant: the fewer registers,
// the more warps. `blocks` is how many of them 128 multiprocessors, a large GPU, hold at once.
template <int width, class Run>
void with_chunks(Size n, Run run) {
  if (n <= 8 * warp_size) return run(std::integral_constant<int, 8 / width>{}, 128 * 8);
  if (n <= 16 * warp_size) return run(std::integral_constant<int, 16 / width>{}, 128 * 5);
  run(std::integral_constant<int, 32 / width>{}, 128 * 3);
}

}  // namespace

template <class T>
void layer_norm(Cuda device, Size rows, Size n, const T* x, const T* residual, const Wide<T>* gain, const Wide<T>* bias,
                Wide<T> epsilon, T* sum, T* y, Wide<T>* mean, Wide<T>* reciprocal_deviation) {
  const bool held = n <= longest_held_row && in_chunks<width<T>>(n, x, residual, gain, bias, sum, y);
  launch_rows(held ? layer_norm_in_registers_kernel<warp_size, T> : layer_norm_kernel<warp_size, T>,
              held ? layer_norm_in_registers_kernel<long_row_team, T> : layer_norm_kernel<long_row_team, T>, device,
              rows, n, x, residual, gain, bias, epsilon, sum, y, mean, reciprocal_deviation);
}

template <class T>
void layer_norm_backward(Cuda device, Size rows, Size n, const T* dy, const T* x, const Wide<T>* gain,
                         const Wide<T>* mean, const Wide<T>* reciprocal_deviation, T* dx, Wide<T>* d_gain,
                         Wide<T>* d_bias) {
  Size blocks = 0;
  Wide<T>* block_sums = nullptr;  // [blocks, 2, n]
  const auto cut_into = [&](Size rows_of_block) {
    blocks = (rows + rows_of_block - 1) / rows_of_block;
    block_sums = device_scratch<Wide<T>>(0, blocks * 2 * n);
  };
  constexpr bool can_hold = sizeof(Wide<T>) == 4;  // numbers of 8 bytes would fill the registers twice over
  if (can_hold && n <= longest_short_row && in_chunks<width<T>>(n, dy, x, gain, dx)) {
    with_chunks<width<T>>(n, [&](auto chunks, Size most_blocks) {
      if constexpr (can_hold) {
        const Size rows_of_block = std::max(fewest_held_rows, (rows + most_blocks - 1) / most_blocks);
        cut_into(rows_of_block);
        launch(layer_norm_backward_in_registers_kernel<chunks, T>, groups_of(blocks, 1), held_warps * warp_size,
               held_warps * 2 * static_cast<std::size_t>(n) * sizeof(Wide<T>), device.stream, rows, n, rows_of_block,
               dy, x, gain, mean, reciprocal_deviation, dx, block_sums);
      }
    });
  } else {
    cut_into(block_rows);
    launch(layer_norm_backward_kernel<T>, groups_of(blocks, 1), threads, 0, device.stream, rows, n, dy, x, gain, mean,
           reciprocal_deviation, dx, block_sums);
  }
  launch(add_block_sums_kernel<Wide<T>>, groups_of(2 * n, added_columns), dim3(added_columns, adding_rows), 0,
         device.stream, blocks, n, block_sums, d_gain, d_bias);
}

template void layer_norm(Cuda, Size, Size, const float*, const float*, const float*, const float*, float, float*,
                         float*, float*, float*);
template void layer_norm(Cuda, Size, Size, const double*, const double*, const double*, const double*, double, double*,
                         double*, double*, double*);
template void layer_norm(Cuda, Size, Size, const BFloat16*, const BFloat16*, const float*, const float*, float,
                         BFloat16*, BFloat16*, float*, float*);
template void layer_norm_backward(Cuda, Size, Size, const float*, const float*, const float*, const float*,
                                  const float*, float*, float*, float*);
template void layer_norm_backward(Cuda, Size, Size, const double*, const double*, const double*, const double*,
                                  const double*, double*, double*, double*);
template void layer_norm_backward(Cuda, Size, Size, const BFloat16*, const BFloat16*, const float*, const float*,
                                  const float*, BFloat16*, float*, float*);

}  // namespace headshare::kernels
