#pragma once

#include "core/bfloat16.h"
#include "kernels/simulator/cuda.h"

// The simulated bodies of cuda_mma.cuh: same names, same fragments, the matrix product in plain loops.
namespace headshare::kernels {

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
