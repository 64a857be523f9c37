#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/variable.h"
#include "core/random.h"

namespace headshare {

// A trained tensor. Move-only, so that two models never share weights by accident; clone(model) is explicit.
class Parameter : public Variable {
 public:
  Parameter() = default;
  explicit Parameter(Tensor value) : Variable(leaf(std::move(value))) {}
  Parameter(Parameter&&) = default;
  Parameter& operator=(Parameter&&) = default;
};

// Every layer lists its parameters through one function, visit(prefix, visitor), which calls
// visitor("decoder.0.cross.key.weight", parameter) for each. Counting, saving, loading, converting and optimizing use it.
using ParameterVisitor = std::function<void(const std::string& name, const Parameter& parameter)>;

// Uniform in +-sqrt(6 / (inputs + outputs)): keeps the variance of activations and gradients (Glorot, Bengio 2010).
Tensor glorot_uniform(Size inputs, Size outputs, Generator& generator, TensorOptions options);
// Normal with this standard deviation.
Tensor random_normal(const Shape& shape, double deviation, Generator& generator, TensorOptions options);

}  // namespace headshare
