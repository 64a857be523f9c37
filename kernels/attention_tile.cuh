#pragma once

#include <type_traits>

#include "kernels/attention.h"
#include "kernels/chunk.cuh"
#include "kernels/warp.cuh"

// What the attention kernels share: which queries a block works on, and heads as tiles of shared memory.
namespace headshare::kernels {

// The queries of sentence b that share key/value head g are the rows of one matrix: with H / G = `group` query heads,
// row r is target r / group of query head g * group + r % group. So each key and value that a block fetches serves all
// query heads of the group. A tile is `count` of these rows, from row `first` on.
struct RowTile {
  int b, g;
  int group;
  int first, count;  // int: dividing 64-bit numbers takes a GPU a hundred instructions

  __device__ Size target(int row) const { return (first + row) / group; }
  __device__ Size head(int row) const { return g * group + (first + row) % group; }
};

// How many such rows there are.
constexpr Size rows_of_group(const AttentionSizes& sizes) { return sizes.targets * (sizes.heads / sizes.kv_heads); }

// The tile of `rows` rows that this block works on, in a grid of as many blocks as there are such tiles. The last
// targets see the most keys in causal order: their blocks come first, so that none starts late and runs alone.
__device__ inline RowTile tile_of_block(const AttentionSizes& sizes, int rows) {
  const int kv_heads = static_cast<int>(sizes.kv_heads), pairs = static_cast<int>(sizes.batch) * kv_heads;
  const int block = static_cast<int>(blockIdx.x), pair = block % pairs;
  const int all_rows = static_cast<int>(rows_of_group(sizes));
  const int first = ((all_rows - 1) / rows - block / pairs) * rows, left = all_rows - first;
  return {pair / kv_heads, pair % kv_heads, static_cast<int>(sizes.heads) / kv_heads, first, left < rows ? left : rows};
}

// Calls run(depth) with D rounded up to 32, 64, 128 or 256, as a std::integral_constant: registers cannot be counted at
// run time. Throws Error for more.
template <class Run>
void with_depth(Size head_size, Run run) {
  if (head_size <= 32) return run(std::integral_constant<int, 32>{});
  if (head_size <= 64) return run(std::integral_constant<int, 64>{});
  if (head_size <= 128) return run(std::integral_constant<int, 128>{});
  if (head_size <= 256) return run(std::integral_constant<int, 256>{});
  fail("attention: heads of ", head_size, " numbers on device cuda; its kernels hold at most 256 in registers");
}

// From one row of a tile in shared memory to the next, for rows of `width` numbers, a multiple of 32. A chunk more than
// the row needs: eight lanes that load a chunk each from eight rows below each other then meet all 32 banks once.
template <class T>
constexpr int tile_stride(int width) {
  return width + Chunk<T>::size;
}

// Row i of the tile becomes scale * head(i)[0 .. head_size - 1], widened to T, for i < count. All else, up to `rows`
// rows of `depth` columns, becomes 0, so that the loops over a tile need no bounds. head(i) is a pointer, and each warp
// asks for it once per row. All `threads` threads of the block call this; each warp loads its share of the rows, next
// to each other.                                                                  tile: [rows, tile_stride<T>(depth)]
template <int threads, int rows, int depth, class T, class Head>
__device__ inline void load_tile(Head head, int count, int head_size, T scale, T* tile) {
  constexpr int own_rows = rows / (threads / warp_size);
  static_assert(depth % warp_size == 0 && own_rows * threads == rows * warp_size);
  const int lane = threadIdx.x % warp_size, own = threadIdx.x / warp_size * own_rows;
  for (int i = 0; i < own_rows; ++i) {
    const int row = own + i;
    const auto* const from = head(row < count ? row : 0);
    for (int d = lane; d < depth; d += warp_size)
      tile[row * tile_stride<T>(depth) + d] = row < count && d < head_size ? scale * static_cast<T>(from[d]) : T{0};
  }
}

}  // namespace headshare::kernels
