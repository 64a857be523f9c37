#pragma once

#include "kernels/attention_ladder.h"
#include "kernels/attention_mask.cuh"
#include "kernels/attention_mma.cuh"

// The gradients of attention_backward.cu on tensor cores, for rows of queries (RowTile) and keys, with P the weights:
//   delta = rows of dO . O    dV = P^T dO    dP^T = V dO^T    dS^T = P^T (dP^T - delta)    dK = dS^T Q    dQ = dS K
// What is transposed here is so on purpose: a block keeps keys and values and lets rows pass by, S^T = K Q^T has a row
// for each key, and what a lane holds of such sums is what it must hold of the left side of P^T dO and dS^T Q
// (as_left): weights never leave their registers.
//
// dQ is a sum over keys, which are in different blocks. Blocks that add to each other's sums would need atomics, whose
// order changes from run to run (FlashAttention-2 does so; Dao 2023). Computing S and dP again for dQ, as
// attention_backward.cu does, makes seven products of five. So dS is stored, in bfloat16 as the products take it
// anyway, and dQ = dS K is a kernel of its own. That moves four bytes per score, two of them while products are
// computed: on an H200 with 4.8 TB/s, 0.4 ps are to be seen. Two products are 4 D operations: 0.6 ps for D = 64 and 1.3
// ps for D = 128 where mma_bf16 reaches 400 TFLOP/s. To bound the memory, keys may come in several runs; dQ is then
// summed up from run to run.
namespace headshare::kernels {

constexpr int square = 16;                           // rows and columns of a product of two fragments
constexpr int square_words = square * square / 2;    // of a square of bfloat16
constexpr int passing_rows = 64, passing_keys = 64;  // that pass by a block at a time
constexpr int key_block = 128, row_block = 128;      // that a block keeps

// What belongs to a row besides its numbers.
struct alignas(16) RowFacts {
  float log2_sum;  // log_sum_exp over ln 2; infinity where no key is seen: all its weights become 0
  float delta;
  KeyRange visible;
};

// Where its numbers begin, counted in pieces from the first row of its key/value head on.
struct RowPlace {
  std::uint32_t query, d_output;
};

struct BackwardCall {
  AttentionSizes sizes;
  AttentionMask mask;
  HeadsView<const BFloat16> query, key, value, d_output;  // in pieces
  int piece_size;                                         // of their heads: D, zeros behind it up to a whole piece
  HeadsView<BFloat16> d_query, d_key, d_value;
  Access storing;          // the gradients
  int group, rows;         // H / G, and the rows of a key/value head
  float scale, key_scale;  // 1 / (sqrt(D) ln 2); 1 / sqrt(D)
  // [B, G, row_squares * 16]; those behind the last row are its copies, but with no weights.
  RowFacts* facts;
  RowPlace* places;

  // The keys of this run, from first_key on, and dS^T in squares: word i of a fragment of lane l at [i, l].
  int first_key, row_squares, key_squares;
  bool is_first, is_last;
  std::uint32_t* d_scores;  // [B, G, row_squares, key_squares, square_words]

  // The number of the first row of a key/value head.
  __device__ Size first_row(int b, int g) const { return (b * sizes.kv_heads + g) * Size{row_squares} * square; }
  __device__ std::uint32_t* d_scores_of(int b, int g, int row, int first) const {
    const Size row_square = (first_row(b, g) + row) / square;
    return d_scores + (row_square * key_squares + (first - first_key) / square) * square_words;
  }
};

// Slots of device_scratch.
enum class BackwardScratch { facts, places, d_scores, d_query, d_key_value, query, key, value, d_output };
template <class T>
T* backward_scratch(BackwardScratch slot, Size n) {
  return device_scratch<T>(static_cast<int>(slot), n);
}

// dK, dV and dS^T for the keys of this run.
void attention_backward_keys(Cuda device, const BackwardCall& call);

// Do rows whose first and last see these keys see any of the keys first_key ... first_key + keys - 1? And all of them?
__device__ inline bool see_any(KeyRange first, KeyRange last, int first_key, int keys) {
  return last.end > first_key && first.begin < first_key + keys;
}
__device__ inline bool see_all(KeyRange first, KeyRange last, int first_key, int keys) {
  return last.begin <= first_key && first.end >= first_key + keys;
}

// Sums of a warp: `squares` squares below each other, and as many columns as a head.
template <int squares, int depth>
using Sums = float[squares][depth / 8][4];

// body(sum) for each that a lane has, in the same order always.
template <int squares, int columns, class Body>
__device__ inline void for_each_sum(float (&sums)[squares][columns][4], const Body& body) {
  unrolled<squares>([&](auto i) {
    unrolled<columns>([&](auto j) {
      for (float& sum : sums[i][j]) body(sum);
    });
  });
}

// sums += left right, for 16 rows of the tile.                                        left: [squares * 16, 16]
template <int squares, int depth>
__device__ inline void add_product(const LeftFragment (&left)[squares], MmaTile<depth> right, int first_row,
                                   Sums<squares, depth>& sums) {
  for (int j = 0; j < depth / square; ++j) {
    const RightFragment fragment = right_of(right, first_row, square * j);
    for (int i = 0; i < squares; ++i) multiply(sums[i][2 * j], sums[i][2 * j + 1], left[i], fragment);
  }
}

// scale * sums become heads head(0), ..., head(count - 1), by way of rows `first` and on of a tile that no other warp
// uses.
template <int squares, int depth, class Head>
__device__ inline void store_sums(const BackwardCall& call, Sums<squares, depth>& sums, float scale,
                                  MmaTile<depth> tile, int first, Head head, int count) {
  unrolled<squares>([&](auto i) {
    unrolled<depth / 8>([&](auto j) {
      for (float& sum : sums[i][j]) sum *= scale;
      put_sums(tile, first + square * i, 8 * j, sums[i][j]);
    });
  });
  __syncwarp();
  const int lane = threadIdx.x % warp_size, head_size = static_cast<int>(call.sizes.head_size);
  if (call.storing == Access::pieces)
    store_tile<warp_size, squares * square, Access::pieces>(lane, tile, first, head, count, head_size);
  else
    store_tile<warp_size, squares * square, Access::numbers>(lane, tile, first, head, count, head_size);
  __syncwarp();  // who uses the tile again waits until it is read
}

}  // namespace headshare::kernels
