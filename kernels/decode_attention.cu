#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/attention_ladder.h"
#include "kernels/attention_mask.cuh"
#include "kernels/decode_tile.cuh"
#include "kernels/device_memory.h"

// Attention of a few query rows over a long cache: each key and value takes part in a few multiplications only, so the
// time is that of reading them. What counts is how many bytes are read, and that the memory always has enough requests
// to work on: many warps, each with several loads of 16 bytes per lane under way.
//
// A warp takes 32 keys at a time: their scores, the softmax of the scores with one lane per key, their values. Warps
// share nothing until the end. Where sentences and heads alone are too few to fill a GPU, a block takes only part of
// the keys, and a second kernel joins the parts (Dao et al. 2023, "Flash-Decoding").
namespace headshare::kernels {
namespace {

using namespace decode_attention;

template <class T>
struct Call {
  AttentionSizes sizes;
  AttentionMask mask;
  HeadsView<const T> query;
  HeadsView<T> output;
  T* log_sum_exp;  // [B, H, T] or null
};

// What the splits, parts of the keys of a sentence, leave to be joined. Row: (b * H + h) * T + t.
template <class T>
struct Partials {
  T* values;   // [splits, rows, D], not divided by the sum yet
  T* maximum;  // [splits, rows]
  T* sum;      // [splits, rows] of exp(score - maximum)
};

// The scores of a warp's 32 keys from `first` on, at least of those before the end.
//                                                                 queries: [rows, depth], scores: [32, weight_stride]
template <class L, int rows, int depth, class T, class Stored>
__device__ inline void score_keys(const Source<Stored>& keys, int first, const T* queries, T* scores) {
  const int lane = threadIdx.x % warp_size, in_key = lane % L::lanes;
  for (int start = 0; start < keys_per_step && first + start < keys.end; start += L::batch * L::side_by_side) {
    Chunk<Stored> key[L::batch][L::chunks];
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
    Chunk<Stored> value[L::batch][L::chunks];
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
__global__ void __launch_bounds__(threads, Layout<T, Stored, depth, rows>::blocks)
    decode_kernel(Call<T> call, HeadsView<const Stored> key, HeadsView<const Stored> value,
                  typename Source<Stored>::Load load, int rows_per_block, int splits, Partials<T> partials) {
  using L = Layout<T, Stored, depth, rows>;
  DYNAMIC_SHARED(T, shared);
  T* const warp_maximum = shared;                     // [warps, rows]
  T* const warp_total = warp_maximum + warps * rows;  // [warps, rows]
  T* const queries = warp_total + warps * rows;       // [rows, depth], by place()
  T* const warp_values = queries;                     // [warps, rows, depth], by place(); when all else is done
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  T* const weights = queries + L::query_numbers + warp * keys_per_step * L::weight_stride;  // [32, weight_stride]

  const AttentionSizes& sizes = call.sizes;
  const int split = static_cast<int>(blockIdx.x) % splits, block = static_cast<int>(blockIdx.x) / splits;
  const int kv_heads = static_cast<int>(sizes.kv_heads), group = static_cast<int>(sizes.heads) / kv_heads;
  const int tiles = static_cast<int>(sizes.targets) * group / rows_per_block;  // of one sentence and key/value head
  const int pair = block / tiles, head_size = static_cast<int>(sizes.head_size);
  const RowTile tile{pair / kv_heads, pair % kv_heads, group, block % tiles * rows_per_block, rows_per_block};

  const T scale = 1 / std::sqrt(static_cast<T>(head_size));
  for (int i = threadIdx.x; i < rows * depth; i += threads) {
    const int row = i / depth, d = i % depth;
    const bool inside = row < tile.count && d < head_size;
    queries[row * depth + L::place(d)] =
        inside ? scale * head_at(call.query, tile.b, tile.target(row), tile.head(row))[d] : T{0};
  }
  __shared__ KeyRange visible[rows];  // not in registers: the sums need them
  for (int row = threadIdx.x; row < rows; row += threads)
    visible[row] = row < tile.count ? visible_keys(sizes, call.mask, tile.b, tile.target(row)) : KeyRange{0, 0};
  __syncthreads();

  T maximum[rows], sum[rows], values[rows][L::own] = {};  // sum: of this lane's keys only, until the end
  for (int row = 0; row < rows; ++row) {
    maximum[row] = std::numeric_limits<T>::lowest();  // -infinity less itself would be NaN for a row that sees no key
    sum[row] = 0;
  }
  // The keys that any row of the tile sees: the first row's begin first, and the last row's end last.
  const int least = visible[0].begin, most = visible[tile.count - 1].end;
  constexpr int keys_of_block = warps * keys_per_step;  // in one step; a split is a whole number of steps
  const int keys_per_split = (most - least + splits * keys_of_block - 1) / (splits * keys_of_block) * keys_of_block;
  const int begin = least + split * keys_per_split, end = most - begin < keys_per_split ? most : begin + keys_per_split;
  const Source<Stored> key_source{head_at(key, tile.b, 0, tile.g), key.position_stride, end, head_size, load};
  const Source<Stored> value_source{head_at(value, tile.b, 0, tile.g), value.position_stride, end, head_size, load};
  for (int first = begin + warp * keys_per_step; first < end; first += warps * keys_per_step) {
    score_keys<L, rows, depth>(key_source, first, queries, weights);
    __syncwarp();
    T weight[rows] = {};
    if (first + lane < end) load_weights(weights + lane * L::weight_stride, weight);
    for (int row = 0; row < rows; ++row) {
      const bool seen = visible[row].contains(first + lane);
      const T larger_maximum = larger(maximum[row], warp_max(seen ? weight[row] : maximum[row]));
      const T shrink = std::exp(maximum[row] - larger_maximum);  // what was summed up relative to the old maximum
      weight[row] = seen ? std::exp(weight[row] - larger_maximum) : T{0};
      maximum[row] = larger_maximum;
      sum[row] = sum[row] * shrink + weight[row];
      for (T& x : values[row]) x *= shrink;
    }
    store_weights(weight, weights + lane * L::weight_stride);
    __syncwarp();
    add_values<L>(value_source, first, weights, values);
    __syncwarp();  // all lanes have read the weights; the shuffles to come order lanes, but not their memory
  }

  // The sums of the lanes that read different keys, then those of the warps that had some, always in the same order.
  const int steps = end > begin ? (end - begin + keys_per_step - 1) / keys_per_step : 0;
  const int working_warps = steps < warps ? steps : warps;
  __syncthreads();  // queries and weights make room
  if (warp < working_warps) {
    for (int step = L::lanes; step < warp_size; step *= 2)
      for (int row = 0; row < rows; ++row)
        for (T& x : values[row]) x += __shfl_xor_sync(all_lanes, x, step);
    for (int row = 0; row < rows; ++row) {
      const T total = warp_sum(sum[row]);
      if (lane == 0) warp_maximum[warp * rows + row] = maximum[row], warp_total[warp * rows + row] = total;
      T* const to = warp_values + (warp * rows + row) * depth + lane * L::wide;
      for (int number = 0; number < L::own; ++number)
        if (lane < L::lanes) to[number / L::wide * L::lanes * L::wide + number % L::wide] = values[row][number];
    }
  }
  __syncthreads();
  const Size all_rows = sizes.batch * sizes.heads * sizes.targets;
  for (int i = threadIdx.x; i < tile.count * depth; i += threads) {
    const int row = i / depth, d = i % depth;
    if (d >= head_size) continue;
    T largest = std::numeric_limits<T>::lowest();
    for (int w = 0; w < working_warps; ++w) largest = larger(largest, warp_maximum[w * rows + row]);
    T x = 0, total = 0;
    for (int w = 0; w < working_warps; ++w) {
      const T shrink = std::exp(warp_maximum[w * rows + row] - largest);
      x += shrink * warp_values[(w * rows + row) * depth + L::place(d)];
      total += shrink * warp_total[w * rows + row];
    }
    const Size target = tile.target(row), head = tile.head(row);
    const Size index = (tile.b * sizes.heads + head) * sizes.targets + target;
    if (splits > 1) {
      partials.values[(split * all_rows + index) * head_size + d] = x;
      if (d == 0) partials.maximum[split * all_rows + index] = largest, partials.sum[split * all_rows + index] = total;
    } else {
      head_at(call.output, tile.b, target, head)[d] = total != 0 ? x / total : T{0};
      if (d == 0 && call.log_sum_exp != nullptr) call.log_sum_exp[index] = largest + std::log(total);
    }
  }
}

// A warp per row joins what the splits left.
template <class T>
__global__ void join_kernel(Call<T> call, int splits, Partials<T> partials) {
  const AttentionSizes& sizes = call.sizes;
  const Size all_rows = sizes.batch * sizes.heads * sizes.targets;
  const Size index = global_thread() / warp_size;
  if (index >= all_rows) return;  // the whole warp
  const Size target = index % sizes.targets, outer = index / sizes.targets;
  const Size head = outer % sizes.heads, b = outer / sizes.heads;
  const int lane = threadIdx.x % warp_size;
  T largest = std::numeric_limits<T>::lowest(), total = 0;
  for (int split = 0; split < splits; ++split) largest = larger(largest, partials.maximum[split * all_rows + index]);
  for (int split = 0; split < splits; ++split)
    total += std::exp(partials.maximum[split * all_rows + index] - largest) * partials.sum[split * all_rows + index];
  for (Size d = lane; d < sizes.head_size; d += warp_size) {
    T x = 0;
    for (int split = 0; split < splits; ++split)
      x += std::exp(partials.maximum[split * all_rows + index] - largest) *
           partials.values[(split * all_rows + index) * sizes.head_size + d];
    head_at(call.output, b, target, head)[d] = total != 0 ? x / total : T{0};
  }
  if (lane == 0 && call.log_sum_exp != nullptr) call.log_sum_exp[index] = largest + std::log(total);
}

// Into how many parts the keys of a sentence are divided: enough blocks to fill a large GPU with some to spare, so that
// the last ones to finish are a small part of all. Depends on sizes alone.
int splits_of(Size sources, Size blocks) {
  constexpr Size enough_blocks = 2048, fewest_keys = warps * keys_per_step;
  const Size most = std::max(Size{1}, Size{groups_of(sources, fewest_keys)});
  return static_cast<int>(std::min(most, Size{groups_of(enough_blocks, blocks)}));
}

// Calls run(rows) with the count rounded up to 1, 4, 8 or 16, as a std::integral_constant.
template <class Run>
void with_rows(int count, Run run) {
  if (count <= 1) return run(std::integral_constant<int, 1>{});
  if (count <= 4) return run(std::integral_constant<int, 4>{});
  if (count <= 8) return run(std::integral_constant<int, 8>{});
  return run(std::integral_constant<int, 16>{});
}

template <class T, class Stored>
void decode(Cuda device, const Call<T>& call, HeadsView<const Stored> key, HeadsView<const Stored> value,
            int rows_per_block) {
  enum ScratchSlot { values_slot, maximum_slot, sum_slot };
  const AttentionSizes& sizes = call.sizes;
  const Size rows = sizes.batch * sizes.heads * sizes.targets;
  if (rows == 0) return;
  const Size blocks = rows / rows_per_block;
  const int splits = splits_of(sizes.sources, blocks);
  Partials<T> partials{};
  if (splits > 1)
    partials = {device_scratch<T>(values_slot, splits * rows * sizes.head_size),
                device_scratch<T>(maximum_slot, splits * rows), device_scratch<T>(sum_slot, splits * rows)};
  using Load = typename Source<Stored>::Load;
  const bool chunks = load_of(key, sizes.head_size) == Load::chunks && load_of(value, sizes.head_size) == Load::chunks;
  with_depth(sizes.head_size, [&](auto depth) {
    with_rows(rows_per_block, [&](auto most_rows) {
      launch(decode_kernel<T, Stored, depth, most_rows>, static_cast<unsigned>(blocks * splits), threads,
             Layout<T, Stored, depth, most_rows>::shared_bytes, device.stream, call, key, value,
             chunks ? Load::chunks : Load::numbers, rows_per_block, splits, partials);
    });
  });
  if (splits > 1) launch(join_kernel<T>, groups_of(rows, warps), threads, 0, device.stream, call, splits, partials);
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
                                HeadsView<T> output, T* log_sum_exp) {
  constexpr Size most_rows = 16;
  const Size rows = rows_of_group(sizes);
  if (rows > most_rows) fail("decode_attention: ", rows, " query rows for each key/value head, at most ", most_rows);
  decode<T>(device, {sizes, mask, query, output, log_sum_exp}, key, value, static_cast<int>(rows));
}

template void decode_attention_per_head(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                        HeadsView<const float>, HeadsView<const float>, HeadsView<float>);
template void decode_attention_per_head(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const double>,
                                        HeadsView<const double>, HeadsView<const double>, HeadsView<double>);
template void decode_attention_per_head(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                        HeadsView<const BFloat16>, HeadsView<const BFloat16>, HeadsView<float>);
template void decode_attention_per_group(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                         HeadsView<const float>, HeadsView<const float>, HeadsView<float>, float*);
template void decode_attention_per_group(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const double>,
                                         HeadsView<const double>, HeadsView<const double>, HeadsView<double>, double*);
template void decode_attention_per_group(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                         HeadsView<const BFloat16>, HeadsView<const BFloat16>, HeadsView<float>,
                                         float*);

}  // namespace headshare::kernels
