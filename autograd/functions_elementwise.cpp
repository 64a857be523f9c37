#include "autograd/functions.h"
#include "tensor/elementwise.h"
#include "tensor/reduce.h"

namespace headshare {

Variable add(const Variable& a, const Variable& b) {
  const Shape shape_a = a.shape(), shape_b = b.shape();
  return record("add", add(a.value(), b.value()), {a, b}, [shape_a, shape_b](const Tensor& dy) -> Gradients {
    return {sum_to(dy, shape_a), sum_to(dy, shape_b)};
  });
}

Variable subtract(const Variable& a, const Variable& b) {
  const Shape shape_a = a.shape(), shape_b = b.shape();
  return record("subtract", subtract(a.value(), b.value()), {a, b}, [shape_a, shape_b](const Tensor& dy) -> Gradients {
    return {sum_to(dy, shape_a), sum_to(negate(dy), shape_b)};
  });
}

// d(ab) = b da + a db
Variable multiply(const Variable& a, const Variable& b) {
  const Tensor va = a.value(), vb = b.value();
  return record("multiply", multiply(va, vb), {a, b}, [va, vb](const Tensor& dy) -> Gradients {
    return {sum_to(multiply(dy, vb), va.shape()), sum_to(multiply(dy, va), vb.shape())};
  });
}

// d(a / b) = da / b - (a / b) db / b
Variable divide(const Variable& a, const Variable& b) {
  const Tensor vb = b.value(), y = divide(a.value(), vb);
  const Shape shape_a = a.shape();
  return record("divide", y, {a, b}, [shape_a, vb, y](const Tensor& dy) -> Gradients {
    const Tensor da = divide(dy, vb);
    return {sum_to(da, shape_a), sum_to(negate(multiply(da, y)), vb.shape())};
  });
}

Variable negate(const Variable& x) {
  return record("negate", negate(x.value()), {x}, [](const Tensor& dy) -> Gradients { return {negate(dy)}; });
}

Variable exp(const Variable& x) {
  const Tensor y = exp(x.value());
  return record("exp", y, {x}, [y](const Tensor& dy) -> Gradients { return {multiply(dy, y)}; });
}

Variable log(const Variable& x) {
  const Tensor v = x.value();
  return record("log", log(v), {x}, [v](const Tensor& dy) -> Gradients { return {divide(dy, v)}; });
}

// d sqrt(x) = dx / (2 sqrt(x))
Variable sqrt(const Variable& x) {
  const Tensor y = sqrt(x.value());
  return record("sqrt", y, {x}, [y](const Tensor& dy) -> Gradients { return {affine(divide(dy, y), 0.5, 0)}; });
}

Variable square(const Variable& x) {
  const Tensor v = x.value();
  return record("square", square(v), {x},
                [v](const Tensor& dy) -> Gradients { return {affine(multiply(dy, v), 2, 0)}; });
}

Variable tanh(const Variable& x) {
  const Tensor y = tanh(x.value());
  return record("tanh", y, {x}, [y](const Tensor& dy) -> Gradients { return {tanh_backward(y, dy)}; });
}

Variable sigmoid(const Variable& x) {
  const Tensor y = sigmoid(x.value());
  return record("sigmoid", y, {x}, [y](const Tensor& dy) -> Gradients { return {sigmoid_backward(y, dy)}; });
}

Variable relu(const Variable& x) {
  const Tensor y = relu(x.value());
  return record("relu", y, {x}, [y](const Tensor& dy) -> Gradients { return {relu_backward(y, dy)}; });
}

Variable gelu(const Variable& x) {
  const Tensor v = x.value();
  return record("gelu", gelu(v), {x}, [v](const Tensor& dy) -> Gradients { return {gelu_backward(v, dy)}; });
}

Variable affine(const Variable& x, double scale, double shift) {
  return record("affine", affine(x.value(), scale, shift), {x},
                [scale](const Tensor& dy) -> Gradients { return {affine(dy, scale, 0)}; });
}

// The backward draws the same mask again from the counter instead of keeping it.
Variable dropout(const Variable& x, const DropoutMask& mask) {
  if (mask.probability == 0) return x;
  return record("dropout", dropout(x.value(), mask), {x},
                [mask](const Tensor& dy) -> Gradients { return {dropout(dy, mask)}; });
}

}  // namespace headshare
