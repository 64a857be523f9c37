#include "kernels/layer_norm.h"

#include "kernels/device_memory.h"
#include "kernels/reduce.h"
#include "kernels/rows.cuh"

namespace headshare::kernels {
namespace {

template <class T>
__device__ T sum_at(const T* x, const T* residual, Size i) {
  return residual == nullptr ? x[i] : x[i] + residual[i];
}

// Three passes over a row: mean, variance, output. Only the first goes to memory, the others find the row in a cache;
// so x + residual is added up again in each, and `sum` is written at the end, when nobody needs x any longer.
template <int team, class T>
__global__ void layer_norm_kernel(Size rows, Size n, const T* x, const T* residual, const T* gain, const T* bias,
                                  T epsilon, T* sum, T* y, T* mean, T* reciprocal_deviation) {
  __shared__ T sums[warps_of<team>], square_sums[warps_of<team>];
  const Size row = row_of_team<team>();
  if (row >= rows) return;
  const Size start = row * n;
  const int member = member_of_team<team>();
  T total = 0, squares = 0;
  for (Size i = member; i < n; i += team) total += sum_at(x, residual, start + i);
  const T center = team_sum<team>(total, sums) / static_cast<T>(n);
  // From the mean, in a second pass: sum x^2 / n - mean^2 would cancel where the mean is large.
  for (Size i = member; i < n; i += team) {
    const T deviation = sum_at(x, residual, start + i) - center;
    squares += deviation * deviation;
  }
  const T variance = team_sum<team>(squares, square_sums) / static_cast<T>(n);
  const T scale = T(1) / std::sqrt(variance + epsilon);
  for (Size i = member; i < n; i += team) {
    const T value = sum_at(x, residual, start + i);
    if (sum != nullptr) sum[start + i] = value;
    y[start + i] = (value - center) * scale * gain[i] + bias[i];
  }
  if (member != 0) return;
  if (mean != nullptr) mean[row] = center;
  if (reciprocal_deviation != nullptr) reciprocal_deviation[row] = scale;
}

// ---- Backward -------------------------------------------------------------------------------------------------------
// dx needs sums over rows of the matrices, d_gain and d_bias sums over columns. A block takes `block_rows` rows, first
// row by row, a warp for each; then column by column, a thread for each, from the cache. What its rows give to d_gain
// and d_bias it leaves in a row of its own of two matrices, whose columns sum() adds up in a fixed order.
constexpr int threads = 256, warps = threads / warp_size;
constexpr int block_rows = 16;
constexpr int batch = 8;  // rows of which a thread asks for its column before it waits for the first

constexpr int gain_slot = 0, bias_slot = 1;  // of device_scratch; sum() uses others

template <class T>
struct RowTerms {
  T mean, scale;                // of the forward
  T mean_g, mean_g_normalized;  // sum_j g_j / n and sum_j g_j normalized_j / n
};

// One warp: all lanes get the terms of the row.
template <class T>
__device__ RowTerms<T> terms_of_row(Size n, const T* dy, const T* x, const T* gain, T mean, T scale) {
  T g_sum = 0, g_normalized_sum = 0;
  for (Size i = threadIdx.x % warp_size; i < n; i += warp_size) {
    const T g = gain[i] * dy[i];
    g_sum += g;
    g_normalized_sum += g * ((x[i] - mean) * scale);
  }
  return {mean, scale, warp_sum(g_sum) / static_cast<T>(n), warp_sum(g_normalized_sum) / static_cast<T>(n)};
}

//                                                                                     gain_sums, bias_sums: [blocks, n]
template <class T>
__global__ void layer_norm_backward_kernel(Size rows, Size n, const T* dy, const T* x, const T* gain, const T* mean,
                                           const T* reciprocal_deviation, T* dx, T* gain_sums, T* bias_sums) {
  __shared__ RowTerms<T> terms[block_rows];
  const Size first = Size{blockIdx.x} * block_rows;
  const int count = static_cast<int>(rows - first < block_rows ? rows - first : block_rows);
  for (int r = threadIdx.x / warp_size; r < count; r += warps) {
    const Size row = first + r;
    const RowTerms<T> of_row = terms_of_row(n, dy + row * n, x + row * n, gain, mean[row], reciprocal_deviation[row]);
    if (threadIdx.x % warp_size == 0) terms[r] = of_row;
  }
  __syncthreads();  // the terms are there; and nobody reads another's dy or x again, which dx may replace
  for (Size column = threadIdx.x; column < n; column += threads) {
    T gain_sum = 0, bias_sum = 0;
    for (int begin = 0; begin < count; begin += batch) {
      const Size start = (first + begin) * n + column;
      T d[batch], value[batch];
      for (int k = 0; k < batch; ++k) {
        d[k] = begin + k < count ? dy[start + k * n] : T(0);
        value[k] = begin + k < count ? x[start + k * n] : T(0);
      }
      for (int k = 0; k < batch && begin + k < count; ++k) {
        const RowTerms<T>& row = terms[begin + k];
        const T normalized = (value[k] - row.mean) * row.scale;
        dx[start + k * n] = row.scale * (gain[column] * d[k] - row.mean_g - normalized * row.mean_g_normalized);
        gain_sum += d[k] * normalized;
        bias_sum += d[k];
      }
    }
    gain_sums[blockIdx.x * n + column] = gain_sum;
    bias_sums[blockIdx.x * n + column] = bias_sum;
  }
}

}  // namespace

template <class T>
void layer_norm(Cuda device, Size rows, Size n, const T* x, const T* residual, const T* gain, const T* bias, T epsilon,
                T* sum, T* y, T* mean, T* reciprocal_deviation) {
  launch_rows(layer_norm_kernel<warp_size, T>, layer_norm_kernel<long_row_team, T>, device, rows, n, x, residual, gain,
              bias, epsilon, sum, y, mean, reciprocal_deviation);
}

template <class T>
void layer_norm_backward(Cuda device, Size rows, Size n, const T* dy, const T* x, const T* gain, const T* mean,
                         const T* reciprocal_deviation, T* dx, T* d_gain, T* d_bias) {
  const unsigned blocks = groups_of(rows, block_rows);
  T* const gain_sums = device_scratch<T>(gain_slot, blocks * n);
  T* const bias_sums = device_scratch<T>(bias_slot, blocks * n);
  launch(layer_norm_backward_kernel<T>, blocks, threads, 0, device.stream, rows, n, dy, x, gain, mean,
         reciprocal_deviation, dx, gain_sums, bias_sums);
  sum(device, Size{1}, Size{blocks}, n, gain_sums, d_gain);
  sum(device, Size{1}, Size{blocks}, n, bias_sums, d_bias);
}

template void layer_norm(Cuda, Size, Size, const float*, const float*, const float*, const float*, float, float*,
                         float*, float*, float*);
template void layer_norm(Cuda, Size, Size, const double*, const double*, const double*, const double*, double, double*,
                         double*, double*, double*);
template void layer_norm_backward(Cuda, Size, Size, const float*, const float*, const float*, const float*,
                                  const float*, float*, float*, float*);
template void layer_norm_backward(Cuda, Size, Size, const double*, const double*, const double*, const double*,
                                  const double*, double*, double*, double*);

}  // namespace headshare::kernels
