#pragma once

#include <optional>

#include "kernels/dropout.h"
#include "tensor/tensor.h"

namespace headshare {

// Rows of the table times `scale`, plus the row of `positions` for where each token stands (positions may be
// undefined).
// tokens: int32 [B, T]   table: [V, C]   positions: [at least first_position + T, C]                  result: [B, T, C]
// `type` is the result's: the table's (not given), or bfloat16 of a float32 table. The gradient of the table has the
// table's.
Tensor embedding(const Tensor& tokens, const Tensor& table, double scale, const Tensor& positions, Size first_position,
                 std::optional<ElementType> type = {});
// The same into contiguous memory that is there already. first_position is one int32 on the device, or undefined: 0;
// the caller knows that `positions` reach that far.
void embedding_into(const Tensor& tokens, const Tensor& table, double scale, const Tensor& positions,
                    const Tensor& first_position, const Tensor& y);
Tensor embedding_backward(const Tensor& dy, const Tensor& tokens, double scale, const Shape& table_shape);  // [V, C]

// Rows of x in another order, or some of them several times.       x: [N, ...]   index: int32 [M]      result: [M, ...]
Tensor gather_rows(const Tensor& x, const Tensor& index);

// Zeroes each element with mask.probability and scales the others by 1 / (1 - probability) (Srivastava et al. 2014).
// The same mask makes the same zeros, so it is its own backward and nothing is stored.
using kernels::DropoutMask;
Tensor dropout(const Tensor& x, const DropoutMask& mask);

}  // namespace headshare
