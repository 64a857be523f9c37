#pragma once

#include <algorithm>

#include "kernels/device_memory.h"
#include "kernels/elementwise_functions.h"
#include "kernels/matmul.h"
#include "kernels/warp.cuh"

// What the rungs of the ladder share: which tile of C a block computes, how tiles of A and B come to shared memory, and
// how finished elements are stored.
namespace headshare::kernels {

// ---- Who computes what ----------------------------------------------------------------------------------------------

// A batch of products. Where C has too few tiles to occupy a GPU, K is cut into `parts` as well, each for a block of
// its own; C then has room for the sums of all parts.                                         c: [batch, parts, M, N]
template <class In, class Out = In>
struct Product {
  MatmulSizes sizes;
  MatrixView<In> a, b;
  Out* c;
  Epilogue<Out> epilogue;
  Size parts = 1;
  Size k_per_part = sizes.k;
};

// The tile of C that a block computes, and the part of K that it sums over.
struct BlockTile {
  Size matrix;       // of A and of B
  Size output;       // of C: matrix * parts + part
  Size row, column;  // of the tile's first element
  Size first_k, k_count;
};

// Blocks beside each other share columns of B: of the two operands that is the one that may be too large for a cache.
template <class In, class Out>
__device__ inline BlockTile tile_of_block(const Product<In, Out>& product, int rows, int columns) {
  const MatmulSizes& sizes = product.sizes;
  const Size down = (sizes.m + rows - 1) / rows, across = (sizes.n + columns - 1) / columns;
  const Size block = blockIdx.x, output = block / down / across;
  const Size first_k = output % product.parts * product.k_per_part, k_left = sizes.k - first_k;
  return {output / product.parts,          output,  block % down * rows,
          block / down % across * columns, first_k, k_left < product.k_per_part ? k_left : product.k_per_part};
}

// ---- The end of every element ---------------------------------------------------------------------------------------

// `at` is the element's place in C, `column` its column.
template <class T>
__device__ inline void finish_element(const Epilogue<T>& epilogue, T* c, Size at, Size column, T sum) {
  if (epilogue.bias != nullptr) sum += epilogue.bias[column];
  if (epilogue.before_activation != nullptr) epilogue.before_activation[at] = sum;
  if (epilogue.activation == Activation::relu) sum = Relu{}(sum);
  if (epilogue.activation == Activation::gelu) sum = Gelu{}(sum);
  c[at] = sum;
}

// Element (row, column) of matrix number `output` of C.
template <class In, class Out>
__device__ inline void finish_element(const Product<In, Out>& product, Size output, Size row, Size column, Out sum) {
  const Size at = (output * product.sizes.m + row) * product.sizes.n + column;
  finish_element(product.epilogue, product.c, at, column, sum);
}

// The sums of all parts, added in the order of k.                    partial: [batch, parts, M, N]   c: [batch, M, N]
template <class T>
__global__ void add_parts_kernel(MatmulSizes sizes, Size parts, const T* partial, Epilogue<T> epilogue, T* c) {
  const Size of_matrix = sizes.m * sizes.n;
  for (Size i = global_thread(); i < sizes.batch * of_matrix; i += all_threads()) {
    const T* const first = partial + i / of_matrix * parts * of_matrix + i % of_matrix;
    T sum = first[0];
    for (Size part = 1; part < parts; ++part) sum += first[part * of_matrix];
    finish_element(epilogue, c, i, i % sizes.n, sum);
  }
}

// ---- Launching ------------------------------------------------------------------------------------------------------

constexpr int product_threads = 256;  // of a block, on all rungs where a block has tiles to share
constexpr int product_warps = product_threads / warp_size;

// The size of a block's tile of C, and what its threads need.
struct BlockShape {
  Size rows, columns;
  int threads = product_threads;
  Size shared_bytes = 0;
};

constexpr Size blocks_of(const MatmulSizes& sizes, const BlockShape& shape) {
  return sizes.batch * ((sizes.m + shape.rows - 1) / shape.rows) * ((sizes.n + shape.columns - 1) / shape.columns);
}

template <class In, class Out>
void launch_tiles(Cuda device, void (*kernel)(Product<In, Out>), const Product<In, Out>& product,
                  const BlockShape& shape) {
  const Size blocks = blocks_of(product.sizes, shape) * product.parts;
  launch(kernel, static_cast<unsigned>(blocks), shape.threads, static_cast<std::size_t>(shape.shared_bytes),
         device.stream, product);
}

// To occupy a large GPU. A constant, not asked of the GPU: the order of sums is to depend on the sizes alone.
constexpr Size enough_blocks = 256;
// Of K: starting a block for less, and adding its sums to the others', would cost more than it saves.
constexpr Size shortest_part = 128;

// The same, with K cut into parts where that gives more blocks work.
template <class In, class Out>
void launch_in_parts(Cuda device, void (*kernel)(Product<In, Out>), const Product<In, Out>& product,
                     const BlockShape& shape) {
  const MatmulSizes& sizes = product.sizes;
  const Size blocks = blocks_of(sizes, shape);
  const Size wanted = std::min(enough_blocks / std::max(blocks, Size{1}), sizes.k / shortest_part);
  if (blocks == 0 || wanted < 2) return launch_tiles(device, kernel, product, shape);

  Product<In, Out> split = product;
  split.k_per_part = Size{groups_of(groups_of(sizes.k, wanted), warp_size)} * warp_size;
  split.parts = groups_of(sizes.k, split.k_per_part);
  const Size elements = sizes.batch * sizes.m * sizes.n;
  split.c = device_scratch<Out>(0, elements * split.parts);
  split.epilogue = {};
  launch_tiles(device, kernel, split, shape);
  launch(add_parts_kernel<Out>, loop_blocks(elements, product_threads), product_threads, 0, device.stream, sizes,
         split.parts, split.c, product.epilogue, product.c);
}

// ---- From memory to shared memory -----------------------------------------------------------------------------------

// Rows of A or columns of B, as many as there are from a block's first one on, along the block's part of K.
template <class T>
struct LinesAlongK {
  const T* data;
  Size first;  // element (line, k) lies at data[first + line * line_stride + k * k_stride]
  Size line_stride, k_stride;
  Size lines, k_count;

