#pragma once

#include "core/bfloat16.h"
#include "kernels/simulator/async_copy.h"
#include "kernels/simulator/cuda.h"

// The simulated bodies of cuda_mma.cuh: same names, same fragments, the matrix product in plain loops.
namespace headshare::kernels {

inline std::uint32_t bfloat16_pair(float low, float high) {
  return std::uint32_t{BFloat16(high).bits} << 16 | BFloat16(low).bits;
}

inline std::uint32_t bfloat16_of_even_bytes(std::uint32_t bytes) {
  return bfloat16_pair(static_cast<std::int8_t>(bytes), static_cast<std::int8_t>(bytes >> 16));
}

inline float fast_exp2(float x) { return std::exp2(x); }

// ---- Copies that arrive later: as late as possible, so that a wait that is missing shows ------------------------------

inline void copy_async(void* to, const void* from, int bytes = 16) { simulator::begin_copy({to, from, bytes}); }
inline void close_copy_group() { simulator::close_copy_group(); }

struct alignas(16) SixteenBytes {
  std::uint32_t words[4];
};

template <int groups>
inline void wait_for_copies() {
  for (simulator::AsyncCopy copy; simulator::next_copy(groups, copy);) {
    SixteenBytes piece{};
    if (copy.bytes == 16)
      piece = *static_cast<const SixteenBytes*>(copy.from);
    else
      std::memcpy(&piece, copy.from, static_cast<std::size_t>(copy.bytes));
    *static_cast<SixteenBytes*>(copy.to) = piece;
  }
}

// ---- From shared memory to registers --------------------------------------------------------------------------------

namespace simulated_mma {

struct MatrixRows {
  SixteenBytes own;           // the row that this lane reads
  std::uint32_t (*words)[4];  // what it gets
};

HEADSHARE_NOT_TRACED inline std::uint32_t number_of(void* const* lanes, int matrix, int row, int column) {
  const SixteenBytes& from = static_cast<const MatrixRows*>(lanes[8 * matrix + row])->own;
  return from.words[column / 2] >> 16 * (column % 2) & 0xffffu;
}

}  // namespace simulated_mma

inline void load_matrices(std::uint32_t (&words)[4], const void* row, HEADSHARE_PLACE) {
  simulated_mma::MatrixRows rows{*static_cast<const SixteenBytes*>(row), &words};
  simulator::warp_collective(
      simulator::WarpOperation::together, ~0u, 0, &rows, 0, 32, place, [](void* const* lanes) HEADSHARE_NOT_TRACED {
        for (int lane = 0; lane < 32; ++lane)
          for (int i = 0; i < 4; ++i)
            (*static_cast<simulated_mma::MatrixRows*>(lanes[lane])->words)[i] =
                static_cast<const simulated_mma::MatrixRows*>(lanes[8 * i + lane / 4])->own.words[lane % 4];
      });
}

inline void load_matrices_transposed(std::uint32_t (&words)[4], const void* row, HEADSHARE_PLACE) {
  simulated_mma::MatrixRows rows{*static_cast<const SixteenBytes*>(row), &words};
  simulator::warp_collective(simulator::WarpOperation::together, ~0u, 0, &rows, 0, 32, place,
                             [](void* const* lanes) HEADSHARE_NOT_TRACED {
                               for (int lane = 0; lane < 32; ++lane)
                                 for (int i = 0; i < 4; ++i) {
                                   const int first = lane % 4 * 2, column = lane / 4;
                                   (*static_cast<simulated_mma::MatrixRows*>(lanes[lane])->words)[i] =
                                       simulated_mma::number_of(lanes, i, first + 1, column) << 16 |
                                       simulated_mma::number_of(lanes, i, first, column);
                                 }
                             });
}

inline std::uint32_t transposed_matrix(std::uint32_t row, HEADSHARE_PLACE) {
  struct Words {
    std::uint32_t given, taken;
  } words{row, 0};
  simulator::warp_collective(simulator::WarpOperation::together, ~0u, 0, &words, 0, 32, place,
                             [](void* const* lanes) HEADSHARE_NOT_TRACED {
                               const auto words_of = [&](int lane) HEADSHARE_NOT_TRACED -> Words& {
                                 return *static_cast<Words*>(lanes[lane]);
                               };
                               for (int lane = 0; lane < 32; ++lane) {
                                 const int column = lane / 4, first = lane % 4 * 2, from = 4 * first + column / 2;
                                 const int shift = 16 * (column % 2);
                                 words_of(lane).taken = (words_of(from + 4).given >> shift & 0xffffu) << 16 |
                                                        (words_of(from).given >> shift & 0xffffu);
                               }
                             });
  return words.taken;
}

// ---- Products --------------------------------------------------------------------------------------------------------

// A number as tensor cores see it: ten bits of fraction, the nearest one (cvt.rna.tf32.f32: ties away from 0).
inline std::uint32_t to_tf32(float x) {
  if (x != x) return 0x7fffe000u;  // rounded up, the bits of a NaN could overflow into those of another number
  return (std::bit_cast<std::uint32_t>(x) + 0x1000u) & ~0x1fffu;
}

namespace simulated_mma {

struct Operands {
  float* d;
  const std::uint32_t* a;
  const std::uint32_t* b;
};

inline float low_bfloat16(std::uint32_t pair) { return std::bit_cast<float>(pair << 16); }
inline float high_bfloat16(std::uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000u); }

// Where the PTX manual puts element i of lane's accumulator: row, column of the 16 x 8 result.
inline int result_row(int lane, int i) { return lane / 4 + (i >= 2 ? 8 : 0); }
inline int result_column(int lane, int i) { return lane % 4 * 2 + i % 2; }

HEADSHARE_NOT_TRACED inline void multiply(void* const* lanes, const float (&a)[16][16], const float (&b)[16][8],
                                          int depth) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      float& d = static_cast<const Operands*>(lanes[lane])->d[i];
      for (int k = 0; k < depth; ++k) d += a[result_row(lane, i)][k] * b[k][result_column(lane, i)];
    }
  }
}

}  // namespace simulated_mma

