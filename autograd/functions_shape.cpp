#include "autograd/functions.h"
#include "tensor/elementwise.h"
#include "tensor/reduce.h"

namespace headshare {

Variable reshape(const Variable& x, const Shape& shape) {
  const Shape before = x.shape();
  return record("reshape", x.value().reshape(shape), {x},
                [before](const Tensor& dy) -> Gradients { return {dy.reshape(before)}; });
}

Variable transpose(const Variable& x, int a, int b) {
  return record("transpose", x.value().transpose(a, b), {x},
                [a, b](const Tensor& dy) -> Gradients { return {dy.transpose(a, b)}; });
}

// The elements outside the slice had no influence: their gradient is 0.
Variable slice(const Variable& x, int dimension, Size begin, Size end) {
  const Shape shape = x.shape();
  return record("slice", x.value().slice(dimension, begin, end), {x},
                [shape, dimension, begin, end](const Tensor& dy) -> Gradients {
                  const Tensor dx = zeros(shape, dy.options());
                  dx.slice(dimension, begin, end).copy_from(dy);
                  return {dx};
                });
}

Variable broadcast_to(const Variable& x, const Shape& shape) {
  const Shape before = x.shape();
  return record("broadcast_to", x.value().broadcast_to(shape), {x},
                [before](const Tensor& dy) -> Gradients { return {sum_to(dy, before)}; });
}

Variable concatenate(const std::vector<Variable>& parts, int dimension) {
  if (parts.empty()) fail("concatenate: nothing to join");
  Shape shape = parts[0].shape();
  std::vector<Size> ends;
  shape[dimension] = 0;
  for (const Variable& part : parts) ends.push_back(shape[dimension] += part.extent(dimension));
  const Tensor y(shape, parts[0].value().options());
  for (std::size_t i = 0; i < parts.size(); ++i)
    y.slice(dimension, ends[i] - parts[i].extent(dimension), ends[i]).copy_from(parts[i].value());
  return record("concatenate", y, parts, [ends, dimension](const Tensor& dy) -> Gradients {
    Gradients gradients;
    Size begin = 0;
    for (const Size end : ends) {
      gradients.push_back(dy.slice(dimension, begin, end));
      begin = end;
    }
    return gradients;
  });
}

Variable sum(const Variable& x) {
  const Shape shape = x.shape();
  return record("sum", sum(x.value()), {x},
                [shape](const Tensor& dy) -> Gradients { return {dy.broadcast_to(shape)}; });
}

Variable sum(const Variable& x, int dimension) {
  const Shape shape = x.shape();
  return record("sum", sum(x.value(), dimension), {x}, [shape, dimension](const Tensor& dy) -> Gradients {
    Shape kept = shape;
    kept[dimension] = 1;
    return {dy.reshape(kept).broadcast_to(shape)};
  });
}

Variable mean(const Variable& x) { return affine(sum(x), 1.0 / static_cast<double>(x.value().count()), 0); }
Variable mean(const Variable& x, int dimension) {
  return affine(sum(x, dimension), 1.0 / static_cast<double>(x.extent(dimension)), 0);
}

// Only the element that was the maximum gets the gradient; of equal ones the first.
Variable max(const Variable& x, int dimension) {
  const Shape shape = x.shape();
  const Maximum maximum = max(x.value(), dimension);
  const Tensor index = maximum.index;
  return record("max", maximum.value, {x}, [shape, dimension, index](const Tensor& dy) -> Gradients {
    return {max_backward(index, dy, dimension, shape)};
  });
}

}  // namespace headshare
