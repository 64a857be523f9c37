#pragma once

#include <span>

#include "kernels/cache.h"
#include "tensor/tensor.h"

namespace headshare {

using kernels::RowMove;

// Where keys, or values, are kept. Any strides with a contiguous last dimension.
//                                     numbers: [B, positions, G, D]   scales: of int8, one a head, as attention.h says
struct CachedHeads {
  Tensor numbers;
  Tensor scales = {};
};

// Both caches get the numbers of `key` and `value`, which may be wider than what is kept: bfloat16 of float32, and on
// Device::cuda int8 of either, each head divided by its largest number / 127.         key, value: [B, positions, G, D]
// With first_position, one int32 on the device, the caches are rings of at least as many positions: the new ones go
// there from that one on, and from the end on at the beginning.
void copy_keys_values(const Tensor& key, const CachedHeads& key_cache, const Tensor& value,
                      const CachedHeads& value_cache, const Tensor& first_position = {});

// Copies rows of `x` onto other rows, one move after the other: of each row, the first `positions` of every head.
//                                                                             x: [rows, heads, capacity, D], contiguous
void move_rows(const Tensor& x, std::span<const RowMove> moves, Size positions);

}  // namespace headshare
