#include "kernels/matmul.h"

#include <omp.h>

#include <algorithm>

#include "kernels/gelu.h"
#include "kernels/matmul_dot.h"
#include "kernels/matmul_pack.h"
#include "kernels/matmul_tile.h"
#include "kernels/scratch.h"

// From the whole to the part:
//   matmul             splits a batch between the threads, or hands each product of it to all threads;
//   multiply           chooses how one product is computed, and who packs B;
//   multiply_block     computes a block of C: packs A, walks over panels of B and tiles of C (Goto and van de Geijn
//                      2008, "Anatomy of high-performance matrix multiplication");
//   finish             adds the bias, applies the activation and stores.
// Threads only ever share out elements of C, never the sum of one element, and what a tile looks like does not change
// the order in which an element is summed: the result is the same for any number of threads.
namespace headshare::kernels {
namespace {

// ---- Sizes that fit the caches --------------------------------------------------------------------------------------

// A block of k: a panel of B (32 KiB) and the tile of A it meets stay in the first cache, while the tiles of A change.
template <class T>
constexpr Size k_block = 1024 / sizeof(T);

constexpr Size row_block = 144;  // rows of A packed at a time; k_block of them, 144 KiB, stay in the second cache

// B packed at a time, for all rows: large enough that packing A again for the next columns is not felt.
constexpr Size packed_bytes = Size{1} << 21;
constexpr Size packed_columns = 512;  // but at least these

constexpr Size panels_per_item = 16;           // of a single block of rows: packing A again for fewer would be felt
constexpr Size work_worth_a_thread = 1 << 15;  // multiply-adds: about as long as it takes to start one
constexpr Size few_rows = 8;                   // up to here, dot products beat packing a transposed B

enum ScratchSlot { rows_slot, panel_slot, packed_slot };

// ---- Small helpers --------------------------------------------------------------------------------------------------

constexpr Size divide_up(Size a, Size b) { return (a + b - 1) / b; }

struct Range {
  Size begin, end;
  Size count() const { return end - begin; }
};

// Part i when 0 .. total is cut into `parts` parts that are as equal as whole units allow.
Range part(Size i, Size parts, Size total, Size unit) {
  const Size units = divide_up(total, unit);
  return {std::min(total, units * i / parts * unit), std::min(total, units * (i + 1) / parts * unit)};
}

// Rows of the next tile: full ones, except that the last two share what is left, because short tiles are inefficient.
constexpr Size next_tile(Size left) {
  return left >= 2 * tile_rows ? tile_rows : left > tile_rows ? (left + 1) / 2 : left;
}

// body(i) for every i, on up to `threads` threads.
template <class Body>
void for_each(Size threads, Size count, const Body& body) {
  if (threads == 1 || count == 1) {
    for (Size i = 0; i < count; ++i) body(i);
    return;
  }
  [[maybe_unused]] const int team = static_cast<int>(threads);  // Clang overlooks their use in the next line
  [[maybe_unused]] const Size chunk = std::max(Size{1}, count / (16 * threads));
#pragma omp parallel for num_threads(team) schedule(dynamic, chunk)
  for (Size i = 0; i < count; ++i) body(i);
}

// One product of the batch, or some of its columns.
template <class T>
struct Product {
  Size m, n, k;
  MatrixView<T> a, b;
  T* c;
  Size c_stride;  // between the rows of C and of before_activation
  Epilogue<T> epilogue;

