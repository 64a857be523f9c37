#pragma once

#include "core/bfloat16.h"
#include "kernels/matmul.h"

// The matrix product on a GPU, one idea at a time. Every rung computes what `matmul` does, for the same sizes, views
// and epilogue; what changes is how often a number is fetched before it is used. A multiply-add (FMA) needs two
// numbers, 8 bytes in float32. But an H200 that does all the 33e12 FMA a second that it can has 0.14 bytes of memory
// for each, and 1 byte of shared memory. The rungs close that gap. Bytes that the lanes of a warp ask for, per FMA,
// where a number that several lanes ask for at once counts once:
//
//   rung                                     from memory            from shared memory
//   matmul_naive                             4 + 4 / 32             0
//   matmul_tiled                             8 / 32  = 0.25         4 + 4 / 32
//   matmul_register_tiled    tile 64         8 / 64  = 0.13         0.38
//                            tile 128        8 / 128 = 0.06         0.19
//   matmul_tensor_core       128, BFloat16   4 / 128 = 0.03         0.09     64 FMA per lane in one instruction
//   matmul_few_rows          M rows          4 / M + 4 / 32         0.13 or 1, for the one or the other stride of B
namespace headshare::kernels {

// 1. One thread per element of C, which reads its row of A and its column of B straight from memory. Threads beside
//    each other own columns beside each other: reads of B are coalesced where its column_stride is 1, and only there.
template <class T>
void matmul_naive(Cuda, const MatmulSizes& sizes, const MatrixView<T>& a, const MatrixView<T>& b, T* c,
                  const Epilogue<T>& epilogue);

// 2. A block computes 32 x 32 elements. It carries 32 x 32 tiles of A and B to shared memory, where each number serves
//    32 threads. Memory is read 32 times less, and coalesced whichever stride is 1.
template <class T>
void matmul_tiled(Cuda, const MatmulSizes& sizes, const MatrixView<T>& a, const MatrixView<T>& b, T* c,
                  const Epilogue<T>& epilogue);

// 3. Now shared memory is what the FMAs wait for: they read twice each. A block of 256 threads computes tile x tile
//    elements, each thread (tile / 16)^2 of them in registers: with 8 numbers of A and 8 of B it does 64 FMAs. The next
//    tiles are on their way from memory while these are multiplied. tile is 64, or with float 128.
template <class T, int tile>
void matmul_register_tiled(Cuda, const MatmulSizes& sizes, const MatrixView<T>& a, const MatrixView<T>& b, T* c,
                           const Epilogue<T>& epilogue);

// 4. The tensor cores multiply small matrices, 16 x 8 x 16, in one instruction of a warp. They round what they
//    multiply: In is BFloat16 (eight bits of precision), or float, which is rounded to "tf32" (eleven bits). They add
//    in float32. tile is 64 or 128. Throws Error on GPUs before compute capability 8.0, whose tensor cores know neither
//    type.
template <class In, int tile>
void matmul_tensor_core(Cuda, const MatmulSizes& sizes, const MatrixView<In>& a, const MatrixView<In>& b, float* c,
                        const Epilogue<float>& epilogue);

// Beside the ladder: decoding multiplies a few rows with large weights. Each number of B serves M FMAs only, so the
// time is that of reading B, and a tile of 64 rows would be empty. Reads B exactly once. Throws Error when M is over 8.
constexpr Size most_few_rows = 8;
template <class T>
void matmul_few_rows(Cuda, const MatmulSizes& sizes, const MatrixView<T>& a, const MatrixView<T>& b, T* c,
                     const Epilogue<T>& epilogue);

}  // namespace headshare::kernels
