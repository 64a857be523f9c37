#include <cmath>
#include <limits>

#include "kernels/attention_ladder.h"
#include "kernels/attention_mask.cuh"
#include "kernels/attention_tile.cuh"

// Attention as its formula is written (attention_ladder.h), and the attention weights: the first two of its three
// steps. The scores, T S for every head, pass through memory four times.
namespace headshare::kernels {
namespace {

constexpr int threads = 256;

// The place of row `row` of the scores: sentence b, query head `head`, target t.             rows: B H T
struct ScoreRow {
  Size b, head, target;
};
__device__ inline ScoreRow score_row(const AttentionSizes& sizes, Size row) {
  const Size of_heads = row / sizes.targets;
  return {of_heads / sizes.heads, of_heads % sizes.heads, row % sizes.targets};
}

// A thread per score. The threads of a warp read one query together, but each a key of its own: their addresses lie far
// apart, and every key comes again for every query. That is what tiles in shared memory mend (attention.cu).
template <class T>
__global__ void score_kernel(AttentionSizes sizes, AttentionMask mask, HeadsView<const T> query, HeadsView<const T> key,
                             T* scores) {
  const Size n = sizes.batch * sizes.heads * sizes.targets * sizes.sources;
  for (Size i = global_thread(); i < n; i += all_threads()) {
    const Size s = i % sizes.sources;
    const ScoreRow row = score_row(sizes, i / sizes.sources);
    T score = -std::numeric_limits<T>::infinity();
    if (visible_keys(sizes, mask, row.b, row.target).contains(static_cast<int>(s))) {
      const T* const q = head_at(query, row.b, row.target, row.head);
      const T* const k = head_at(key, row.b, s, row.head / (sizes.heads / sizes.kv_heads));
      score = 0;
      for (Size d = 0; d < sizes.head_size; ++d) score += q[d] * k[d];
      score /= std::sqrt(static_cast<T>(sizes.head_size));
    }
    scores[i] = score;
  }
}

// A warp per row, in place. A row of nothing but -infinity, of a query that sees no key, becomes zeros.
//                                                                                                   x: [rows, sources]
template <class T>
__global__ void softmax_kernel(Size rows, Size sources, T* x) {
  const int lane = threadIdx.x % warp_size;
  for (Size row = global_thread() / warp_size; row < rows; row += all_threads() / warp_size) {
    T* const of_row = x + row * sources;
    T max = -std::numeric_limits<T>::infinity(), sum = 0;
    for (Size s = lane; s < sources; s += warp_size) max = larger(max, of_row[s]);
    max = warp_max(max);
    const bool blind = max == -std::numeric_limits<T>::infinity();
    for (Size s = lane; s < sources; s += warp_size) {
      of_row[s] = blind ? T{0} : std::exp(of_row[s] - max);
      sum += of_row[s];
    }
    sum = warp_sum(sum);
    for (Size s = lane; s < sources; s += warp_size) of_row[s] = blind ? T{0} : of_row[s] / sum;
  }
}

// A thread per output. Neighbours read one weight together, and neighbouring values.         weights: [B, H, T, S]
template <class T>
__global__ void weigh_kernel(AttentionSizes sizes, AttentionMask mask, const T* weights, HeadsView<const T> value,
                             HeadsView<T> output) {
  const Size n = sizes.batch * sizes.heads * sizes.targets * sizes.head_size;
  for (Size i = global_thread(); i < n; i += all_threads()) {
    const Size d = i % sizes.head_size;
    const ScoreRow row = score_row(sizes, i / sizes.head_size);
    const T* const w = weights + i / sizes.head_size * sizes.sources;
    const KeyRange visible = visible_keys(sizes, mask, row.b, row.target);
    T sum = 0;
    for (Size s = visible.begin; s < visible.end; ++s)
      sum += w[s] * head_at(value, row.b, s, row.head / (sizes.heads / sizes.kv_heads))[d];
    head_at(output, row.b, row.target, row.head)[d] = sum;
  }
}

}  // namespace

template <class T>
void attention_weights(Cuda device, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                       HeadsView<const T> key, T* weights) {
  const Size rows = sizes.batch * sizes.heads * sizes.targets;
  launch(score_kernel<T>, loop_blocks(rows * sizes.sources, threads), threads, 0, device.stream, sizes, mask, query,
         key, weights);
  launch(softmax_kernel<T>, loop_blocks(rows * warp_size, threads), threads, 0, device.stream, rows, sizes.sources,
         weights);
}

template <class T>
void attention_composed(Cuda device, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                        HeadsView<const T> key, HeadsView<const T> value, HeadsView<T> output, T* scores) {
  attention_weights(device, sizes, mask, query, key, scores);
  const Size n = sizes.batch * sizes.targets * sizes.heads * sizes.head_size;
  launch(weigh_kernel<T>, loop_blocks(n, threads), threads, 0, device.stream, sizes, mask, scores, value, output);
}

template void attention_weights(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                HeadsView<const float>, float*);
template void attention_weights(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const double>,
                                HeadsView<const double>, double*);
template void attention_composed(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                 HeadsView<const float>, HeadsView<const float>, HeadsView<float>, float*);
template void attention_composed(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const double>,
                                 HeadsView<const double>, HeadsView<const double>, HeadsView<double>, double*);

}  // namespace headshare::kernels
