#pragma once

#include "kernels/attention.h"

// The ways to attention on a GPU, from the plainest on. attention(Cuda) of attention.h chooses between the last of the
// first ladder and the last of the second; all are tested, and measured against each other in the benchmark.
namespace headshare::kernels {

// ---- Many queries: training, and reading the source sentence --------------------------------------------------------

// Three kernels, one after the other, that write all scores to memory and read them back: what the fused one must
// equal.
//   scores = q k^T / sqrt(D), -infinity where masked;   scores = softmax(scores);   output = scores v
// `scores`: workspace; holds the attention weights afterwards.                                     scores: [B, H, T, S]
template <class T>
void attention_composed(Cuda, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                        HeadsView<const T> key, HeadsView<const T> value, HeadsView<T> output, T* scores);

// One kernel that never stores a score. The contract is that of attention() in attention.h. D: at most 256.
template <class T, class Stored = T>
void attention_fused(Cuda, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                     HeadsView<const Stored> key, HeadsView<const Stored> value, HeadsView<T> output,
                     Wide<T>* log_sum_exp);

// The same products on the tensor cores, which multiply bfloat16 and add in float32. The contracts are those of
// attention() and attention_backward() in attention.h, for T = BFloat16. D: at most 128. For compute capability 8.0 and
// later. The backward stores gradients of scores, in bfloat16, for as many keys at a time as fit into
// `most_d_score_bytes`, at least 128; the results depend on that by a rounding of a float32 sum at most.
void attention_tensor_core(Cuda, const AttentionSizes& sizes, const AttentionMask& mask,
                           HeadsView<const BFloat16> query, HeadsView<const BFloat16> key,
                           HeadsView<const BFloat16> value, HeadsView<BFloat16> output, float* log_sum_exp);
void attention_backward_tensor_core(Cuda, const AttentionSizes& sizes, const AttentionMask& mask,
                                    HeadsView<const BFloat16> query, HeadsView<const BFloat16> key,
                                    HeadsView<const BFloat16> value, HeadsView<const BFloat16> output,
                                    const float* log_sum_exp, HeadsView<const BFloat16> d_output,
                                    HeadsView<BFloat16> d_query, HeadsView<BFloat16> d_key, HeadsView<BFloat16> d_value,
                                    Size most_d_score_bytes = Size{1} << 29);

// ---- Few queries: decoding, where reading the cache takes all the time ----------------------------------------------

// Each query head reads the keys and values that it needs: those of a group are read H / G times.
template <class T, class Stored = T>
void decode_attention_per_head(Cuda, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                               HeadsView<const Stored> key, HeadsView<const Stored> value, HeadsView<T> output);

// The keys and values of a group are read once for all its query heads; for 4 to 16 of their T H / G rows at a time, so
// that attention() takes other ways with more. `log_sum_exp` [B, H, T]; null: not kept.
template <class T, class Stored = T>
void decode_attention_per_group(Cuda, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                                HeadsView<const Stored> key, HeadsView<const Stored> value, HeadsView<T> output,
                                Wide<T>* log_sum_exp);

// The same products on the tensor cores, for caches of bfloat16 and int8 on whole 16 bytes. What they multiply is never
// rounded to less than 16 significant bits. Throws Error where tensor_cores_can_decode does not hold.
template <class T, class Stored>
void decode_attention_tensor_core(Cuda, const AttentionSizes& sizes, const AttentionMask& mask,
                                  HeadsView<const T> query, HeadsView<const Stored> key, HeadsView<const Stored> value,
                                  HeadsView<T> output, float* log_sum_exp);

// Whether the GPU's compute capability is 8.0 or later, D at most 128, and all heads lie on whole 16 bytes.
template <class Stored>
bool tensor_cores_can_decode(Size head_size, HeadsView<const Stored> key, HeadsView<const Stored> value);

// The last of these ways that is possible.
template <class T, class Stored = T>
void decode_attention(Cuda, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                      HeadsView<const Stored> key, HeadsView<const Stored> value, HeadsView<T> output,
                      Wide<T>* log_sum_exp);

}  // namespace headshare::kernels
