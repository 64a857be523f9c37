#include "autograd/check_gradient.h"

#include <algorithm>
#include <cmath>

#include "core/random.h"

namespace headshare {
namespace {

double dot(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

Tensor random_like(const Tensor& x, std::uint64_t seed) {
  Generator generator(seed);
  std::vector<double> values(static_cast<std::size_t>(x.count()));
  for (double& value : values) value = generator.normal();
  return from_values(values, x.shape(), x.device());
}

}  // namespace

GradientCheck check_gradient(const std::function<Variable(const std::vector<Variable>&)>& function,
                             const std::vector<Tensor>& inputs, const GradientCheckOptions& options) {
  std::vector<Variable> leaves;
  for (const Tensor& input : inputs) {
    if (input.type() != ElementType::float64) fail("check_gradient: needs float64 inputs, got ", name(input.type()));
    leaves.push_back(leaf(input.clone()));
  }
  const Variable y = function(leaves);
  const Tensor upstream = random_like(y.value(), options.seed);
  backward(y, upstream);

  GradientCheck result;
  const NoGradient no_gradient;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    const Tensor gradient = leaves[i].gradient();
    const std::vector<double> analytic = gradient.defined()
                                             ? gradient.to_vector<double>()
                                             : std::vector<double>(static_cast<std::size_t>(inputs[i].count()));
    const Tensor elements = leaves[i].value().reshape({inputs[i].count()});
    for (std::size_t j = 0; j < analytic.size(); ++j) {
      const Size index = static_cast<Size>(j);
      const double original = elements.at({index});
      elements.set({index}, original + options.step);
      const double above = dot(function(leaves).value(), upstream);
      elements.set({index}, original - options.step);
      const double below = dot(function(leaves).value(), upstream);
      elements.set({index}, original);
      const double numeric = (above - below) / (2 * options.step);
      const double error = std::abs(analytic[j] - numeric) / std::max({1.0, std::abs(analytic[j]), std::abs(numeric)});
      if (error > result.largest_error || std::isnan(error)) {
        result.largest_error = error;
        result.message =
            text("input ", i, ", element ", j, ": backward says ", analytic[j], ", central difference ", numeric);
        if (std::isnan(error)) return result;
      }
    }
  }
  result.passed = result.largest_error <= options.tolerance;
  return result;
}

}  // namespace headshare
