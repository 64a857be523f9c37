#pragma once

#include "kernels/attention.h"
#include "tensor/tensor.h"

namespace headshare {

// Which keys a query sees: those before their sentence's length and, for `causal`, at or before its own position; with
// a window, of these only the last so many, its own among them.
struct Mask {
  Tensor source_lengths;  // int32 [B], above S as good as S; undefined: no padding
  kernels::AttentionMask::Order order = kernels::AttentionMask::Order::any;
  Size window = 0;  // 0: all; only with `causal`
};
constexpr kernels::AttentionMask::Order any_order = kernels::AttentionMask::Order::any;
constexpr kernels::AttentionMask::Order causal = kernels::AttentionMask::Order::causal;

// Scaled dot-product attention with shared key/value heads; see kernels/attention.h for the formula. Heads are read
// where they lie: any strides, as long as the last dimension is contiguous.
//          query: [B, T, H, D]   key, value: [B, S, G, D]   output: [B, T, H, D]   G divides H
struct AttentionResult {
  Tensor output;
  Tensor log_sum_exp;  // [B, H, T], for the backward
};
AttentionResult attention(const Tensor& query, const Tensor& key, const Tensor& value, const Mask& mask);

// What the numbers of int8 keys and values are multiplied with; undefined for other types.       key, value: [B, S, G]
struct HeadScales {
  Tensor key, value;
};

// The same into memory that is there already, without the logarithms. Keys and values may be bfloat16 where the query
// is float32; on Device::cuda also int8, with their scales.
void attention_into(const Tensor& query, const Tensor& key, const Tensor& value, const Mask& mask, const Tensor& output,
                    const HeadScales& scales = {});

// Keys in tiles, as many queries of a head read them fastest (kernels/attention.h); on Device::cpu alone.
// attention_into takes them in place of keys one after the other, without a causal order.
//                                  key: [B, S, G, D]   tiles: [B, G, key_tiles(S), D, 32], float32 also as bfloat16
Size key_tiles(Size positions);
void lay_out_keys_into(const Tensor& key, const Tensor& tiles);

struct AttentionGradients {
  Tensor d_query, d_key, d_value;
};
AttentionGradients attention_backward(const Tensor& d_output, const Tensor& query, const Tensor& key,
                                      const Tensor& value, const Mask& mask, const AttentionResult& forward);

// The weights themselves, for pictures.                                                            result: [B, H, T, S]
Tensor attention_weights(const Tensor& query, const Tensor& key, const Mask& mask);

}  // namespace headshare
