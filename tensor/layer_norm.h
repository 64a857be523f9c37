#pragma once

#include "tensor/tensor.h"

namespace headshare {

// Layer normalisation (Ba, Kiros, Hinton 2016) of x + residual over the last dimension, in one pass over memory:
//   z = x + residual,  y = gain (z - mean z) / sqrt(variance z + epsilon) + bias
// residual may be undefined: then z is x. gain, bias and their gradients, and the statistics are of wide(type of x).
//                                                        x, residual, y: [..., n]   gain, bias: [n]   statistics: [...]
struct LayerNorm {
  Tensor y;
  Tensor sum;  // z, which the backward needs
  Tensor mean;
  Tensor reciprocal_deviation;  // 1 / sqrt(variance + epsilon)
};
LayerNorm layer_norm(const Tensor& x, const Tensor& residual, const Tensor& gain, const Tensor& bias, double epsilon);

// The same into memory that is there already, without the statistics. sum may be undefined: z is not kept; sum and y
// may be x or residual. All contiguous.
void layer_norm_into(const Tensor& x, const Tensor& residual, const Tensor& gain, const Tensor& bias, double epsilon,
                     const Tensor& sum, const Tensor& y);

struct LayerNormGradients {
  Tensor dx;  // of x and of the residual alike
  Tensor d_gain;
  Tensor d_bias;
};
LayerNormGradients layer_norm_backward(const Tensor& dy, const LayerNorm& forward, const Tensor& gain);

}  // namespace headshare
