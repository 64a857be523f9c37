#pragma once

#include <cstring>

#include "kernels/attention_tile.cuh"
#include "kernels/device_memory.h"

// What the attention kernels on tensor cores share: heads of bfloat16 as tiles of shared memory, and the fragments of
// these that mma_bf16 takes (cuda_mma.cuh).
namespace headshare::kernels {

// ---- A tile in shared memory ----------------------------------------------------------------------------------------

// Eight numbers, 16 bytes on whole 16 bytes: what copy_async brings, and what load_matrices takes for one row of a
// matrix. Shared memory delivers eight pieces at a time, if they lie in eight different places modulo 128 bytes.
using Piece = Chunk<BFloat16>;
constexpr int piece_numbers = Piece::size;
static_assert(piece_numbers == 8);

// Rows of `depth` numbers, without gaps: 32, 64, 96 or 128. load_matrices reads the same piece of eight rows below each
// other, which would lie in one or two places modulo 128 bytes; so the pieces of a row change places, row by row in
// another way.
template <int depth_>
struct MmaTile {
  static constexpr int depth = depth_;
  static constexpr int pieces = depth / piece_numbers;  // of a row
  static_assert(depth % 32 == 0);

  BFloat16* data;

  // Rows of whole 128 bytes all begin in the same place; others, in turn, in two. So of `period` neighbouring pieces,
  // each comes to stand in the place of another.
  static constexpr int period = pieces % 8 == 0 ? 8 : 4;
  static __device__ int turn(int row) {
    const unsigned line = static_cast<unsigned>(row);  // unsigned: a compiler then sees that rows 8 apart turn alike
    return static_cast<int>(period == 8 ? line % 8 : line / 2 % 4);
  }
  __device__ BFloat16* piece(int row, int number) const {
    return data + row * depth + (number ^ turn(row)) * piece_numbers;
  }
};

template <int rows, int depth>
constexpr int mma_tile_bytes = rows* MmaTile<depth>::pieces* static_cast<int>(sizeof(Piece));

// Calls run(depth) with D rounded up to 32, 64, 96 or 128, as a std::integral_constant. Throws Error for more.
template <class Run>
void with_mma_depth(const char* who, Size head_size, Run run) {
  if (head_size <= 32) return run(std::integral_constant<int, 32>{});
  if (head_size <= 64) return run(std::integral_constant<int, 64>{});
  if (head_size <= 96) return run(std::integral_constant<int, 96>{});
  if (head_size <= 128) return run(std::integral_constant<int, 128>{});
  fail(who, ": heads of ", head_size, " numbers; the sums of at most 128 fit into the registers of a GPU");
}

// Throws Error where the GPU has no tensor cores for bfloat16.
inline void require_mma(const char* who) {
  if (const int capability = compute_capability(); capability < 80)
    fail(who, ": this GPU's compute capability is ", capability / 10, ".", capability % 10,
         ", but tensor cores take bfloat16 from 8.0 on; use float32");
}

// ---- Between memory and a tile --------------------------------------------------------------------------------------

// How heads are read and written: by pieces, where all of these lie on whole 16 bytes in memory, else by numbers.
enum class Access { pieces, numbers };

template <class T>
bool lies_in_pieces(const HeadsView<T>& view, Size head_size) {
  return reinterpret_cast<std::uintptr_t>(view.data) % sizeof(Piece) == 0 && view.batch_stride % piece_numbers == 0 &&
         view.position_stride % piece_numbers == 0 && view.head_stride % piece_numbers == 0 &&
         head_size % piece_numbers == 0;
}

// Calls visit(row, piece, step) for `rows` rows of a tile: this thread is to care for pieces piece, piece + step ... of
// each of these rows. Neighbouring threads have neighbouring pieces: together, 64 or 128 bytes of each row at a time.
// `thread` counts those that share this work, 0 to threads - 1.
template <int threads, int rows, int depth, class Visit>
__device__ inline void for_each_row(int thread, Visit visit) {
  constexpr int beside = MmaTile<depth>::period, below = threads / beside;
  static_assert(threads % beside == 0 && rows % below == 0);
  const unsigned number = static_cast<unsigned>(thread);  // unsigned: division by a power of 2 is one operation
  for (int i = 0; i < rows / below; ++i)
    visit(static_cast<int>(number / beside) + i * below, static_cast<int>(number % beside), beside);
}

// Row i of the tile becomes head(i)[0 .. head_size - 1] for i < count; all else, up to `rows` rows of `depth` numbers,
// becomes 0. head(i) is a pointer, valid for i < count, and asked for once for each row and thread. count: at least 1.
// The numbers are there when each thread has waited for its copies (wait_for_copies) and a barrier came after that.
template <int threads, int rows, Access access, int depth, class Head>
__device__ inline void copy_tile(int thread, Head head, int count, int head_size, MmaTile<depth> tile) {
  const auto copy = [&](auto whole) {
    for_each_row<threads, rows, depth>(thread, [&](int row, int first_piece, int step) {
      const bool exists = whole || row < count;
      const BFloat16* const from = head(exists ? row : 0);
      for (int i = 0; i < MmaTile<depth>::pieces; i += step) {
        const int d = (first_piece + i) * piece_numbers;
        BFloat16* const to = tile.piece(row, first_piece) + i * piece_numbers;
        if constexpr (access == Access::pieces) {
          const bool inside = d < head_size;
          copy_async(to, from + (inside ? d : 0), exists && inside ? static_cast<int>(sizeof(Piece)) : 0);
        } else {
          Piece piece = {};
          for (int e = 0; e < piece_numbers; ++e)
            if (exists && d + e < head_size) piece.values[e] = from[d + e];
          *reinterpret_cast<Piece*>(to) = piece;
        }
      }
    });
  };
  // Most tiles are whole: then addresses of rows are sums of few numbers.
  if (count >= rows)
    copy(std::true_type{});
  else
    copy(std::false_type{});
}

// head(i)[0 .. head_size - 1] becomes row `first` + i of the tile, for i < count, at most `rows`.
template <int threads, int rows, Access access, int depth, class Head>
__device__ inline void store_tile(int thread, MmaTile<depth> tile, int first, Head head, int count, int head_size) {
  for_each_row<threads, rows, depth>(thread, [&](int row, int first_piece, int step) {
    if (row >= count) return;
    BFloat16* const to = head(row);
    for (int i = 0; i < MmaTile<depth>::pieces; i += step) {
      const int d = (first_piece + i) * piece_numbers;
      const Piece piece = chunk_at(tile.piece(first + row, first_piece) + i * piece_numbers);
      if constexpr (access == Access::pieces) {
        if (d < head_size) *reinterpret_cast<Piece*>(to + d) = piece;
      } else {
        for (int e = 0; e < piece_numbers; ++e)
          if (d + e < head_size) to[d + e] = piece[e];
      }
    }
  });
}

// ---- Fragments ------------------------------------------------------------------------------------------------------

// Of a product a b; a: [16, 16], b: [16, 16], two halves of eight columns, each of which mma_bf16 takes with the same
// a.
struct LeftFragment {
  std::uint32_t words[4];
};
struct RightFragment {
  std::uint32_t halves[2][2];
};

// The four matrices of load_matrices are the corners of a square of 16 x 16 numbers of a tile: those of the first eight
// columns first or those of the first eight rows first.
enum class Corners { down, across };

template <Corners order, int depth>
__device__ inline const BFloat16* corner_row(MmaTile<depth> tile, int row, int column) {
  const int lane = threadIdx.x % warp_size, second = lane / 8 % 2, third = lane / 16;
  const bool down = order == Corners::down;
  // tile.piece(row + lane_row, column / 8 + lane_piece), put together such that in loops over rows and columns most of
  // it is a constant: rows 16 further turn alike, and neither turns nor lane_piece reach beyond a period.
  const int lane_row = lane % 8 + 8 * (down ? second : third), lane_piece = down ? third : second;
  const int in_lane = lane_row * depth + (lane_piece ^ tile.turn(lane_row)) * piece_numbers;
  constexpr int period = MmaTile<depth>::period * piece_numbers;
  return tile.data + (row * depth + column / period * period) + (in_lane ^ column % period);
}

// a = rows row ... row + 15, columns column ... column + 15 of the tile, with row and column multiples of 16; and the
// same square transposed.
template <int depth>
__device__ inline LeftFragment left_of(MmaTile<depth> tile, int row, int column) {
  LeftFragment a;
  load_matrices(a.words, corner_row<Corners::down>(tile, row, column));
  return a;
}
template <int depth>
__device__ inline LeftFragment left_of_transposed(MmaTile<depth> tile, int row, int column) {
  LeftFragment a;
  load_matrices_transposed(a.words, corner_row<Corners::across>(tile, row, column));
  return a;
}

// b = the same square, as it is and transposed: rows of the tile become columns of b.
template <int depth>
__device__ inline RightFragment right_of(MmaTile<depth> tile, int row, int column) {
  std::uint32_t words[4];
  load_matrices_transposed(words, corner_row<Corners::down>(tile, row, column));
  return {{{words[0], words[1]}, {words[2], words[3]}}};
}
template <int depth>
__device__ inline RightFragment right_of_transposed(MmaTile<depth> tile, int row, int column) {
  std::uint32_t words[4];
  load_matrices(words, corner_row<Corners::across>(tile, row, column));
  return {{{words[0], words[1]}, {words[2], words[3]}}};
}

// sums += a b.                                                                     sums: [16, 16], as two of mma_bf16's
__device__ inline void multiply(float (&first)[4], float (&second)[4], const LeftFragment& a, const RightFragment& b) {
  mma_bf16(first, a.words, b.halves[0]);
  mma_bf16(second, a.words, b.halves[1]);
}

// Sums of a product as the left side of the next: what a lane holds of [16, 16] sums is what it must hold of a.
__device__ inline LeftFragment as_left(const float (&first)[4], const float (&second)[4]) {
  return {{bfloat16_pair(first[0], first[1]), bfloat16_pair(first[2], first[3]), bfloat16_pair(second[0], second[1]),
           bfloat16_pair(second[2], second[3])}};
}

// Sums [16, 8] as mma_bf16 leaves them, rounded, to rows `row` and on of the tile, columns `column` to column + 7.
template <int depth>
__device__ inline void put_sums(MmaTile<depth> tile, int row, int column, const float (&sums)[4]) {
  const int r = threadIdx.x % warp_size / 4, c = threadIdx.x % 4;  // names of cuda_mma.cuh
  for (int half = 0; half < 2; ++half) {
    void* const to = tile.piece(row + r + 8 * half, column / piece_numbers) + 2 * c;
    const std::uint32_t pair = bfloat16_pair(sums[2 * half], sums[2 * half + 1]);
    std::memcpy(__builtin_assume_aligned(to, sizeof pair), &pair, sizeof pair);
  }
}

}  // namespace headshare::kernels
