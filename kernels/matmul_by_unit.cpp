#include "kernels/matmul_by_unit.h"

#include <algorithm>
#include <atomic>

#include "kernels/matrix_unit.h"
#include "kernels/scratch.h"

// As in matmul.cpp, a block of A is packed and stays in the second cache while groups of columns of B pass by; but now
// packing makes six bytes of a number's four, and the arithmetic is done in a third of the time. So no number is packed
// more often than it must, and what is packed is larger.
namespace headshare::kernels {
namespace {

// The sums of a block of k stay in the unit; between blocks they are added in memory. Longer blocks save time, shorter
// ones are more exact: six products per 32 numbers are rounded into the sum, so here 96.
constexpr Size k_block = 16 * unit_steps;

constexpr Size row_block = 8 * unit_group;    // 256 rows of a block of k: 768 KiB
constexpr Size short_rows = 2 * row_block;    // up to here, a group of columns is packed by the thread that uses it
constexpr Size packed_bytes = Size{1} << 21;  // B packed at a time, for all rows,
constexpr Size packed_groups = 16;            // but at least these groups of columns

// Up to so many packed numbers (1 MiB) each thread packs all of B for itself. What another core has just written must
// come from that core's cache, which takes much longer than packing it.
constexpr Size worth_packing_together = 1 << 19;

// With more padded work than so many times the work, the unit is slower than vectors.
constexpr double most_padding = 1.4;

enum ScratchSlot { rows_slot, group_slot, packed_slot };

// Where the group that begins with `column` lies in a packed B: all groups before it are full.
Size offset_of(Size column, Size k) { return column / unit_group * packed_group_size(unit_group, k); }

void pack_rows(const Product<float>& p, Range rows, Range k, BFloat16* to) {
  const float* first = p.a.data + k.begin * p.a.column_stride;
  for (Size row = rows.begin; row < rows.end; row += unit_group) {
    const Size lines = std::min(unit_group, rows.end - row);
    pack_rows_for_unit({first + row * p.a.row_stride, p.a.row_stride, p.a.column_stride, lines, k.count()},
                       to + offset_of(row - rows.begin, k.count()));
  }
}

void pack_columns(const Product<float>& p, Range columns, Range k, BFloat16* to) {
  const float* first = p.b.data + k.begin * p.b.row_stride;
  for (Size column = columns.begin; column < columns.end; column += unit_group) {
    const Size lines = std::min(unit_group, columns.end - column);
    pack_columns_for_unit({first + column * p.b.column_stride, p.b.column_stride, p.b.row_stride, lines, k.count()},
                          to + offset_of(column - columns.begin, k.count()));
  }
}

// Whether no element of a matrix is infinite or NaN, which both become NaN times 0.
bool is_finite(const float* matrix, Size stride, Size rows, Size columns) {
  Vector<float> sums{};
  for (Size row = 0; row < rows; ++row)
    for (Size column = 0; column < columns; column += lanes<float>) {
      const float* elements = matrix + row * stride + column;
      const Size left = columns - column;
      sums += 0.0f * (left >= lanes<float> ? load(elements) : load_first(elements, left, 0.0f));
    }
  return sum_of_lanes<float>(sums) == 0;
}

// C of `rows` and `columns`, both of which begin with a group, over a block of k. False: some of it is not finite, or
// was not before the activation.
//   packed_a: these rows of this block   packed_b: all of B; null: each group of columns is packed when it is its turn
bool multiply_block(const Product<float>& p, Range rows, Range columns, Range k, const BFloat16* packed_a,
                    const BFloat16* packed_b) {
  alignas(64) float sums[unit_group * unit_group], bias[unit_group];
  BFloat16* own = packed_b == nullptr ? scratch<BFloat16>(group_slot, packed_group_size(unit_group, k_block)) : nullptr;
  const KBlock block{k.begin == 0, k.end == p.k};
  Product<float> rest = p;  // what is left to do when the sums are there, which started with the bias
  rest.epilogue.bias = nullptr;
  const bool nothing_left =
      block.first &&
      (!block.last || (p.epilogue.before_activation == nullptr && p.epilogue.activation == Activation::none));

  bool finite = true;
  use_matrix_unit();
  for (Size column = columns.begin; column < columns.end; column += unit_group) {
    const Size width = std::min(unit_group, columns.end - column);
    if (own != nullptr) pack_columns(p, {column, column + width}, k, own);
    const BFloat16* b = own != nullptr ? own : packed_b + offset_of(column, p.k) + packed_group_size(width, k.begin);
    std::fill_n(bias, unit_group, 0.0f);
    if (p.epilogue.bias != nullptr && block.first) std::copy_n(p.epilogue.bias + column, width, bias);
    for (Size row = rows.begin; row < rows.end; row += unit_group) {
      const Place place{row, column, std::min(unit_group, rows.end - row), width};
      const UnitOperands operands{packed_a + offset_of(row - rows.begin, k.count()),
                                  b,
                                  bias,
                                  divide_up(place.rows, unit_lines),
                                  divide_up(width, unit_lines),
                                  divide_up(k.count(), unit_steps)};
      expect(p.c, p.c_stride, place);
      if (nothing_left && place.rows % unit_lines == 0 && width % unit_lines == 0) {
        multiply_groups(operands, p.c + row * p.c_stride + column, p.c_stride);
      } else {
        if (block.last) expect_kept_values(p, place);
        multiply_groups(operands, sums, unit_group);
        finite = finish(rest, place, block, sums, unit_group) && finite;
      }
    }
    if (block.last && nothing_left)
      finite = is_finite(p.c + rows.begin * p.c_stride + column, p.c_stride, rows.count(), width) && finite;
  }
  leave_matrix_unit();
  return finite;
}

// Rows and columns of C, with a packed A of this thread's own.
void multiply_part(const Product<float>& p, Range rows, Range columns, const BFloat16* packed_b,
                   std::atomic<bool>& finite) {
  BFloat16* a =
      scratch<BFloat16>(rows_slot, divide_up(rows.count(), unit_group) * packed_group_size(unit_group, k_block));
  for (Range k{0, 0}; k.begin < p.k; k.begin = k.end) {
    k.end = std::min(p.k, k.begin + k_block);
    pack_rows(p, rows, k, a);
    if (!multiply_block(p, rows, columns, k, a, packed_b)) finite = false;
  }
}

// Few rows: the threads share out columns, and each packs all of A; or, where that takes longer, they share out rows.
void multiply_short(const Product<float>& p, const BFloat16* packed_b, Size threads, std::atomic<bool>& finite) {
  // Squares that lie across must be transposed first, which takes half as long as the rest of packing.
  const auto time_to_pack = [](Size lines, Size stride_in_tile) { return stride_in_tile == 1 ? 2 * lines : 3 * lines; };
  const bool by_rows =
      packed_b == nullptr && time_to_pack(p.m, p.a.column_stride) > time_to_pack(p.n, p.b.column_stride);
  const Size lines = by_rows ? p.m : p.n, parts = std::min(divide_up(lines, unit_group), threads);
  for_each(threads, parts, [&](Size i) {
    const Range some = part(i, parts, lines, unit_group), rows = {0, p.m}, columns = {0, p.n};
    multiply_part(p, by_rows ? some : rows, by_rows ? columns : some, packed_b, finite);
  });
}

// Many rows: the threads share out rows, after they have packed B together or, if it is small, each for itself.
void multiply_tall(const Product<float>& p, const BFloat16* packed_b, Size threads, std::atomic<bool>& finite) {
  const auto room = [&] { return scratch<BFloat16>(packed_slot, packed_size_for_unit(p.k, p.n)); };
  if (packed_b == nullptr && packed_size_for_unit(p.k, p.n) > worth_packing_together) {
    const Size groups = divide_up(p.n, unit_group);
    BFloat16* packed = room();
    for_each(threads, groups, [&](Size i) {
      const Range columns = part(i, groups, p.n, unit_group);
      pack_columns(p, columns, {0, p.k}, packed + offset_of(columns.begin, p.k));
    });
    packed_b = packed;
  }
  const Size parts = std::min(divide_up(p.m, unit_group), threads);
  for_each(threads, parts, [&](Size i) {
    BFloat16* own = packed_b == nullptr ? room() : nullptr;
    if (own != nullptr) pack_columns(p, {0, p.n}, {0, p.k}, own);
    const Range rows = part(i, parts, p.m, unit_group);
    for (Size row = rows.begin; row < rows.end; row += row_block)
      multiply_part(p, {row, std::min(rows.end, row + row_block)}, {0, p.n}, own != nullptr ? own : packed_b, finite);
  });
}

}  // namespace

bool suits_matrix_unit(Size m, Size n, Size k) {
  constexpr Size least = 32;
  if (std::min({m, n, k}) < least || !has_matrix_unit()) return false;
  const auto padded = [](Size size, Size unit) { return static_cast<double>(divide_up(size, unit) * unit); };
  const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  return padded(m, unit_lines) * padded(n, unit_lines) * padded(k, unit_steps) <= most_padding * work;
}

Size packed_size_for_unit(Size k, Size n) { return divide_up(n, unit_group) * packed_group_size(unit_group, k); }

void pack_for_unit(Size k, Size n, const MatrixView<float>& b, BFloat16* packed) {
  pack_columns({0, n, k, {}, b, nullptr, nullptr, 0, {}}, {0, n}, {0, k}, packed);
}

bool multiply_by_unit(const Product<float>& p, const BFloat16* packed_b, Size threads) {
  std::atomic<bool> finite = true;
  if (p.m <= std::min(short_rows, p.n)) {
    multiply_short(p, packed_b, threads, finite);
  } else if (packed_b != nullptr) {
    multiply_tall(p, packed_b, threads, finite);
  } else {
    const Size group_bytes = packed_group_size(unit_group, p.k) * static_cast<Size>(sizeof(BFloat16));
    const Size columns = std::max(packed_groups, packed_bytes / group_bytes) * unit_group;
    for (Size column = 0; column < p.n; column += columns)
      multiply_tall(p.columns({column, std::min(p.n, column + columns)}), nullptr, threads, finite);
  }
  return finite;
}

}  // namespace headshare::kernels
