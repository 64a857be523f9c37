#include "nn/layers.h"

#include <cmath>

namespace headshare {
Linear::Linear(Size in, Size out, Generator& generator, TensorOptions options)
    : weight(uniform_weight(in, out, generator, options)), bias(zeros({out}, options)) {}

Variable Linear::operator()(const Variable& x, Activation activation) const {
  return linear(x, weight, bias, activation);
}

void Linear::visit(const std::string& prefix, const ParameterVisitor& visitor) const {
  visitor(prefix + ".weight", weight);
  visitor(prefix + ".bias", bias);
}

LayerNormalization::LayerNormalization(Size width, TensorOptions options)
    : gain(full({width}, 1, options)), bias(zeros({width}, options)) {}

Variable LayerNormalization::operator()(const Variable& x) const {
  return layer_norm(x, {}, gain, bias, layer_norm_epsilon);
}

Variable LayerNormalization::operator()(const Variable& x, const Variable& residual) const {
  return layer_norm(x, residual, gain, bias, layer_norm_epsilon);
}

void LayerNormalization::visit(const std::string& prefix, const ParameterVisitor& visitor) const {
  visitor(prefix + ".gain", gain);
  visitor(prefix + ".bias", bias);
}

FeedForward::FeedForward(Size d_model, Size d_ff, Activation activation_, Generator& generator, TensorOptions options)
    : inner(d_model, d_ff, generator, options), outer(d_ff, d_model, generator, options), activation(activation_) {}

Variable FeedForward::operator()(const Variable& x) const { return outer(inner(x, activation)); }

void FeedForward::visit(const std::string& prefix, const ParameterVisitor& visitor) const {
  inner.visit(prefix + ".inner", visitor);
  outer.visit(prefix + ".outer", visitor);
}

Tensor sinusoidal_positions(Size length, Size d_model, TensorOptions options) {
  std::vector<double> values(static_cast<std::size_t>(length * d_model));
  for (Size p = 0; p < length; ++p)
    for (Size c = 0; c < d_model; ++c) {
      const double exponent = static_cast<double>(c / 2 * 2) / static_cast<double>(d_model);
      const double angle = static_cast<double>(p) / std::pow(10000.0, exponent);
      values[static_cast<std::size_t>(p * d_model + c)] = c % 2 == 0 ? std::sin(angle) : std::cos(angle);
    }
  return from_values(values, {length, d_model}).to(options.type).to(options.device);
}

}  // namespace headshare
