#include "kernels/copy.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <type_traits>

#include "kernels/parallel.h"
#include "kernels/strided.h"

namespace headshare::kernels {

namespace {

// A plane whose rows are contiguous on neither or only one side. In tiles: a cache line of the side with the long jumps is
// then used completely before it is pushed out.
template <class T>
void copy_in_tiles(Size rows, Size columns, const T* x, Size x_row, Size x_column, T* y, Size y_row, Size y_column) {
  constexpr Size tile = 16;
  for (Size top = 0; top < rows; top += tile) {
    const Size bottom = std::min(rows, top + tile);
    for (Size left = 0; left < columns; left += tile) {
      const Size right = std::min(columns, left + tile);
      for (Size i = top; i < bottom; ++i) {
        for (Size j = left; j < right; ++j) y[i * y_row + j * y_column] = x[i * x_row + j * x_column];
      }
    }
  }
}

// operand 0 is where to read, operand 1 where to write.
template <class T>
void copy(Strided<2> strided, const T* x, T* y) {
  if (element_count(strided.rank, strided.extents) == 0) return;
  strided = simplify(strided);
  const int last = strided.rank - 1;
  // A transposed view: one side walks through its memory along the last dimension, the other along an earlier one. The two
  // make the planes to be cut into tiles; the order of the other dimensions does not matter.
  for (std::size_t operand = 0; operand < 2; ++operand) {
    if (strided.strides[operand][last] == 1) continue;
    for (int d = 0; d < last - 1; ++d) {
      if (strided.strides[operand][d] != 1) continue;
      std::swap(strided.extents[d], strided.extents[last - 1]);
      for (auto& strides : strided.strides) std::swap(strides[d], strides[last - 1]);
    }
  }
  const auto [x_row, x_column] = std::array{strided.strides[0][last - 1], strided.strides[0][last]};
  const auto [y_row, y_column] = std::array{strided.strides[1][last - 1], strided.strides[1][last]};
  for_each_plane(strided, [&, x_row = x_row, x_column = x_column, y_row = y_row, y_column = y_column](
                              const std::array<Size, 2>& offsets, Size rows, Size columns) {
    const T* from = x + offsets[0];
    T* to = y + offsets[1];
    if (x_column == 1 && y_column == 1) {
      for (Size row = 0; row < rows; ++row) std::copy_n(from + row * x_row, columns, to + row * y_row);
    } else if (x_column == 0 && y_column == 1) {
      for (Size row = 0; row < rows; ++row) std::fill_n(to + row * y_row, columns, from[row * x_row]);
    } else {
      copy_in_tiles(rows, columns, from, x_row, x_column, to, y_row, y_column);
    }
  });
}

template <class From, class To>
To converted(From value) {
  if constexpr (std::is_integral_v<To>) {
    constexpr To smallest = std::numeric_limits<To>::min(), largest = std::numeric_limits<To>::max();
    if (value != value) return 0;
    if (value <= static_cast<From>(smallest)) return smallest;
    if (value >= static_cast<From>(largest)) return largest;
  }
  return static_cast<To>(value);
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
void gather_rows(Cpu, Size rows, Size row_size, const std::int32_t* index, const T* x, T* y) {
  parallel_rows(rows, row_size,
                [&](Size row) { std::copy_n(x + Size{index[row]} * row_size, row_size, y + row * row_size); });
}

template void copy_strided(Cpu, const StridedSizes&, const float*, float*);
template void copy_strided(Cpu, const StridedSizes&, const double*, double*);
template void copy_strided(Cpu, const StridedSizes&, const std::int32_t*, std::int32_t*);
template void scatter_strided(Cpu, const StridedSizes&, const float*, float*);
template void scatter_strided(Cpu, const StridedSizes&, const double*, double*);
template void scatter_strided(Cpu, const StridedSizes&, const std::int32_t*, std::int32_t*);
template void fill(Cpu, Size, float, float*);
template void fill(Cpu, Size, double, double*);
template void fill(Cpu, Size, std::int32_t, std::int32_t*);
template void convert(Cpu, Size, const float*, double*);
template void convert(Cpu, Size, const float*, std::int32_t*);
template void convert(Cpu, Size, const double*, float*);
template void convert(Cpu, Size, const double*, std::int32_t*);
template void convert(Cpu, Size, const std::int32_t*, float*);
template void convert(Cpu, Size, const std::int32_t*, double*);
template void accumulate(Cpu, Size, const float*, float*);
template void accumulate(Cpu, Size, const double*, double*);
template void gather_rows(Cpu, Size, Size, const std::int32_t*, const float*, float*);
template void gather_rows(Cpu, Size, Size, const std::int32_t*, const double*, double*);
template void gather_rows(Cpu, Size, Size, const std::int32_t*, const std::int32_t*, std::int32_t*);

}  // namespace headshare::kernels
