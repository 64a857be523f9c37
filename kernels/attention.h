#pragma once

#include <cstdint>

#include "core/bfloat16.h"
#include "core/size.h"
#include "kernels/cpu.h"
#include "kernels/cuda.h"
#include "kernels/wide.h"

namespace headshare::kernels {

// B batch, T target positions (queries), S source positions (keys and values), H query heads, G key/value heads (G
// divides H; query head h reads key/value head h / (H / G)), D d_head. Same letters in every comment below.
struct AttentionSizes {
  Size batch;      // B
  Size targets;    // T
  Size sources;    // S
  Size heads;      // H
  Size kv_heads;   // G
  Size head_size;  // D
};

// Heads read and written in place: element (b, position, head, d) lies at
// data[b * batch_stride + position * position_stride + head * head_stride + d]. Serves [B, T, H, D], a slice of a joint
// projection, and a cache [B, G, capacity, D] alike.
template <class T>
struct HeadsView {
  T* data;
  Size batch_stride;
  Size position_stride;
  Size head_stride;
  // Of int8: what the D numbers of one head are multiplied with to get their values. The head that begins at
  // data[offset] has scales[offset / D]; all strides are then multiples of D. Null for other types.
  std::conditional_t<std::is_const_v<T>, const float, float>* scales = nullptr;
};

// The D numbers of one head.
template <class T>
constexpr T* head_at(HeadsView<T> view, Size b, Size position, Size head) {
  return view.data + b * view.batch_stride + position * view.position_stride + head * view.head_stride;
}

// Which keys a query sees. Query t stands at position t + (S - T): with a cache, the new queries are the last
// positions.
struct AttentionMask {
  const std::int32_t* source_lengths = nullptr;  // [B]: keys from here on are padding; above S counts as S; null: none
  enum class Order { any, causal } order = Order::any;  // causal: only keys at or before the query's own position
  Size window = 0;  // causal: of those, only the last so many (local attention, Shazeer 2019); 0: all
};

// Scaled dot-product attention (Vaswani et al. 2017, 3.2.1) with shared key/value heads (Shazeer 2019, Ainslie 2023):
//   scores[b,h,t,s] = q[b,t,h,:] . k[b,s,g,:] / sqrt(D),   g = h / (H / G);   weights = softmax over the visible s
//   output[b,t,h,:] = sum_s weights[b,h,t,s] v[b,s,g,:]
// Scores exist a tile of queries at a time only; each key and value is loaded once for all query heads of its group.
// Keys and values may be stored in fewer bits (T float, Stored BFloat16); they are widened in registers.
// `log_sum_exp` [B, H, T] keeps log(sum_s exp(scores)) for the backward; null: not kept.
// A query that sees no key at all gets output 0 and log_sum_exp -infinity.
template <class T, class Stored = T>
void attention(Cpu, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
               HeadsView<const Stored> key, HeadsView<const Stored> value, HeadsView<T> output, Wide<T>* log_sum_exp);
template <class T, class Stored = T>
void attention(Cuda, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
               HeadsView<const Stored> key, HeadsView<const Stored> value, HeadsView<T> output, Wide<T>* log_sum_exp);

// Keys as a head's many queries read them fastest, laid out once for many calls, as in decoding: tiles of 32 sources,
// each [D, 32], so that a vector holds the same d of neighbouring sources. The last tile is filled up with zeros.
//                                                                     one head, in one piece: [ceil(S / 32), D, 32]
constexpr Size key_tile_sources = 32;
template <class T>
struct KeyTiles {
  T* data;
  Size batch_stride;
  Size head_stride;
};
template <class T, class Stored>
void lay_out_keys(Cpu, const AttentionSizes& sizes, HeadsView<const T> key, KeyTiles<Stored> tiles);

// Attention with such keys, Order::any. Bit for bit what it is without, but for a last few queries, for which keys that
// lie one after the other are not transposed but multiplied as they are, in another order: tiles gain nothing there.
constexpr Size few_queries = 4;  // of a group, among those that are worked on together
template <class T, class Stored = T>
void attention(Cpu, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
               KeyTiles<const Stored> key, HeadsView<const Stored> value, HeadsView<T> output);

// Gradients of attention; weights are recomputed from log_sum_exp. Writes (not adds) every element of d_query, d_key,
// d_value; keys and values that no query sees get 0. Every element is summed in an order that does not depend on the
// number of threads.
template <class T>
void attention_backward(Cpu, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                        HeadsView<const T> key, HeadsView<const T> value, HeadsView<const T> output,
                        const Wide<T>* log_sum_exp, HeadsView<const T> d_output, HeadsView<T> d_query,
                        HeadsView<T> d_key, HeadsView<T> d_value);
template <class T>
void attention_backward(Cuda, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                        HeadsView<const T> key, HeadsView<const T> value, HeadsView<const T> output,
                        const Wide<T>* log_sum_exp, HeadsView<const T> d_output, HeadsView<T> d_query,
                        HeadsView<T> d_key, HeadsView<T> d_value);

// The attention weights themselves, for pictures and lessons.                             weights: [B, H, T, S]
template <class T>
void attention_weights(Cpu, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                       HeadsView<const T> key, T* weights);
template <class T>
void attention_weights(Cuda, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                       HeadsView<const T> key, T* weights);

}  // namespace headshare::kernels
