#pragma once

#include "core/size.h"
#include "kernels/cuda.h"

// Lesson 11: one matrix product, five times, each time with less traffic. lesson.cu holds the kernels, lesson.cpp the
// predictions.
//
// C = A B, all of float, row by row without gaps: element (r, c) of a matrix with n columns is number r n + c.
//                                                                           A: [M, K], B: [K, N], C: [M, N]
namespace headshare::lesson {

using kernels::Cuda;

struct Sizes {
  Size m, n, k;  // all at least 1
};

// [show constants]
constexpr int side = 32;           // steps 1 to 3: a block computes 32 x 32 elements of C, a thread for each
constexpr int tile = 64;           // steps 4 and 5: a block of 256 threads computes 64 x 64
constexpr int tile_threads = 256;  // eight warps
constexpr int depth = 16;          // steps 4 and 5: how much of K is in shared memory at a time
constexpr int mine = 4;            // step 4: a thread computes 4 x 4 elements
// [end show]

// ---- Predictions (lesson.cpp) ---------------------------------------------------------------------------------------
// For sizes that need no rounding: M and N are multiples of 64, and K of 32. Without caches.

// Step 1: bytes of global memory that one thread per element moves, in sectors of 32 bytes. The 32 lanes of a warp have
// 32 neighbours of C: below each other in one column (down), or beside each other in one row (across).
enum class Lanes { down, across };
Size bytes_of_naive(const Sizes& sizes, Lanes lanes);

// Step 2: bytes of global memory, if each block computes tile_rows x tile_columns elements of C, and reads what it
// needs of A and B once. All sectors are used in full.
Size bytes_of_tiles(const Sizes& sizes, Size tile_rows, Size tile_columns);

// Step 3: how often a warp must go through the 32 banks of shared memory when lane l stores to word l stride. A bank
// holds every 32nd word: word w is in bank w % 32. It serves one word at a time; lanes that want the same word share
// it.
int passes_of_warp(int stride);

// Step 4: loads from shared memory, in requests of whole warps, when each thread computes per_thread x per_thread
// elements and holds what it has loaded in registers.
Size loads_of_shared(const Sizes& sizes, int per_thread);

// ---- Kernels (lesson.cu). All pointers are device memory. -----------------------------------------------------------

// Given: a thread per element, the lanes of a warp below each other.
void matmul_down(Cuda device, const Sizes& sizes, const float* a, const float* b, float* c);
// Given: lane l of one warp stores to word l stride of shared memory, then to y[l].             y: [32]; stride 0 to 40
void store_column(Cuda device, int stride, float* y);

void matmul_across(Cuda device, const Sizes& sizes, const float* a, const float* b, float* c);      // step 1
void matmul_tiled(Cuda device, const Sizes& sizes, const float* a, const float* b, float* c);       // step 2
void matmul_transposed(Cuda device, const Sizes& sizes, const float* a, const float* b, float* c);  // step 3; B: [N, K]
void matmul_registers(Cuda device, const Sizes& sizes, const float* a, const float* b, float* c);   // step 4
// Step 5: factors rounded to tf32, ten bits of fraction; sums in float. Throws Error on a GPU older than 8.0.
void matmul_tensor_cores(Cuda device, const Sizes& sizes, const float* a, const float* b, float* c);

}  // namespace headshare::lesson
