#include "nn/parameter.h"

#include <cmath>

namespace headshare {
namespace {

template <class Draw>
Tensor filled(const Shape& shape, TensorOptions options, const Draw& draw) {
  std::vector<double> values(static_cast<std::size_t>(shape.count()));
  for (double& value : values) value = draw();
  return from_values(values, shape).to(options.type).to(options.device);
}

}  // namespace

Tensor uniform_weight(Size inputs, Size outputs, Generator& generator, TensorOptions options) {
  const double bound = 1 / std::sqrt(static_cast<double>(inputs));
  return filled({inputs, outputs}, options, [&] { return bound * (2 * generator.uniform() - 1); });
}

Tensor random_normal(const Shape& shape, double deviation, Generator& generator, TensorOptions options) {
  return filled(shape, options, [&] { return deviation * generator.normal(); });
}

}  // namespace headshare
