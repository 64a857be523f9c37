#include "kernels/attention.h"

#include <cmath>
#include <limits>

#include "kernels/attention_tile.h"
#include "kernels/scratch.h"

namespace headshare::kernels {
namespace {

using namespace attention_tile;

// What one thread works on at a time: some consecutive targets of one sequence, with all query heads of one group.
struct TargetTile {
  Size b;
  Size g;
  Size first;    // target
  Size last;     // target after the last
  Size visible;  // sources that the last target sees, and so the most any of them does
};

// Calls work(tile) for all tiles, in parallel where that pays. Tiles are cut by the sizes alone: not by the threads.
template <class Work>
void for_each_tile(const AttentionSizes& sizes, const AttentionMask& mask, Work work) {
  const Size group = sizes.heads / sizes.kv_heads;
  const Size targets = std::max(Size{1}, forward_rows / group);  // of a tile
  const Size tiles = (sizes.targets + targets - 1) / targets;
  // Dynamic, because lengths and the causal order make some tiles cheaper than others.
#pragma omp parallel for collapse(3) schedule(dynamic) if (worth_threads(sizes))
  for (Size b = 0; b < sizes.batch; ++b) {
    for (Size g = 0; g < sizes.kv_heads; ++g) {
      for (Size i = 0; i < tiles; ++i) {
        const Size last = std::min((i + 1) * targets, sizes.targets);
        work(TargetTile{b, g, i * targets, last, visible_sources(sizes, mask, b, last - 1)});
      }
    }
  }
}

enum ScratchSlot { query_slot, key_slot, value_slot, score_slot, output_slot, sum_slot };

// Scores of very few rows, without transposing the keys: that would cost more than it saves. Products of whole vectors
// along D for as many sources as a vector has lanes, then all their sums at once. D: a multiple of lanes<T>.
template <class T>
void score_few_rows(Size rows, const T* queries, const T* keys, Size key_stride, Size sources, Size depth, T* scores,
                    Size width) {
  const auto score_block = [&](Size s, auto source) {
    for (Size row = 0; row < rows; ++row) {
      Vector<T> products[lanes<T>] = {};
      for (Size d = 0; d < depth; d += lanes<T>) {
        const Vector<T> query = load(queries + row * depth + d);
#pragma GCC unroll 16
        for (Size i = 0; i < lanes<T>; ++i) products[i] += query * load(keys + (s + source(i)) * key_stride + d);
      }
      store(scores + row * width + s, sums_of_each<T>(products));
    }
  };
  Size s = 0;
  for (; s + lanes<T> <= sources; s += lanes<T>) score_block(s, [](Size i) { return i; });
  // After the last source that one again: these lanes are padding.
  if (s < sources) score_block(s, [&](Size i) { return std::min(i, sources - s - 1); });
}

// q . k / sqrt(D) of a whole tile, in scratch memory.             returns [targets * group, padded visible]
template <class T>
T* score(const AttentionSizes& sizes, const TargetTile& tile, HeadsView<const T> query, HeadsView<const T> key) {
  const Size depth = sizes.head_size;
  const Size group = sizes.heads / sizes.kv_heads;
  const Size rows = (tile.last - tile.first) * group;
  const Size width = padded<T>(tile.visible);
  T* queries = scratch<T>(query_slot, rows * padded<T>(depth));
  T* scores = scratch<T>(score_slot, rows * width);

  const T scale = 1 / std::sqrt(static_cast<T>(depth));  // once per query instead of once per score
  gather_heads(query, tile.b, tile.g, group, tile.first, tile.last, depth, scale, queries);
  const T* head = head_of(key, tile.b, tile.g);
  if (rows <= 2 && depth % lanes<T> == 0) {
    score_few_rows(rows, queries, head, key.position_stride, tile.visible, depth, scores, width);
    return scores;
  }
  T* keys = scratch<T>(key_slot, padded<T>(depth) * sources_per_tile);
  for (Size s = 0; s < tile.visible; s += sources_per_tile) {
    const Size end = std::min(s + sources_per_tile, tile.visible);
    transpose_heads(head + s * key.position_stride, key.position_stride, end - s, depth, keys);
    multiply<Result::replaced, T>(rows, padded<T>(end - s), depth, {queries, padded<T>(depth), 1},
                                  {keys, padded<T>(end - s)}, {scores + s, width});
  }
  return scores;
}

template <class T>
struct Softmax {
  T max;
  T sum;  // of exp(score - max)
};

// row[s] = exp(row[s] - max) for the visible sources, 0 for those after them up to `width`. Not yet divided by the sum:
// the output has fewer elements to divide.
template <class T>
Softmax<T> exponentials(T* row, Size visible, Size width) {
  const Size whole = visible / lanes<T> * lanes<T>;
  T max = -std::numeric_limits<T>::infinity();
  if (whole > 0) {
    Vector<T> largest = load(row);
    for (Size s = lanes<T>; s < whole; s += lanes<T>) {
      const Vector<T> x = load(row + s);
      largest = x > largest ? x : largest;
    }
    max = largest_of<T>(largest);
  }
  for (Size s = whole; s < visible; ++s) max = std::max(max, row[s]);

  Vector<T> sums = {};
  for (Size s = 0; s < whole; s += lanes<T>) {
    const Vector<T> e = exp(load(row + s) - max);
    store(row + s, e);
    sums += e;
  }
  if (whole < visible) {
    store(row + whole, exp(load(row + whole) - max));
    clear(row, visible, whole + lanes<T>);
    sums += load(row + whole);
  }
  clear(row, padded<T>(visible), width);
  return {max, sum_of<T>(sums)};
}

// The values of a group as rows of whole vectors: in place where they are that already and are either packed or read
// only once; otherwise copied, because rows far apart fall on the same few lines of the first cache.
template <class T>
Rows<const T> value_rows(const AttentionSizes& sizes, const TargetTile& tile, HeadsView<const T> value, Size rows) {
  const Size depth = sizes.head_size;
  const Size width = padded<T>(depth);
  if (width == depth && (value.position_stride == depth || rows <= 8))
    return {head_of(value, tile.b, tile.g), value.position_stride};
  T* values = scratch<T>(value_slot, std::max(tile.visible, Size{1}) * width);
  gather_heads(value, tile.b, tile.g, 1, 0, tile.visible, depth, T{1}, values);
  return {values, width};
}

}  // namespace

template <class T>
void attention(Cpu, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
               HeadsView<const T> key, HeadsView<const T> value, HeadsView<T> output, T* log_sum_exp) {
  const Size group = sizes.heads / sizes.kv_heads;
  const Size depth = sizes.head_size;
  for_each_tile(sizes, mask, [&](const TargetTile& tile) {
    const Size rows = (tile.last - tile.first) * group;
    const Size width = padded<T>(tile.visible);
    const Size output_width = padded<T>(depth);
    T* scores = score(sizes, tile, query, key);                 // [rows, S]
    T* outputs = scratch<T>(output_slot, rows * output_width);  // [rows, D]
    T* inverse_sums = scratch<T>(sum_slot, rows);               // [rows]
    for_each_row(tile.first, tile.last, group, tile.g, [&](Size row, Size target, Size head) {
      const Size visible = visible_sources(sizes, mask, tile.b, target);
      const Softmax<T> softmax = exponentials(scores + row * width, visible, width);
      inverse_sums[row] = visible > 0 ? 1 / softmax.sum : 0;
      if (log_sum_exp != nullptr)
        log_sum_exp[(tile.b * sizes.heads + head) * sizes.targets + target] = softmax.max + std::log(softmax.sum);
    });
    multiply<Result::replaced, T>(rows, output_width, tile.visible, {scores, width, 1},
                                  value_rows(sizes, tile, value, rows), {outputs, output_width});
    for_each_row(tile.first, tile.last, group, tile.g, [&](Size row, Size target, Size head) {
      copy_scaled_exactly(outputs + row * output_width, depth, inverse_sums[row],
                          head_of(output, tile.b, head) + target * output.position_stride);
    });
  });
}

template <class T>
void attention_weights(Cpu, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                       HeadsView<const T> key, T* weights) {
  const Size group = sizes.heads / sizes.kv_heads;
  for_each_tile(sizes, mask, [&](const TargetTile& tile) {
    const Size width = padded<T>(tile.visible);
    T* scores = score(sizes, tile, query, key);  // [rows, S]
    for_each_row(tile.first, tile.last, group, tile.g, [&](Size row, Size target, Size head) {
      const Size visible = visible_sources(sizes, mask, tile.b, target);
      const Softmax<T> softmax = exponentials(scores + row * width, visible, width);
      T* to = weights + ((tile.b * sizes.heads + head) * sizes.targets + target) * sizes.sources;
      copy_scaled_exactly(scores + row * width, visible, 1 / softmax.sum, to);
      clear(to, visible, sizes.sources);
    });
  });
}

template void attention(Cpu, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                        HeadsView<const float>, HeadsView<const float>, HeadsView<float>, float*);
template void attention(Cpu, const AttentionSizes&, const AttentionMask&, HeadsView<const double>,
                        HeadsView<const double>, HeadsView<const double>, HeadsView<double>, double*);
template void attention_weights(Cpu, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                HeadsView<const float>, float*);
template void attention_weights(Cpu, const AttentionSizes&, const AttentionMask&, HeadsView<const double>,
                                HeadsView<const double>, double*);

}  // namespace headshare::kernels