  Product columns(Range range) const {
    Product p = *this;
    p.n = range.count();
    p.b.data += range.begin * b.column_stride;
    p.c += range.begin;
    if (p.epilogue.bias != nullptr) p.epilogue.bias += range.begin;
    if (p.epilogue.before_activation != nullptr) p.epilogue.before_activation += range.begin;
    return p;
  }
};

// ---- The end of a tile ----------------------------------------------------------------------------------------------

template <class T>
Vector<T> activate(Activation activation, Vector<T> x) {
  if (activation == Activation::relu) return x < Vector<T>{} ? Vector<T>{} : x;  // in this order NaN stays NaN
  if (activation == Activation::gelu) return gelu(x);
  return x;
}

// A rectangle of C whose sums, or their last part, lie in a buffer.
struct Place {
  Size row, column, rows, columns;
};

// C = sums, or C + sums where earlier blocks of k left their part; after the last block bias and activation follow.
struct KBlock {
  bool first, last;
};

template <class T>
void finish(const Product<T>& p, const Place& place, const KBlock& block, const T* sums, Size sums_stride) {
  const Epilogue<T>& epilogue = p.epilogue;
  for (Size i = 0; i < place.rows; ++i) {
    const Size offset = (place.row + i) * p.c_stride + place.column;
    for (Size j = 0; j < place.columns; j += lanes<T>) {
      const Size n = std::min(lanes<T>, place.columns - j);
      const auto load_n = [n](const T* from) { return n == lanes<T> ? load(from) : load_first(from, n, T{0}); };
      const auto store_n = [n](T* to, Vector<T> x) { n == lanes<T> ? store(to, x) : store_first(to, x, n); };
      Vector<T> x = load(sums + i * sums_stride + j);
      if (!block.first) x += load_n(p.c + offset + j);
      if (block.last) {
        if (epilogue.bias != nullptr) x += load_n(epilogue.bias + place.column + j);
        if (epilogue.before_activation != nullptr) store_n(epilogue.before_activation + offset + j, x);
        x = activate<T>(epilogue.activation, x);
      }
      store_n(p.c + offset + j, x);
    }
  }
}

// The kept values are a second stream of stores, more than the processor holds back while it waits for their cache
// lines; asked for before the tile is computed, they are there after it.
template <class T>
void expect_kept_values(const Product<T>& p, const Place& place) {
  if (p.epilogue.before_activation == nullptr) return;
  for (Size i = 0; i < place.rows; ++i)
    for (Size j = 0; j < place.columns; j += lanes<T>)
      __builtin_prefetch(p.epilogue.before_activation + (place.row + i) * p.c_stride + place.column + j, 1);
}

// ---- One block of C -------------------------------------------------------------------------------------------------

// How B is cut into panels, and where they are.
template <class T>
struct Panels {
  Size width;       // columns
  const T* packed;  // all panels [panel][K, width]; null: the block packs each panel itself, or reads B in place

