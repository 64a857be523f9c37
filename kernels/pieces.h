#pragma once

#include <algorithm>
#include <array>

#include "kernels/parallel.h"
#include "kernels/strided.h"

// Walking over views on the CPU: planes cut into pieces, which the processor's cores share.
namespace headshare::kernels {

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
