#include <cmath>

#include "kernels/attention.h"
#include "kernels/attention_tile.h"
#include "kernels/scratch.h"

// With P the weights and dS the gradient of the scores before 1 / sqrt(D):
//   delta_t = sum_d dO_td O_td       equals sum_s P_ts dP_ts, but needs no sum over all sources
//   dV = P^T dO     dP = dO V^T     dS_ts = P_ts (dP_ts - delta_t)     dQ = dS K / sqrt(D)     dK = dS^T Q / sqrt(D)
// (Dao et al. 2022, "FlashAttention", appendix B.2; P comes back as exp(score - log_sum_exp).) With the scores that
// makes five products per pair of tiles. One thread does a whole key/value head of a sequence: nobody else adds to its
// dK and dV.
namespace headshare::kernels {
namespace {

using namespace attention_tile;

enum ScratchSlot {
  key_slot,
  key_transposed_slot,
  value_transposed_slot,
  d_key_slot,
  d_value_slot,
  query_slot,
  d_query_slot,
  d_output_slot,
  delta_slot,
  weight_slot,
  d_score_slot
};

// One key/value head of one sequence, in scratch memory.
template <class T>
struct SourceSide {
  T* keys;               // [S, D]
  T* keys_transposed;    // per tile of sources: [D, sources]
  T* values_transposed;  // the same
  T* d_keys;             // [S, D]
  T* d_values;           // [S, D]
};

// One tile of targets with all query heads of the group.
template <class T>
struct TargetSide {
  T* queries;    // [rows, D], times 1 / sqrt(D)
  T* d_queries;  // [rows, D]
  T* d_outputs;  // [rows, D]
  T* deltas;     // [rows]
  T* weights;    // [rows, sources]: P
  T* d_scores;   // [rows, sources]: dS
};

template <class T>
struct Call {
  const AttentionSizes& sizes;
  const AttentionMask& mask;
  HeadsView<const T> query, key, value, output;
  const T* log_sum_exp;
  HeadsView<const T> d_output;
  HeadsView<T> d_query, d_key, d_value;

