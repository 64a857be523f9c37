#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/size.h"
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

// Lines that lie side by side: each step is one contiguous piece, copied by a few vector instructions.
template <class T, Size width>
void pack_side_by_side(const Lines<T>& from, T* to) {
  for (Size k = 0; k < from.steps; ++k)
    std::memcpy(to + k * width, from.data + k * from.k_stride, static_cast<std::size_t>(width) * sizeof(T));
}

// Two float32 lines of lanes<float> steps each, transposed into pairs that are moved as one 64-bit number: half as many
// stores.
inline void pack_two_lines(const float* first, const float* second, Size width, float* to) {
  typedef std::uint64_t Pairs __attribute__((vector_size(vector_bytes)));
  constexpr std::uint64_t low = 0xffffffffu;
  Pairs x, y;
  std::memcpy(&x, first, sizeof(x));
  std::memcpy(&y, second, sizeof(y));
  const Pairs even = (x & low) | (y << 32);  // steps 0, 2, 4, ...: the first line's number and the second line's
  const Pairs odd = (x >> 32) | (y & ~low);  // steps 1, 3, 5, ...
#pragma GCC unroll 16
  for (Size i = 0; i < lanes<float> / 2; ++i) {
    const std::uint64_t pairs[2] = {even[i], odd[i]};
    std::memcpy(to + 2 * i * width, &pairs[0], sizeof(pairs[0]));
    std::memcpy(to + (2 * i + 1) * width, &pairs[1], sizeof(pairs[1]));
  }
}

// Asks for the cache line that holds from[ahead], so that it is there when its turn comes. Only a hint: any address
// will do.
template <class T>
inline void prefetch(const T* from, Size ahead) {
  const std::uintptr_t bytes = static_cast<std::uintptr_t>(ahead) * sizeof(T);
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(from) + bytes));
}

// Lines that run along k: a transposition. Two lines at a time, because the processor guesses two streams better than
// all of them; it gives up at the end of each short line, so we ask for the lines after the next ourselves. A piece of
// k is as long as the steps being written, 32 numbers each, stay in the nearest cache until all lines are in.
template <class T>
inline void pack_along_k(const Lines<T>& from, Size width, T* to) {
  constexpr Size piece = 1024 / sizeof(T);
  for (Size begin = 0; begin < from.steps; begin += piece) {
    const Size end = std::min(from.steps, begin + piece);
    Size line = 0;
    if constexpr (std::is_same_v<T, float>) {
      for (; line + 2 <= from.lines; line += 2) {
        const T* first = from.data + line * from.line_stride;
        const T* second = first + from.line_stride;
        Size k = begin;
        for (; k + lanes<T> <= end; k += lanes<T>) {
          prefetch(first + k, 4 * from.line_stride);
          prefetch(second + k, 4 * from.line_stride);
          pack_two_lines(first + k, second + k, width, to + k * width + line);
        }
        for (; k < end; ++k) {
          to[k * width + line] = first[k];
          to[k * width + line + 1] = second[k];
        }
      }
    }
    for (; line < from.lines; ++line)
      for (Size k = begin; k < end; ++k) to[k * width + line] = from.data[line * from.line_stride + k];
  }
}

// to[k * width + line] = element (line, k); zeros for lines <= line < width.                         to: [steps, width]
// Full panels have the usual width; a constant there makes addresses and copies much cheaper.
template <class T, Size usual_width>
void pack(const Lines<T>& from, Size width, T* to) {
  if (from.lines < width) std::fill(to, to + from.steps * width, T{0});
  if (from.line_stride == 1 && from.lines == usual_width && width == usual_width) {
    pack_side_by_side<T, usual_width>(from, to);
  } else if (from.k_stride == 1 && width == usual_width) {
    pack_along_k(from, usual_width, to);
  } else if (from.k_stride == 1) {
    pack_along_k(from, width, to);
  } else {
    for (Size k = 0; k < from.steps; ++k)
      for (Size line = 0; line < from.lines; ++line)
        to[k * width + line] = from.data[line * from.line_stride + k * from.k_stride];
  }
}

}  // namespace headshare::kernels
