#pragma once

#include <cstdint>

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
//   matmul_pipelined         128 x 256       2 / 128 + 2 / 256      0.06     the same, without waiting for copies
//   matmul_hopper            128 x 256       = 0.02                 0.04     2048 FMA per lane in one instruction
//   matmul_few_rows          M rows          4 / M + 4 / 32         0.13 or 1, for the one or the other stride of B
//   matmul_few_rows_bf16     M rows          2 / M + 2 / 32         0        B goes straight to the registers
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
//    in float32; Out, which is BFloat16 only if In is, rounds the finished element once. tile is 64 or 128. Throws
//    Error on GPUs before compute capability 8.0, whose tensor cores know neither type.
template <class In, int tile, class Out = float>
void matmul_tensor_core(Cuda, const MatmulSizes& sizes, const MatrixView<In>& a, const MatrixView<In>& b, Out* c,
                        const Epilogue<Out>& epilogue);

// 5. Rung 4 waits for memory with registers: what it fetches passes through them. Here copies run behind its back,
//    straight into shared memory, several tiles ahead, and one instruction brings four 8 x 8 pieces from there to the
//    registers, transposed where the layout wants it. Out is BFloat16 or float. Throws Error on GPUs before compute
//    capability 8.0, and for factors that do not lie on whole 16 bytes (is_on_16_bytes below).
template <class Out>
void matmul_pipelined(Cuda, const MatmulSizes& sizes, const MatrixView<BFloat16>& a, const MatrixView<BFloat16>& b,
                      Out* c, const Epilogue<Out>& epilogue);
// The same by blocks of one size, whatever the sizes of the product: 64 x 128, 128 x 128, or 128 x 256, for which a
// block needs 144 KB of shared memory.
template <int rows, int columns, class Out>
void matmul_pipelined_tiled(Cuda, const MatmulSizes& sizes, const MatrixView<BFloat16>& a,
                            const MatrixView<BFloat16>& b, Out* c, const Epilogue<Out>& epilogue);

// 6. Hopper (compute capability 9.0): one thread asks for whole tiles, and four warps together multiply matrices of
//    64 x N x 16 that they need not load: the tensor cores read both from shared memory. As 5. otherwise.
//    A block computes 128 x `columns` elements at a time; columns is 128 or 256, matmul_hopper takes what is faster.
//    Throws Error on other GPUs, and for factors that do not lie on whole 16 bytes.
template <class Out>
void matmul_hopper(Cuda, const MatmulSizes& sizes, const MatrixView<BFloat16>& a, const MatrixView<BFloat16>& b, Out* c,
                   const Epilogue<Out>& epilogue);
template <int columns, class Out>
void matmul_hopper_tiled(Cuda, const MatmulSizes& sizes, const MatrixView<BFloat16>& a, const MatrixView<BFloat16>& b,
                         Out* c, const Epilogue<Out>& epilogue);

// Whether every line of the matrix, in the direction in which numbers lie side by side, begins on a whole 16 bytes.
inline bool is_on_16_bytes(const MatrixView<BFloat16>& x) {
  const Size line = x.column_stride == 1 ? x.row_stride : x.column_stride;
  return reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0 && line % 8 == 0 && x.batch_stride % 8 == 0;
}

// The product of bfloat16 factors by the best rung for the sizes, the layout and the GPU; the same of float32 factors,
// which the tensor cores round to tf32 (up to 8 rows are not rounded: then memory is what takes the time). Out is
// BFloat16 or float; the epilogue sees float32. Throws Error on GPUs before compute capability 8.0.
template <class Out>
void matmul_bf16(Cuda, const MatmulSizes& sizes, const MatrixView<BFloat16>& a, const MatrixView<BFloat16>& b, Out* c,
                 const Epilogue<Out>& epilogue);
void matmul_tf32(Cuda, const MatmulSizes& sizes, const MatrixView<float>& a, const MatrixView<float>& b, float* c,
                 const Epilogue<float>& epilogue);

// Beside the ladder: decoding multiplies a few rows with large weights. Each number of B serves M FMAs only, so the
// time is that of reading B, and a tile of 64 rows would be empty. Reads B exactly once. Throws Error when M is over 8.
constexpr Size most_few_rows = 8;
template <class T>
void matmul_few_rows(Cuda, const MatmulSizes& sizes, const MatrixView<T>& a, const MatrixView<T>& b, T* c,
                     const Epilogue<T>& epilogue);

// The same for bfloat16 factors, by tensor cores: 16 rows cost no more than 8. Lines of B should begin on whole 16
// bytes where they run along K, on 8 where they run along N; lines of A on 16. Otherwise numbers are read one by one.
constexpr Size most_few_rows_bf16 = 16;
template <class Out>
void matmul_few_rows_bf16(Cuda, const MatmulSizes& sizes, const MatrixView<BFloat16>& a, const MatrixView<BFloat16>& b,
                          Out* c, const Epilogue<Out>& epilogue);

}  // namespace headshare::kernels
