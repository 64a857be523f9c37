#pragma once

#include <algorithm>
#include <cstring>

#include "core/size.h"
#include "kernels/prefetch.h"
#include "kernels/transpose.h"
#include "kernels/vector.h"

// Panels: how the matrix product wants its operands. The inner loop takes, at every step k, a few consecutive numbers
// of A and a few of B. In the matrices themselves these lie a row apart, each on another page, or side by side in the
// wrong direction. Copied once into the order in which they are read, they stream through the nearest cache, and all
// transposed forms look alike from then on. The copy reads each number once; the product then uses it once per row or
// column of C.
namespace headshare::kernels {

// `lines` rows of A, or columns of B, over `steps` values of k.
// Element (line, k) lies at data[line * line_stride + k * k_stride].
template <class T>
struct Lines {
  const T* data;
  Size line_stride;
  Size k_stride;
  Size lines;
  Size steps;
};

// n numbers, n known: whole registers and, where they do not come out even, one more that overlaps the one before. Half
// a register serves where n is smaller than a whole one.
template <class T, Size n, Size bytes = vector_bytes>
inline void copy_few(const T* from, T* to) {
  constexpr Size step = bytes / static_cast<Size>(sizeof(T));
  if constexpr (step > n && step > 1) {
    copy_few<T, n, bytes / 2>(from, to);
  } else {
    typedef T Piece __attribute__((vector_size(bytes)));
    const auto copy_at = [&](Size i) {
      Piece piece;
      std::memcpy(&piece, from + i, sizeof(piece));
      std::memcpy(to + i, &piece, sizeof(piece));
    };
#pragma GCC unroll 16
    for (Size i = 0; i + step <= n; i += step) copy_at(i);
    if constexpr (n % step != 0) copy_at(n - step);
  }
}

// Lines that lie side by side: each step is one contiguous piece, on another page than the one before where lines are
// long, and of those the processor foresees nothing.
template <class T, Size width>
void pack_side_by_side(const Lines<T>& from, T* to) {
  constexpr Size steps_ahead = 16;
  for (Size k = 0; k < from.steps; ++k) {
    const T* step = from.data + k * from.k_stride;
    for (Size i = 0; i < width; i += lanes<T>) prefetch<second_cache>(step + i, steps_ahead * from.k_stride);
    copy_few<T, width>(step, to + k * width);
  }
}

// Lines that run along k: a transposition, in squares that are transposed in registers. Up to lanes<T> lines make one
// square; where they are fewer, each step's store runs over into the next step, which is stored after it. That is why
// the room behind the last step must be as large as a register.
template <class T>
inline void pack_along_k(const Lines<T>& from, Size width, T* to) {
  constexpr Size side = lanes<T>;
  const Size whole = from.steps / side * side;
  Size line = 0;
  for (; line < from.lines && (line == 0 || line + side <= width); line += side) {
    const T* first = from.data + line * from.line_stride;
    const Size lines = std::min(side, from.lines - line);
    for (Size k = 0; k < whole; k += side) {
      // The processor notices that a line is read on, but not what comes after a short one.
      for (Size i = 0; i < lines; ++i) prefetch<first_cache>(first + i * from.line_stride + k, side * from.line_stride);
      transpose_lines<T>(first + k, from.line_stride, lines, to + k * width + line, width);
    }
  }
  for (Size i = 0; i < from.lines; ++i)
    for (Size k = i < line ? whole : 0; k < from.steps; ++k) to[k * width + i] = from.data[i * from.line_stride + k];
}

// to[k * width + line] = element (line, k); zeros for lines <= line < width.   to: [steps, width] and lanes<T> to spare
// Full panels have the usual width; a constant there makes addresses and copies much cheaper.
template <class T, Size usual_width>
void pack(const Lines<T>& from, Size width, T* to) {
  if (from.lines < width) std::fill(to, to + from.steps * width, T{0});
  if (from.line_stride == 1 && from.lines == usual_width && width == usual_width) {
    pack_side_by_side<T, usual_width>(from, to);
  } else if (from.line_stride == 1 && from.lines == usual_width - 1 && width == usual_width - 1) {
    pack_side_by_side<T, usual_width - 1>(from, to);
  } else if (from.k_stride == 1 && from.lines == usual_width && width == usual_width) {
    pack_along_k<T>({from.data, from.line_stride, 1, usual_width, from.steps}, usual_width, to);
  } else if (from.k_stride == 1) {
    pack_along_k(from, width, to);
  } else {
    for (Size k = 0; k < from.steps; ++k)
      for (Size line = 0; line < from.lines; ++line)
        to[k * width + line] = from.data[line * from.line_stride + k * from.k_stride];
  }
}

}  // namespace headshare::kernels
