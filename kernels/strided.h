#pragma once

#include <algorithm>
#include <array>

#include "core/size.h"
#include "kernels/elementwise.h"
#include "kernels/parallel.h"

// Walking over several arrays at once that have the same extents and different strides.
namespace headshare::kernels {

template <std::size_t operands>
struct Strided {
  int rank;
  std::array<Size, max_rank> extents;
  std::array<std::array<Size, max_rank>, operands> strides;
};

inline Size element_count(int rank, const std::array<Size, max_rank>& extents) {
  Size count = 1;
  for (int d = 0; d < rank; ++d) count *= extents[d];
  return count;
}

inline std::array<Size, max_rank> contiguous_strides(int rank, const std::array<Size, max_rank>& extents) {
  std::array<Size, max_rank> strides{};
  Size stride = 1;
  for (int d = rank - 1; d >= 0; --d) {
    strides[d] = stride;
    stride *= extents[d];
  }
  return strides;
}

// The same elements with as few dimensions as possible, but at least two: neighbours that every operand walks through
// without a jump become one, dimensions of extent 1 vanish. Long inner loops are fast ones.
template <std::size_t operands>
Strided<operands> simplify(const Strided<operands>& from) {
  Strided<operands> to{};
  for (int d = 0; d < from.rank; ++d) {
    if (from.extents[d] == 1) continue;
    const int last = to.rank - 1;
    bool joins = to.rank > 0;
    for (std::size_t k = 0; k < operands && joins; ++k)
      joins = to.strides[k][last] == from.strides[k][d] * from.extents[d];
    const int into = joins ? last : to.rank++;
    to.extents[into] = joins ? to.extents[into] * from.extents[d] : from.extents[d];
    for (std::size_t k = 0; k < operands; ++k) to.strides[k][into] = from.strides[k][d];
  }
  for (; to.rank < 2; ++to.rank) {
    std::rotate(to.extents.begin(), to.extents.end() - 1, to.extents.end());
    to.extents[0] = 1;
    for (auto& strides : to.strides) std::rotate(strides.begin(), strides.end() - 1, strides.end());
  }
  return to;
}

// Pieces of a plane: long where rows are read in one go, square where a plane is transposed. Both have 16384 elements.
enum class Pieces { long_rows, squares };

// body(offsets, rows, columns) for pieces of the planes of the last two dimensions; offsets[k] is where the piece
// starts in operand k. Together the pieces cover every index once. rank is at least 2 and no extent is 0.
template <std::size_t operands, class Body>
void for_each_piece(const Strided<operands>& strided, Pieces pieces, const Body& body) {
  const int row_dimension = strided.rank - 2, column_dimension = strided.rank - 1;
  const Size rows = strided.extents[row_dimension], columns = strided.extents[column_dimension];
  const Size piece_columns = std::min<Size>(columns, pieces == Pieces::squares ? 128 : 4096);
  const Size piece_rows = std::min(rows, std::max<Size>(1, 16 * 1024 / piece_columns));
  const Size pieces_down = (rows + piece_rows - 1) / piece_rows;
  const Size pieces_across = (columns + piece_columns - 1) / piece_columns;
  const Size planes = element_count(row_dimension, strided.extents);
  parallel_rows(planes * pieces_down * pieces_across, piece_rows * piece_columns, [&](Size piece) {
    const Size column = piece % pieces_across * piece_columns;
    const Size row = piece / pieces_across % pieces_down * piece_rows;
    std::array<Size, operands> offsets;
    for (std::size_t k = 0; k < operands; ++k)
      offsets[k] = row * strided.strides[k][row_dimension] + column * strided.strides[k][column_dimension];
    Size plane = piece / (pieces_across * pieces_down);
    for (int d = row_dimension - 1; d >= 0; --d) {
      const Size index = plane % strided.extents[d];
      plane /= strided.extents[d];
      for (std::size_t k = 0; k < operands; ++k) offsets[k] += index * strided.strides[k][d];
    }
    body(offsets, std::min(piece_rows, rows - row), std::min(piece_columns, columns - column));
  });
}

}  // namespace headshare::kernels
