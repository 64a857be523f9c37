#include "kernels/copy.h"

#include <algorithm>
#include <type_traits>

#include "kernels/converted.h"
#include "kernels/indices.h"
#include "kernels/parallel.h"
#include "kernels/pieces.h"
#include "kernels/transpose.h"

namespace headshare::kernels {

namespace {

// to[i, j] = from[j, i], in squares that are transposed in registers: both sides are touched a whole
// cache line at a time.
//                                     to: [rows, columns]; each line of `from` and of `to` is contiguous
template <class T>
void transpose(Size rows, Size columns, const T* from, Size from_line, T* to, Size to_line) {
  constexpr Size side = vector_bytes / static_cast<Size>(sizeof(T));
  for (Size top = 0; top < rows; top += side) {
    for (Size left = 0; left < columns; left += side) {
      const T* corner = from + left * from_line + top;
      T* target = to + top * to_line + left;
      if constexpr (std::is_arithmetic_v<T>) {
        if (top + side <= rows && left + side <= columns) {
          transpose_square<T>(corner, from_line, target, to_line);
          continue;
        }
      }
      for (Size i = 0; i < std::min(side, rows - top); ++i) {
        for (Size j = 0; j < std::min(side, columns - left); ++j) target[i * to_line + j] = corner[j * from_line + i];
      }
    }
  }
}

// How one side of a copy walks through a plane.
struct PlaneStrides {
  Size row, column;
};

template <class T>
void copy_plane(Size rows, Size columns, const T* from, PlaneStrides x, T* to, PlaneStrides y) {
  if (x.column == 1 && y.column == 1) {
    for (Size i = 0; i < rows; ++i) std::copy_n(from + i * x.row, columns, to + i * y.row);
  } else if (x.column == 0 && y.column == 1) {
    for (Size i = 0; i < rows; ++i) std::fill_n(to + i * y.row, columns, from[i * x.row]);
  } else if (x.row == 1 && y.column == 1) {
    transpose(rows, columns, from, x.column, to, y.row);
  } else if (x.column == 1 && y.row == 1) {
    transpose(columns, rows, from, x.row, to, y.column);
  } else {
    for (Size i = 0; i < rows; ++i) {
      for (Size j = 0; j < columns; ++j) to[i * y.row + j * y.column] = from[i * x.row + j * x.column];
    }
  }
}

// operand 0 is where to read, operand 1 where to write.
template <class T>
void copy(Strided<2> strided, const T* x, T* y) {
  if (element_count(strided.rank, strided.extents) == 0) return;
  strided = simplify(strided);
  const int last = strided.rank - 1;
  // A transposed view: one side walks through its memory along the last dimension, the other along an earlier one. The
  // two make the planes to be cut into tiles; the order of the other dimensions does not matter.
  for (std::size_t operand = 0; operand < 2; ++operand) {
    if (strided.strides[operand][last] == 1) continue;
    for (int d = 0; d < last - 1; ++d) {
      if (strided.strides[operand][d] != 1) continue;
      std::swap(strided.extents[d], strided.extents[last - 1]);
      for (auto& strides : strided.strides) std::swap(strides[d], strides[last - 1]);
    }
  }
  const PlaneStrides x_strides{strided.strides[0][last - 1], strided.strides[0][last]};
  const PlaneStrides y_strides{strided.strides[1][last - 1], strided.strides[1][last]};
  const bool transposed = x_strides.row == 1 || y_strides.row == 1;
  for_each_piece(strided, transposed ? Pieces::squares : Pieces::long_rows,
                 [&](const std::array<Size, 2>& offsets, Size rows, Size columns) {
                   copy_plane(rows, columns, x + offsets[0], x_strides, y + offsets[1], y_strides);
                 });
}

}  // namespace

template <class T>
void copy_strided(Cpu, const StridedSizes& sizes, const T* x, T* y) {
  copy(Strided<2>{sizes.rank, sizes.extents, {sizes.strides, contiguous_strides(sizes.rank, sizes.extents)}}, x, y);
}

template <class T>
void scatter_strided(Cpu, const StridedSizes& sizes, const T* x, T* y) {
  copy(Strided<2>{sizes.rank, sizes.extents, {contiguous_strides(sizes.rank, sizes.extents), sizes.strides}}, x, y);
}

template <class T>
void fill(Cpu, Size n, T value, T* y) {
  parallel_blocks(n, 1, [&](Size first, Size count) { std::fill_n(y + first, count, value); });
}

template <class From, class To>
void convert(Cpu, Size n, const From* x, To* y) {
  parallel_blocks(n, 1, [&](Size first, Size count) {
    for (Size i = first; i < first + count; ++i) y[i] = converted<From, To>(x[i]);
  });
}

template <class T>
void accumulate(Cpu, Size n, const T* x, T* y) {
  parallel_blocks(n, 1, [&](Size first, Size count) {
#pragma omp simd
    for (Size i = first; i < first + count; ++i) y[i] += x[i];
  });
}

template <class T>
void gather_rows(Cpu, Size rows, Size x_rows, Size row_size, const std::int32_t* index, const T* x, T* y) {
  check_indices(Cpu{}, "gather_rows", "index", rows, index, 0, x_rows);
  parallel_rows(rows, row_size,
                [&](Size row) { std::copy_n(x + Size{index[row]} * row_size, row_size, y + row * row_size); });
}

using Here = Cpu;

}  // namespace headshare::kernels

#include "kernels/copy_instances.h"
