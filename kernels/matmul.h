#pragma once

#include "core/size.h"
#include "kernels/cpu.h"
#include "kernels/cuda.h"
#include "kernels/wide.h"

namespace headshare::kernels {

// One operand of a batched product: element (row, column) of matrix i lies at data[i * batch_stride + row * row_stride
// + column * column_stride]. A transposed matrix is the same memory with its strides exchanged, so all transposed forms
// are read in place; one of row_stride and column_stride is 1. batch_stride 0 repeats one matrix for the whole batch.
template <class T>
struct MatrixView {
  const T* data;
  Size row_stride;
  Size column_stride;
  Size batch_stride = 0;
};

enum class Activation { none, relu, gelu };

// What happens to a finished element of the product before it is stored, so that it need not be read again.
template <class T>
struct Epilogue {
  const Wide<T>* bias = nullptr;             // [N], added to every row; null: none
  Activation activation = Activation::none;  // applied last
  T* before_activation = nullptr;            // [batch, M, N]: keeps A B + bias for the backward of GELU; null: not kept
};

struct MatmulSizes {
  Size batch = 1;
  Size m = 0;  // rows of A and C
  Size n = 0;  // columns of B and C
  Size k = 0;  // columns of A, rows of B
};

// C[i] = activation(A[i] B[i] + bias).            A[i]: [M, K]   B[i]: [K, N]   C: [batch, M, N], contiguous, written
// Any size may be 0; K = 0 gives activation(bias). C may not overlap an operand. The order in which an element's K
// products are summed depends on the processor, the sizes, and on whether all of C is finite (a processor's matrix unit
// gives other products up), never on the number of threads.
template <class T>
void matmul(Cpu, const MatmulSizes& sizes, const MatrixView<T>& a, const MatrixView<T>& b, T* c,
            const Epilogue<T>& epilogue);
template <class T>
void matmul(Cuda, const MatmulSizes& sizes, const MatrixView<T>& a, const MatrixView<T>& b, T* c,
            const Epilogue<T>& epilogue);

// The same with a matrix B that was packed before: weights that many products use, as in decoding. Packing copies B
// into the order in which the product reads it; how many elements that takes, packed_size says.
//   b: [K, N]   packed: packed_size<T>(K, N), 64-byte aligned   a: [M, K]   C: [M, N], contiguous, written
// Of those, a product with m rows reads packed_bytes_read: the size of [K, N], or one and a half times that by a
// processor's matrix unit, which reads float32 in three pieces. Where there is one, both forms are kept: few rows are
// multiplied by vectors.
template <class T>
Size packed_size(Size k, Size n);
template <class T>
Size packed_bytes_read(Size m, Size k, Size n);
template <class T>
void pack_matrix(Cpu, Size k, Size n, const MatrixView<T>& b, T* packed);
template <class T>
void pack_matrix(Cuda, Size k, Size n, const MatrixView<T>& b, T* packed);
template <class T>
void matmul_packed(Cpu, Size m, Size n, Size k, const MatrixView<T>& a, const T* packed_b, T* c,
                   const Epilogue<T>& epilogue);
template <class T>
void matmul_packed(Cuda, Size m, Size n, Size k, const MatrixView<T>& a, const T* packed_b, T* c,
                   const Epilogue<T>& epilogue);

// The specification of matmul: three plain loops. Tests compare the two. (matmul_ladder.h has the same for CUDA.)
template <class T>
void matmul_plain(Cpu, const MatmulSizes& sizes, const MatrixView<T>& a, const MatrixView<T>& b, T* c,
                  const Epilogue<T>& epilogue);

}  // namespace headshare::kernels
