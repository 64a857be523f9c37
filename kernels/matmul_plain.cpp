#include "kernels/elementwise_functions.h"
#include "kernels/matmul.h"

namespace headshare::kernels {

template <class T>
void matmul_plain(Cpu, const MatmulSizes& sizes, const MatrixView<T>& a, const MatrixView<T>& b, T* c,
                  const Epilogue<T>& epilogue) {
  for (Size i = 0; i < sizes.batch; ++i) {
    for (Size row = 0; row < sizes.m; ++row) {
      for (Size column = 0; column < sizes.n; ++column) {
        const T* a_row = a.data + i * a.batch_stride + row * a.row_stride;
        const T* b_column = b.data + i * b.batch_stride + column * b.column_stride;
        T sum = 0;
        for (Size k = 0; k < sizes.k; ++k) sum += a_row[k * a.column_stride] * b_column[k * b.row_stride];
        if (epilogue.bias != nullptr) sum += epilogue.bias[column];
        const Size at = (i * sizes.m + row) * sizes.n + column;
        if (epilogue.before_activation != nullptr) epilogue.before_activation[at] = sum;
        if (epilogue.activation == Activation::relu) sum = Relu{}(sum);
        if (epilogue.activation == Activation::gelu) sum = Gelu{}(sum);
        c[at] = sum;
      }
    }
  }
}

template void matmul_plain(Cpu, const MatmulSizes&, const MatrixView<float>&, const MatrixView<float>&, float*,
                           const Epilogue<float>&);
template void matmul_plain(Cpu, const MatmulSizes&, const MatrixView<double>&, const MatrixView<double>&, double*,
                           const Epilogue<double>&);

}  // namespace headshare::kernels
