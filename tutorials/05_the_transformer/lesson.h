#pragma once

#include <functional>

#include "nn/transformer.h"

// Lesson 5: the encoder-decoder Transformer of Vaswani et al. 2017, with the weights of the library's `Transformer`:
// norm after each block, ReLU, fixed positions, no dropout. B sentences, S source and T target positions, C numbers a
// position (d_model), F inside the feed-forward layer (d_ff), V tokens. float32 on the CPU.
namespace headshare::lesson {

// --- Step 1 ---

// Row p says where position p is: channel 2i is sin(p / 10000^(2i/C)), channel 2i + 1 the cosine of the same. An odd C
// ends with a sine.                                                                             result: [length, C]
Tensor positions(Size length, Size d_model);

// The matrix M that moves every position on by `distance`, forwards or backwards: positions(p) M =
// positions(p + distance) for all p. Fails for an odd d_model.                                       result: [C, C]
Tensor shift_matrix(Size d_model, double distance);

// --- Step 2 ---

// Layer normalisation over the last dimension (Ba, Kiros, Hinton 2016), with variance = mean of (z - mean z)^2 over C:
//   y = gain (z - mean z) / sqrt(variance + layer_norm_epsilon) + bias          z, y: [B, T, C]   gain, bias: [C]
Variable normalize(const Variable& z, const Variable& gain, const Variable& bias);

// relu(x W_inner + b_inner) W_outer + b_outer, for each position alone.                                x, y: [B, T, C]
Variable feed_forward(const FeedForward& layer, const Variable& x);

// The frame around every part of a layer: what came in plus what the part made of it, normalised.
//                                                                                        x, change, y: [B, T, C]
Variable add_and_norm(const LayerNormalization& norm, const Variable& x, const Variable& change);

// --- Step 3 ---

// Self-attention, then the feed-forward layer, each in its frame.
//                                                 x, y: [B, S, C]   source_lengths: int32 [B], or undefined: no padding
Variable encoder_layer(const EncoderLayer& layer, const Variable& x, const Tensor& source_lengths);

// --- Step 4 ---

// Causal self-attention, attention to the encoder's memory, the feed-forward layer, each in its frame.
//                                                 x, y: [B, T, C]   memory: [B, S, C]   source_lengths: as above
Variable decoder_layer(const DecoderLayer& layer, const Variable& x, const Variable& memory,
                       const Tensor& source_lengths);

// --- Step 5 ---

// The table of the model's embeddings, which is its output projection too.                             result: [V, C]
Variable table_of(const Transformer& model);

// Rows of the table times sqrt(C), plus positions.                            tokens: int32 [B, T]   result: [B, T, C]
Variable embed(const Transformer& model, const Tensor& tokens);

// How likely each token is at each target position, before the softmax. Fails where the model was built otherwise than
// stands above.         source: int32 [B, S]   source_lengths: int32 [B]   target: int32 [B, T]   result: [B, T, V]
Variable model_logits(const Transformer& model, const Tensor& source, const Tensor& source_lengths,
                      const Tensor& target);

// Numbers that training can change, all layers together.
// [show parts]
struct PartCounts {
  Size embedding;
  Size encoder_attention, encoder_feed_forward, encoder_norms;
  Size decoder_self_attention, decoder_cross_attention, decoder_feed_forward, decoder_norms;
};
// [end show]
PartCounts count_parts(const TransformerConfig& config);  // multi-head attention; d_ff is set

// --- Step 6 ---

// Something that turns tokens, int32 [1, N], into rows, [1, M, ...].
using Run = std::function<Tensor(const Tensor& tokens)>;

// Who depends on whom: the largest change of any number in output row m when token n alone is replaced by `other`,
// which must not be among the tokens. `tokens` stay as they are.                                     result: [M, N]
Tensor influence(const Run& run, const Tensor& tokens, std::int32_t other);

}  // namespace headshare::lesson
