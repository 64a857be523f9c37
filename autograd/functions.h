#pragma once

#include <optional>

#include "autograd/variable.h"
#include "tensor/attention.h"
#include "tensor/embedding.h"
#include "tensor/matmul.h"

// Every differentiable function: forward value and backward closure side by side, in functions_*.cpp. Shapes broadcast
// as in tensor/; gradients of broadcast operands are summed back to their shape.
namespace headshare {

// --- functions_elementwise.cpp ---
Variable add(const Variable& a, const Variable& b);
Variable subtract(const Variable& a, const Variable& b);
Variable multiply(const Variable& a, const Variable& b);
Variable divide(const Variable& a, const Variable& b);
Variable negate(const Variable& x);
Variable exp(const Variable& x);
Variable log(const Variable& x);
Variable sqrt(const Variable& x);
Variable square(const Variable& x);
Variable tanh(const Variable& x);
Variable sigmoid(const Variable& x);
Variable relu(const Variable& x);
Variable gelu(const Variable& x);
Variable affine(const Variable& x, double scale, double shift);  // scale x + shift
Variable dropout(const Variable& x, const DropoutMask& mask);

// --- functions_shape.cpp: views, and reductions that undo them ---
Variable reshape(const Variable& x, const Shape& shape);
Variable transpose(const Variable& x, int a, int b);
Variable slice(const Variable& x, int dimension, Size begin, Size end);
Variable broadcast_to(const Variable& x, const Shape& shape);
Variable concatenate(const std::vector<Variable>& parts, int dimension);
Variable sum(const Variable& x);
Variable sum(const Variable& x, int dimension);
Variable mean(const Variable& x);
Variable mean(const Variable& x, int dimension);
Variable max(const Variable& x, int dimension);

// --- functions_model.cpp: what layers are made of. Where the first operand is bfloat16, parameters may be float32:
// they are rounded for the computation, and their gradients are float32 (Micikevicius et al. 2018) ---
Variable matmul(const Variable& a, const Variable& b);  // [..., M, N]
Variable linear(const Variable& x, const Variable& weight, const Variable& bias,
                Activation activation = Activation::none);
Variable softmax(const Variable& x);
Variable log_softmax(const Variable& x);
// y = layer_norm(x + residual); residual may be undefined.
Variable layer_norm(const Variable& x, const Variable& residual, const Variable& gain, const Variable& bias,
                    double epsilon);
Variable embedding(const Tensor& tokens, const Variable& table, double scale, const Variable& positions = {},
                   Size first_position = 0, std::optional<ElementType> type = {});  // [B, T, C]
Variable attention(const Variable& query, const Variable& key, const Variable& value,
                   const Mask& mask);  // [B, T, H, D]

// The same attention written with the simple functions above: the specification of the fused kernel, and what the
// lessons take apart.
Variable composed_attention(const Variable& query, const Variable& key, const Variable& value, const Mask& mask);

// Sum of the rows' smoothed losses, and the sum of the unsmoothed ones to report. Rows with a target below 0 do not
// count.
struct CrossEntropyLoss {
  Variable loss;  // rank 0
  Tensor nll;     // summed, rank 0
};
CrossEntropyLoss cross_entropy(const Variable& logits, const Tensor& targets, double smoothing);

}  // namespace headshare