  // The last panel has as many vectors as it needs: 1, 2, 4 or 8.
  Size width_for(Size columns) const {
    Size fitting = lanes<T>;
    while (fitting < columns) fitting *= 2;
    return fitting;
  }
};

template <class T>
void pack_panel(const Product<T>& p, const Panels<T>& panels, Size panel, Range k, T* to) {
  const Size column = panel * panels.width;
  const Size columns = std::min(panels.width, p.n - column);
  const T* from = p.b.data + k.begin * p.b.row_stride + column * p.b.column_stride;
  pack<T, tile_vectors * lanes<T>>({from, p.b.column_stride, p.b.row_stride, columns, k.count()},
                                   panels.width_for(columns), to);
}

// C of `rows` and `panel_range`.
template <class T>
void multiply_block(const Product<T>& p, const Panels<T>& panels, Range rows, Range panel_range) {
  alignas(64) T sums[sums_in_registers * lanes<T>];
  const Size k_blocks = std::max(Size{1}, divide_up(p.k, k_block<T>));
  T* a = scratch<T>(rows_slot, rows.count() * k_block<T>);
  T* own_panel = scratch<T>(panel_slot, panels.width * k_block<T>);
  const bool in_place = rows.count() <= tile_rows && p.b.column_stride == 1;
  const bool plain = p.epilogue.bias == nullptr && p.epilogue.before_activation == nullptr &&
                     p.epilogue.activation == Activation::none;

  for (Size kb = 0; kb < k_blocks; ++kb) {
    const Range k = part(kb, k_blocks, p.k, 1);
    const KBlock block{kb == 0, kb == k_blocks - 1};
    for (Size row = rows.begin, tile; row < rows.end; row += tile) {
      tile = next_tile(rows.end - row);
      const T* from = p.a.data + row * p.a.row_stride + k.begin * p.a.column_stride;
      pack<T, tile_rows>({from, p.a.row_stride, p.a.column_stride, tile, k.count()}, tile,
                         a + (row - rows.begin) * k.count());
    }
    for (Size panel = panel_range.begin; panel < panel_range.end; ++panel) {
      const Size column = panel * panels.width;
      const Size columns = std::min(panels.width, p.n - column);
      const Size width = panels.width_for(columns);
      const T* b = own_panel;
      Size b_stride = width;
      if (panels.packed != nullptr) {
        b = panels.packed + column * p.k + k.begin * width;
      } else if (in_place && columns == width) {
        b = p.b.data + k.begin * p.b.row_stride + column;
        b_stride = p.b.row_stride;
      } else {
        pack_panel(p, panels, panel, k, own_panel);
      }
      for (Size row = rows.begin, tile; row < rows.end; row += tile) {
        tile = next_tile(rows.end - row);
        const TileFunction<T> multiply_tile_of = tile_function<T>(tile, width / lanes<T>);
        const T* tile_a = a + (row - rows.begin) * k.count();
        if (columns == width && (plain || !block.last)) {
          multiply_tile_of(k.count(), tile_a, b, b_stride, p.c + row * p.c_stride + column, p.c_stride,
                           block.first ? Store::replace : Store::add);
        } else {
          if (block.last) expect_kept_values(p, {row, column, tile, columns});
          multiply_tile_of(k.count(), tile_a, b, b_stride, sums, width, Store::replace);
          finish(p, {row, column, tile, columns}, block, sums, width);
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
    T* rows = scratch<T>(rows_slot, p.m * p.k);
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

// One block of rows: every panel of B is used once, so whoever uses it packs it, and it is still in the first cache.
template <class T>
void multiply_short(const Product<T>& p, Size threads) {
  const Size vectors = p.m <= tile_rows ? vectors_for_rows(p.m) : tile_vectors;
  const Panels<T> panels{vectors * lanes<T>, nullptr};
  const Size count = divide_up(p.n, panels.width);
  const Size blocks = std::clamp(count / panels_per_item, std::min(threads, count), count);
  for_each(threads, blocks, [&](Size i) { multiply_block(p, panels, {0, p.m}, part(i, blocks, count, 1)); });
}

// Many blocks of rows: all use the same panels of B, which are packed first.
template <class T>
void multiply_tall(const Product<T>& p, Size threads) {
  Panels<T> panels{tile_vectors * lanes<T>, nullptr};
  const Size count = divide_up(p.n, panels.width);
  T* packed = scratch<T>(packed_slot, count * panels.width * p.k);
  for_each(threads, count, [&](Size i) { pack_panel(p, panels, i, {0, p.k}, packed + i * panels.width * p.k); });
  panels.packed = packed;

  const Size blocks = divide_up(divide_up(p.m, row_block), threads) * threads;  // the same number for each thread
  for_each(threads, blocks, [&](Size i) { multiply_block(p, panels, part(i, blocks, p.m, tile_rows), {0, count}); });
}

template <class T>
void multiply(const Product<T>& p, Size threads) {
  if (p.m <= few_rows && p.b.row_stride == 1 && p.b.column_stride != 1) {
    multiply_by_dots(p, threads);
  } else if (p.m <= row_block) {
    multiply_short(p, threads);
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
  const Size work = elements * std::max(Size{1}, sizes.k);  // multiply-adds of one product

  const auto product = [&](Size i) {
    Product<T> p{sizes.m, sizes.n, sizes.k, a, b, c + i * elements, sizes.n, epilogue};
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

template void matmul(Cpu, const MatmulSizes&, const MatrixView<float>&, const MatrixView<float>&, float*,
                     const Epilogue<float>&);
template void matmul(Cpu, const MatmulSizes&, const MatrixView<double>&, const MatrixView<double>&, double*,
                     const Epilogue<double>&);

}  // namespace headshare::kernels
