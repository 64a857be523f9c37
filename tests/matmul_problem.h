#pragma once

#include <ostream>

#include "kernels/matmul.h"
#include "tests/test_device.h"

// What the tests of the matrix product share: which product, matrices in both memory layouts, and results.
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
  Size lines_on = 1;  // lines of A and B (their rows or columns, as laid out) begin at multiples of so many elements
};

// For CAPTURE.
inline std::ostream& operator<<(std::ostream& out, const Case& c) {
  const auto letter = [](Layout layout) { return layout == Layout::rows ? "" : "^T"; };
  const char* const activations[] = {"", ", relu", ", gelu"};
  return out << c.sizes.batch << " products [" << c.sizes.m << ", " << c.sizes.k << "]" << letter(c.a_layout) << " ["
             << c.sizes.k << ", " << c.sizes.n << "]" << letter(c.b_layout) << " of " << c.a_matrices << " and "
             << c.b_matrices << " matrices" << (c.bias ? ", bias" : "") << activations[static_cast<int>(c.activation)]
             << (c.keep_before ? ", kept" : "") << ", lines on " << c.lines_on;
}

// C, and what it was before the activation where the case keeps that.
template <class T>
struct Results {
  Array<T> c, before;
};

// Where the lines of such a matrix begin, and how many elements all of its batch take, nothing after the last line.
struct Lines {
  Size count, length, stride, matrices;
  Lines(Size rows, Size columns, Layout layout, Size matrices_, Size lines_on = 1)
      : count(layout == Layout::rows ? rows : columns),
        length(layout == Layout::rows ? columns : rows),
        stride((length + lines_on - 1) / lines_on * lines_on),
        matrices(matrices_) {}
  Size elements() const { return matrices * count * length == 0 ? 0 : (matrices * count - 1) * stride + length; }
};

template <class T>
MatrixView<T> view(const Array<T>& data, Size rows, Size columns, Layout layout, Size matrices, Size lines_on = 1) {
  const Lines lines(rows, columns, layout, matrices, lines_on);
  const Size batch_stride = matrices == 1 ? 0 : lines.count * lines.stride;
  if (layout == Layout::rows) return {data.data(), lines.stride, 1, batch_stride};
  return {data.data(), 1, lines.stride, batch_stride};
}

}  // namespace headshare::kernels::matmul_test
