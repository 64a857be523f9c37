#include "kernels/adam.h"

#include "kernels/adam_factors.h"
#include "kernels/parallel.h"

namespace headshare::kernels {

template <class T>
void adam(Cpu, Size n, const AdamStep& step, const double* gradient_scale, T* parameter, const T* gradient, T* mean,
          T* variance) {
  const AdamFactors<T> all = adam_factors<T>(step);
  const T scale = static_cast<T>(*gradient_scale);
  if (scale != scale) return;
  parallel_blocks(n, 4, [&](Size first, Size count) {
    const AdamFactors<T> factors = all;  // its own copy, which no store below can reach: it stays in registers
#pragma omp simd
    for (Size i = first; i < first + count; ++i)
      factors.update(gradient[i] * scale, parameter[i], mean[i], variance[i]);
  });
}

void gradient_scale(Cpu, double factor, double limit, const double* loss, const double* squared_norm, double* scale) {
  *scale = scale_of_gradients(factor, limit, *loss, *squared_norm);
}

template void adam(Cpu, Size, const AdamStep&, const double*, float*, const float*, float*, float*);
template void adam(Cpu, Size, const AdamStep&, const double*, double*, const double*, double*, double*);

}  // namespace headshare::kernels
