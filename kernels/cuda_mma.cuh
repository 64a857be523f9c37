#pragma once

#include <cstdint>

#include "core/bfloat16.h"

// What the tensor cores do, and what brings them their numbers, in PTX because C++ has no word for it (PTX ISA, "Matrix
// multiply-accumulate operation using mma instruction", "ldmatrix", "cp.async").
namespace headshare::kernels {

// ---- From memory to shared memory -----------------------------------------------------------------------------------

// 16 bytes, both places on whole 16 bytes: the first `bytes` of them from `from`, the rest zeros (`from` must be a
// valid address even for 0). The thread goes on at once, no register is needed, and nobody may read `to` before the
// thread that asked has waited for the copy and a barrier came after that. For compute capability 8.0 and later.
__device__ inline void copy_async(void* to, const void* from, int bytes = 16) {
#if __CUDA_ARCH__ >= 800
  const auto shared = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from), "r"(bytes) : "memory");
#else
  (void)to, (void)from, (void)bytes;
  __trap();  // the host asks for the GPU's compute capability first
#endif
}

// This thread's copies since the last call make a group, perhaps an empty one.
__device__ inline void close_copy_group() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until of this thread's groups at most the last `groups` are still under way.
template <int groups>
__device__ inline void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
#endif
}

// ---- From shared memory to registers --------------------------------------------------------------------------------

// Four matrices of 8 x 8 two-byte numbers. Lane l gives the address of row l % 8 of matrix l / 8: 16 bytes, on whole 16
// bytes. Lane l = 4 r + c then holds in words[i], of matrix i, row r, columns 2c and 2c + 1. All 32 lanes call it.
__device__ inline void load_matrices(std::uint32_t (&words)[4], const void* row) {
  const auto shared = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(shared)
               : "memory");
}

// The same, but lane 4 r + c holds rows 2c and 2c + 1 of column r.
__device__ inline void load_matrices_transposed(std::uint32_t (&words)[4], const void* row) {
  const auto shared = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(shared)
               : "memory");
}

// A matrix of 8 x 8 two-byte numbers that the lanes of a warp hold, transposed: of row r, columns 2c and 2c + 1, lane
// 4 r + c gives `row` and gets rows 2c and 2c + 1 of column r.
__device__ inline std::uint32_t transposed_matrix(std::uint32_t row) {
  std::uint32_t column;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(column) : "r"(row));
  return column;
}

// ---- Numbers --------------------------------------------------------------------------------------------------------

// Two floats as two bfloat16 in one register, to the nearest even; `low` in the lower half.
__device__ inline std::uint32_t bfloat16_pair(float low, float high) {
#if __CUDA_ARCH__ >= 800
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return std::uint32_t{BFloat16(high).bits} << 16 | BFloat16(low).bits;
#endif
}

// The signed bytes 0 and 2 of a register as two bfloat16, which hold them exactly. Of a byte x, put into the fraction
// of 128 and of -(128 or 256), the sum is its lower seven bits, less 128 where its sign bit is set. In three
// instructions: `bytes & mask | bits` is one, but the compiler makes two of it, to save a register for a constant.
__device__ inline std::uint32_t bfloat16_of_even_bytes(std::uint32_t bytes) {
#if __CUDA_ARCH__ >= 800
  std::uint32_t size, sign, pair;
  asm("lop3.b32 %0, %1, 0x007f007f, %2, 0xea;" : "=r"(size) : "r"(bytes), "r"(0x43004300u));
  asm("lop3.b32 %0, %1, 0x00800080, %2, 0xea;" : "=r"(sign) : "r"(bytes), "r"(0xc300c300u));
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(pair) : "r"(size), "r"(0x3f803f80u), "r"(sign));  // size * 1 + sign
  return pair;
#else
  return bfloat16_pair(static_cast<std::int8_t>(bytes), static_cast<std::int8_t>(bytes >> 16));
#endif
}

// 2^x by one instruction, to about two units in the last place; 0 for results below the normal numbers. exp2f takes
// three more, for those.
__device__ inline float fast_exp2(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

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

// ---- Products, of all 32 lanes of a warp together, each with its part of the matrices -------------------------------

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
