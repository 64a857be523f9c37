#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/attention_mask.cuh"
#include "kernels/attention_tile.cuh"
#include "kernels/device_memory.h"

// What the kernels of decoding share: who works on which queries and keys, and how the parts of an output come
// together.
//
// A block takes the queries of a tile and a part of the keys that they see; each of its warps takes 32 keys at a time,
// and shares nothing until the end. Where sentences and heads alone are too few to fill a GPU, several blocks divide
// the keys among them, and a second kernel joins their outputs (Dao et al. 2023, "Flash-Decoding").
namespace headshare::kernels::decoding {

constexpr int warps = 4, threads = warps * warp_size;  // of a block
constexpr int keys_per_step = warp_size;               // of a warp
constexpr int keys_of_block = warps * keys_per_step;   // in one step of all its warps
constexpr int most_rows = 16;                          // of a tile

template <class T>
struct Call {
  AttentionSizes sizes;
  AttentionMask mask;
  HeadsView<const T> query;
  HeadsView<T> output;
  Wide<T>* log_sum_exp;  // [B, H, T] or null
};

// What the splits, parts of the keys of a sentence, leave to be joined. Row: (b * H + h) * T + t. W: the type of
// computation.
template <class W>
struct Partials {
  W* values;   // [splits, rows, D], not divided by the sum yet
  W* maximum;  // [splits, rows]
  W* sum;      // [splits, rows] of exp(score - maximum)
};

// ---- Who does what --------------------------------------------------------------------------------------------------

// How a launch is divided: first the splits, then the tiles of a sentence and key/value head, then these.
struct Division {
  int splits, rows_of_tile;

  __device__ int split() const { return static_cast<int>(blockIdx.x) % splits; }
  __device__ RowTile tile(const AttentionSizes& sizes) const {
    const int kv_heads = static_cast<int>(sizes.kv_heads), group = static_cast<int>(sizes.heads) / kv_heads;
    const int rows = static_cast<int>(sizes.targets) * group, tiles = (rows + rows_of_tile - 1) / rows_of_tile;
    const int block = static_cast<int>(blockIdx.x) / splits, pair = block / tiles;
    const int first = block % tiles * rows_of_tile, left = rows - first;
    return {pair / kv_heads, pair % kv_heads, group, first, left < rows_of_tile ? left : rows_of_tile};
  }
};

// The keys of this block's split of those that any row of the tile sees, `seen`: a whole number of steps, but for the
// last split.
__device__ inline KeyRange keys_of_split(KeyRange seen, const Division& division) {
  const int all = division.splits * keys_of_block;
  const int keys = (seen.end - seen.begin + all - 1) / all * keys_of_block;
  const int begin = seen.begin + division.split() * keys;
  return {begin, seen.end - begin < keys ? seen.end : begin + keys};
}

// How many of a block's warps have keys to work on.
__device__ inline int working_warps_of(KeyRange keys) {
  const int steps = keys.end > keys.begin ? (keys.end - keys.begin + keys_per_step - 1) / keys_per_step : 0;
  return steps < warps ? steps : warps;
}

// The scales of one key/value head of one sentence, in an int8 cache: one for each key.
struct KeyScales {
  const float* first = nullptr;
  Size stride = 0;

