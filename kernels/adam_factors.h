#pragma once

#include <cmath>

#include "core/error.h"
#include "kernels/adam.h"

namespace headshare::kernels {

// One step of adam.h as factors that are the same for all elements, computed in double once: the corrections of the two
// moments by 1 - beta^step join the learning rate and the square root.
template <class T>
struct AdamFactors {
  T beta1, one_minus_beta1;
  T beta2, one_minus_beta2;
  T keep;            // what decay leaves of a parameter
  T rate;            // learning_rate / (1 - beta1^step)
  T variance_scale;  // 1 / (1 - beta2^step)
  T epsilon;

  // One element; g is its gradient, scaled. `constexpr` lets CUDA kernels call the same source. Nothing is stored
  // before all is read: for the compiler the arrays may overlap, and it would read again.
  constexpr void update(T g, T& parameter, T& mean, T& variance) const {
    const T new_mean = beta1 * mean + one_minus_beta1 * g;
    const T new_variance = beta2 * variance + one_minus_beta2 * g * g;
    parameter = keep * parameter - rate * new_mean / (std::sqrt(new_variance * variance_scale) + epsilon);
    mean = new_mean;
    variance = new_variance;
  }
};

// Throws Error when step.step is below 1.
template <class T>
AdamFactors<T> adam_factors(const AdamStep& step) {
  if (step.step < 1) fail("adam: step ", step.step, " is impossible; steps are counted from 1");
  const double exponent = static_cast<double>(step.step);
  return {
      .beta1 = static_cast<T>(step.beta1),
      .one_minus_beta1 = static_cast<T>(1 - step.beta1),
      .beta2 = static_cast<T>(step.beta2),
      .one_minus_beta2 = static_cast<T>(1 - step.beta2),
      .keep = static_cast<T>(1 - step.learning_rate * step.weight_decay),
      .rate = static_cast<T>(step.learning_rate / (1 - std::pow(step.beta1, exponent))),
      .variance_scale = static_cast<T>(1 / (1 - std::pow(step.beta2, exponent))),
      .epsilon = static_cast<T>(step.epsilon),
  };
}

// gradient_scale of adam.h. The comparison with 0 is false for NaN, and infinity minus itself is NaN.
constexpr double scale_of_gradients(double factor, double limit, double loss, double squared_norm) {
  const double sum = loss + squared_norm;
  if (!(sum - sum == 0)) return sum - sum;
  const double norm = factor * std::sqrt(squared_norm);
  return limit > 0 && norm > limit ? factor * (limit / norm) : factor;
}

}  // namespace headshare::kernels
