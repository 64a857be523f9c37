#pragma once

#include <span>

#include "kernels/cache.h"
#include "tensor/tensor.h"

namespace headshare {

using kernels::RowMove;

// y = x, element for element; y may be bfloat16 where x is float32. Any strides with a contiguous last dimension.
//                                                                                        x, y: [B, positions, heads, D]
void copy_heads(const Tensor& x, const Tensor& y);
// The same into a y with at least as many positions, a ring: from *first_position on, one int32 on the device, and from
// its end on at its beginning.
void copy_heads(const Tensor& x, const Tensor& y, const Tensor& first_position);

// Copies rows of `x` onto other rows, one move after the other: of each row, the first `positions` of every head.
//                                                                             x: [rows, heads, capacity, D], contiguous
void move_rows(const Tensor& x, std::span<const RowMove> moves, Size positions);

}  // namespace headshare
