#pragma once

#include <memory>

#include "nn/decoder.h"
#include "tensor/tensor.h"

// Lesson 8: query heads that share keys and values. Letters: B batch, T queries, S keys, H query heads, G key/value
// heads (G divides H), D numbers of a head, C d_model. G = H is multi-head attention (Vaswani 2017), G = 1 multi-query
// (Shazeer 2019), what lies between grouped-query (Ainslie et al. 2023). Everything is on the processor.
namespace headshare::lesson {

// ---- Step 1: one formula --------------------------------------------------------------------------------------------

// Which key/value head query head h reads, h = 0 .. H - 1: neighbours share, groups are of equal size. Result: 0 .. G -
// 1. Fails unless G divides H: "attention: 8 query heads cannot share 3 key/value heads evenly".
Size kv_head(Size h, Size heads, Size kv_heads);

// Attention without a mask, every query sees every key:
//   scores[b,t,h,s] = query[b,t,h,:] . key[b,s,g,:] / sqrt(D) with g = kv_head(h, H, G);  weights = softmax over s
//   result[b,t,h,:] = sum over s of weights[b,t,h,s] value[b,s,g,:]
//                              query: [B, T, H, D]   key, value: [B, S, G, D]   result: [B, T, H, D], all float32
Tensor shared_attention(const Tensor& query, const Tensor& key, const Tensor& value);

// ---- Step 2: parameters ---------------------------------------------------------------------------------------------

// Numbers in the four projections of one attention: queries [C, H D], keys and values [C, G D], output [H D, C]. Each
// has a bias as long as its output is wide. D: head_size(mode, d_model) of nn/attention_mode.h.
struct ProjectionSizes {
  Size weights;  // in the four matrices
  Size biases;   // in the four biases
};
ProjectionSizes projection_sizes(const AttentionMode& mode, Size d_model);

// How many attentions and feed-forward layers a model has; a feed-forward layer has the matrices [C, F] and [F, C].
struct LayerCounts {
  Size attentions;
  Size feed_forwards;
};
// The F with which a model with attention `mode` has as many weights (biases aside) as one with `baseline` and
// baseline_d_ff. Rounded down.
Size equal_d_ff(const AttentionMode& mode, const AttentionMode& baseline, Size baseline_d_ff, Size d_model,
                const LayerCounts& counts);

// ---- Step 3: bytes of a cache ---------------------------------------------------------------------------------------

// What a cache costs depends on four numbers of a model.
struct CacheShape {
  Size layers;            // decoder layers
  Size kv_heads;          // G
  Size head_size;         // D
  Size bytes_per_number;  // 4: float32, 2: bfloat16 and float16
};
// Of one position in the caches of one kind of attention (self, or cross), all layers: keys and values.
Size token_bytes(const CacheShape& shape);
// Of one sentence: `targets` positions in the caches of self-attention, `sources` in those of cross-attention (0 for a
// model without an encoder).
Size sentence_bytes(const CacheShape& shape, Size targets, Size sources);
// How many sentences fit into `memory` bytes beside `weights` bytes of weights. 0 where not even the weights fit.
Size largest_batch(const CacheShape& shape, Size targets, Size sources, Size memory, Size weights);

// ---- Step 4: bytes that are read ------------------------------------------------------------------------------------

// A cache that counts. Keys and values leave it only by being copied, D numbers at a time, as a kernel loads them into
// registers or shared memory; every copy counts.                                            key, value: [B, G, S, D]
class CountedCache {
 public:
  CountedCache(const Tensor& key, const Tensor& value);

  Size batch() const { return key_.extent(0); }
  Size kv_heads() const { return key_.extent(1); }
  Size length() const { return key_.extent(2); }
  Size head_size() const { return key_.extent(3); }

  void load_key(Size b, Size g, Size s, float* to) const { load(key_, b, g, s, to); }
  void load_value(Size b, Size g, Size s, float* to) const { load(value_, b, g, s, to); }
  Size bytes_read() const { return *bytes_read_; }

 private:
  void load(const Tensor& from, Size b, Size g, Size s, float* to) const;

  Tensor key_, value_;
  std::shared_ptr<Size> bytes_read_ = std::make_shared<Size>(0);
};

// One decoding step of attention: one query for each sentence and query head.     query: [B, H, D]   result: [B, H, D]
// Head after head: each reads the keys and values of its group for itself.
Tensor attend_per_head(const Tensor& query, const CountedCache& cache);
// The same result. Every key and every value is read once, for all query heads of its group.
Tensor attend_per_group(const Tensor& query, const CountedCache& cache);

// ---- Step 5: the constructor argument -------------------------------------------------------------------------------

// Bytes of all caches of a decoder, with room for `capacity` target positions, of `batch` sentences with
// `source_length` tokens. Each layer says itself how many heads it has: they may differ between layers, and between
// layer.self and layer.cross. Numbers are stored as model.options().type says.
Size cache_bytes(const Transformer& model, Size batch, Size capacity, Size source_length);

// How many times faster a decoding step of `model` can be than one of `baseline`, if reading bytes were all that takes
// time. A step reads every weight once, Decoder(model).weight_bytes(), and all keys and values that are there:
// `targets` positions of each sentence, and those of its source.
double speed_limit(const Transformer& model, const Transformer& baseline, Size batch, Size targets, Size source_length);

}  // namespace headshare::lesson
