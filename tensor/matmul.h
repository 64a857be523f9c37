#pragma once

#include "kernels/matmul.h"
#include "tensor/tensor.h"

namespace headshare {

using kernels::Activation;  // none, relu, gelu

// The last two dimensions are multiplied, those before them are the batch and must be equal, or absent in one operand,
// which then serves the whole batch. Transposed views are read in place.  a: [..., M, K]   b: [..., K, N]   [..., M, N]
Tensor matmul(const Tensor& a, const Tensor& b);

// activation(x weight + bias) in one kernel.        x: [..., K]   weight: [K, N]   bias: [N] or undefined      [..., N]
struct LinearResult {
  Tensor y;
  Tensor before_activation;  // GELU only: its backward needs x weight + bias. Undefined otherwise
};
LinearResult linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation);

}  // namespace headshare
