#pragma once

#include <cstddef>
#include <utility>

#include "core/size.h"
#include "kernels/vector.h"

// Transposing a small square in registers: rows are read and columns written as whole vectors, where one number at a
// time would cost a load and a store each.
namespace headshare::kernels {

// a[start] b[start] a[start + 1] b[start + 1] ...: the teeth of a zip. Compilers make one shuffle instruction of it.
template <Size start, class T, std::size_t... i>
inline Vector<T> zip(Vector<T> a, Vector<T> b, std::index_sequence<i...>) {
  return Vector<T>{(i % 2 == 0 ? a[start + i / 2] : b[start + i / 2])...};
}

// rows[i][j] and rows[j][i] exchanged: zipping the upper half of the rows with the lower half moves every element's row
// number one bit towards its column number, so log2(lanes) rounds exchange the two.
template <class T>
inline void transpose_registers(Vector<T> (&rows)[lanes<T>]) {
  constexpr int n = static_cast<int>(lanes<T>);
  constexpr auto all = std::make_index_sequence<n>{};
#pragma GCC unroll 4
  for (int round = 1; round < n; round *= 2) {
    Vector<T> zipped[n];
#pragma GCC unroll 8
    for (int i = 0; i < n / 2; ++i) {
      zipped[2 * i] = zip<0, T>(rows[i], rows[i + n / 2], all);
      zipped[2 * i + 1] = zip<n / 2, T>(rows[i], rows[i + n / 2], all);
    }
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) rows[i] = zipped[i];
  }
}

// A square of lanes x lanes elements, of which the first `lines` lines are read and the others count as zeros. All
// lanes<T> columns are written, each in full.
template <class T, class Stored = T>
inline void transpose_lines(const Stored* from, Size from_stride, Size lines, T* to, Size to_stride) {
  Vector<T> rows[lanes<T>];
#pragma GCC unroll 16
  for (Size i = 0; i < lanes<T>; ++i) rows[i] = i < lines ? load(from + i * from_stride) : Vector<T>{};
  transpose_registers<T>(rows);
#pragma GCC unroll 16
  for (Size i = 0; i < lanes<T>; ++i) store(to + i * to_stride, rows[i]);
}

template <class T, class Stored = T>
inline void transpose_square(const Stored* from, Size from_stride, T* to, Size to_stride) {
  transpose_lines<T>(from, from_stride, lanes<T>, to, to_stride);
}

}  // namespace headshare::kernels
