#pragma once

#include "kernels/attention_ladder.h"
#include "kernels/attention_mask.cuh"
#include "kernels/attention_mma.cuh"

// The gradients of attention_backward.cu on tensor cores, for rows of queries (RowTile) and keys, with P the weights:
//   delta = rows of dO . O    dV = P^T dO    dP^T = V dO^T    dS^T = P^T (dP^T - delta)    dK = dS^T Q    dQ = dS K
// What is transposed here is so on purpose: a block keeps keys and values and lets rows pass by, S^T = K Q^T has a row
// for each key, and what a lane holds of such sums is what it must hold of the left side of P^T dO and dS^T Q (as_left):
// weights never leave their registers.
//
// dQ is a sum over keys, which are in different blocks. Blocks that add to each other's sums would need atomics, whose
// order changes from run to run (FlashAttention-2 does so; Dao 2023). Computing S and dP again for dQ, as
// attention_backward.cu does, makes seven products of five. So dS is stored, in bfloat16 as the products take it anyway,
// and dQ = dS K is a kernel of its own. It costs four bytes of traffic per score where two products cost 4 D operations:
// on an H200, with 4.8 TB/s and about 400 TFLOP/s left of its tensor cores by mma_bf16, less from D = 48 on, and half of
// the bytes are written while the products before are computed. To bound the memory, keys may come in several runs; dQ
// is then summed up from run to run.
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

// Rows `first` to first + count - 1 of a tile that one warp alone has written become heads.
template <int count, int depth, class Head>
__device__ inline void store_gradients(const BackwardCall& call, MmaTile<depth> tile, int first, Head head, int left) {
  const int lane = threadIdx.x % warp_size, head_size = static_cast<int>(call.sizes.head_size);
  __syncwarp();
  if (call.storing == Access::pieces)
    store_tile<warp_size, count, Access::pieces>(lane, tile, first, head, left, head_size);
  else
    store_tile<warp_size, count, Access::numbers>(lane, tile, first, head, left, head_size);
  __syncwarp();  // who uses the tile again waits until it is read
}

}  // namespace headshare::kernels
