#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "kernels/attention.h"
#include "kernels/transpose.h"
#include "kernels/vector.h"

// The pieces attention's forward and backward are made of. Both work on tiles: small matrices in scratch memory that
// stay in the processor's nearest caches. All their arithmetic is one block product, `multiply`, between them; the rest
// of this file brings the heads into tiles and back. The columns of a tile are padded with zeros to whole vectors, so
// that no inner loop has a ragged end.
namespace headshare::kernels::attention_tile {

// Rows of a tile: all query heads of the group at some consecutive targets, row = (target - first) * (H / G) + head.
// Sharing heads makes tiles taller, not more numerous: that is how a key is loaded once for its whole group.
constexpr Size forward_rows = 64;
constexpr Size backward_rows = 32;      // the backward keeps two tiles of scores and their products at a time
constexpr Size sources_per_tile = 128;  // a tile of transposed keys, 128 x 32 float32, is a third of the first cache

// Below some number of multiplications, starting the threads takes longer than the work.
inline bool worth_threads(const AttentionSizes& sizes) {
  return sizes.batch * sizes.heads * sizes.targets * sizes.sources * sizes.head_size > Size{1} << 14;
}

// n rounded up to whole vectors.
template <class T>
constexpr Size padded(Size n) {
  return (n + lanes<T> - 1) / lanes<T> * lanes<T>;
}

// Neighbouring sources: begin, ..., end - 1.
struct Sources {
  Size begin;
  Size end;  // at least begin

  Size count() const { return end - begin; }
  // Those among `count` sources from `first` on, counted from there.
  Sources seen_from(Size first, Size count) const {
    return {std::clamp(begin - first, Size{0}, count), std::clamp(end - first, Size{0}, count)};
  }
};

// The sources of sequence `batch` that a query at `target` sees: padding stands at the end, the future behind the
// query's own position, and what left its window before all others. A later target's begin and end not earlier.
inline Sources visible_sources(const AttentionSizes& sizes, const AttentionMask& mask, Size batch, Size target) {
  Sources visible{0, sizes.sources};
  if (mask.source_lengths != nullptr)
    visible.end = std::min(visible.end, static_cast<Size>(mask.source_lengths[batch]));
  if (mask.order == AttentionMask::Order::causal) {
    const Size past = target + (sizes.sources - sizes.targets) + 1;
    visible.end = std::min(visible.end, past);
    if (mask.window > 0) visible.begin = std::max(past - mask.window, Size{0});
  }
  visible.end = std::max(visible.end, Size{0});
  visible.begin = std::min(visible.begin, visible.end);
  return visible;
}

// Calls work(row, target, head) for the rows of a tile, in order; `head` counts all query heads.
template <class Work>
inline void for_each_row(Size first_target, Size last_target, Size group, Size g, Work work) {
  Size row = 0;
  for (Size target = first_target; target < last_target; ++target) {
    for (Size head = g * group; head < (g + 1) * group; ++head) work(row++, target, head);
  }
}

// What a thread works on at a time: some consecutive targets of one sequence, with all query heads of one group.
struct Turn {
  Size b;
  Size g;
  Size first;  // target
  Size last;   // target after the last
};

// The turn after that one, for tiles of so many targets: later targets, then the next group, then the next sequence.
inline std::optional<Turn> turn_after(const AttentionSizes& sizes, const Turn& turn, Size targets) {
  Turn next{turn.b, turn.g, turn.last, std::min(turn.last + targets, sizes.targets)};
  if (turn.last == sizes.targets) next = {turn.b, turn.g + 1, 0, std::min(targets, sizes.targets)};
  if (next.g == sizes.kv_heads) next = {turn.b + 1, 0, next.first, next.last};
  return next.b < sizes.batch ? std::optional(next) : std::nullopt;
}

// ---- The block product --------------------------------------------------------------------------------------------

enum class Result { replaced, added };

// The left operand: element (row, k) at data[row * row_stride + k * k_stride]. Exchanged strides: transposed.
template <class T>
struct Left {
  const T* data;
  Size row_stride;
  Size k_stride;
};

// The right operand and the result: rows of whole vectors, each `stride` after the one before.
template <class T>
struct Rows {
  T* data;
  Size stride;
};

// `rows` x `vectors` registers of sums. Each step of k loads `vectors` registers from the right and one number per row
// from the left, and uses every one of them several times: arithmetic, not loading, sets the speed.
template <Result result, int rows, int vectors, class T, class Stored>
inline void multiply_block(Size depth, Left<T> left, const Stored* right, Size right_stride, T* to, Size to_stride) {
  Vector<T> sums[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v)
      sums[r][v] = result == Result::added ? load(to + r * to_stride + v * lanes<T>) : Vector<T>{};
  }
  for (Size k = 0; k < depth; ++k) {
    Vector<T> b[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) b[v] = load(right + k * right_stride + v * lanes<T>);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const T a = left.data[r * left.row_stride + k * left.k_stride];
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sums[r][v] += a * b[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) store(to + r * to_stride + v * lanes<T>, sums[r][v]);
  }
}

