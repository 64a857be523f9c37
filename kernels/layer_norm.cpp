#include "kernels/layer_norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/parallel.h"
#include "kernels/reduce.h"
#include "kernels/rows.h"

namespace headshare::kernels {

template <class T>
void layer_norm(Cpu, Size rows, Size n, const T* x, const T* residual, const Wide<T>* gain, const Wide<T>* bias,
                Wide<T> epsilon, T* sum, T* y, Wide<T>* mean, Wide<T>* reciprocal_deviation) {
  parallel_rows(rows, 4 * n, [&](Size row) {
    const Size start = row * n;
    const T* s = x + start;
    if (residual || sum) {
      T* to = (sum ? sum : y) + start;  // y is not needed before the end of the row
      for_each_register<T>(n, [&](Size i, auto count) {
        Vector<T> value = load_first(s + i, count, T(0));
        if (residual) value += load_first(residual + start + i, count, T(0));
        store_first(to + i, value, count);
      });
      s = to;
    }
    const T center = row_sum(n, s) / static_cast<T>(n);
    // From the mean, in a second pass: sum x^2 / n - mean^2 would cancel where the mean is large.
    const T variance = row_sum<T>(n,
                                  [&](Size i, auto count) {
                                    const Vector<T> deviation = load_first(s + i, count, center) - center;
                                    return deviation * deviation;
                                  }) /
                       static_cast<T>(n);
    const T scale = T(1) / std::sqrt(variance + epsilon);
    for_each_register<T>(n, [&](Size i, auto count) {
      const Vector<T> normalized = (load_first(s + i, count, T(0)) - center) * scale;
      store_first(y + start + i, normalized * load_first(gain + i, count, T(0)) + load_first(bias + i, count, T(0)),
                  count);
    });
    if (mean) mean[row] = center;
    if (reciprocal_deviation) reciprocal_deviation[row] = scale;
  });
}

template <class T>
void layer_norm_backward(Cpu cpu, Size rows, Size n, const T* dy, const T* x, const Wide<T>* gain, const Wide<T>* mean,
                         const Wide<T>* reciprocal_deviation, T* dx, Wide<T>* d_gain, Wide<T>* d_bias) {
  // Every row adds to the gradients of gain and bias. A block of rows has sums of its own; the blocks are added
  // in order.
  constexpr Size block = 64;
  const Size blocks = (rows + block - 1) / block;
  std::vector<T> gain_sums(static_cast<std::size_t>(blocks * n)), bias_sums(static_cast<std::size_t>(blocks * n));
  parallel_rows(blocks, 6 * std::min(rows, block) * n, [&](Size b) {
    T* gain_sum = gain_sums.data() + b * n;
    T* bias_sum = bias_sums.data() + b * n;
    for (Size row = b * block; row < std::min(rows, (b + 1) * block); ++row) {
      const Size start = row * n;
      const T center = mean[row], scale = reciprocal_deviation[row];
      Vector<T> sum_g{}, sum_g_normalized{};
      for_each_register<T>(n, [&](Size i, auto count) {
        const Vector<T> normalized = (load_first(x + start + i, count, center) - center) * scale;
        const Vector<T> g = load_first(dy + start + i, count, T(0)) * load_first(gain + i, count, T(0));
        sum_g += g;
        sum_g_normalized += g * normalized;
      });
      const T mean_g = sum_of_lanes<T>(sum_g) / static_cast<T>(n);
      const T mean_g_normalized = sum_of_lanes<T>(sum_g_normalized) / static_cast<T>(n);
      for_each_register<T>(n, [&](Size i, auto count) {
        const Vector<T> normalized = (load_first(x + start + i, count, center) - center) * scale;
        const Vector<T> d = load_first(dy + start + i, count, T(0));
        const Vector<T> g = d * load_first(gain + i, count, T(0));
        store_first(dx + start + i, scale * (g - mean_g - normalized * mean_g_normalized), count);
        store_first(gain_sum + i, load_first(gain_sum + i, count, T(0)) + d * normalized, count);
        store_first(bias_sum + i, load_first(bias_sum + i, count, T(0)) + d, count);
      });
    }
  });
  sum(cpu, Size{1}, blocks, n, gain_sums.data(), d_gain);
  sum(cpu, Size{1}, blocks, n, bias_sums.data(), d_bias);
}

template void layer_norm(Cpu, Size, Size, const float*, const float*, const float*, const float*, float, float*, float*,
                         float*, float*);
template void layer_norm(Cpu, Size, Size, const double*, const double*, const double*, const double*, double, double*,
                         double*, double*, double*);
template void layer_norm_backward(Cpu, Size, Size, const float*, const float*, const float*, const float*, const float*,
                                  float*, float*, float*);
template void layer_norm_backward(Cpu, Size, Size, const double*, const double*, const double*, const double*,
                                  const double*, double*, double*, double*);

}  // namespace headshare::kernels