  __device__ T at(Size line, Size k) const { return data[first + line * line_stride + k * k_stride]; }
  __device__ T at_or_zero(Size line, Size k) const { return line < lines && k < k_count ? at(line, k) : T{0}; }
};

template <class In, class Out>
__device__ inline LinesAlongK<In> rows_of_a(const Product<In, Out>& product, const BlockTile& tile) {
  const MatrixView<In>& a = product.a;
  const Size first = tile.matrix * a.batch_stride + tile.row * a.row_stride + tile.first_k * a.column_stride;
  return {a.data, first, a.row_stride, a.column_stride, product.sizes.m - tile.row, tile.k_count};
}

template <class In, class Out>
__device__ inline LinesAlongK<In> columns_of_b(const Product<In, Out>& product, const BlockTile& tile) {
  const MatrixView<In>& b = product.b;
  const Size first = tile.matrix * b.batch_stride + tile.column * b.column_stride + tile.first_k * b.row_stride;
  return {b.data, first, b.column_stride, b.row_stride, product.sizes.n - tile.column, tile.k_count};
}

// Carries `lines` lines of an operand to shared memory, `depth` words of each at a time; what lies outside of the
// operand is 0. Between memory and shared memory the words wait in registers, so that a block can ask for the next tile
// before it works on this one.
//
// Format says what a word is: Element, Word, elements (consecutive along K, that make one word), and read().
template <class Format, int lines>
class TileReader {
 public:
  using Element = typename Format::Element;
  using Word = typename Format::Word;
  static constexpr int depth = 16;
  static constexpr int k_step = depth * Format::elements;  // from tile to tile

  // In the tile, word w of line l stands at w * stride + l: lines side by side, and 16 bytes of nothing after the last.
  static constexpr int stride = lines + 16 / static_cast<int>(sizeof(Word));
  static constexpr int size = depth * stride;

  // Lanes beside each other read along the dimension whose stride is 1. Along K, a warp reads 8 words of each of 4
  // lines: 32 bytes are what memory delivers at once, and the 16 bytes of nothing put 8 x 4 words into 32 banks.
  __device__ explicit TileReader(const LinesAlongK<Element>& from) : data_(from.data), k_stride_(from.k_stride) {
    const int thread = threadIdx.x, lane = thread % warp_size, warp = thread / warp_size;
    int line = thread % lines, line_step = 0;
    word_ = thread / lines;
    word_step_ = product_threads / lines;
    words_inside_ = line < from.lines ? count : 0;
    if (from.k_stride == 1) {
      line = warp / 2 * 4 + lane / 8;
      line_step = lines / count;
      word_ = warp % 2 * 8 + lane % 8;
      word_step_ = 0;
      words_inside_ = 0;
      for (int i = 0; i < count; ++i) words_inside_ += line + i * line_step < from.lines ? 1 : 0;
    }
    offset_ = from.first + line * from.line_stride + word_ * (Format::elements * from.k_stride);
    step_ = line_step * from.line_stride + word_step_ * (Format::elements * from.k_stride);
    position_ = word_ * stride + line;
    position_step_ = word_step_ * stride + line_step;
  }

