#include "kernels/adam.h"

#include "kernels/adam_factors.h"
#include "kernels/parallel.h"
#include "kernels/reduce.h"

namespace headshare::kernels {

template <class T>
void adam(Cpu, const AdamStep& step, const double* gradient_scale, std::span<const AdamArrays<T>> all) {
  const AdamFactors<T> common = adam_factors<T>(step);
  const T scale = static_cast<T>(*gradient_scale);
  if (scale != scale) return;
  for (const AdamArrays<T>& arrays : all)
    parallel_blocks(arrays.n, 4, [&](Size first, Size count) {
      // Its own copies, which no store below can reach: they stay in registers.
      const AdamFactors<T> factors = common;
      const auto [n, parameter, gradient, mean, variance] = arrays;
#pragma omp simd
      for (Size i = first; i < first + count; ++i)
        factors.update(gradient[i] * scale, parameter[i], mean[i], variance[i]);
    });
}

template <class T>
void squared_norm(Cpu cpu, std::span<const Numbers<T>> arrays, double* total) {
  *total = 0;
  for (const auto& [n, data] : arrays) *total += sum_of_squares(cpu, n, data);
}

void gradient_scale(Cpu, double factor, double limit, const double* loss, const double* squared_norm, double* scale) {
  *scale = scale_of_gradients(factor, limit, *loss, *squared_norm);
}

template void adam(Cpu, const AdamStep&, const double*, std::span<const AdamArrays<float>>);
template void adam(Cpu, const AdamStep&, const double*, std::span<const AdamArrays<double>>);
template void squared_norm(Cpu, std::span<const Numbers<float>>, double*);
template void squared_norm(Cpu, std::span<const Numbers<double>>, double*);

}  // namespace headshare::kernels
