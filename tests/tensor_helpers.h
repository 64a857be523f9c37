#pragma once

#include <cmath>
#include <functional>
#include <vector>

#include "autograd/variable.h"
#include "core/random.h"
#include "tensor/tensor.h"
#include "tests/kernel_helpers.h"

// What the tests of tensors, variables and layers need: data and comparison.
namespace headshare::test {

inline const TensorOptions float64 = {ElementType::float64, test_device()};

// Normal numbers; the same seed gives the same ones.
inline Tensor random_tensor(const Shape& shape, std::uint64_t seed, double scale = 1) {
  return from_values(random_vector<double>(shape.count(), seed, scale), shape);
}

// Numbers of at least `smallest`, for functions that need positive ones.
inline Tensor positive_tensor(const Shape& shape, std::uint64_t seed, double smallest = 0.5) {
  Array<double> values = random_vector<double>(shape.count(), seed);
  for (double& value : values) value = smallest + std::abs(value);
  return from_values(values, shape);
}

// How far apart two tensors are, relative to numbers of size `unit`; infinity when a shape differs or one has a NaN.
inline double difference(const Tensor& a, const Tensor& b, double unit = 1) {
  if (!a.defined() || !b.defined() || !(a.shape() == b.shape())) return infinity<double>;
  return distance(a.to(ElementType::float64).to_vector<double>(), b.to(ElementType::float64).to_vector<double>(), unit);
}

inline bool same_values(const Tensor& a, const Tensor& b) { return difference(a, b) == 0; }

using Function = std::function<Variable(const std::vector<Variable>&)>;

// The value of a function followed by the gradients of all its inputs, for a given gradient of its value.
inline std::vector<Tensor> value_and_gradients(const Function& function, const std::vector<Tensor>& inputs,
                                               const Tensor& upstream) {
  std::vector<Variable> leaves;
  for (const Tensor& input : inputs) leaves.push_back(leaf(input));
  const Variable y = function(leaves);
  backward(y, upstream);
  std::vector<Tensor> result = {y.value()};
  for (const Variable& x : leaves) result.push_back(x.gradient());
  return result;
}

}  // namespace headshare::test
