#pragma once

#include "core/bfloat16.h"
#include "core/size.h"
#include "kernels/matmul_pack.h"

// float32 products by the matrix unit of newer Intel processors (AMX: Sapphire Rapids, 2023, and later). One of its
// instructions multiplies 16 x 32 by 32 x 16 numbers in 16 cycles, which is 16 times what AVX-512 does in that time.
// But the numbers must be bfloat16, whose eight bits of precision are a third of float32's 24. So a float32 number is
// written as a sum of three bfloat16 pieces: its first eight bits, the next eight and the rest, exactly. Then
//
//   x y = (x1 + x2 + x3) (y1 + y2 + y3) = x1 y1 + (x1 y2 + x2 y1) + (x1 y3 + x2 y2 + x3 y1) + ...
//
// What follows the six products is smaller than 2^-22 of x y, about what float32 loses when it rounds a sum; and the
// unit adds up 32 products before it rounds into the sum, so the error is no larger than that of multiply-adds in
// float32. Six products at 16 times the speed are 16 / 6 = 2.7 times as fast as vectors.
// Source: Henry, Tang, Heinecke 2019, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision
// Computations".
//
// The unit takes pieces, products and sums below 1e-38 as 0, so operands and products below about 1e-31 lose their last
// bits, which plain loops keep. Where an operand is infinite, or a sum of pieces' products overflows, the result is NaN
// or infinite, also where the exact one is finite: the pieces of an infinite number are infinity and NaN.
namespace headshare::kernels {

constexpr Size unit_lines = 16;  // rows of A, or columns of B, in a tile
constexpr Size unit_steps = 32;  // of k
constexpr Size unit_pieces = 3;
constexpr Size unit_tile = unit_lines * unit_steps;  // numbers: 1 KiB
constexpr Size unit_group = 2 * unit_lines;          // lines that are packed and multiplied together: two tiles

// Whether this processor has the unit and the system lets us use it. The environment variable HEADSHARE_MATRIX_UNIT
// decides otherwise: `off` forbids it (results are those of other machines, and it can be seen what the unit gains),
// and `plain` has plain loops do its work on any machine, for tests of what surrounds it: slow.
enum class MatrixUnit { none, plain_loops, tiles };
MatrixUnit matrix_unit();
inline bool has_matrix_unit() { return matrix_unit() != MatrixUnit::none; }

// Numbers of a packed group: [steps / 32][pieces][1 or 2 tiles][16 x 32]; up to 16 lines are one tile.
constexpr Size packed_group_size(Size lines, Size steps) {
  return (lines > unit_lines ? 2 : 1) * unit_tile * unit_pieces * ((steps + unit_steps - 1) / unit_steps);
}

// Packs up to 32 lines over all their steps. Missing lines and steps become zeros.
// A tile of rows of A has a row for each of them, a tile of columns of B has a column. Along k, steps i and i + 16 of a
// tile lie side by side (any order will do where A and B have the same; this one needs no shuffles).
void pack_rows_for_unit(const Lines<float>& a, BFloat16* to);
void pack_columns_for_unit(const Lines<float>& b, BFloat16* to);

// out = A B + bias for one group of each.   out: [16 or 32, 16 or 32], all written, `out_stride` between its rows
struct UnitOperands {
  const BFloat16* a;
  const BFloat16* b;
  const float* bias;             // for each column of the group, also missing ones: the sums start with it
  Size row_tiles, column_tiles;  // 1 or 2
  Size k_tiles;
};

// By the unit, between use_matrix_unit() and leave_matrix_unit() of the same thread. Without a unit: the plain one
// below.
void multiply_groups(const UnitOperands& operands, float* out, Size out_stride);
void use_matrix_unit();
void leave_matrix_unit();

// What the unit does, in plain loops: the specification.
void multiply_groups_plain(const UnitOperands& operands, float* out, Size out_stride);

}  // namespace headshare::kernels
