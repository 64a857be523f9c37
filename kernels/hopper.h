#pragma once

#include <cstdint>

#include "core/bfloat16.h"
#include "core/size.h"

// What a kernel tells Hopper's copy engine and its tensor cores about matrices of bfloat16, on a GPU (cuda_hopper.cuh)
// and on the simulated device (simulator/hopper.h) alike.
//
// Both know shared memory in pieces of 8 lines of 128 bytes, that is 64 numbers a line, on whole 1024 bytes. In line i
// of a piece the 16 bytes number j stand at place j XOR i ("128-byte swizzle"): whether the tensor cores read along a
// line or across the lines, they meet all 32 banks. Who copies swizzles as who reads; nobody else needs to know.
namespace headshare::kernels {

constexpr int line_numbers = 64;  // of a piece; 128 bytes
constexpr int line_bytes = 128;
constexpr int piece_bytes = 8 * line_bytes;

// Along which dimension the numbers of a factor lie side by side: along K, or along the other one (rows of A, columns
// of B).
enum class Major { k, other };

// A batch of matrices in memory, in lines of numbers that lie side by side. Strides are in numbers.
struct LinesInMemory {
  const BFloat16* data;
  Size length, lines, line_stride, matrices, matrix_stride;
};

// A factor in shared memory, for the tensor cores (PTX ISA, "Asynchronous warpgroup-level matrix shared memory layout":
// "Strides", "Matrix descriptor format"). Addresses and distances are in units of 16 bytes, and fit into 14 bits:
//   bits 0-13 address, 16-29 leading distance, 32-45 stride distance, 49-51 base offset (0), 62-63 swizzle (1: 128 B)
// address is that of the factor's first number. 16 steps along K further it lies
//   Major::k       32 bytes further, inside the same pieces (they begin on whole 1024 bytes, the factor does not)
//   Major::other   two pieces further
// stride distance is from piece to piece: 8 lines further, be it along K or not. A line of Major::other has 64 numbers;
// leading distance is from those to the next 64. With Major::k it is not used: 16 steps along K never leave a line.
constexpr std::uint64_t matrix_descriptor(std::uint32_t address, std::uint32_t leading_distance) {
  constexpr std::uint64_t unit = 16, field = 0x3fff, stride_distance = piece_bytes, swizzle_128_bytes = 1;
  return (address / unit & field) | (leading_distance / unit & field) << 16 | stride_distance / unit << 32 |
         swizzle_128_bytes << 62;
}

}  // namespace headshare::kernels
