#include <cmath>

#include "kernels/attention_ladder.h"
#include "kernels/attention_mask.cuh"
#include "kernels/attention_tile.cuh"
#include "kernels/device_memory.h"

// With P the weights and dS the gradient of the scores before 1 / sqrt(D):
//   delta_t = sum_d dO_td O_td       equals sum_s P_ts dP_ts, but needs no sum over all sources
//   dV = P^T dO     dP = dO V^T     dS_ts = P_ts (dP_ts - delta_t)     dQ = dS K / sqrt(D)     dK = dS^T Q / sqrt(D)
// (Dao et al. 2022, "FlashAttention", appendix B.2; P comes back as exp(score - log_sum_exp).)
//
// dQ is a sum over keys, dK and dV are sums over queries. Blocks that add to each other's sums would need atomics,
// whose order changes from run to run; so there are two kernels, and both compute the scores. A block of the first
// stays with a tile of queries and lets all keys pass by; a block of the second stays with a tile of keys and lets all
// queries pass by that see them. What a block sums up never leaves its registers until it is done.
namespace headshare::kernels {
namespace {

constexpr int threads = 128;

template <class T>
struct Call {
  AttentionSizes sizes;
  AttentionMask mask;
  HeadsView<const T> query, key, value;
  const T* log_sum_exp;  // [B, H, T]
  const T* deltas;       // [B, H, T]
  HeadsView<const T> d_output;
  HeadsView<T> d_query, d_key, d_value;
};

// How many rows stay and pass at a time. Their sums fill 16 to 64 registers of each thread, and several blocks fit on a
// multiprocessor; one of floats up to D = 128 needs less than 64 KiB of shared memory, all that older GPUs have.
template <class T, int depth>
struct Tiling {
  static constexpr int staying = sizeof(T) == 4 ? (depth <= 64 ? 64 : 32) : (depth <= 128 ? 32 : 16);
  static constexpr int passing = depth * sizeof(T) <= 256 ? 32 : 16;
  static constexpr int stride = tile_stride<T>(depth);
  static constexpr int weight_stride = staying + 16;  // two rows below each other do not share a bank
};

// What belongs to one row of queries besides its numbers.
template <class T>
struct Row {
  T log_sum_exp, delta;
  KeyRange visible;
};

template <class T>
__device__ Row<T> row_of(const Call<T>& call, const RowTile& tile, int row) {
  if (row >= tile.count) return {0, 0, {0, 0}};
  const Size target = tile.target(row);
  const Size index = (tile.b * call.sizes.heads + tile.head(row)) * call.sizes.targets + target;
  return {call.log_sum_exp[index], call.deltas[index], visible_keys(call.sizes, call.mask, tile.b, target)};
}

// One block's shared memory.
template <class T, int depth>
struct Tiles {
  using Sizes = Tiling<T, depth>;
  T* staying[2];  // queries and gradients of outputs, or keys and values     [staying, stride]
  T* passing[2];  // the other two                                            [passing, stride]
  T* weights;     // P or dS                                                  [passing, weight_stride]
  Row<T>* rows;   // of the tile of queries

  __device__ explicit Tiles(T* shared)
      : staying{shared, shared + Sizes::staying * Sizes::stride},
        passing{staying[1] + Sizes::staying * Sizes::stride, passing[0] + Sizes::passing * Sizes::stride},
        weights(passing[1] + Sizes::passing * Sizes::stride),
        rows(reinterpret_cast<Row<T>*>(weights + Sizes::passing * Sizes::weight_stride)) {}

  static constexpr std::size_t bytes =
      sizeof(T) * (2 * (Sizes::staying + Sizes::passing) * Sizes::stride + Sizes::passing * Sizes::weight_stride) +
      sizeof(Row<T>) * (Sizes::staying > Sizes::passing ? Sizes::staying : Sizes::passing);
};

// ---- The pieces both kernels are made of ---------------------------------------------------------------------------

template <int rows, int depth, class T>
__device__ void load_queries(const Call<T>& call, const RowTile& tile, T* queries, T* d_outputs, Row<T>* facts) {
  const int head_size = static_cast<int>(call.sizes.head_size);
  const auto load = [&](HeadsView<const T> view, T scale, T* to) {
    load_tile<threads, rows, depth>([&](int row) { return head_at(view, tile.b, tile.target(row), tile.head(row)); },
                                    tile.count, head_size, scale, to);
  };
  load(call.query, 1 / std::sqrt(static_cast<T>(head_size)), queries);
  load(call.d_output, T{1}, d_outputs);
  for (int row = threadIdx.x; row < rows; row += threads) facts[row] = row_of(call, tile, row);
}

template <int rows, int depth, class T>
__device__ void load_keys(const Call<T>& call, int b, int g, int first, int count, T* keys, T* values) {
  const int head_size = static_cast<int>(call.sizes.head_size);
  load_tile<threads, rows, depth>([&](int s) { return head_at(call.key, b, first + s, g); }, count, head_size, T{1},
                                  keys);
  load_tile<threads, rows, depth>([&](int s) { return head_at(call.value, b, first + s, g); }, count, head_size, T{1},
                                  values);
}

// Scores belong to pairs of a staying and a passing row. Each thread has those of some of either, 16 and 8 apart: lanes
// next to each other read rows next to each other.
constexpr int staying_step = 16, passing_step = threads / staying_step;
__device__ inline int own_staying(int i) { return threadIdx.x % staying_step + i * staying_step; }
__device__ inline int own_passing(int j) { return threadIdx.x / staying_step + j * passing_step; }

template <class T, int depth>
struct Scores {
  static constexpr int staying = Tiling<T, depth>::staying / staying_step;
  static constexpr int passing = Tiling<T, depth>::passing / passing_step;
  T sums[staying][passing] = {};

