#pragma once

#include <array>
#include <utility>

#include "core/size.h"
#include "kernels/prefetch.h"
#include "kernels/vector.h"

// The heart of the matrix product: a small tile of C that lives in registers while k runs. Each step loads `vectors`
// registers of B and broadcasts `rows` numbers of A, and multiplies every one with every other:
//
//   loads per multiply-add = (rows + vectors) / (rows * vectors)
//
// A processor can start two multiply-adds and two or three loads a cycle. With one row and one vector it would wait for
// loads (2 each); with 14 x 2 it needs 16 loads for 28 multiply-adds and runs at the speed of arithmetic. The tile
// should thus be large and nearly square, and it must fit into the registers together with the loaded numbers. It
// should also have at least eight independent sums: a multiply-add takes four cycles, and two start in each.
namespace headshare::kernels {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr Size vector_registers = 32;
#else
constexpr Size vector_registers = 16;
#endif

constexpr Size tile_rows = vector_registers == 32 ? 14 : 6;
constexpr Size tile_vectors = 2;
constexpr Size sums_in_registers = tile_rows * tile_vectors;  // leaves room for B's vectors and one number of A

enum class Store { replace, add };

// The rows of A that a tile needs: packed, or where they lie in the matrix.
template <class T>
struct TileRows {
  const T* data;
  Size row_stride;
  Size k_stride;
};

// The columns of B that a tile needs: one panel, or several with the same distance between them.
template <class T>
struct TilePanels {
  const T* data;
  Size k_stride;      // between the rows of a panel
  Size panel_stride;  // between panels
};

// What a tile asks memory for while it computes, a little at a time, so that it is there when it is needed: where its
// sums go in the end, and a piece of the rows of A that come after the tile's own.
template <class T>
struct Expected {
  const T* c;
  Size c_stride;
  const T* a;
  Size a_lines;  // cache lines of each row
};

template <class T>
constexpr Size line = 64 / Size{sizeof(T)};  // numbers in a cache line

// out (+)= A B for one tile.
//   a: [rows, k]   b: [k, vectors * lanes], in panels   out: [rows, vectors * lanes], `out_stride` between its rows
template <class T, Size rows, Size vectors>
void multiply_tile(Size k, const TileRows<T>& a, const TilePanels<T>& panels, T* out, Size out_stride, Store mode,
                   const Expected<T>& expected) {
  // An address may be a pointer plus an offset, so one pointer serves three rows with two offsets that all share; one
  // for each row would be more than there are registers.
  constexpr Size rows_each = 3;
  const T* pointers[(rows + rows_each - 1) / rows_each];
#pragma GCC unroll 16
  for (Size i = 0; i < rows; i += rows_each) pointers[i / rows_each] = a.data + i * a.row_stride;

  Vector<T> sums[rows][vectors];
#pragma GCC unroll 16
  for (Size i = 0; i < rows; ++i)
#pragma GCC unroll 16
    for (Size v = 0; v < vectors; ++v) sums[i][v] = Vector<T>{};

  const T* b = panels.data;
  for (Size part = 0; part < rows; ++part) {
    for (Size column = 0; column < vectors * lanes<T>; column += line<T>)
      __builtin_prefetch(expected.c + part * expected.c_stride + column, 1);
    for (Size i = 0; i < expected.a_lines; ++i) prefetch<first_cache>(expected.a, part * a.row_stride + i * line<T>);

    for (Size steps = k * (part + 1) / rows - k * part / rows; steps > 0; --steps, b += panels.k_stride) {
      Vector<T> b_row[vectors];
#pragma GCC unroll 16
      for (Size v = 0; v < vectors; ++v)
        b_row[v] = load(b + v / tile_vectors * panels.panel_stride + v % tile_vectors * lanes<T>);
#pragma GCC unroll 16
      for (Size i = 0; i < rows; ++i)
#pragma GCC unroll 16
        for (Size v = 0; v < vectors; ++v)
          sums[i][v] += pointers[i / rows_each][i % rows_each * a.row_stride] * b_row[v];
#pragma GCC unroll 16
      for (const T*& pointer : pointers) pointer += a.k_stride;
    }
  }

#pragma GCC unroll 16
  for (Size i = 0; i < rows; ++i)
#pragma GCC unroll 16
    for (Size v = 0; v < vectors; ++v) {
      T* to = out + i * out_stride + v * lanes<T>;
      store(to, mode == Store::add ? load(to) + sums[i][v] : sums[i][v]);
    }
}

template <class T>
using TileFunction = void (*)(Size, const TileRows<T>&, const TilePanels<T>&, T*, Size, Store, const Expected<T>&);

// Few rows make a tile of few sums, so it gets more vectors: 8 for one row.
constexpr Size vectors_for_rows(Size rows) {
  Size vectors = tile_vectors;
  while (vectors < 8 && rows * vectors * 2 <= sums_in_registers) vectors *= 2;
  return vectors;
}

// multiply_tile is compiled for every number of rows, so that the last rows of a matrix cost what they are, not a full
// tile, and for 1, 2, 4 and 8 vectors as far as the registers reach.
template <class T, Size rows, Size vectors>
constexpr TileFunction<T> tile_that_fits() {
  if constexpr (rows * vectors <= sums_in_registers) return multiply_tile<T, rows, vectors>;
  return nullptr;
}
template <class T, std::size_t... row>
constexpr auto all_tiles(std::index_sequence<row...>) {
  return std::array<std::array<TileFunction<T>, 4>, sizeof...(row)>{
      {{tile_that_fits<T, row + 1, 1>(), tile_that_fits<T, row + 1, 2>(), tile_that_fits<T, row + 1, 4>(),
        tile_that_fits<T, row + 1, 8>()}...}};
}
template <class T>
TileFunction<T> tile_function(Size rows, Size vectors) {
  static constexpr auto tiles = all_tiles<T>(std::make_index_sequence<tile_rows>{});
  const std::size_t power = vectors == 1 ? 0 : vectors == 2 ? 1 : vectors == 4 ? 2 : 3;
  return tiles[static_cast<std::size_t>(rows - 1)][power];
}

}  // namespace headshare::kernels