  __device__ float of(int key) const { return first[key * stride]; }
};

template <class Stored>
__device__ inline KeyScales scales_of(const HeadsView<const Stored>& view, const Stored* head, int head_size) {
  if constexpr (sizeof(Stored) == 1)
    return {view.scales + (head - view.data) / head_size, view.position_stride / head_size};
  return {};
}

// ---- Putting outputs together ---------------------------------------------------------------------------------------

// What the warps of a block have: of each row the largest score, the sum of exp(score - maximum), and the sum of the
// values with these weights. In shared memory.
template <class W>
struct WarpSums {
  W* maximum;  // [warps, rows]
  W* total;    // [warps, rows]
  W* values;   // [warps, rows, stride]
};

// The sums of a block's warps, the first `working_warps`, always in the same order; to the output, or to `partials`.
// place(d): where in a row of values column d lies. All threads of the block call this.
template <int rows, class T, class Place>
__device__ inline void join_warps(const Call<T>& call, const RowTile& tile, const Division& division, int working_warps,
                                  const WarpSums<Wide<T>>& sums, int stride, Place place,
                                  const Partials<Wide<T>>& partials) {
  using W = Wide<T>;
  const AttentionSizes& sizes = call.sizes;
  const int head_size = static_cast<int>(sizes.head_size), split = division.split();
  const Size all_rows = sizes.batch * sizes.heads * sizes.targets;
  for (int i = threadIdx.x; i < tile.count * head_size; i += threads) {
    const int row = i / head_size, d = i % head_size;
    W largest = std::numeric_limits<W>::lowest();
    for (int w = 0; w < working_warps; ++w) largest = larger(largest, sums.maximum[w * rows + row]);
    W x = 0, total = 0;
    for (int w = 0; w < working_warps; ++w) {
      const W shrink = std::exp(sums.maximum[w * rows + row] - largest);
      x += shrink * sums.values[(w * rows + row) * stride + place(d)];
      total += shrink * sums.total[w * rows + row];
    }
    const Size target = tile.target(row), head = tile.head(row);
    const Size index = (tile.b * sizes.heads + head) * sizes.targets + target;
    if (division.splits > 1) {
      partials.values[(split * all_rows + index) * head_size + d] = x;
      if (d == 0) partials.maximum[split * all_rows + index] = largest, partials.sum[split * all_rows + index] = total;
    } else {
      head_at(call.output, tile.b, target, head)[d] = static_cast<T>(total != 0 ? x / total : W{0});
      if (d == 0 && call.log_sum_exp != nullptr) call.log_sum_exp[index] = largest + std::log(total);
    }
  }
}

// A warp per row joins what the splits left.
template <class T>
__global__ void join_kernel(Call<T> call, int splits, Partials<Wide<T>> partials) {
  using W = Wide<T>;
  const AttentionSizes& sizes = call.sizes;
  const Size all_rows = sizes.batch * sizes.heads * sizes.targets;
  const Size index = global_thread() / warp_size;
  if (index >= all_rows) return;  // the whole warp
  const Size target = index % sizes.targets, outer = index / sizes.targets;
  const Size head = outer % sizes.heads, b = outer / sizes.heads;
  const int lane = threadIdx.x % warp_size;
  W largest = std::numeric_limits<W>::lowest(), total = 0;
  for (int split = 0; split < splits; ++split) largest = larger(largest, partials.maximum[split * all_rows + index]);
  for (int split = 0; split < splits; ++split)
    total += std::exp(partials.maximum[split * all_rows + index] - largest) * partials.sum[split * all_rows + index];
  for (Size d = lane; d < sizes.head_size; d += warp_size) {
    W x = 0;
    for (int split = 0; split < splits; ++split)
      x += std::exp(partials.maximum[split * all_rows + index] - largest) *
           partials.values[(split * all_rows + index) * sizes.head_size + d];
    head_at(call.output, b, target, head)[d] = static_cast<T>(total != 0 ? x / total : W{0});
  }
  if (lane == 0 && call.log_sum_exp != nullptr) call.log_sum_exp[index] = largest + std::log(total);
}

// ---- The host's part ------------------------------------------------------------------------------------------------

// Into how many parts the keys of a sentence are divided: `enough_blocks` fill a large GPU about four times, so that
// the last ones to finish are a small part of all. Depends on sizes alone.
inline int splits_of(Size sources, Size blocks, Size enough_blocks) {
  const Size most = std::max(Size{1}, Size{groups_of(sources, keys_of_block)});
  return static_cast<int>(std::min(most, Size{groups_of(enough_blocks, blocks)}));
}

// Divides the work, calls run(division, blocks, partials), which launches a kernel of so many blocks, and joins what
// these leave.
template <class T, class Run>
void divide_and_join(Cuda device, const Call<T>& call, Size rows_of_tile, Size enough_blocks, Run run) {
  using W = Wide<T>;
  enum ScratchSlot { values_slot, maximum_slot, sum_slot };
  const AttentionSizes& sizes = call.sizes;
  const Size rows = sizes.batch * sizes.heads * sizes.targets;
  if (rows == 0) return;
  const Size blocks = sizes.batch * sizes.kv_heads * groups_of(rows_of_group(sizes), rows_of_tile);
  const int splits = splits_of(sizes.sources, blocks, enough_blocks);
  Partials<W> partials{};
  if (splits > 1)
    partials = {device_scratch<W>(values_slot, splits * rows * sizes.head_size),
                device_scratch<W>(maximum_slot, splits * rows), device_scratch<W>(sum_slot, splits * rows)};
  run(Division{splits, static_cast<int>(rows_of_tile)}, static_cast<unsigned>(blocks * splits), partials);
  if (splits > 1) launch(join_kernel<T>, groups_of(rows, warps), threads, 0, device.stream, call, splits, partials);
}

}  // namespace headshare::kernels::decoding
