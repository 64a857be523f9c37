#pragma once

#include "tensor/tensor.h"

namespace headshare {

// Two operands, shapes broadcast against each other.                       a, b: broadcastable; result: broadcast_shape
Tensor add(const Tensor& a, const Tensor& b);
Tensor subtract(const Tensor& a, const Tensor& b);
Tensor multiply(const Tensor& a, const Tensor& b);
Tensor divide(const Tensor& a, const Tensor& b);

// One operand, element by element.                                           x: any shape; result: the same
Tensor negate(const Tensor& x);
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor square(const Tensor& x);
Tensor reciprocal(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor sigmoid(const Tensor& x);
Tensor relu(const Tensor& x);
Tensor gelu(const Tensor& x);  // x Phi(x), Phi the normal distribution (Hendrycks, Gimpel 2016)
Tensor affine(const Tensor& x, double scale, double shift);  // scale x + shift

// Gradients that are not products of the above: of the input, given the output y (or the input x) and the output's
// gradient.
Tensor relu_backward(const Tensor& y, const Tensor& dy);
Tensor gelu_backward(const Tensor& x, const Tensor& dy);
Tensor tanh_backward(const Tensor& y, const Tensor& dy);
Tensor sigmoid_backward(const Tensor& y, const Tensor& dy);

// y += x in place; equal shapes, both contiguous.
void accumulate(const Tensor& x, const Tensor& y);

}  // namespace headshare
