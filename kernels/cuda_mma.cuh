#pragma once

#include <cstdint>

// One instruction of the tensor cores, in PTX because C++ has no word for it (PTX ISA, "Matrix multiply-accumulate
// operation using mma instruction"). All 32 lanes of a warp call it together, each with its part of the matrices.
namespace headshare::kernels {

// A float as tensor cores see it: ten bits of fraction, to the nearest.
__device__ inline std::uint32_t to_tf32(float x) {
  std::uint32_t rounded = 0;
#if __CUDA_ARCH__ >= 800
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
#else
  (void)x;
  __trap();  // the host asks for the GPU's compute capability first (matmul_tensor_core)
#endif
  return rounded;
}

// d += a b, with a: [16, 16] and b: [16, 8] of bfloat16, d: [16, 8] of float. Lane l = 4 r + c holds
//   a[0]: row r, columns 2c and 2c + 1;  a[1]: row r + 8;  a[2]: row r, columns + 8;  a[3]: row r + 8, columns + 8
//   b[0]: rows 2c and 2c + 1, column r;  b[1]: rows + 8
//   d[0], d[1]: row r, columns 2c and 2c + 1;  d[2], d[3]: row r + 8
// Of the two numbers in a register the lower half comes first.
__device__ inline void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  (void)d, (void)a, (void)b;
  __trap();
#endif
}

// d += a b, with a: [16, 8] and b: [8, 8] of to_tf32 numbers, d: [16, 8]. Lane l = 4 r + c holds
//   a[0]: row r, column c;  a[1]: row r + 8;  a[2]: row r, column c + 4;  a[3]: row r + 8, column c + 4
//   b[0]: row c, column r;  b[1]: row c + 4;   d as above
__device__ inline void mma_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  (void)d, (void)a, (void)b;
  __trap();
#endif
}

}  // namespace headshare::kernels
