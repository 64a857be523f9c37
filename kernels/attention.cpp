#include "kernels/attention.h"

#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/attention_few_rows.h"
#include "kernels/scratch.h"

namespace headshare::kernels {
namespace {

using namespace attention_tile;

struct TargetTile : Turn {
  Sources visible;  // those that any of the targets sees
};

// Targets of a tile.
Size targets_per_tile(const AttentionSizes& sizes) {
  return std::max(Size{1}, forward_rows / (sizes.heads / sizes.kv_heads));
}

// Calls work(tile) for all tiles, in parallel where that pays. Tiles are cut by the sizes alone: not by the threads.
template <class Work>
void for_each_tile(const AttentionSizes& sizes, const AttentionMask& mask, Work work) {
  const Size targets = targets_per_tile(sizes);
  const Size tiles = (sizes.targets + targets - 1) / targets;
  // Dynamic, because lengths and the causal order make some tiles cheaper than others; some tiles at a time, because
  // what a thread asked for ahead of its tile is what it needs next.
  [[maybe_unused]] const Size chunk = std::max(Size{1}, sizes.batch * sizes.kv_heads * tiles / 64);
#pragma omp parallel for collapse(3) schedule(dynamic, chunk) if (worth_threads(sizes))
  for (Size b = 0; b < sizes.batch; ++b) {
    for (Size g = 0; g < sizes.kv_heads; ++g) {
      for (Size i = 0; i < tiles; ++i) {
        const Size last = std::min((i + 1) * targets, sizes.targets);
        const Sources of_first = visible_sources(sizes, mask, b, i * targets),
                      of_last = visible_sources(sizes, mask, b, last - 1);
        work(TargetTile{{b, g, i * targets, last}, {of_first.begin, of_last.end}});
      }
    }
  }
}

enum ScratchSlot { query_slot, key_slot, value_slot, score_slot, output_slot, sum_slot };

// The queries of a tile, row after row, divided by sqrt(D): once per query instead of once per score.
template <class T>
const T* scaled_queries(const AttentionSizes& sizes, const TargetTile& tile, HeadsView<const T> query) {
  const Size depth = sizes.head_size, group = sizes.heads / sizes.kv_heads;
  T* queries = scratch<T>(query_slot, (tile.last - tile.first) * group * padded<T>(depth));
  const T scale = 1 / std::sqrt(static_cast<T>(depth));
  gather_heads(query, tile.b, tile.g, group, tile.first, tile.last, depth, scale, queries);
  return queries;
}

// q . k / sqrt(D) of a whole tile, in scratch memory.             returns [targets * group, padded visible.count()]
template <class T, class Stored>
T* score(const AttentionSizes& sizes, const TargetTile& tile, HeadsView<const T> query, HeadsView<const Stored> key) {
  const Size depth = sizes.head_size;
  const Size rows = (tile.last - tile.first) * (sizes.heads / sizes.kv_heads);
  const Size sources = tile.visible.count(), width = padded<T>(sources);
  const T* queries = scaled_queries(sizes, tile, query);
  T* scores = scratch<T>(score_slot, rows * width);
  const Stored* head = head_of(key, tile.b, tile.g) + tile.visible.begin * key.position_stride;
  if (rows <= few_queries && with_vectors<T, Stored>(depth, [&]<int vectors>() {
        score_few_rows<vectors>(rows, queries, head, key.position_stride, sources, scores, width);
      }))
    return scores;
  T* keys = scratch<T>(key_slot, padded<T>(depth) * sources_per_tile);
  for (Size s = 0; s < sources; s += sources_per_tile) {
    const Size end = std::min(s + sources_per_tile, sources);
    transpose_heads(head + s * key.position_stride, key.position_stride, end - s, depth, keys);
    multiply<Result::replaced, T>(rows, padded<T>(end - s), depth, {queries, padded<T>(depth), 1},
                                  {keys, padded<T>(end - s)}, {scores + s, width});
  }
  return scores;
}

// The same from keys that were laid out before, so that nothing is transposed.
template <class T, class Stored>
T* score(const AttentionSizes& sizes, const TargetTile& tile, HeadsView<const T> query, KeyTiles<const Stored> key) {
  const Size depth = sizes.head_size;
  const Size rows = (tile.last - tile.first) * (sizes.heads / sizes.kv_heads);
  const Size sources = tile.visible.count(), width = padded<T>(sources);
  const T* queries = scaled_queries(sizes, tile, query);
  T* scores = scratch<T>(score_slot, rows * width);
  const Stored* keys = key.data + tile.b * key.batch_stride + tile.g * key.head_stride;
  for (Size s = 0; s < sources; s += key_tile_sources, keys += depth * key_tile_sources) {
    ask_ahead(keys, depth * key_tile_sources * static_cast<Size>(sizeof(Stored)));
    multiply<Result::replaced, T, Stored>(rows, padded<T>(std::min(key_tile_sources, sources - s)), depth,
                                          {queries, padded<T>(depth), 1}, {keys, key_tile_sources},
                                          {scores + s, width});
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

// The same where the first visible source is not the first of the row: 0 before it, too.
template <class T>
Softmax<T> exponentials(T* row, Sources visible, Size width) {
  if (visible.count() == 0) return exponentials(row, Size{0}, width);
  const Size whole = visible.begin / lanes<T> * lanes<T>;  // vectors of nothing but zeros
  std::fill(row + whole, row + visible.begin, -std::numeric_limits<T>::infinity());
  const Softmax<T> softmax = exponentials(row + whole, visible.end - whole, width - whole);
  clear(row, 0, visible.begin);  // what became of -infinity is nearly, but not quite 0
  return softmax;
}

// outputs = weights values.                       weights: [rows, S], `width` apart   outputs: [rows, padded D]
// The values are read in place where they are rows of whole vectors already and are either packed or read only once;
// otherwise they are copied first, because rows far apart fall on the same few lines of the first cache, and so that
// narrow ones are widened once.
template <class T, class Stored>
void weigh_values(const AttentionSizes& sizes, const TargetTile& tile, HeadsView<const Stored> value, Size rows,
                  const T* weights, Size width, T* outputs) {
  const Size depth = sizes.head_size;
  const Size columns = padded<T>(depth);
  const Size sources = tile.visible.count();
  const Stored* head = head_of(value, tile.b, tile.g) + tile.visible.begin * value.position_stride;
  if (rows <= few_rows_weighed && with_vectors<T, Stored>(depth, [&]<int vectors>() {
        weigh_few_rows<vectors>(rows, weights, width, head, value.position_stride, sources, outputs);
      }))
    return;
  const bool packed = std::is_same_v<T, Stored> && value.position_stride == depth;
  if (columns == depth && (packed || rows <= 8)) {
    const Rows<const Stored> values{head, value.position_stride};
    multiply<Result::replaced, T, Stored>(rows, columns, sources, {weights, width, 1}, values, {outputs, columns});
    return;
  }
  T* values = scratch<T>(value_slot, std::max(sources, Size{1}) * columns);
  gather_heads(value, tile.b, tile.g, 1, tile.visible.begin, tile.visible.end, depth, T{1}, values);
  multiply<Result::replaced, T>(rows, columns, sources, {weights, width, 1}, {values, columns}, {outputs, columns});
}

// What comes next, to be read, and where this tile's outputs go.
template <class T, class Stored>
[[gnu::always_inline]] inline void ask_for_next(const AttentionSizes& sizes, const AttentionMask& mask,
                                                const TargetTile& tile, HeadsView<const T> query,
                                                HeadsView<const Stored> key, HeadsView<const Stored> value,
                                                HeadsView<T> output) {
  if (!lie_apart(key, sizes.head_size)) return;
  if (const auto next = turn_after(sizes, tile, targets_per_tile(sizes))) {
    ask_for_targets<Purpose::reading>(sizes, *next, query);
    if (next->first == 0)
      for (const HeadsView<const Stored>& view : {key, value})
        ask_for_sources<Purpose::reading>(sizes, mask, *next, view);
  }
  ask_for_targets<Purpose::writing>(sizes, tile, output);
}

// Keys: HeadsView or KeyTiles
template <class T, class Keys, class Stored>
void attend(const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query, Keys key,
            HeadsView<const Stored> value, HeadsView<T> output, Wide<T>* log_sum_exp) {
  const Size group = sizes.heads / sizes.kv_heads;
  const Size depth = sizes.head_size;
  for_each_tile(sizes, mask, [&](const TargetTile& tile) {
    const Size rows = (tile.last - tile.first) * group;
    const Size width = padded<T>(tile.visible.count());
    const Size output_width = padded<T>(depth);
    if constexpr (std::is_same_v<Keys, HeadsView<const Stored>>)
      if (rows > few_queries) ask_for_next(sizes, mask, tile, query, key, value, output);
    T* scores = score(sizes, tile, query, key);                 // [rows, S]
    T* outputs = scratch<T>(output_slot, rows * output_width);  // [rows, D]
    T* inverse_sums = scratch<T>(sum_slot, rows);               // [rows]
    for_each_row(tile.first, tile.last, group, tile.g, [&](Size row, Size target, Size head) {
      const Sources visible = visible_sources(sizes, mask, tile.b, target);
      const Softmax<T> softmax =
          exponentials(scores + row * width, visible.seen_from(tile.visible.begin, tile.visible.count()), width);
      inverse_sums[row] = visible.count() > 0 ? 1 / softmax.sum : 0;
      if (log_sum_exp != nullptr)
        log_sum_exp[(tile.b * sizes.heads + head) * sizes.targets + target] = softmax.max + std::log(softmax.sum);
    });
    weigh_values(sizes, tile, value, rows, scores, width, outputs);
    for_each_row(tile.first, tile.last, group, tile.g, [&](Size row, Size target, Size head) {
      copy_scaled_exactly(outputs + row * output_width, depth, inverse_sums[row],
                          head_of(output, tile.b, head) + target * output.position_stride);
    });
  });
}

}  // namespace

template <class T, class Stored>
void attention(Cpu, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
               HeadsView<const Stored> key, HeadsView<const Stored> value, HeadsView<T> output, Wide<T>* log_sum_exp) {
  attend<T>(sizes, mask, query, key, value, output, log_sum_exp);
}

template <class T, class Stored>
void attention(Cpu, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
               KeyTiles<const Stored> key, HeadsView<const Stored> value, HeadsView<T> output) {
  attend<T>(sizes, mask, query, key, value, output, nullptr);
}

template <class T, class Stored>
void lay_out_keys(Cpu, const AttentionSizes& sizes, HeadsView<const T> key, KeyTiles<Stored> tiles) {
  constexpr Size width = key_tile_sources;
  const Size depth = sizes.head_size, tiles_of_head = (sizes.sources + width - 1) / width;
  const bool worth_threads = sizes.batch * sizes.kv_heads * sizes.sources * depth > Size{1} << 14;
#pragma omp parallel for collapse(2) if (worth_threads)
  for (Size b = 0; b < sizes.batch; ++b) {
    for (Size g = 0; g < sizes.kv_heads; ++g) {
      T* transposed = scratch<T>(key_slot, padded<T>(depth) * width);
      Stored* to = tiles.data + b * tiles.batch_stride + g * tiles.head_stride;
      for (Size i = 0; i < tiles_of_head; ++i) {
        const Size first = i * width, sources = std::min(width, sizes.sources - first);
        transpose_heads(head_at(key, b, first, g), key.position_stride, sources, depth, transposed);
        for (Size d = 0; d < depth; ++d, to += width) {
          for (Size s = 0; s < sources; ++s) to[s] = static_cast<Stored>(transposed[d * padded<T>(sources) + s]);
          std::fill(to + sources, to + width, Stored(0.0f));
        }
      }
    }
  }
}

template <class T>
void attention_weights(Cpu, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                       HeadsView<const T> key, T* weights) {
  const Size group = sizes.heads / sizes.kv_heads;
  for_each_tile(sizes, mask, [&](const TargetTile& tile) {
    const Size width = padded<T>(tile.visible.count());
    T* scores = score(sizes, tile, query, key);  // [rows, S]
    for_each_row(tile.first, tile.last, group, tile.g, [&](Size row, Size target, Size head) {
      const Sources visible = visible_sources(sizes, mask, tile.b, target),
                    in_row = visible.seen_from(tile.visible.begin, tile.visible.count());
      const Softmax<T> softmax = exponentials(scores + row * width, in_row, width);
      T* to = weights + ((tile.b * sizes.heads + head) * sizes.targets + target) * sizes.sources;
      clear(to, 0, visible.begin);
      copy_scaled_exactly(scores + row * width + in_row.begin, visible.count(), 1 / softmax.sum, to + visible.begin);
      clear(to, visible.end, sizes.sources);
    });
  });
}

template void attention(Cpu, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                        HeadsView<const float>, HeadsView<const float>, HeadsView<float>, float*);
template void attention(Cpu, const AttentionSizes&, const AttentionMask&, HeadsView<const double>,
                        HeadsView<const double>, HeadsView<const double>, HeadsView<double>, double*);
template void attention(Cpu, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                        HeadsView<const BFloat16>, HeadsView<const BFloat16>, HeadsView<float>, float*);
template void attention(Cpu, const AttentionSizes&, const AttentionMask&, HeadsView<const float>, KeyTiles<const float>,
                        HeadsView<const float>, HeadsView<float>);
template void attention(Cpu, const AttentionSizes&, const AttentionMask&, HeadsView<const double>,
                        KeyTiles<const double>, HeadsView<const double>, HeadsView<double>);
template void attention(Cpu, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                        KeyTiles<const BFloat16>, HeadsView<const BFloat16>, HeadsView<float>);
template void lay_out_keys(Cpu, const AttentionSizes&, HeadsView<const float>, KeyTiles<float>);
template void lay_out_keys(Cpu, const AttentionSizes&, HeadsView<const double>, KeyTiles<double>);
template void lay_out_keys(Cpu, const AttentionSizes&, HeadsView<const float>, KeyTiles<BFloat16>);
template void attention_weights(Cpu, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                HeadsView<const float>, float*);
template void attention_weights(Cpu, const AttentionSizes&, const AttentionMask&, HeadsView<const double>,
                                HeadsView<const double>, double*);

}  // namespace headshare::kernels
