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
                     HeadsView<const Stored> key, HeadsView<const Stored> value, HeadsView<T> output, T* log_sum_exp);

// ---- Few queries: decoding, where reading the cache takes all the time ----------------------------------------------

// Each query head reads the keys and values that it needs: those of a group are read H / G times.
template <class T, class Stored = T>
void decode_attention_per_head(Cuda, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                               HeadsView<const Stored> key, HeadsView<const Stored> value, HeadsView<T> output);

// The keys and values of a group are read once for all its query heads. `log_sum_exp` [B, H, T]; null: not kept.
template <class T, class Stored = T>
void decode_attention_per_group(Cuda, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                                HeadsView<const Stored> key, HeadsView<const Stored> value, HeadsView<T> output,
                                T* log_sum_exp);

}  // namespace headshare::kernels