  // sums[i][j] = a[own_staying(i)] . b[own_passing(j)].                     a: [staying, stride], b: [passing, stride]
  __device__ Scores(const T* a, const T* b, int head_size) {
    constexpr int stride = Tiling<T, depth>::stride;
    for (int d = 0; d < head_size; d += Chunk<T>::size) {
      Chunk<T> right[passing];
      for (int j = 0; j < passing; ++j) right[j] = chunk_at(b + own_passing(j) * stride + d);
      for (int i = 0; i < staying; ++i) {
        const Chunk<T> left = chunk_at(a + own_staying(i) * stride + d);
        for (int j = 0; j < passing; ++j)
          for (int c = 0; c < Chunk<T>::size; ++c) sums[i][j] += left[c] * right[j][c];
      }
    }
  }

  // Passing rows become rows of `weights`, as Gradient::add wants them.                    weights: [passing, staying]
  __device__ void store(T* weights) const {
    for (int j = 0; j < passing; ++j)
      for (int i = 0; i < staying; ++i)
        weights[own_passing(j) * Tiling<T, depth>::weight_stride + own_staying(i)] = sums[i][j];
  }
};

// In place: a score becomes the weight P, and the gradient dP of the weight becomes that of the score, dS.
template <class T>
__device__ inline void to_weight(const Row<T>& row, int key, T& score, T& d_weight) {
  const bool seen = row.visible.contains(key);
  score = seen ? std::exp(score - row.log_sum_exp) : T{0};
  d_weight = seen ? score * (d_weight - row.delta) : T{0};
}

// A [staying, depth] matrix of sums in the registers of the block. Of each row, a thread has every lanes-th chunk.
template <class T, int depth>
struct Gradient {
  static constexpr int chunk = Chunk<T>::size;
  static constexpr int lanes = depth / chunk < warp_size ? depth / chunk : warp_size;
  static constexpr int chunks = depth / chunk / lanes;
  static constexpr int rows = Tiling<T, depth>::staying / (threads / lanes);
  static_assert(rows % chunk == 0);
  T sums[rows][chunks][chunk] = {};

  __device__ static int own_row() { return threadIdx.x / lanes * rows; }
  __device__ static int own_column(int i) { return (threadIdx.x % lanes + i * lanes) * chunk; }

  // sums += weights^T x over the first `count` rows of both.          weights: [passing, staying], x: [passing, depth]
  __device__ void add(const T* weights, const T* x, int count) {
    for (int k = 0; k < count; ++k) {
      Chunk<T> right[chunks];
      for (int i = 0; i < chunks; ++i) right[i] = chunk_at(x + k * Tiling<T, depth>::stride + own_column(i));
      for (int row = 0; row < rows; row += chunk) {
        const Chunk<T> left = chunk_at(weights + k * Tiling<T, depth>::weight_stride + own_row() + row);
        for (int r = 0; r < chunk; ++r)
          for (int i = 0; i < chunks; ++i)
            for (int c = 0; c < chunk; ++c) sums[row + r][i][c] += left[r] * right[i][c];
      }
    }
  }

