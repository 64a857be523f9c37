#include "kernels/matrix_unit.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "core/error.h"
#include "kernels/transpose.h"
#include "kernels/vector.h"

#if defined(__x86_64__) && defined(__linux__)
#define HEADSHARE_AMX 1
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace headshare::kernels {

// ---- Packing --------------------------------------------------------------------------------------------------------

namespace {

constexpr Size half_steps = unit_steps / 2;
static_assert(half_steps == unit_lines);  // so that a tile is made of two squares, transposed or not

typedef std::uint32_t Bits __attribute__((vector_size(vector_bytes)));

// The pieces of x[i] and y[i], side by side: the first ones here, the others a tile and two tiles (or pairs of) later.
inline void store_pieces(Vector<float> x, Vector<float> y, BFloat16* to, Size piece_stride) {
  constexpr std::uint32_t upper = 0xffff0000u;
  const auto store_pairs = [&](Size piece, Bits a, Bits b) {
    const Bits pairs = (a >> 16) | (b & upper);
    std::memcpy(to + piece * piece_stride, &pairs, sizeof(pairs));
  };
  const auto bits = [](Vector<float> v) { return std::bit_cast<Bits>(v); };
  const auto number = [](Bits v) { return std::bit_cast<Vector<float>>(v & upper); };
  store_pairs(0, bits(x), bits(y));
  x -= number(bits(x));
  y -= number(bits(y));
  const Bits second_x = bits(x) + 0x8000u, second_y = bits(y) + 0x8000u;  // rounded, so that the rest is small
  store_pairs(1, second_x, second_y);
  store_pairs(2, bits(x - number(second_x)), bits(y - number(second_y)));
}

// A matrix of up to 16 x 16 numbers, as it will lie in a tile.
struct Square {
  const float* data;
  Size row_stride, column_stride;
  Size rows, columns;
};

// The same with column_stride 1 and nothing missing: in place, or copied to `room`.
inline Square complete(const Square& s, float* room) {
  const bool whole = s.rows == unit_lines && s.columns == unit_lines;
  if (whole && s.column_stride == 1) return s;
  if (whole && s.row_stride == 1) {
    for (Size row = 0; row < unit_lines; row += lanes<float>)
      for (Size column = 0; column < unit_lines; column += lanes<float>)
        transpose_square<float>(s.data + column * s.column_stride + row, s.column_stride,
                                room + row * unit_lines + column, unit_lines);
  } else {
    std::fill_n(room, unit_lines * unit_lines, 0.0f);
    for (Size row = 0; row < s.rows; ++row)
      for (Size column = 0; column < s.columns; ++column)
        room[row * unit_lines + column] = s.data[row * s.row_stride + column * s.column_stride];
  }
  return {room, unit_lines, 1, unit_lines, unit_lines};
}

// One tile of each piece, from the steps 0 .. 15 and 16 .. 31.
inline void pack_tile(const Square& first_half, const Square& second_half, BFloat16* to, Size piece_stride) {
  alignas(64) float room[2][unit_lines * unit_lines];
  const Square x = complete(first_half, room[0]), y = complete(second_half, room[1]);
  for (Size row = 0; row < unit_lines; ++row)
    for (Size column = 0; column < unit_lines; column += lanes<float>)
      store_pieces(load(x.data + row * x.row_stride + column), load(y.data + row * y.row_stride + column),
                   to + (row * unit_lines + column) * 2, piece_stride);
}

// square(line, step, lines, steps): the square of these lines and steps.
template <class SquareAt>
void pack_group(Size lines, Size steps, BFloat16* to, const SquareAt& square) {
  const Size tiles = lines > unit_lines ? 2 : 1;
  const auto steps_from = [&](Size step) { return std::clamp(steps - step, Size{0}, half_steps); };
  for (Size step = 0; step < steps; step += unit_steps, to += unit_pieces * tiles * unit_tile)
    for (Size tile = 0; tile < tiles; ++tile) {
      const Size line = tile * unit_lines, count = std::min(unit_lines, lines - line);
      pack_tile(square(line, step, count, steps_from(step)),
                square(line, step + half_steps, count, steps_from(step + half_steps)), to + tile * unit_tile,
                tiles * unit_tile);
    }
}

}  // namespace

void pack_rows_for_unit(const Lines<float>& a, BFloat16* to) {
  pack_group(a.lines, a.steps, to, [&](Size line, Size step, Size lines, Size steps) {
    return Square{a.data + line * a.line_stride + step * a.k_stride, a.line_stride, a.k_stride, lines, steps};
  });
}

void pack_columns_for_unit(const Lines<float>& b, BFloat16* to) {
  pack_group(b.lines, b.steps, to, [&](Size line, Size step, Size lines, Size steps) {
    return Square{b.data + line * b.line_stride + step * b.k_stride, b.k_stride, b.line_stride, steps, lines};
  });
}

// ---- Multiplying ----------------------------------------------------------------------------------------------------

void multiply_groups_plain(const UnitOperands& operands, float* out, Size out_stride) {
  for (Size r = 0; r < operands.row_tiles * unit_lines; ++r)
    for (Size c = 0; c < operands.column_tiles * unit_lines; ++c) {
      float sum = operands.bias[c];
      for (Size k = 0; k < operands.k_tiles; ++k) {
        const auto tile = [&](const BFloat16* packed, Size tiles, Size piece, Size line) {
          return packed + ((k * unit_pieces + piece) * tiles + line / unit_lines) * unit_tile;
        };
        for (Size i = 0; i < unit_pieces; ++i)
          for (Size j = 0; i + j < unit_pieces; ++j) {
            const BFloat16* a = tile(operands.a, operands.row_tiles, i, r) + r % unit_lines * unit_steps;
            const BFloat16* b = tile(operands.b, operands.column_tiles, j, c) + c % unit_lines * 2;
            float products = 0;
            for (Size step = 0; step < unit_steps; ++step)
              products += static_cast<float>(a[step]) * static_cast<float>(b[step / 2 * unit_steps + step % 2]);
            sum += products;
          }
      }
      out[r * out_stride + c] = sum;
    }
}

namespace {

#ifdef HEADSHARE_AMX

#define HEADSHARE_USES_UNIT __attribute__((target("amx-tile,amx-bf16")))

// What ldtilecfg reads: how many rows and bytes of a row each of the eight tile registers has.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileShapes all_tiles_full;

// Registers 0 to 3 hold the sums, tile row r and tile column c in 2 r + c; 4 and 5 a piece of A, 6 and 7 a piece of B.
template <int row_tiles, int column_tiles>
struct Unit {
  // A request for a tile of memory waits for the cache, not for the unit; the unit goes on with what it has.
  HEADSHARE_USES_UNIT static void load_a(const BFloat16* tiles) {
    _tile_loadd(4, tiles, 64);
    if constexpr (row_tiles == 2) _tile_loadd(5, tiles + unit_tile, 64);
  }
  HEADSHARE_USES_UNIT static void load_b(const BFloat16* tiles) {
    _tile_loadd(6, tiles, 64);
    if constexpr (column_tiles == 2) _tile_loadd(7, tiles + unit_tile, 64);
  }
  HEADSHARE_USES_UNIT static void multiply() {
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (column_tiles == 2) _tile_dpbf16ps(1, 4, 7);
    if constexpr (row_tiles == 2) _tile_dpbf16ps(2, 5, 6);
    if constexpr (row_tiles == 2 && column_tiles == 2) _tile_dpbf16ps(3, 5, 7);
  }
  HEADSHARE_USES_UNIT static void start(const float* bias) {
    _tile_loadd(0, bias, 0);  // 0 bytes between its rows: all are the same
    if constexpr (column_tiles == 2) _tile_loadd(1, bias + unit_lines, 0);
    if constexpr (row_tiles == 2) _tile_loadd(2, bias, 0);
    if constexpr (row_tiles == 2 && column_tiles == 2) _tile_loadd(3, bias + unit_lines, 0);
  }
  HEADSHARE_USES_UNIT static void finish(float* out, Size out_stride) {
    const Size stride = out_stride * static_cast<Size>(sizeof(float));
    _tile_stored(0, out, stride);
    if constexpr (column_tiles == 2) _tile_stored(1, out + unit_lines, stride);
    if constexpr (row_tiles == 2) _tile_stored(2, out + unit_lines * out_stride, stride);
    if constexpr (row_tiles == 2 && column_tiles == 2)
      _tile_stored(3, out + unit_lines * out_stride + unit_lines, stride);
  }

  HEADSHARE_USES_UNIT static void run(const UnitOperands& operands, float* out, Size out_stride) {
    constexpr Size a_piece = row_tiles * unit_tile, b_piece = column_tiles * unit_tile;
    const BFloat16 *a = operands.a, *b = operands.b;
    start(operands.bias);
    // Each of the six products shares a factor with the one before: seven loads of pieces instead of twelve.
    for (Size k = operands.k_tiles; k > 0; --k, a += unit_pieces * a_piece, b += unit_pieces * b_piece) {
      load_b(b);
      load_a(a + 2 * a_piece);
      multiply();  // A's third, B's first
      load_a(a + a_piece);
      multiply();  // second, first
      load_b(b + b_piece);
      multiply();  // second, second
      load_a(a);
      multiply();  // first, second
      load_b(b + 2 * b_piece);
      multiply();  // first, third
      load_b(b);
      multiply();  // first, first
    }
    finish(out, out_stride);
  }
};

bool ask_for_unit() {
  constexpr unsigned unit_flags = 1u << 22 | 1u << 24;  // AMX-BF16, AMX-TILE
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & unit_flags) != unit_flags) return false;
  constexpr int request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

HEADSHARE_USES_UNIT void load_tile_shapes() { _tile_loadconfig(&all_tiles_full); }
HEADSHARE_USES_UNIT void release_tiles() { _tile_release(); }

void multiply_tiles(const UnitOperands& operands, float* out, Size out_stride) {
  asm volatile("" ::: "memory");  // GCC does not know that loading a tile reads memory, and may store too late
  const bool two_rows = operands.row_tiles == 2;
  if (operands.column_tiles == 2)
    (two_rows ? Unit<2, 2>::run : Unit<1, 2>::run)(operands, out, out_stride);
  else
    (two_rows ? Unit<2, 1>::run : Unit<1, 1>::run)(operands, out, out_stride);
}

#else

bool ask_for_unit() { return false; }
void load_tile_shapes() {}
void release_tiles() {}
void multiply_tiles(const UnitOperands&, float*, Size) {}

#endif

}  // namespace

MatrixUnit matrix_unit() {
  static const MatrixUnit unit = [] {
    const char* variable = std::getenv("HEADSHARE_MATRIX_UNIT");
    const std::string_view wish = variable == nullptr ? "" : variable;
    if (wish == "off") return MatrixUnit::none;
    if (wish == "plain") return MatrixUnit::plain_loops;
    if (!wish.empty()) fail("HEADSHARE_MATRIX_UNIT must be off or plain, or not set, not ", wish);
    return ask_for_unit() ? MatrixUnit::tiles : MatrixUnit::none;
  }();
  return unit;
}

void use_matrix_unit() {
  if (matrix_unit() == MatrixUnit::tiles) load_tile_shapes();
}
void leave_matrix_unit() {
  if (matrix_unit() == MatrixUnit::tiles) release_tiles();
}

void multiply_groups(const UnitOperands& operands, float* out, Size out_stride) {
  (matrix_unit() == MatrixUnit::tiles ? multiply_tiles : multiply_groups_plain)(operands, out, out_stride);
}

}  // namespace headshare::kernels
