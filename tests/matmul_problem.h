#pragma once

#include "kernels/matmul.h"
#include "tests/test_device.h"

// What the tests of the matrix product share: which product, and matrices in both memory layouts.
namespace headshare::kernels::matmul_test {

using test::Array;

enum class Layout { rows, columns };  // columns: the matrix is stored transposed

struct Case {
  MatmulSizes sizes;
  Layout a_layout = Layout::rows;
  Layout b_layout = Layout::rows;
  Size a_matrices = 1;  // how many different ones the batch has: 1 or all
  Size b_matrices = 1;
  bool bias = false;
  Activation activation = Activation::none;
  bool keep_before = false;
};

template <class T>
MatrixView<T> view(const Array<T>& data, Size rows, Size columns, Layout layout, Size matrices) {
  const Size batch_stride = matrices == 1 ? 0 : rows * columns;
  if (layout == Layout::rows) return {data.data(), columns, 1, batch_stride};
  return {data.data(), 1, rows, batch_stride};
}

}  // namespace headshare::kernels::matmul_test