  // The first call fetches the first tile, and so on; k_left is what K has left, this tile included.
  __device__ void fetch(Size k_left) {
    const int k_count = static_cast<int>(k_left < k_step ? k_left : k_step);
    Size offset = offset_;
    for (int i = 0; i < count; ++i, offset += step_) {
      const int k = (word_ + i * word_step_) * Format::elements;
      words_[i] = i < words_inside_ && k < k_count ? Format::read(data_ + offset, k_stride_, k_count - k) : Word{};
    }
    offset_ += k_step * k_stride_;
  }

  __device__ void store(Word* tile) const {
    for (int i = 0; i < count; ++i) tile[position_ + i * position_step_] = words_[i];
  }

 private:
  static constexpr int count = lines * depth / product_threads;
  static_assert(depth == 16 && product_warps == 8 && product_threads % lines == 0);

  const Element* data_;
  Size k_stride_;
  Size offset_, step_;            // of this thread's first word in memory, and from each to its next
  int position_, position_step_;  // the same in the tile
  int word_, word_step_;          // the same along K
  int words_inside_;              // the first so many are of lines that exist
  Word words_[count];
};

// Calls multiply(a_tile, b_tile) for all of the block's tiles along K. Two pairs of tiles take turns: while some
// threads still multiply one pair, others already fill the other, and one barrier for each pair is enough.
//                                                                                shared: 4 * TileReader::size words
template <class Reader, class In, class Out, class Multiply>
__device__ inline void for_each_tile(const Product<In, Out>& product, const BlockTile& block_tile,
                                     typename Reader::Word* shared, Multiply multiply) {
  Reader a(rows_of_a(product, block_tile)), b(columns_of_b(product, block_tile));
  if (block_tile.k_count > 0) {
    a.fetch(block_tile.k_count);
    b.fetch(block_tile.k_count);
  }
  int pair = 0;
  for (Size k_left = block_tile.k_count; k_left > 0; k_left -= Reader::k_step) {
    typename Reader::Word* const a_tile = shared + pair * 2 * Reader::size;
    typename Reader::Word* const b_tile = a_tile + Reader::size;
    a.store(a_tile);
    b.store(b_tile);
    __syncthreads();
    if (k_left > Reader::k_step) {
      a.fetch(k_left - Reader::k_step);
      b.fetch(k_left - Reader::k_step);
    }
    multiply(a_tile, b_tile);
    pair = 1 - pair;
  }
}

// ---- From registers to C --------------------------------------------------------------------------------------------

// The 8 warps of a block share its tile of C: each computes tile / 4 rows of tile / 2 columns.
template <int tile>
struct WarpTile {
  static constexpr int rows = tile / 4, columns = tile / 2;
  // From one row to the next of a slice in shared memory (finish_slice). Eight words more than needed: so lanes that
  // write eight bytes to each of four rows meet all banks.
  static constexpr int slice_stride = columns + 8;
  int row, column;  // of its first element in the block's tile

  __device__ WarpTile() {
    const int warp = threadIdx.x / warp_size;
    row = warp % 4 * rows;
    column = warp / 4 * columns;
  }
};

// Some rows of a warp's tile, which its lanes have put into shared memory in whatever order they have them: all lanes
// now finish them in the order of memory.                                        slice: [rows, slice_stride]
template <int rows, int tile, class In, class Out>
__device__ inline void finish_slice(const Product<In, Out>& product, const BlockTile& block_tile, int first_row,
                                    int first_column, const Out* slice) {
  constexpr int columns = WarpTile<tile>::columns, stride = WarpTile<tile>::slice_stride;
  const MatmulSizes& sizes = product.sizes;
  __syncwarp();
  for (int i = threadIdx.x % warp_size; i < rows * columns; i += warp_size) {
    const Size row = block_tile.row + first_row + i / columns, column = block_tile.column + first_column + i % columns;
    if (row < sizes.m && column < sizes.n)
      finish_element(product, block_tile.output, row, column, slice[i / columns * stride + i % columns]);
  }
  __syncwarp();
}

}  // namespace headshare::kernels
