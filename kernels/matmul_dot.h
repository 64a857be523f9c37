#pragma once

#include <cstring>

#include "core/size.h"
#include "kernels/vector.h"

// The product of a few rows with a transposed matrix, as in the logits of one decoding step with tied embeddings:
// element (row, column) is the dot product of two contiguous rows in memory. Nothing needs to be copied, and B is read
// once from end to end, at the speed of memory. Here the vectors run along k, and the lanes of a sum are added at the
// end.
namespace headshare::kernels {

constexpr Size dot_rows = 4;
constexpr Size dot_columns = 4;  // with 4 rows: 8 loads for 16 multiply-adds

// The lanes of a sum, added pairwise: log2(lanes) additions instead of one after another.
template <class T, Size bytes = vector_bytes, class V = Vector<T>>
inline T sum_pairwise(const V& v) {
  if constexpr (bytes <= 16) {
    if constexpr (sizeof(T) == 4) return (v[0] + v[1]) + (v[2] + v[3]);
    if constexpr (sizeof(T) == 8) return v[0] + v[1];
  } else {
    typedef T Half __attribute__((vector_size(bytes / 2)));
    Half halves[2];
    std::memcpy(halves, &v, sizeof(v));
    return sum_pairwise<T, bytes / 2, Half>(halves[0] + halves[1]);
  }
}

// out[i, j] = a[i] . b[j]            a: [rows, k]   b: [columns, k]   out: [rows, columns]; a stride is between rows
template <class T, Size rows, Size columns>
void dot_tile(Size k, const T* a, Size a_stride, const T* b, Size b_stride, T* out, Size out_stride) {
  Vector<T> sums[rows][columns];
#pragma GCC unroll 16
  for (Size i = 0; i < rows; ++i)
#pragma GCC unroll 16
    for (Size j = 0; j < columns; ++j) sums[i][j] = Vector<T>{};

  const auto step = [&](const auto& load_at) {
    Vector<T> a_rows[rows];
#pragma GCC unroll 16
    for (Size i = 0; i < rows; ++i) a_rows[i] = load_at(a + i * a_stride);
#pragma GCC unroll 16
    for (Size j = 0; j < columns; ++j) {
      const Vector<T> b_row = load_at(b + j * b_stride);
#pragma GCC unroll 16
      for (Size i = 0; i < rows; ++i) sums[i][j] += a_rows[i] * b_row;
    }
  };
  Size at = 0;
  for (; at + lanes<T> <= k; at += lanes<T>) step([at](const T* row) { return load(row + at); });
  if (at < k) step([at, k](const T* row) { return load_first(row + at, k - at, T{0}); });

#pragma GCC unroll 16
  for (Size i = 0; i < rows; ++i)
#pragma GCC unroll 16
    for (Size j = 0; j < columns; ++j) out[i * out_stride + j] = sum_pairwise<T>(sums[i][j]);
}

// The same for any number of rows and columns.
template <class T>
void dot_block(Size rows, Size columns, Size k, const T* a, Size a_stride, const T* b, Size b_stride, T* out,
               Size out_stride) {
  const auto group = [&](auto tile, Size i, Size j) {
    tile(k, a + i * a_stride, a_stride, b + j * b_stride, b_stride, out + i * out_stride + j, out_stride);
  };
  Size j = 0;
  for (; j + dot_columns <= columns; j += dot_columns) {
    Size i = 0;
    for (; i + dot_rows <= rows; i += dot_rows) group(dot_tile<T, dot_rows, dot_columns>, i, j);
    for (; i < rows; ++i) group(dot_tile<T, 1, dot_columns>, i, j);
  }
  for (; j < columns; ++j)
    for (Size i = 0; i < rows; ++i) group(dot_tile<T, 1, 1>, i, j);
}

}  // namespace headshare::kernels
