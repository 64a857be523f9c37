#include "kernels/attention.h"

#include <cmath>
#include <limits>

#include "kernels/attention_ladder.h"
#include "kernels/attention_mask.cuh"
#include "kernels/attention_tile.cuh"

// The fused rung of attention_ladder.h: the scores are never in memory, only a tile of them at a time in registers and
// shared memory (FlashAttention; Dao et al. 2022). A softmax that has not seen all its scores yet carries the largest
// and the sum of exponentials so far, and scales what it has when a larger one comes (Milakov and Gimelshein 2018).
namespace headshare::kernels {
namespace {

constexpr int threads = 128;
constexpr int warps = threads / warp_size;

// A warp has the rows of queries of its share to itself. Its lanes stand in 4 rows of 8, so that each computes a small
// rectangle of scores and one of outputs: a number loaded from shared memory then serves many multiplications.
constexpr int row_lanes = 4, key_lanes = 8;

template <class T, int depth_>
struct Tiling {
  static constexpr int depth = depth_;  // D rounded up to 32, 64, 128 or 256
  static constexpr int chunk = Chunk<T>::size;
  // Of queries: as many as leave room for several blocks on a multiprocessor, in registers and in shared memory.
  static constexpr int rows = sizeof(T) * depth <= 256 ? 64 : sizeof(T) * depth <= 512 ? 32 : 16;
  static constexpr int keys = 32;
  // What one lane has: rows r, r + 4, r + 8 ... of its warp, keys k, k + 8, k + 16 ..., and chunks k, k + 8 ... of the
  // output. Neighbouring lanes have neighbouring ones, which lie in different banks.
  static constexpr int lane_rows = rows / warps / row_lanes;
  static constexpr int lane_keys = keys / key_lanes;
  static constexpr int lane_chunks = depth / chunk / key_lanes;

