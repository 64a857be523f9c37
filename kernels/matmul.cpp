#include "kernels/matmul.h"

#include <omp.h>

#include <algorithm>

#include "kernels/matmul_by_unit.h"
#include "kernels/matmul_dot.h"
#include "kernels/matmul_pack.h"
#include "kernels/matmul_parts.h"
#include "kernels/matmul_tile.h"
#include "kernels/matrix_unit.h"
#include "kernels/scratch.h"

// From the whole to the part:
//   matmul             splits a batch between the threads, or hands each product of it to all threads;
//   multiply           chooses how one product is computed, and who packs B. A processor's matrix unit multiplies large
//                      float32 matrices (matmul_by_unit.h); what follows here is for vectors;
//   multiply_block     computes a block of C: packs A where it must, walks over panels of B and tiles of C (Goto and
//                      van de Geijn 2008, "Anatomy of high-performance matrix multiplication");
//   finish             adds the bias, applies the activation and stores.
// Threads only ever share out elements of C, never the sum of one element, and what a tile looks like does not change
// the order in which an element is summed: the result is the same for any number of threads.
namespace headshare::kernels {
namespace {

// ---- Sizes that fit the caches --------------------------------------------------------------------------------------

template <class T>
constexpr Size panel_width = lanes<T>* tile_vectors;  // columns of B that are packed side by side

// A block of k. Each step of the inner loop reads a few numbers of A and a panel's row of B, 184 bytes for 28 vector
// multiply-adds at most, which the second cache delivers in time; so a block may be longer than what the first one
// holds, and C is read and written again for fewer blocks.
template <class T>
constexpr Size k_block = 4096 / sizeof(T);

constexpr Size row_block = 5 * tile_rows;  // rows of A used at a time; k_block of them, 280 KiB, stay in the second
                                           // cache beside the chunk of B they meet:
constexpr Size panels_per_chunk = 8;       // 1 MiB

constexpr Size short_rows = 4 * row_block;  // up to here, a panel of B is packed by the thread that uses it
constexpr Size rows_worth_reading_b = 64;   // so many use a B that each thread reads as fast as it comes from any cache
constexpr Size steps_side_by_side = 16;     // of a transposed A: as many pages as the processor finds without a search

// B packed at a time, for all rows: large enough that packing A again for the next columns is not felt.
constexpr Size packed_bytes = Size{1} << 21;
constexpr Size packed_columns = 512;  // but at least these

constexpr Size panels_per_item = 64;           // of a single block of rows: packing A again for fewer would be felt
constexpr Size work_worth_a_thread = 1 << 15;  // multiply-adds: about as long as it takes to start one
constexpr Size few_rows = 8;                   // up to here, dot products beat packing a transposed B

enum ScratchSlot { rows_slot, panel_slot, packed_slot };

// ---- One block of C -------------------------------------------------------------------------------------------------

// Rows of the next tile: as few tiles as possible, and as equal as possible, because short ones are inefficient.
constexpr Size next_tile(Size left) { return divide_up(left, divide_up(left, tile_rows)); }

// The last panel has as many vectors as it needs.
template <class T>
constexpr Size width_of_panel(Size columns_left) {
  return columns_left > lanes<T> ? panel_width<T> : lanes<T>;
}

// The panels of B in `columns` (which begin with a panel), over k: panel after panel, each [k, width].
template <class T>
void pack_panels(const Product<T>& p, Range columns, Range k, T* to) {
  for (Size column = columns.begin; column < columns.end; column += panel_width<T>) {
    const Size width = width_of_panel<T>(p.n - column);
    const T* from = p.b.data + k.begin * p.b.row_stride + column * p.b.column_stride;
    pack<T, panel_width<T>>({from, p.b.column_stride, p.b.row_stride, std::min(width, p.n - column), k.count()}, width,
                            to + (column - columns.begin) * k.count());
  }
}

// The rows of A in `rows`, over k: tile after tile, each [k, rows of the tile].
template <class T>
void pack_rows(const Product<T>& p, Range rows, Range k, T* to) {
  const T* first = p.a.data + k.begin * p.a.column_stride;
  // Of a transposed A, many tiles lie side by side. A few steps of k for all tiles, then the next few, reads memory in
  // long pieces; one tile after the other would visit every page again for each.
  const Size steps = p.a.row_stride == 1 ? steps_side_by_side : k.count();
  for (Size begin = 0; begin < k.count(); begin += steps) {
    const Size count = std::min(steps, k.count() - begin);
    for (Size row = rows.begin, tile; row < rows.end; row += tile) {
      tile = next_tile(rows.end - row);
      pack<T, tile_rows>(
          {first + row * p.a.row_stride + begin * p.a.column_stride, p.a.row_stride, p.a.column_stride, tile, count},
          tile, to + (row - rows.begin) * k.count() + begin * tile);
    }
  }
}

// Copying A costs up to a fifth of a narrow product, so it is saved where the tile finds numbers as fast where they
// lie. It does not
// - where the lines that it needs again and again displace each other: a first cache has room for 8 to 12 lines that
//   lie a multiple of 4 KiB apart. Row by row it needs as many as it has rows, of a transposed A more;
// - where A is transposed and the tile needs so few numbers of each line that a packed copy of them would stay in the
//   first cache, but the lines do not.
template <class T>
bool is_read_in_place(const MatrixView<T>& a, Size rows) {
  constexpr Size line_bytes = 64, displacing = 4096, displacing_many = 2048;
  constexpr Size rows_that_fit = 4;
  if (a.column_stride == 1) return rows <= rows_that_fit || a.row_stride * Size{sizeof(T)} % displacing != 0;
  return a.row_stride == 1 && a.column_stride * Size{sizeof(T)} % displacing_many != 0 &&
         tile_rows * Size{sizeof(T)} > line_bytes / 2;
}

// Every step of a panel is on another line of B. Few rows use a panel once, and many as often as they have tiles: for
// those the lines should come in short leaps, which a processor foresees.
template <class T>
bool panels_are_read_in_place(const MatrixView<T>& b, Size rows) {
  constexpr Size short_leap = 1024;  // bytes
  return b.column_stride == 1 && (rows <= tile_rows || b.row_stride * Size{sizeof(T)} <= short_leap);
}

// What the tile of `place` should ask for: its place in C, and a part of the rows of A below it for every panel of the
// chunk that it meets, unless that is more than the first cache can take in beside what is in use.
template <class T>
Expected<T> expected_at(const Product<T>& p, const Place& place, const TileRows<T>& a, Size k, Range chunk) {
  constexpr Size most = 16384;  // bytes
  Expected<T> expected{p.c + place.row * p.c_stride + place.column, p.c_stride, a.data, 0};
  if (a.k_stride == 1 && place.row + place.rows < p.m && place.rows * k * Size{sizeof(T)} <= most) {
    const Size panels = divide_up(chunk.count(), panel_width<T>);
    const Range lines = part((place.column - chunk.begin) / panel_width<T>, panels, divide_up(k, line<T>), 1);
    expected.a += place.rows * a.row_stride + lines.begin * line<T>;
    expected.a_lines = lines.count();
  }
  return expected;
}

// Columns of the next tile in C: one panel, or several where so few rows leave registers for them.
template <class T>
Size next_width(Size rows, Size columns_left) {
  Size vectors = vectors_for_rows(rows);
  while (vectors > tile_vectors && vectors * lanes < T >> columns_left) vectors /= 2;
  return vectors > tile_vectors ? vectors * lanes<T> : width_of_panel<T>(columns_left);
}

// C of `rows` and `columns`. B's panels are used a chunk at a time, so that the chunk stays in a cache while the tiles
// of A pass over it.
template <class T>
void multiply_block(const Product<T>& p, Range rows, Range columns, Size chunk_panels) {
  alignas(64) T sums[sums_in_registers * lanes<T>];
  const Size k_blocks = std::max(Size{1}, divide_up(p.k, k_block<T>));
  const bool a_in_place = is_read_in_place(p.a, rows.count());
  T* packed_a = a_in_place ? nullptr : scratch<T>(rows_slot, rows.count() * k_block<T> + lanes<T>);
  const bool b_in_place = p.packed_b == nullptr && panels_are_read_in_place(p.b, rows.count());
  const bool plain = p.epilogue.bias == nullptr && p.epilogue.before_activation == nullptr &&
                     p.epilogue.activation == Activation::none;

  const auto multiply_tile_at = [&](const Place& place, Size width, Size k, const TileRows<T>& a,
                                    const TilePanels<T>& b, KBlock block, const Expected<T>& expected) {
    const TileFunction<T> multiply_tile_of = tile_function<T>(place.rows, width / lanes<T>);
    if (place.columns == width && (plain || !block.last)) {
      multiply_tile_of(k, a, b, p.c + place.row * p.c_stride + place.column, p.c_stride,
                       block.first ? Store::replace : Store::add, expected);
    } else {
      if (block.last) expect_kept_values(p, place);
      multiply_tile_of(k, a, b, sums, width, Store::replace, expected);
      finish(p, place, block, sums, width);
    }
  };

  for (Size kb = 0; kb < k_blocks; ++kb) {
    const Range k = part(kb, k_blocks, p.k, 1);
    if (!a_in_place) pack_rows(p, rows, k, packed_a);
    for (Range chunk{columns.begin, 0}; chunk.begin < columns.end; chunk.begin = chunk.end) {
      chunk.end = std::min(columns.end, chunk.begin + chunk_panels * panel_width<T>);
      T* own = nullptr;
      if (p.packed_b == nullptr && (!b_in_place || chunk.count() % lanes<T> != 0)) {
        own = scratch<T>(panel_slot, (chunk.count() + panel_width<T>)*k_block<T> + lanes<T>);
        pack_panels(p, chunk, k, own);
      }
      for (Size row = rows.begin, tile; row < rows.end; row += tile) {
        tile = next_tile(rows.end - row);
        const TileRows<T> a = a_in_place ? TileRows<T>{p.a.data + row * p.a.row_stride + k.begin * p.a.column_stride,
                                                       p.a.row_stride, p.a.column_stride}
                                         : TileRows<T>{packed_a + (row - rows.begin) * k.count(), 1, tile};
        for (Size column = chunk.begin, width; column < chunk.end; column += width) {
          width = next_width<T>(tile, chunk.end - column);
          const Size panel = std::min(width, panel_width<T>);
          const TilePanels<T> b =
              p.packed_b != nullptr ? TilePanels<T>{p.packed_b + column * p.k + k.begin * panel, panel, panel * p.k}
              : own != nullptr      ? TilePanels<T>{own + (column - chunk.begin) * k.count(), panel, panel * k.count()}
                               : TilePanels<T>{p.b.data + k.begin * p.b.row_stride + column, p.b.row_stride, panel};
          const Place place{row, column, tile, std::min(width, chunk.end - column)};
          multiply_tile_at(place, width, k.count(), a, b, {kb == 0, kb == k_blocks - 1},
                           expected_at(p, place, a, k.count(), chunk));
        }
      }
    }
  }
}

// ---- One product ----------------------------------------------------------------------------------------------------

// A few rows with a transposed B.
template <class T>
void multiply_by_dots(const Product<T>& p, Size threads) {
  constexpr Size width = 4 * lanes<T>;
  const T* a = p.a.data;
  Size a_stride = p.a.row_stride;
  if (p.a.column_stride != 1) {
    T* rows = scratch<T>(rows_slot, p.m * p.k + lanes<T>);
    pack<T, tile_rows>({p.a.data, p.a.column_stride, p.a.row_stride, p.k, p.m}, p.k, rows);
    a = rows;
    a_stride = p.k;
  }
  for_each(threads, divide_up(p.n, width), [&](Size i) {
    alignas(64) T sums[few_rows * width];
    const Size column = i * width;
    const Size columns = std::min(width, p.n - column);
    dot_block(p.m, columns, p.k, a, a_stride, p.b.data + column * p.b.column_stride, p.b.column_stride, sums, width);
    finish(p, {0, column, p.m, columns}, {true, true}, sums, width);
  });
}

// One block of rows: every panel of B is used once, so whoever uses it packs it (unless it is), and it is still in the
// first cache. Where B is packed and there are rows enough for all, the threads share out rows, and none needs the rows
// of another.
template <class T>
void multiply_short(const Product<T>& p, Size threads) {
  if (p.packed_b != nullptr && p.m >= threads * rows_worth_reading_b) {
    for_each(threads, threads, [&](Size i) {
      multiply_block(p, part(i, threads, p.m, 1), {0, p.n}, panels_per_chunk);
    });
    return;
  }
  const Size unit = (p.m <= tile_rows ? vectors_for_rows(p.m) : tile_vectors) * lanes<T>;
  const Size count = divide_up(p.n, unit);
  const Size blocks = std::min(count, std::max(Size{1}, count / (panels_per_item * threads)) * threads);
  const Size chunk = p.packed_b != nullptr || p.m <= tile_rows ? panels_per_chunk : 1;
  for_each(threads, blocks, [&](Size i) { multiply_block(p, {0, p.m}, part(i, blocks, p.n, unit), chunk); });
}

// Many blocks of rows: all use the same panels of B, which are packed first.
template <class T>
void multiply_tall(const Product<T>& p, Size threads) {
  if (p.packed_b == nullptr) {
    const Size count = divide_up(p.n, panel_width<T>);
    T* packed = scratch<T>(packed_slot, count * panel_width<T> * p.k + lanes<T>);
    for_each(threads, count, [&](Size i) {
      const Range columns = part(i, count, p.n, panel_width<T>);
      pack_panels(p, columns, {0, p.k}, packed + columns.begin * p.k);
    });
    Product<T> with_panels = p;
    with_panels.packed_b = packed;
    return multiply_tall(with_panels, threads);
  }
  const Size blocks = divide_up(divide_up(p.m, row_block), threads) * threads;  // the same number for each thread
  for_each(threads, blocks, [&](Size i) {
    multiply_block(p, part(i, blocks, p.m, tile_rows), {0, p.n}, panels_per_chunk);
  });
}

template <class T>
void multiply(const Product<T>& p, Size threads) {
  if constexpr (std::is_same_v<T, float>)
    if (p.packed_b == nullptr && suits_matrix_unit(p.m, p.n, p.k) && multiply_by_unit(p, nullptr, threads)) return;
  if (p.m <= few_rows && p.packed_b == nullptr && p.b.row_stride == 1 && p.b.column_stride != 1) {
    multiply_by_dots(p, threads);
  } else if (p.m <= short_rows) {
    multiply_short(p, threads);
  } else if (p.packed_b != nullptr) {
    multiply_tall(p, threads);
  } else {
    const Size column_bytes = std::max(Size{1}, p.k) * static_cast<Size>(sizeof(T));
    const Size columns =
        divide_up(std::max(packed_columns, packed_bytes / column_bytes), packed_columns) * packed_columns;
    for (Size column = 0; column < p.n; column += columns)
      multiply_tall(p.columns({column, std::min(p.n, column + columns)}), threads);
  }
}

}  // namespace

// ---- A batch --------------------------------------------------------------------------------------------------------

template <class T>
void matmul(Cpu, const MatmulSizes& sizes, const MatrixView<T>& a, const MatrixView<T>& b, T* c,
            const Epilogue<T>& epilogue) {
  const Size elements = sizes.m * sizes.n;
  if (sizes.batch == 0 || elements == 0) return;
  matrix_unit();  // fails here where its environment variable is wrong, and not inside a team of threads
  const Size work = elements * std::max(Size{1}, sizes.k);  // multiply-adds of one product

  const auto product = [&](Size i) {
    Product<T> p{sizes.m, sizes.n, sizes.k, a, b, nullptr, c + i * elements, sizes.n, epilogue};
    p.a.data += i * a.batch_stride;
    p.b.data += i * b.batch_stride;
    if (epilogue.before_activation != nullptr) p.epilogue.before_activation += i * elements;
    return p;
  };
  const Size available = omp_in_parallel() ? 1 : omp_get_max_threads();
  const Size threads = std::clamp(sizes.batch * work / work_worth_a_thread, Size{1}, available);
  const bool whole_products = threads > 1 && sizes.batch >= threads && (sizes.batch >= 4 * threads || work < (1 << 20));
  if (whole_products) {
    for_each(threads, sizes.batch, [&](Size i) { multiply(product(i), 1); });
  } else {
    const Size threads_each = std::clamp(work / work_worth_a_thread, Size{1}, available);
    for (Size i = 0; i < sizes.batch; ++i) multiply(product(i), threads_each);
  }
}

// ---- B packed ahead -------------------------------------------------------------------------------------------------

// Panels for vectors, and behind them, in float32, what the matrix unit wants: few rows need the one, many the other.

template <class T>
Size panels_size(Size k, Size n) {
  return divide_up(n, lanes<T>) * lanes<T> * k + lanes<T>;
}

template <class T>
bool has_both_packings(Size k, Size n) {
  return std::is_same_v<T, float> && suits_matrix_unit(unit_group, n, k);  // rows without padding
}

template <class T>
Size packed_size(Size k, Size n) {
  return panels_size<T>(k, n) + (has_both_packings<T>(k, n) ? packed_size_for_unit(k, n) / 2 : 0);
}

template <class T>
Size packed_bytes_read(Size m, Size k, Size n) {
  if (std::is_same_v<T, float> && suits_matrix_unit(m, n, k)) return n * k * unit_pieces * Size{sizeof(BFloat16)};
  return n * k * Size{sizeof(T)};
}

template <class T>
void pack_matrix(Cpu, Size k, Size n, const MatrixView<T>& b, T* packed) {
  pack_panels<T>({0, n, k, {}, b, nullptr, nullptr, 0, {}}, {0, n}, {0, k}, packed);
  if constexpr (std::is_same_v<T, float>)
    if (has_both_packings<T>(k, n)) pack_for_unit(k, n, b, reinterpret_cast<BFloat16*>(packed + panels_size<T>(k, n)));
}

template <class T>
void matmul_packed(Cpu, Size m, Size n, Size k, const MatrixView<T>& a, const T* packed_b, T* c,
                   const Epilogue<T>& epilogue) {
  if (m == 0 || n == 0) return;
  const Size available = omp_in_parallel() ? 1 : omp_get_max_threads();
  const Size threads = std::clamp(m * n * k / work_worth_a_thread, Size{1}, available);
  const Product<T> product{m, n, k, a, {}, packed_b, c, n, epilogue};
  if constexpr (std::is_same_v<T, float>)
    if (suits_matrix_unit(m, n, k) &&
        multiply_by_unit(product, reinterpret_cast<const BFloat16*>(packed_b + panels_size<T>(k, n)), threads))
      return;
  multiply(product, threads);
}

template Size packed_size<float>(Size, Size);
template Size packed_size<double>(Size, Size);
template Size packed_bytes_read<float>(Size, Size, Size);
template Size packed_bytes_read<double>(Size, Size, Size);
template void pack_matrix(Cpu, Size, Size, const MatrixView<float>&, float*);
template void pack_matrix(Cpu, Size, Size, const MatrixView<double>&, double*);
template void matmul_packed(Cpu, Size, Size, Size, const MatrixView<float>&, const float*, float*,
                            const Epilogue<float>&);
template void matmul_packed(Cpu, Size, Size, Size, const MatrixView<double>&, const double*, double*,
                            const Epilogue<double>&);
template void matmul(Cpu, const MatmulSizes&, const MatrixView<float>&, const MatrixView<float>&, float*,
                     const Epilogue<float>&);
template void matmul(Cpu, const MatmulSizes&, const MatrixView<double>&, const MatrixView<double>&, double*,
                     const Epilogue<double>&);

}  // namespace headshare::kernels
