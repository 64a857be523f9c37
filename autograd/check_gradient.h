#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/variable.h"

namespace headshare {

struct GradientCheck {
  bool passed = false;
  double largest_error = 0;  // relative: |analytic - numeric| / max(1, |analytic|, |numeric|)
  std::string message;       // which element of which input differs most, and both values
};

struct GradientCheckOptions {
  double step = 1e-6;  // of the central difference (f(x + step) - f(x - step)) / (2 step)
  double tolerance = 1e-6;
  std::uint64_t seed = 1;  // of the random upstream gradient
};

// Compares backward() with central differences, in float64, for every element of every input. The upstream gradient is
// random: one of all ones hides mistakes, since the gradient of sum(softmax(x)) is 0 whatever the backward does.
GradientCheck check_gradient(const std::function<Variable(const std::vector<Variable>&)>& function,
                             const std::vector<Tensor>& inputs, const GradientCheckOptions& options = {});

}  // namespace headshare
