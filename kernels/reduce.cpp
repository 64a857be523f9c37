#include "kernels/reduce.h"

#include <algorithm>
#include <array>
#include <vector>

#include "kernels/largest.h"
#include "kernels/parallel.h"
#include "kernels/rows.h"

namespace headshare::kernels {

namespace {

constexpr Size column_block =
    1024;  // columns reduced at a time when inner > 1: their results stay in the nearest cache

// The position of the first element equal to `value`, which is in the row.
template <class T>
std::int32_t find(Size n, const T* x, T value) {
  Size i = 0;
  if (value != value) {
    while (x[i] == x[i]) ++i;
    return static_cast<std::int32_t>(i);
  }
  // Searching is faster without asking after every element: skip the blocks that do not have it.
  constexpr Size block = 64;
  for (; i + block <= n; i += block) {
    int found = 0;
#pragma omp simd reduction(+ : found)
    for (Size k = 0; k < block; ++k) found += x[i + k] == value;
    if (found > 0) break;
  }
  while (x[i] != value) ++i;
  return static_cast<std::int32_t>(i);
}

template <class T>
void max_of_columns(Size n, Size inner, Size columns, const T* x, T* y, std::int32_t* index) {
  std::array<std::int32_t, column_block> position{};
  std::copy_n(x, columns, y);
  for (Size k = 1; k < n; ++k) {
    const T* row = x + k * inner;
#pragma omp simd
    for (Size i = 0; i < columns; ++i) {
      const bool better = exceeds(row[i], y[i]);
      y[i] = better ? row[i] : y[i];
      position[i] = better ? static_cast<std::int32_t>(k) : position[i];
    }
  }
  if (index) std::copy_n(position.begin(), columns, index);
}

}  // namespace

template <class T>
void sum(Cpu cpu, Size outer, Size n, Size inner, const T* x, Wide<T>* y) {
  // Each piece adds up to `chunk` elements of the middle dimension for up to `column_block` columns. When the dimension
  // is longer than one chunk, the pieces' results are summed in turn, by this same function.
  const Size chunk = inner == 1 ? 16 * 1024 : 256;
  const Size chunks = std::max<Size>(1, (n + chunk - 1) / chunk);
  const Size blocks = (inner + column_block - 1) / column_block;
  std::vector<T> partial(chunks > 1 ? static_cast<std::size_t>(outer * chunks * inner) : 0);
  T* sums = chunks > 1 ? partial.data() : y;  // [outer, chunks, inner]
  parallel_rows(outer * chunks * blocks, std::min(n, chunk) * std::min(inner, column_block), [&](Size piece) {
    const Size o = piece / (chunks * blocks), c = piece / blocks % chunks, column = piece % blocks * column_block;
    const Size first = c * chunk, last = std::min(n, first + chunk);
    const Size columns = std::min(column_block, inner - column);
    T* to = sums + (o * chunks + c) * inner + column;
    const T* from = x + (o * n + first) * inner + column;
    if (inner == 1) {
      *to = row_sum(last - first, from);
      return;
    }
    std::fill_n(to, columns, T(0));
    for (Size k = 0; k < last - first; ++k) {
#pragma omp simd
      for (Size i = 0; i < columns; ++i) to[i] += from[k * inner + i];
    }
  });
  if (chunks > 1) sum(cpu, outer, chunks, inner, partial.data(), y);
}

template <class T>
void max(Cpu, Size outer, Size n, Size inner, const T* x, T* y, std::int32_t* index) {
  check_not_empty("max", outer * inner, n);
  if (inner == 1) {
    parallel_rows(outer, n, [&](Size row) {
      y[row] = row_max(n, x + row * n);
      if (index) index[row] = find(n, x + row * n, y[row]);
    });
    return;
  }
  const Size blocks = (inner + column_block - 1) / column_block;
  parallel_rows(outer * blocks, n * std::min(inner, column_block), [&](Size piece) {
    const Size o = piece / blocks, column = piece % blocks * column_block;
    max_of_columns(n, inner, std::min(column_block, inner - column), x + o * n * inner + column, y + o * inner + column,
                   index ? index + o * inner + column : nullptr);
  });
}

template <class T>
void max_backward(Cpu, Size outer, Size n, Size inner, const std::int32_t* index, const T* dy, T* dx) {
  parallel_rows(outer, n * inner, [&](Size o) {
    std::fill_n(dx + o * n * inner, n * inner, T(0));
    for (Size i = 0; i < inner; ++i) dx[(o * n + index[o * inner + i]) * inner + i] = dy[o * inner + i];
  });
}

template <class T>
void argmax(Cpu, Size rows, Size n, const T* x, std::int32_t* index) {
  check_not_empty("argmax", rows, n);
  parallel_rows(rows, n, [&](Size row) { index[row] = find(n, x + row * n, row_max(n, x + row * n)); });
}

template <class T>
double sum_of_squares(Cpu, Size n, const T* x) {
  constexpr Size chunk = 16 * 1024, side_by_side = 32;
  const Size chunks = (n + chunk - 1) / chunk;
  std::vector<double> partial(static_cast<std::size_t>(chunks));
  parallel_rows(chunks, chunk, [&](Size c) {
    const Size last = std::min(n, (c + 1) * chunk);
    std::array<double, side_by_side> sums{};
    Size i = c * chunk;
    for (; i + side_by_side <= last; i += side_by_side) {
#pragma omp simd
      for (Size k = 0; k < side_by_side; ++k) sums[k] += static_cast<double>(x[i + k]) * static_cast<double>(x[i + k]);
    }
    for (; i < last; ++i) sums[0] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    partial[c] = row_sum(side_by_side, sums.data());
  });
  double total = 0;
  for (const double part : partial) total += part;
  return total;
}

template void sum(Cpu, Size, Size, Size, const float*, float*);
template void sum(Cpu, Size, Size, Size, const double*, double*);
template void max(Cpu, Size, Size, Size, const float*, float*, std::int32_t*);
template void max(Cpu, Size, Size, Size, const double*, double*, std::int32_t*);
template void max_backward(Cpu, Size, Size, Size, const std::int32_t*, const float*, float*);
template void max_backward(Cpu, Size, Size, Size, const std::int32_t*, const double*, double*);
template void argmax(Cpu, Size, Size, const float*, std::int32_t*);
template void argmax(Cpu, Size, Size, const double*, std::int32_t*);
template double sum_of_squares(Cpu, Size, const float*);
template double sum_of_squares(Cpu, Size, const double*);

}  // namespace headshare::kernels