  Size group = sizes.heads / sizes.kv_heads;
  Size depth = sizes.head_size;
  Size width = padded<T>(depth);
  T scale = 1 / std::sqrt(static_cast<T>(depth));
};

template <class T>
SourceSide<T> load_sources(const Call<T>& call, Size b, Size g, Size visible) {
  const Size whole = padded<T>(call.sizes.sources) * call.width;
  const SourceSide<T> side{scratch<T>(key_slot, whole), scratch<T>(key_transposed_slot, whole),
                           scratch<T>(value_transposed_slot, whole), scratch<T>(d_key_slot, whole),
                           scratch<T>(d_value_slot, whole)};
  gather_heads(call.key, b, g, 1, 0, visible, call.depth, T{1}, side.keys);
  const T* value = head_of(call.value, b, g);
  for (Size s = 0; s < visible; s += sources_per_tile) {
    const Size sources = std::min(sources_per_tile, visible - s);
    transpose_heads(side.keys + s * call.width, call.width, sources, call.depth, side.keys_transposed + s * call.width);
    transpose_heads(value + s * call.value.position_stride, call.value.position_stride, sources, call.depth,
                    side.values_transposed + s * call.width);
  }
  clear(side.d_keys, 0, whole);
  clear(side.d_values, 0, whole);
  return side;
}

template <class T>
TargetSide<T> load_targets(const Call<T>& call, const Turn& turn) {
  const auto [b, g, first, last] = turn;
  const Size rows = (last - first) * call.group;
  const Size whole = rows * call.width;
  const TargetSide<T> side{scratch<T>(query_slot, whole),
                           scratch<T>(d_query_slot, whole),
                           scratch<T>(d_output_slot, whole),
                           scratch<T>(delta_slot, rows),
                           scratch<T>(weight_slot, rows * sources_per_tile),
                           scratch<T>(d_score_slot, rows * sources_per_tile)};
  // The outputs are needed for delta alone, so they may lie where the gradient of the queries comes afterwards.
  T* outputs = side.d_queries;
  gather_heads(call.query, b, g, call.group, first, last, call.depth, call.scale, side.queries);
  gather_heads(call.d_output, b, g, call.group, first, last, call.depth, T{1}, side.d_outputs);
  gather_heads(call.output, b, g, call.group, first, last, call.depth, T{1}, outputs);
  for (Size row = 0; row < rows; ++row) {
    Vector<T> sum = {};
    for (Size d = row * call.width; d < (row + 1) * call.width; d += lanes<T>)
      sum += load(outputs + d) * load(side.d_outputs + d);
    side.deltas[row] = sum_of<T>(sum);
  }
  clear(side.d_queries, 0, whole);
  return side;
}

// What the pair (tile of targets, tile of sources from s on) adds to dQ, dK and dV. Of the tile's sources, none of the
// targets sees more than the first `seen`.
template <class T>
void add_pair(const Call<T>& call, const Turn& turn, const SourceSide<T>& source, const TargetSide<T>& target, Size s,
              Size sources, Size seen) {
  const Size rows = (turn.last - turn.first) * call.group;
  const Size width = call.width;
  const Size columns = padded<T>(sources), used = padded<T>(seen);
  const Size here = s * width;  // where this tile of sources begins
  multiply<Result::replaced, T>(rows, used, call.depth, {target.queries, width, 1},
                                {source.keys_transposed + here, columns}, {target.weights, columns});
  multiply<Result::replaced, T>(rows, used, call.depth, {target.d_outputs, width, 1},
                                {source.values_transposed + here, columns}, {target.d_scores, columns});
  for_each_row(turn.first, turn.last, call.group, turn.g, [&](Size row, Size t, Size head) {
    const Sources visible = visible_sources(call.sizes, call.mask, turn.b, t).seen_from(s, seen);
    const T log_sum_exp = call.log_sum_exp[(turn.b * call.sizes.heads + head) * call.sizes.targets + t];
    T* weights = target.weights + row * columns;
    T* d_scores = target.d_scores + row * columns;
    for (Size i = visible.begin / lanes<T> * lanes<T>; i < visible.end; i += lanes<T>) {
      const Vector<T> p = exp(load(weights + i) - log_sum_exp);
      store(weights + i, p);
      store(d_scores + i, p * (load(d_scores + i) - target.deltas[row]));
    }
    for (T* row_of_tile : {weights, d_scores}) {
      clear(row_of_tile, 0, visible.begin);
      clear(row_of_tile, visible.end, used);
    }
  });
  multiply<Result::added, T>(rows, width, seen, {target.d_scores, columns, 1}, {source.keys + here, width},
                             {target.d_queries, width});
  multiply<Result::added, T>(seen, width, rows, {target.weights, 1, columns}, {target.d_outputs, width},
                             {source.d_values + here, width});
  multiply<Result::added, T>(seen, width, rows, {target.d_scores, 1, columns}, {target.queries, width},
                             {source.d_keys + here, width});
}

// What comes next, to be read, and where this turn's results go.
template <class T>
[[gnu::always_inline]] inline void ask_for_next(const Call<T>& call, const Turn& turn, Size targets_per_tile) {
  if (!lie_apart(call.query, call.depth)) return;
  if (const auto next = turn_after(call.sizes, turn, targets_per_tile)) {
    for (const HeadsView<const T>& view : {call.query, call.output, call.d_output})
      ask_for_targets<Purpose::reading>(call.sizes, *next, view);
    if (next->first == 0)
      for (const HeadsView<const T>& view : {call.key, call.value})
        ask_for_sources<Purpose::reading>(call.sizes, call.mask, *next, view);
  }
  ask_for_targets<Purpose::writing>(call.sizes, turn, call.d_query);
  if (turn.last == call.sizes.targets)
    for (const HeadsView<T>& view : {call.d_key, call.d_value})
      ask_for_sources<Purpose::writing>(call.sizes, call.mask, turn, view);
}

template <class T>
void group_backward(const Call<T>& call, Size b, Size g) {
  const Size targets_per_tile = std::max(Size{1}, backward_rows / call.group);
  const Size targets = call.sizes.targets;
  const Size loaded = visible_sources(call.sizes, call.mask, b, targets - 1).end;
  const SourceSide<T> source = load_sources(call, b, g, loaded);
  for (Size first = 0; first < targets; first += targets_per_tile) {
    const Turn turn{b, g, first, std::min(first + targets_per_tile, targets)};
    const Size begin = visible_sources(call.sizes, call.mask, b, first).begin;
    const Size end = visible_sources(call.sizes, call.mask, b, turn.last - 1).end;
    const TargetSide<T> target = load_targets(call, turn);
    ask_for_next(call, turn, targets_per_tile);
    for (Size s = begin / sources_per_tile * sources_per_tile; s < end; s += sources_per_tile) {
      const Size sources = std::min(sources_per_tile, loaded - s);  // as many as were transposed together
      add_pair(call, turn, source, target, s, sources, std::min(sources, end - s));
    }
    scatter_heads(target.d_queries, b, g, call.group, first, turn.last, call.depth, call.scale, call.d_query);
  }
  scatter_heads(source.d_keys, b, g, 1, 0, call.sizes.sources, call.depth, T{1}, call.d_key);
  scatter_heads(source.d_values, b, g, 1, 0, call.sizes.sources, call.depth, T{1}, call.d_value);
}

}  // namespace

template <class T>
void attention_backward(Cpu, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                        HeadsView<const T> key, HeadsView<const T> value, HeadsView<const T> output,
                        const Wide<T>* log_sum_exp, HeadsView<const T> d_output, HeadsView<T> d_query,
                        HeadsView<T> d_key, HeadsView<T> d_value) {
  const Call<T> call{sizes, mask, query, key, value, output, log_sum_exp, d_output, d_query, d_key, d_value};
  [[maybe_unused]] const Size chunk = std::max(Size{1}, sizes.batch * sizes.kv_heads / 64);  // as in the forward
#pragma omp parallel for collapse(2) schedule(dynamic, chunk) if (worth_threads(sizes))
  for (Size b = 0; b < sizes.batch; ++b) {
    for (Size g = 0; g < sizes.kv_heads; ++g) group_backward(call, b, g);
  }
}

template void attention_backward(Cpu, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                 HeadsView<const float>, HeadsView<const float>, HeadsView<const float>, const float*,
                                 HeadsView<const float>, HeadsView<float>, HeadsView<float>, HeadsView<float>);
template void attention_backward(Cpu, const AttentionSizes&, const AttentionMask&, HeadsView<const double>,
                                 HeadsView<const double>, HeadsView<const double>, HeadsView<const double>,
                                 const double*, HeadsView<const double>, HeadsView<double>, HeadsView<double>,
                                 HeadsView<double>);

}  // namespace headshare::kernels