// All rows of one column of blocks: as many full blocks as there are, then blocks of half the rows, and so on.
template <Result result, int rows, int vectors, class T, class Stored>
inline void multiply_column(Size count, Size depth, Left<T> left, const Stored* right, Size right_stride, T* to,
                            Size to_stride) {
  for (; count >= rows; count -= rows) {
    multiply_block<result, rows, vectors>(depth, left, right, right_stride, to, to_stride);
    left.data += rows * left.row_stride;
    to += rows * to_stride;
  }
  if constexpr (rows > 1)
    multiply_column<result, rows / 2, vectors>(count, depth, left, right, right_stride, to, to_stride);
}

// to = left right, or to += left right.      left: [rows, depth]      right: [depth, columns]      to: [rows, columns]
// columns: a multiple of lanes<T>. Every element is summed over k in ascending order, whichever block it falls into.
template <Result result, class T, class Stored = T>
void multiply(Size rows, Size columns, Size depth, Left<T> left, Rows<const Stored> right, Rows<T> to) {
  constexpr bool many_registers = vector_bytes == 64;  // AVX-512 has 32, AVX2 only 16
  constexpr int high = many_registers ? 8 : 4;         // of rows
  constexpr int wide = many_registers ? 8 : 4;         // of vectors
  Size column = 0;
  const auto columns_of = [&]<int block_rows, int vectors>() {
    for (; column + vectors * lanes<T> <= columns; column += vectors * lanes<T>)
      multiply_column<result, block_rows, vectors>(rows, depth, left, right.data + column, right.stride,
                                                   to.data + column, to.stride);
  };
  // One or two rows: only a wide block has enough sums that do not wait for each other.
  if (rows <= 2) columns_of.template operator()<2, wide>();
  columns_of.template operator()<high, 2>();
  columns_of.template operator()<high, 1>();
}

// ---- Between heads and tiles --------------------------------------------------------------------------------------

// to[0 .. padded(n)) = scale * from[0 .. n), then zeros.
template <class T, class Stored>
inline void copy_scaled(const Stored* from, Size n, T scale, T* to) {
  Size i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) store(to + i, load(from + i) * scale);
  if (i == n) return;
  for (; i < n; ++i) to[i] = static_cast<T>(from[i]) * scale;
  for (; i % lanes<T> != 0; ++i) to[i] = 0;
}

// The same without the zeros: back into the caller's memory, where the next element belongs to somebody else.
template <class T>
inline void copy_scaled_exactly(const T* from, Size n, T scale, T* to) {
  Size i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) store(to + i, load(from + i) * scale);
  for (; i < n; ++i) to[i] = from[i] * scale;
}

// Positions [first, last) of sequence b, all heads of group g, as the rows of a tile.
//                                                                                  to: [positions * heads, padded D]
template <class T, class Stored>
inline void gather_heads(HeadsView<const Stored> from, Size b, Size g, Size heads, Size first, Size last,
                         Size head_size, T scale, T* to) {
  for (Size position = first; position < last; ++position) {
    const Stored* row = head_at(from, b, position, g * heads);
    for (Size head = 0; head < heads; ++head, to += padded<T>(head_size))
      copy_scaled(row + head * from.head_stride, head_size, scale, to);
  }
}

// The way back of gather_heads.
template <class T>
inline void scatter_heads(const T* from, Size b, Size g, Size heads, Size first, Size last, Size head_size, T scale,
                          HeadsView<T> to) {
  for (Size position = first; position < last; ++position) {
    T* row = head_at(to, b, position, g * heads);
    for (Size head = 0; head < heads; ++head, from += padded<T>(head_size))
      copy_scaled_exactly(from, head_size, scale, row + head * to.head_stride);
  }
}

// Folds a vector onto itself until lane 0 has met all others: four steps for 16 lanes, where one lane after the other
// takes fifteen, each waiting for the last. Rows are short here, so this counts.
template <Size half, class T, class Combine, std::size_t... i>
inline T fold(Vector<T> v, Combine combine, std::index_sequence<i...> all) {
  const Vector<T> folded = combine(v, Vector<T>{v[(static_cast<Size>(i) + half) % lanes<T>]...});
  if constexpr (half == 1)
    return folded[0];
  else
    return fold<half / 2, T>(folded, combine, all);
}
template <class T>
inline T sum_of(Vector<T> v) {
  const auto add = [](Vector<T> a, Vector<T> b) { return a + b; };
  return fold<lanes<T> / 2, T>(v, add, std::make_index_sequence<lanes<T>>{});
}
template <class T>
inline T largest_of(Vector<T> v) {
  const auto larger = [](Vector<T> a, Vector<T> b) { return a > b ? a : b; };
  return fold<lanes<T> / 2, T>(v, larger, std::make_index_sequence<lanes<T>>{});
}

