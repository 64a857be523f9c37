#include "kernels/adam.h"

#include <cmath>

#include "core/error.h"
#include "kernels/parallel.h"

namespace headshare::kernels {

template <class T>
void adam(Cpu, Size n, const AdamStep& step, T* parameter, const T* gradient, T* mean, T* variance) {
  if (step.step < 1) fail("adam: step ", step.step, " is impossible; steps are counted from 1");
  const T beta1 = static_cast<T>(step.beta1), one_minus_beta1 = static_cast<T>(1 - step.beta1);
  const T beta2 = static_cast<T>(step.beta2), one_minus_beta2 = static_cast<T>(1 - step.beta2);
  // The bias corrections are the same for all elements, so they join the factors here, in double.
  const double exponent = static_cast<double>(step.step);
  const T rate = static_cast<T>(step.learning_rate / (1 - std::pow(step.beta1, exponent)));
  const T variance_scale = static_cast<T>(1 / (1 - std::pow(step.beta2, exponent)));
  const T keep = static_cast<T>(1 - step.learning_rate * step.weight_decay);
  const T epsilon = static_cast<T>(step.epsilon), gradient_scale = static_cast<T>(step.gradient_scale);
  parallel_blocks(n, 4, [&](Size first, Size count) {
#pragma omp simd
    for (Size i = first; i < first + count; ++i) {
      const T g = gradient[i] * gradient_scale;
      mean[i] = beta1 * mean[i] + one_minus_beta1 * g;
      variance[i] = beta2 * variance[i] + one_minus_beta2 * g * g;
      parameter[i] = keep * parameter[i] - rate * mean[i] / (std::sqrt(variance[i] * variance_scale) + epsilon);
    }
  });
}

template void adam(Cpu, Size, const AdamStep&, float*, const float*, float*, float*);
template void adam(Cpu, Size, const AdamStep&, double*, const double*, double*, double*);

}  // namespace headshare::kernels