  static constexpr int stride = tile_stride<T>(depth);
  static constexpr int weight_stride = keys + key_lanes;  // four rows of eight weights, as a warp writes them: 32 banks
  static constexpr int shared_numbers = (rows + 2 * keys) * stride + rows * weight_stride;
};

// One value of the 8 lanes that have the same rows; `combine` takes two values.
template <class T, class Combine>
__device__ inline T over_keys(T value, Combine combine) {
  for (int step = key_lanes / 2; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(all_lanes, value, step));
  return value;
}

// What a lane knows of its rows while it passes the keys.
template <class T, class Tiling>
struct Rows {
  T max[Tiling::lane_rows];
  T sum[Tiling::lane_rows];  // of exp(score - max), of this lane's own keys only: added up at the end
  T output[Tiling::lane_rows][Tiling::lane_chunks][Tiling::chunk];  // sum of exp(score - max) v, of all keys
};

// scores = scale * queries keys^T.                 queries, keys: from this lane's first row and key on, [., stride]
template <class Tiling, class T>
__device__ inline void score(const T* queries, const T* keys, int head_size, T scale,
                             T (&scores)[Tiling::lane_rows][Tiling::lane_keys]) {
  for (int d = 0; d < head_size; d += Tiling::chunk) {
    Chunk<T> k[Tiling::lane_keys];
    for (int j = 0; j < Tiling::lane_keys; ++j) k[j] = chunk_at(keys + j * key_lanes * Tiling::stride + d);
    for (int i = 0; i < Tiling::lane_rows; ++i) {
      const Chunk<T> q = chunk_at(queries + i * row_lanes * Tiling::stride + d);
      for (int j = 0; j < Tiling::lane_keys; ++j)
        for (int c = 0; c < Tiling::chunk; ++c) scores[i][j] += q[c] * k[j][c];
    }
  }
  for (auto& of_row : scores)
    for (T& score : of_row) score *= scale;
}

// Brings the new scores into the softmax, and writes exp(score - max) to `weights`. `first` is the number, among all
// keys, of this lane's first.          visible: from this lane's first row on   weights: the same, [., weight_stride]
template <class Tiling, class T>
__device__ inline void update_softmax(Rows<T, Tiling>& rows, const KeyRange* visible, int first,
                                      const T (&scores)[Tiling::lane_rows][Tiling::lane_keys], T* weights) {
  for (int i = 0; i < Tiling::lane_rows; ++i) {
    const KeyRange seen = visible[i * row_lanes];
    T max = rows.max[i];
    for (int j = 0; j < Tiling::lane_keys; ++j)
      if (seen.contains(first + j * key_lanes)) max = larger(max, scores[i][j]);
    max = over_keys(max, [](T a, T b) { return larger(a, b); });
    const T shrink = std::exp(rows.max[i] - max);  // what was summed up so far is relative to the old maximum
    rows.max[i] = max;
    rows.sum[i] *= shrink;
    for (T(&chunk)[Tiling::chunk] : rows.output[i])
      for (T& output : chunk) output *= shrink;
    for (int j = 0; j < Tiling::lane_keys; ++j) {
      const T weight = seen.contains(first + j * key_lanes) ? std::exp(scores[i][j] - max) : T{0};
      rows.sum[i] += weight;
      weights[i * row_lanes * Tiling::weight_stride + j * key_lanes] = weight;
    }
  }
}

// output += weights values.   weights: from this lane's first row on, [., weight_stride]   values: from its first chunk
template <class Tiling, class T>
__device__ inline void weigh(Rows<T, Tiling>& rows, const T* weights, const T* values, int count) {
  constexpr int chunk = Tiling::chunk;
  for (int s = 0; s < count; s += chunk) {
    Chunk<T> w[Tiling::lane_rows];
    for (int i = 0; i < Tiling::lane_rows; ++i) w[i] = chunk_at(weights + i * row_lanes * Tiling::weight_stride + s);
    for (int c = 0; c < chunk; ++c)
      for (int j = 0; j < Tiling::lane_chunks; ++j) {
        const Chunk<T> v = chunk_at(values + (s + c) * Tiling::stride + j * key_lanes * chunk);
        for (int i = 0; i < Tiling::lane_rows; ++i)
          for (int e = 0; e < chunk; ++e) rows.output[i][j][e] += w[i][c] * v[e];
      }
  }
}

template <class T, class Stored, class Tiling>
__global__ void __launch_bounds__(threads)
    attention_kernel(AttentionSizes sizes, AttentionMask mask, HeadsView<const T> query, HeadsView<const Stored> key,
                     HeadsView<const Stored> value, HeadsView<T> output, Wide<T>* log_sum_exp) {
  constexpr int stride = Tiling::stride, chunk = Tiling::chunk, lane_rows = Tiling::lane_rows;
  DYNAMIC_SHARED(T, shared);
  T* const queries = shared;                          // [rows, stride], a warp's own rows read by no other warp
  T* const keys = queries + Tiling::rows * stride;    // [keys, stride]
  T* const values = keys + Tiling::keys * stride;     // [keys, stride]
  T* const weights = values + Tiling::keys * stride;  // [rows, weight_stride], as the queries

  const RowTile tile = tile_of_block(sizes, Tiling::rows);
  const int head_size = static_cast<int>(sizes.head_size);
  const int lane = threadIdx.x % warp_size, key_lane = lane % key_lanes;
  const int warp_row = threadIdx.x / warp_size * (Tiling::rows / warps);  // the first of this warp
  const int row = warp_row + lane / key_lanes;                            // the first of this lane
  const T scale = 1 / std::sqrt(static_cast<T>(head_size));
  Rows<T, Tiling> rows = {};
  for (T& max : rows.max) max = std::numeric_limits<T>::lowest();  // -infinity less itself would be NaN: no key visible
  __shared__ KeyRange visible[Tiling::rows];                       // not in registers: the sums need them
  for (int r = threadIdx.x; r < Tiling::rows; r += threads)
    visible[r] = r < tile.count ? visible_keys(sizes, mask, tile.b, tile.target(r)) : KeyRange{0, 0};
  // The keys that any row of the tile sees: the first row's begin first, and the last row's end last.
  const int begin = visible_keys(sizes, mask, tile.b, tile.target(0)).begin;
  const int end = visible_keys(sizes, mask, tile.b, tile.target(tile.count - 1)).end;
  if (begin < end)
    load_tile<threads, Tiling::rows, Tiling::depth>(
        [&](int r) { return head_at(query, tile.b, tile.target(r), tile.head(r)); }, tile.count, head_size, T{1},
        queries);
  for (int first = begin; first < end; first += Tiling::keys) {
    const int count = end - first < Tiling::keys ? end - first : Tiling::keys;
    const auto load = [&](HeadsView<const Stored> heads, T* to) {
      load_tile<threads, Tiling::keys, Tiling::depth>([&](int s) { return head_at(heads, tile.b, first + s, tile.g); },
                                                      count, head_size, T{1}, to);
    };
    __syncthreads();  // every warp is done with the tile before
    load(key, keys);
    load(value, values);
    __syncthreads();
    if (warp_row >= tile.count) continue;  // a warp without queries only helps to load
    T scores[lane_rows][Tiling::lane_keys] = {};
    score<Tiling>(queries + row * stride, keys + key_lane * stride, head_size, scale, scores);
    update_softmax(rows, visible + row, first + key_lane, scores, weights + row * Tiling::weight_stride + key_lane);
    __syncwarp();
    weigh(rows, weights + row * Tiling::weight_stride, values + key_lane * chunk, count);
  }

  // The outputs go through the place of this warp's queries, which no lane reads any more: so the warp stores whole
  // rows, not each lane its pieces.
  for (int i = 0; i < lane_rows; ++i) {
    const int r = row + i * row_lanes;
    const T sum = over_keys(rows.sum[i], [](T a, T b) { return a + b; });
    const T inverse = sum != 0 ? 1 / sum : T{0};  // 0: no key is visible
    for (int j = 0; j < Tiling::lane_chunks; ++j) {
      Chunk<T> part;  // whole chunks: number by number, lanes of several rows would meet in one bank
      for (int e = 0; e < chunk; ++e) part.values[e] = rows.output[i][j][e] * inverse;
      *reinterpret_cast<Chunk<T>*>(queries + r * stride + (j * key_lanes + key_lane) * chunk) = part;
    }
    if (log_sum_exp != nullptr && key_lane == 0 && r < tile.count)
      log_sum_exp[(tile.b * sizes.heads + tile.head(r)) * sizes.targets + tile.target(r)] = rows.max[i] + std::log(sum);
  }
  __syncwarp();
  for (int r = warp_row; r < warp_row + Tiling::rows / warps && r < tile.count; ++r) {
    T* const to = head_at(output, tile.b, tile.target(r), tile.head(r));
    for (int d = lane; d < head_size; d += warp_size) to[d] = queries[r * stride + d];
  }
}

}  // namespace

template <class T, class Stored>
void attention_fused(Cuda device, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                     HeadsView<const Stored> key, HeadsView<const Stored> value, HeadsView<T> output,
                     Wide<T>* log_sum_exp) {
  with_depth(sizes.head_size, [&](auto depth) {
    using Tiles = Tiling<T, depth>;
    const Size blocks = groups_of(rows_of_group(sizes), Tiles::rows) * sizes.batch * sizes.kv_heads;
    launch(attention_kernel<T, Stored, Tiles>, static_cast<unsigned>(blocks), threads,
           Tiles::shared_numbers * sizeof(T), device.stream, sizes, mask, query, key, value, output, log_sum_exp);
  });
}

template <class T, class Stored>
void attention(Cuda device, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
               HeadsView<const Stored> key, HeadsView<const Stored> value, HeadsView<T> output, Wide<T>* log_sum_exp) {
  constexpr Size few_rows = 16;  // would leave most of a tile empty: one new token, beams over one cross cache
  constexpr bool is_quantized = std::is_same_v<Stored, std::int8_t>;  // a cache, and only decoding reads those
  if (is_quantized || rows_of_group(sizes) <= few_rows)
    return decode_attention(device, sizes, mask, query, key, value, output, log_sum_exp);
  if constexpr (std::is_same_v<T, BFloat16> && !is_quantized)
    attention_tensor_core(device, sizes, mask, query, key, value, output, log_sum_exp);
  else if constexpr (!is_quantized)
    attention_fused(device, sizes, mask, query, key, value, output, log_sum_exp);
}

template void attention_fused(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                              HeadsView<const float>, HeadsView<const float>, HeadsView<float>, float*);
template void attention_fused(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const double>,
                              HeadsView<const double>, HeadsView<const double>, HeadsView<double>, double*);
template void attention_fused(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                              HeadsView<const BFloat16>, HeadsView<const BFloat16>, HeadsView<float>, float*);
template void attention(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                        HeadsView<const float>, HeadsView<const float>, HeadsView<float>, float*);
template void attention(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const double>,
                        HeadsView<const double>, HeadsView<const double>, HeadsView<double>, double*);
template void attention(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                        HeadsView<const BFloat16>, HeadsView<const BFloat16>, HeadsView<float>, float*);
template void attention(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const BFloat16>,
                        HeadsView<const BFloat16>, HeadsView<const BFloat16>, HeadsView<BFloat16>, float*);
template void attention(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                        HeadsView<const std::int8_t>, HeadsView<const std::int8_t>, HeadsView<float>, float*);
template void attention(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const BFloat16>,
                        HeadsView<const std::int8_t>, HeadsView<const std::int8_t>, HeadsView<BFloat16>, float*);

}  // namespace headshare::kernels