inline void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], HEADSHARE_PLACE) {
  simulated_mma::Operands operands{d, a, b};
  simulator::warp_collective(simulator::WarpOperation::together, ~0u, 0, &operands, 0, 32, place,
                             [](void* const* lanes) HEADSHARE_NOT_TRACED {
                               float left[16][16], right[16][8];
                               for (int lane = 0; lane < 32; ++lane) {
                                 const auto& from = *static_cast<const simulated_mma::Operands*>(lanes[lane]);
                                 for (int i = 0; i < 4; ++i) {
                                   const int row = lane / 4 + (i % 2) * 8, k = lane % 4 * 2 + (i / 2) * 8;
                                   left[row][k] = simulated_mma::low_bfloat16(from.a[i]);
                                   left[row][k + 1] = simulated_mma::high_bfloat16(from.a[i]);
                                 }
                                 for (int i = 0; i < 2; ++i) {
                                   const int k = lane % 4 * 2 + i * 8;
                                   right[k][lane / 4] = simulated_mma::low_bfloat16(from.b[i]);
                                   right[k + 1][lane / 4] = simulated_mma::high_bfloat16(from.b[i]);
                                 }
                               }
                               simulated_mma::multiply(lanes, left, right, 16);
                             });
}

inline void mma_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], HEADSHARE_PLACE) {
  simulated_mma::Operands operands{d, a, b};
  simulator::warp_collective(
      simulator::WarpOperation::together, ~0u, 0, &operands, 0, 32, place, [](void* const* lanes) HEADSHARE_NOT_TRACED {
        float left[16][16], right[16][8];
        for (int lane = 0; lane < 32; ++lane) {
          const auto& from = *static_cast<const simulated_mma::Operands*>(lanes[lane]);
          for (int i = 0; i < 4; ++i)
            left[lane / 4 + (i % 2) * 8][lane % 4 + (i / 2) * 4] = std::bit_cast<float>(from.a[i]);
          for (int i = 0; i < 2; ++i) right[lane % 4 + i * 4][lane / 4] = std::bit_cast<float>(from.b[i]);
        }
        simulated_mma::multiply(lanes, left, right, 8);
      });
}

}  // namespace headshare::kernels
