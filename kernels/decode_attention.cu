#include <cmath>
#include <limits>

#include "kernels/attention_ladder.h"
#include "kernels/decode_split.cuh"
#include "kernels/decode_tile.cuh"

// Attention of a few query rows over a long cache: each key and value takes part in a few multiplications only, so the
// time is that of reading them. What counts is how many bytes are read, and that the memory always has enough requests
// to work on: many warps, each with several loads of 16 bytes per lane under way.
//
// A warp takes 32 keys at a time: their scores, the softmax of the scores with one lane per key, their values.
namespace headshare::kernels {
namespace {

using namespace decoding;

// The scores of a warp's 32 keys from `first` on, at least of those before the end.
//                                                                 queries: [rows, depth], scores: [32, weight_stride]
template <class L, int rows, int depth, class T, class Stored>
__device__ inline void score_keys(const Source<Stored>& keys, int first, const T* queries, T* scores) {
  const int lane = threadIdx.x % warp_size, in_key = lane % L::lanes;
  for (int start = 0; start < keys_per_step && first + start < keys.end; start += L::batch * L::side_by_side) {
    Part<Stored> key[L::batch][L::chunks];
    load_batch<L>(keys, first + start, key);
    constexpr int sharing = L::lanes / L::batch;  // lanes that end up with the same sum
    const int mine = start + in_key / sharing * L::side_by_side + lane / L::lanes;
    for (int row = 0; row < rows; ++row) {
      T sums[L::batch] = {};
      for (int part = 0; part < L::own / L::wide; ++part) {
        const Chunk<T> query = chunk_at(queries + row * depth + (part * L::lanes + in_key) * L::wide);
        for (int i = 0; i < L::batch; ++i)
          for (int e = 0; e < L::wide; ++e) {
            const int number = part * L::wide + e;
            sums[i] += query[e] * static_cast<T>(key[i][number / L::numbers][number % L::numbers]);
          }
      }
      const T sum = scattered_sum<L::batch, L::lanes>(sums);
      if (in_key % sharing == 0) scores[mine * L::weight_stride + row] = sum;
    }
  }
}

// sums += weights^T values over a warp's 32 keys from `first` on. Each lane adds the keys that it reads.
template <class L, int rows, class T, class Stored>
__device__ inline void add_values(const Source<Stored>& values, int first, const T* weights, T (&sums)[rows][L::own]) {
  const int lane = threadIdx.x % warp_size;
  for (int start = 0; start < keys_per_step && first + start < values.end; start += L::batch * L::side_by_side) {
    Part<Stored> value[L::batch][L::chunks];
    load_batch<L>(values, first + start, value);
    for (int i = 0; i < L::batch; ++i) {
      T weight[rows];
      load_weights(weights + (start + i * L::side_by_side + lane / L::lanes) * L::weight_stride, weight);
      for (int number = 0; number < L::own; ++number) {
        const T x = static_cast<T>(value[i][number / L::numbers][number % L::numbers]);
        for (int row = 0; row < rows; ++row) sums[row][number] += weight[row] * x;
      }
    }
  }
}

// rows: those of the block's tile, rounded up.
template <class T, class Stored, int depth, int rows>
__global__ void __launch_bounds__(threads, Layout<Wide<T>, Stored, depth, rows>::blocks)
    decode_kernel(Call<T> call, HeadsView<const Stored> key, HeadsView<const Stored> value,
                  typename Source<Stored>::Load load, Division division, Partials<Wide<T>> partials) {
  using W = Wide<T>;
  using L = Layout<W, Stored, depth, rows>;
  DYNAMIC_SHARED(W, shared);
  W* const queries = shared + 2 * warps * rows;  // [rows, depth], by place()
  // The queries' place, when all else is done.                                 values: [warps, rows, depth], by place()
  const WarpSums<W> warp_sums{shared, shared + warps * rows, queries};
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  W* const weights = queries + L::query_numbers + warp * keys_per_step * L::weight_stride;  // [32, weight_stride]

  const AttentionSizes& sizes = call.sizes;
  const RowTile tile = division.tile(sizes);
  const int head_size = static_cast<int>(sizes.head_size);
  const W scale = 1 / std::sqrt(static_cast<W>(head_size));
  for (int i = threadIdx.x; i < rows * depth; i += threads) {
    const int row = i / depth, d = i % depth;
    const bool inside = row < tile.count && d < head_size;
    queries[row * depth + L::place(d)] =
        inside ? scale * static_cast<W>(head_at(call.query, tile.b, tile.target(row), tile.head(row))[d]) : W{0};
  }
  __shared__ KeyRange visible[rows];  // not in registers: the sums need them
  for (int row = threadIdx.x; row < rows; row += threads)
    visible[row] = row < tile.count ? visible_keys(sizes, call.mask, tile.b, tile.target(row)) : KeyRange{0, 0};
  __syncthreads();

  W maximum[rows], sum[rows], values[rows][L::own] = {};  // sum: of this lane's keys only, until the end
  for (int row = 0; row < rows; ++row) {
    maximum[row] = std::numeric_limits<W>::lowest();  // -infinity less itself would be NaN for a row that sees no key
    sum[row] = 0;
  }
  // The keys that any row of the tile sees: the first row's begin first, and the last row's end last.
  const auto [begin, end] = keys_of_split({visible[0].begin, visible[tile.count - 1].end}, division);
  const Source<Stored> key_source = source_of(key, tile, end, head_size, load);
  const Source<Stored> value_source = source_of(value, tile, end, head_size, load);
  for (int first = begin + warp * keys_per_step; first < end; first += keys_of_block) {
    const bool exists = first + lane < end;  // the key that this lane turns scores into weights for
    W key_scale = 1, value_scale = 1;
    if constexpr (sizeof(Stored) == 1)
      if (exists) key_scale = key_source.scales.of(first + lane), value_scale = value_source.scales.of(first + lane);
    score_keys<L, rows, depth>(key_source, first, queries, weights);
    __syncwarp();
    W weight[rows] = {};
    if (exists) load_weights(weights + lane * L::weight_stride, weight);
    if constexpr (sizeof(Stored) == 1)
      for (W& score : weight) score *= key_scale;
    for (int row = 0; row < rows; ++row) {
      const bool seen = visible[row].contains(first + lane);
      const W larger_maximum = larger(maximum[row], warp_max(seen ? weight[row] : maximum[row]));
      const W shrink = std::exp(maximum[row] - larger_maximum);  // what was summed up relative to the old maximum
      weight[row] = seen ? std::exp(weight[row] - larger_maximum) : W{0};
      maximum[row] = larger_maximum;
      sum[row] = sum[row] * shrink + weight[row];
      for (W& x : values[row]) x *= shrink;
      if constexpr (sizeof(Stored) == 1) weight[row] *= value_scale;  // the sum is of the weights alone
    }
    store_weights(weight, weights + lane * L::weight_stride);
    __syncwarp();
    add_values<L>(value_source, first, weights, values);
    __syncwarp();  // all lanes have read the weights; the shuffles to come order lanes, but not their memory
  }

  // The sums of the lanes that read different keys, then those of the warps that had some.
  const int working_warps = working_warps_of({begin, end});
  __syncthreads();  // queries and weights make room
  if (warp < working_warps) {
    for (int step = L::lanes; step < warp_size; step *= 2)
      for (int row = 0; row < rows; ++row)
        for (W& x : values[row]) x += __shfl_xor_sync(all_lanes, x, step);
    for (int row = 0; row < rows; ++row) {
      const W total = warp_sum(sum[row]);
      if (lane == 0) warp_sums.maximum[warp * rows + row] = maximum[row], warp_sums.total[warp * rows + row] = total;
      W* const to = warp_sums.values + (warp * rows + row) * depth + lane * L::wide;
      for (int number = 0; number < L::own; ++number)
        if (lane < L::lanes) to[number / L::wide * L::lanes * L::wide + number % L::wide] = values[row][number];
    }
  }
  __syncthreads();
  join_warps<rows>(
      call, tile, division, working_warps, warp_sums, depth, [](int d) { return L::place(d); }, partials);
}

// How many rows a tile may have: as many as registers hold the sums of. Caches of fewer bits come here only where
// tensor cores cannot take them.
template <class T, class Stored>
constexpr int most_rows_of(Size head_size) {
  if (sizeof(Wide<T>) == sizeof(double)) return head_size > 128 ? 4 : 8;
  return sizeof(Stored) == sizeof(float) ? most_rows : 8;
}

// Calls run(rows) with the count, at most `most`, rounded up to 1, 4, 8 or 16, as a std::integral_constant.
template <int most, class Run>
void with_rows(int count, Run run) {
  if (count <= 1) return run(std::integral_constant<int, 1>{});
  if (most <= 4 || count <= 4) return run(std::integral_constant<int, 4>{});
  if constexpr (most > 4)
    if (most <= 8 || count <= 8) return run(std::integral_constant<int, 8>{});
  if constexpr (most > 8) run(std::integral_constant<int, 16>{});
}

template <class T, class Stored>
void decode(Cuda device, const Call<T>& call, HeadsView<const Stored> key, HeadsView<const Stored> value,
            Size rows_of_tile) {
  constexpr Size enough_blocks = 2048;
  using Load = typename Source<Stored>::Load;
  const Size head_size = call.sizes.head_size;
  const bool parts = load_of(key, head_size) == Load::parts && load_of(value, head_size) == Load::parts;
  divide_and_join(device, call, rows_of_tile, enough_blocks, [&](Division division, unsigned blocks, auto partials) {
    with_depth(head_size, [&](auto depth) {
      with_rows<most_rows_of<T, Stored>(depth)>(division.rows_of_tile, [&](auto rows) {
        launch(decode_kernel<T, Stored, depth, rows>, blocks, threads,
               Layout<Wide<T>, Stored, depth, rows>::shared_bytes, device.stream, call, key, value,
               parts ? Load::parts : Load::numbers, division, partials);
      });
    });
  });
}

}  // namespace

// The same kernel with one query row per block: as many multiplications, but H / G times the bytes. (On a GPU, part of
// them come from its second-level cache: blocks that read the same keys run at about the same time.)
template <class T, class Stored>
void decode_attention_per_head(Cuda device, const AttentionSizes& sizes, const AttentionMask& mask,
                               HeadsView<const T> query, HeadsView<const Stored> key, HeadsView<const Stored> value,
                               HeadsView<T> output) {
  decode<T>(device, {sizes, mask, query, output, nullptr}, key, value, 1);
}

template <class T, class Stored>
void decode_attention_per_group(Cuda device, const AttentionSizes& sizes, const AttentionMask& mask,
                                HeadsView<const T> query, HeadsView<const Stored> key, HeadsView<const Stored> value,
                                HeadsView<T> output, Wide<T>* log_sum_exp) {
  decode<T>(device, {sizes, mask, query, output, log_sum_exp}, key, value,
            std::min(rows_of_group(sizes), Size{most_rows_of<T, Stored>(sizes.head_size)}));
}

template <class T, class Stored>
void decode_attention(Cuda device, const AttentionSizes& sizes, const AttentionMask& mask, HeadsView<const T> query,
                      HeadsView<const Stored> key, HeadsView<const Stored> value, HeadsView<T> output,
                      Wide<T>* log_sum_exp) {
  if constexpr (sizeof(Stored) <= sizeof(BFloat16))
    if (tensor_cores_can_decode(sizes.head_size, key, value))
      return decode_attention_tensor_core(device, sizes, mask, query, key, value, output, log_sum_exp);
  decode_attention_per_group(device, sizes, mask, query, key, value, output, log_sum_exp);
}

template void decode_attention_per_head(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                        HeadsView<const float>, HeadsView<const float>, HeadsView<float>);
template void decode_attention_per_head(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const double>,
                                        HeadsView<const double>, HeadsView<const double>, HeadsView<double>);
template void decode_attention_per_head(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                        HeadsView<const BFloat16>, HeadsView<const BFloat16>, HeadsView<float>);
template void decode_attention_per_head(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const BFloat16>,
                                        HeadsView<const BFloat16>, HeadsView<const BFloat16>, HeadsView<BFloat16>);
template void decode_attention_per_head(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                        HeadsView<const std::int8_t>, HeadsView<const std::int8_t>, HeadsView<float>);
template void decode_attention_per_head(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const BFloat16>,
                                        HeadsView<const std::int8_t>, HeadsView<const std::int8_t>,
                                        HeadsView<BFloat16>);
template void decode_attention_per_group(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                         HeadsView<const float>, HeadsView<const float>, HeadsView<float>, float*);
template void decode_attention_per_group(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const double>,
                                         HeadsView<const double>, HeadsView<const double>, HeadsView<double>, double*);
template void decode_attention_per_group(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                         HeadsView<const BFloat16>, HeadsView<const BFloat16>, HeadsView<float>,
                                         float*);
template void decode_attention_per_group(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const BFloat16>,
                                         HeadsView<const BFloat16>, HeadsView<const BFloat16>, HeadsView<BFloat16>,
                                         float*);
template void decode_attention_per_group(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                         HeadsView<const std::int8_t>, HeadsView<const std::int8_t>, HeadsView<float>,
                                         float*);
template void decode_attention_per_group(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const BFloat16>,
                                         HeadsView<const std::int8_t>, HeadsView<const std::int8_t>,
                                         HeadsView<BFloat16>, float*);
template void decode_attention(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                               HeadsView<const float>, HeadsView<const float>, HeadsView<float>, float*);
template void decode_attention(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const double>,
                               HeadsView<const double>, HeadsView<const double>, HeadsView<double>, double*);
template void decode_attention(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                               HeadsView<const BFloat16>, HeadsView<const BFloat16>, HeadsView<float>, float*);
template void decode_attention(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const BFloat16>,
                               HeadsView<const BFloat16>, HeadsView<const BFloat16>, HeadsView<BFloat16>, float*);
template void decode_attention(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                               HeadsView<const std::int8_t>, HeadsView<const std::int8_t>, HeadsView<float>, float*);
template void decode_attention(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const BFloat16>,
                               HeadsView<const std::int8_t>, HeadsView<const std::int8_t>, HeadsView<BFloat16>, float*);

}  // namespace headshare::kernels