  // head(i)[d] = scale * sums[i, d] for i < count, by way of shared memory: there, a warp finds whole rows to write.
  template <class Head>
  __device__ void store(Head head, int count, int head_size, T scale, T* tile) const {
    constexpr int stride = Tiling<T, depth>::stride;
    __syncthreads();  // the tile is free
    for (int row = 0; row < rows; ++row)
      for (int i = 0; i < chunks; ++i) {
        Chunk<T> scaled;  // at once: one number at a time, a warp would meet every fourth bank only
        for (int c = 0; c < chunk; ++c) scaled[c] = scale * sums[row][i][c];
        store_chunk<chunk>(scaled, tile + (own_row() + row) * stride + own_column(i));
      }
    __syncthreads();
    const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
    for (int row = warp; row < count; row += threads / warp_size) {
      T* const to = head(row);
      for (int d = lane; d < head_size; d += warp_size) to[d] = tile[row * stride + d];
    }
  }
};

// ---- The kernels ----------------------------------------------------------------------------------------------------

// A warp per row.                                                                                    deltas: [B, H, T]
template <class T>
__global__ void delta_kernel(AttentionSizes sizes, HeadsView<const T> output, HeadsView<const T> d_output, T* deltas) {
  const Size row = global_thread() / warp_size;
  if (row >= sizes.batch * sizes.heads * sizes.targets) return;  // the whole warp
  const Size target = row % sizes.targets, outer = row / sizes.targets;
  const Size head = outer % sizes.heads, b = outer / sizes.heads;
  const T* const o = head_at(output, b, target, head);
  const T* const d_o = head_at(d_output, b, target, head);
  T sum = 0;
  for (Size d = threadIdx.x % warp_size; d < sizes.head_size; d += warp_size) sum += o[d] * d_o[d];
  sum = warp_sum(sum);
  if (threadIdx.x % warp_size == 0) deltas[row] = sum;
}

// Which tile of which key/value head of which sentence a block works on.
struct BlockPlace {
  int b, g, tile;
};
__device__ inline BlockPlace place_of_block(const AttentionSizes& sizes) {
  const int kv_heads = static_cast<int>(sizes.kv_heads), pairs = static_cast<int>(sizes.batch) * kv_heads;
  const int pair = static_cast<int>(blockIdx.x) % pairs;
  return {pair / kv_heads, pair % kv_heads, static_cast<int>(blockIdx.x) / pairs};
}
__device__ inline int group_of(const AttentionSizes& sizes) {
  return static_cast<int>(sizes.heads) / static_cast<int>(sizes.kv_heads);
}
__device__ inline RowTile row_tile(const AttentionSizes& sizes, int b, int g, int first, int most) {
  const int group = group_of(sizes), left = static_cast<int>(sizes.targets) * group - first;
  return {b, g, group, first, left < most ? left : most};
}

template <class T, int depth>
__global__ void __launch_bounds__(threads) d_query_kernel(Call<T> call) {
  constexpr int rows = Tiling<T, depth>::staying, keys_per_tile = Tiling<T, depth>::passing;
  DYNAMIC_SHARED(T, shared);
  const Tiles<T, depth> tiles(shared);
  T *const queries = tiles.staying[0], *const d_outputs = tiles.staying[1];
  T *const keys = tiles.passing[0], *const values = tiles.passing[1];
  const BlockPlace place = place_of_block(call.sizes);
  const RowTile tile = row_tile(call.sizes, place.b, place.g, place.tile * rows, rows);
  const int head_size = static_cast<int>(call.sizes.head_size);
  load_queries<rows, depth>(call, tile, queries, d_outputs, tiles.rows);

  Gradient<T, depth> d_query;
  const int begin = visible_keys(call.sizes, call.mask, tile.b, tile.target(0)).begin;
  const int end = visible_keys(call.sizes, call.mask, tile.b, tile.target(tile.count - 1)).end;
  for (int first = begin; first < end; first += keys_per_tile) {
    const int count = end - first < keys_per_tile ? end - first : keys_per_tile;
    __syncthreads();  // nobody reads the tile before any more
    load_keys<keys_per_tile, depth>(call, tile.b, tile.g, first, count, keys, values);
    __syncthreads();
    Scores<T, depth> weights(queries, keys, head_size), d_scores(d_outputs, values, head_size);
    for (int i = 0; i < weights.staying; ++i)
      for (int j = 0; j < weights.passing; ++j)
        to_weight(tiles.rows[own_staying(i)], first + own_passing(j), weights.sums[i][j], d_scores.sums[i][j]);
    d_scores.store(tiles.weights);
    __syncthreads();
    d_query.add(tiles.weights, keys, count);
  }
  d_query.store([&](int row) { return head_at(call.d_query, tile.b, tile.target(row), tile.head(row)); }, tile.count,
                head_size, 1 / std::sqrt(static_cast<T>(head_size)), queries);
}

template <class T, int depth>
__global__ void __launch_bounds__(threads, 2) d_key_value_kernel(Call<T> call) {
  constexpr int keys_per_tile = Tiling<T, depth>::staying, rows = Tiling<T, depth>::passing;
  DYNAMIC_SHARED(T, shared);
  const Tiles<T, depth> tiles(shared);
  T *const keys = tiles.staying[0], *const values = tiles.staying[1];
  T *const queries = tiles.passing[0], *const d_outputs = tiles.passing[1];
  const BlockPlace place = place_of_block(call.sizes);
  const int head_size = static_cast<int>(call.sizes.head_size), first_key = place.tile * keys_per_tile;
  const int targets = static_cast<int>(call.sizes.targets), sources = static_cast<int>(call.sizes.sources);
  const int visible = visible_keys(call.sizes, call.mask, place.b, targets - 1).end - first_key;
  load_keys<keys_per_tile, depth>(call, place.b, place.g, first_key, visible, keys, values);

  Gradient<T, depth> d_key, d_value;
  Size first_target = 0, end_target = visible > 0 ? targets : 0;  // of those that see any key of the tile
  if (call.mask.order == AttentionMask::Order::causal) {
    const int own_target = first_key - (sources - targets);  // stands where the first key does
    if (own_target > 0) first_target = own_target;
    const Size too_late = own_target + keys_per_tile - 1 + call.mask.window;  // the last key has left its window
    if (call.mask.window > 0 && too_late < end_target) end_target = too_late;
  }
  const int end = static_cast<int>(end_target) * group_of(call.sizes);
  for (int first = static_cast<int>(first_target) * group_of(call.sizes); first < end; first += rows) {
    const RowTile tile = row_tile(call.sizes, place.b, place.g, first, rows);
    __syncthreads();  // nobody reads the tile before any more
    load_queries<rows, depth>(call, tile, queries, d_outputs, tiles.rows);
    __syncthreads();
    Scores<T, depth> weights(keys, queries, head_size), d_scores(values, d_outputs, head_size);
    for (int i = 0; i < weights.staying; ++i)
      for (int j = 0; j < weights.passing; ++j)
        to_weight(tiles.rows[own_passing(j)], first_key + own_staying(i), weights.sums[i][j], d_scores.sums[i][j]);
    weights.store(tiles.weights);
    __syncthreads();
    d_value.add(tiles.weights, d_outputs, tile.count);
    __syncthreads();  // one after the other in the same place: both would not fit
    d_scores.store(tiles.weights);
    __syncthreads();
    d_key.add(tiles.weights, queries, tile.count);
  }
  const int left = sources - first_key, count = left < keys_per_tile ? left : keys_per_tile;
  d_key.store([&](int s) { return head_at(call.d_key, place.b, first_key + s, place.g); }, count, head_size, T{1},
              keys);
  d_value.store([&](int s) { return head_at(call.d_value, place.b, first_key + s, place.g); }, count, head_size, T{1},
                values);
}

}  // namespace

template <class T>
void attention_backward(Cuda device, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                        HeadsView<const T> key, HeadsView<const T> value, HeadsView<const T> output,
                        const Wide<T>* log_sum_exp, HeadsView<const T> d_output, HeadsView<T> d_query,
                        HeadsView<T> d_key, HeadsView<T> d_value) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    attention_backward_tensor_core(device, sizes, mask, query, key, value, output, log_sum_exp, d_output, d_query,
                                   d_key, d_value);
  } else {
    enum ScratchSlot { delta_slot };
    const Size rows = sizes.batch * sizes.heads * sizes.targets, pairs = sizes.batch * sizes.kv_heads;
    T* const deltas = device_scratch<T>(delta_slot, rows);
    launch(delta_kernel<T>, groups_of(rows, threads / warp_size), threads, 0, device.stream, sizes, output, d_output,
           deltas);
    const Call<T> call{sizes, mask, query, key, value, log_sum_exp, deltas, d_output, d_query, d_key, d_value};
    with_depth(sizes.head_size, [&](auto depth) {
      constexpr int staying = Tiling<T, depth>::staying;
      constexpr std::size_t bytes = Tiles<T, depth>::bytes;
      const auto blocks = [&](Size n) { return static_cast<unsigned>(groups_of(n, staying) * pairs); };
      launch(d_query_kernel<T, depth>, blocks(rows_of_group(sizes)), threads, bytes, device.stream, call);
      launch(d_key_value_kernel<T, depth>, blocks(sizes.sources), threads, bytes, device.stream, call);
    });
  }
}

template void attention_backward(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                 HeadsView<const float>, HeadsView<const float>, HeadsView<const float>, const float*,
                                 HeadsView<const float>, HeadsView<float>, HeadsView<float>, HeadsView<float>);
template void attention_backward(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const double>,
                                 HeadsView<const double>, HeadsView<const double>, HeadsView<const double>,
                                 const double*, HeadsView<const double>, HeadsView<double>, HeadsView<double>,
                                 HeadsView<double>);
template void attention_backward(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const BFloat16>,
                                 HeadsView<const BFloat16>, HeadsView<const BFloat16>, HeadsView<const BFloat16>,
                                 const float*, HeadsView<const BFloat16>, HeadsView<BFloat16>, HeadsView<BFloat16>,
                                 HeadsView<BFloat16>);

}  // namespace headshare::kernels