// Lane i of the result is the sum of the lanes of vectors[i]. Zipping two vectors and adding the halves leaves one
// vector with half of both sums done, so this takes a quarter of the shuffles of a transposition. Overwrites `vectors`.
template <class T>
inline Vector<T> sums_of_each(Vector<T> (&vectors)[lanes<T>]) {
  constexpr auto all = std::make_index_sequence<static_cast<std::size_t>(lanes<T>)>{};
#pragma GCC unroll 4
  for (Size half = lanes<T> / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (Size i = 0; i < half; ++i)
      vectors[i] =
          zip<0, T>(vectors[i], vectors[i + half], all) + zip<lanes<T> / 2, T>(vectors[i], vectors[i + half], all);
  }
  return vectors[0];
}

constexpr Size bytes_ahead = 8 * 1024;  // about what arrives while the memory answers
constexpr Size cache_line = 64;

// Asks for [from, from + bytes) + bytes_ahead. Only a hint: any address will do.
inline void ask_ahead(const void* from, Size bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(from) + bytes_ahead;
  for (Size i = 0; i < bytes; i += cache_line)
    __builtin_prefetch(reinterpret_cast<const void*>(address + static_cast<std::uintptr_t>(i)), 0, 2);
}

// In a projection [.., T, H D] a head's positions lie far apart, and the processor does not see which come next. So they
// are asked for while the tile before is computed. (Heads of training, T = S = 32: a fifth less time, forward and
// backward.)
template <class T>
inline bool lie_apart(HeadsView<T> view, Size head_size) {
  return view.position_stride > head_size;
}

enum class Purpose { reading, writing };

// Asks for positions [first, last) of some heads. Inlined by force, as what calls it: for GCC 12 a function that only
// asks has no effect, and a call of it may go.
template <Purpose purpose, class T>
[[gnu::always_inline]] inline void ask_for_heads(HeadsView<T> view, Size b, Size head, Size heads, Size first,
                                                 Size last, Size head_size) {
  for (Size position = first; position < last; ++position) {
    for (Size h = head; h < head + heads; ++h) {
      const T* from = head_at(view, b, position, h);
      for (Size d = 0; d < head_size; d += cache_line / static_cast<Size>(sizeof(T)))
        purpose == Purpose::reading ? __builtin_prefetch(from + d, 0, 2) : __builtin_prefetch(from + d, 1);
    }
  }
}

// Asks for the targets of a turn: all query heads of the group.
template <Purpose purpose, class T>
[[gnu::always_inline]] inline void ask_for_targets(const AttentionSizes& sizes, const Turn& turn, HeadsView<T> view) {
  const Size group = sizes.heads / sizes.kv_heads;
  ask_for_heads<purpose>(view, turn.b, turn.g * group, group, turn.first, turn.last, sizes.head_size);
}

// Asks for the first tile of the sources that a head's turns need.
template <Purpose purpose, class T>
[[gnu::always_inline]] inline void ask_for_sources(const AttentionSizes& sizes, const AttentionMask& mask,
                                                   const Turn& turn, HeadsView<T> view) {
  const Size visible = visible_sources(sizes, mask, turn.b, sizes.targets - 1).end;
  ask_for_heads<purpose>(view, turn.b, turn.g, 1, 0, std::min(visible, sources_per_tile), sizes.head_size);
}

// Keys or values side by side, one per column, so that a vector holds the same d of neighbouring sources and scores
// come out as whole vectors.                  from: [sources, D], any stride         to: [padded D, padded sources]
template <class T, class Stored>
inline void transpose_heads(const Stored* from, Size from_stride, Size sources, Size head_size, T* to) {
  constexpr Size n = lanes<T>;
  const Size to_stride = padded<T>(sources);
  for (Size s = 0; s < sources; s += n) {
    // Of positions that lie apart the caller has asked for the right lines before.
    if (from_stride == head_size)
      ask_ahead(from + s * from_stride, n * from_stride * static_cast<Size>(sizeof(Stored)));
    for (Size d = 0; d < head_size; d += n) {
      const Stored* square = from + s * from_stride + d;
      if (s + n <= sources && d + n <= head_size) {
        transpose_square<T>(square, from_stride, to + d * to_stride + s, to_stride);
        continue;
      }
      alignas(64) T edge[n * n] = {};
      for (Size i = 0; i < std::min(n, sources - s); ++i)
        for (Size j = 0; j < std::min(n, head_size - d); ++j)
          edge[i * n + j] = static_cast<T>(square[i * from_stride + j]);
      transpose_square<T>(edge, n, to + d * to_stride + s, to_stride);
    }
  }
}

// The address of one head's first position.
template <class T>
inline T* head_of(const HeadsView<T>& view, Size b, Size head) {
  return head_at(view, b, 0, head);
}

// Zeros in row[from .. to).
template <class T>
inline void clear(T* row, Size from, Size to) {
  std::fill(row + from, row + std::max(from, to), T{0});
}

}  // namespace headshare::kernels::attention_tile
