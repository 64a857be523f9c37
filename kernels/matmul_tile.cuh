#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/device_memory.h"
#include "kernels/elementwise_functions.h"
#include "kernels/matmul.h"
#include "kernels/warp.cuh"

// What the rungs of the ladder share: which tile of C a block computes, how tiles of A and B come to shared memory, and
// how finished elements are stored.
namespace headshare::kernels {

// ---- Who computes what ----------------------------------------------------------------------------------------------

// A batch of products. Sums are of the type Wide<Out>; only what is stored in C is rounded to Out. Where C has too few
// tiles to occupy a GPU, K is cut into `parts` as well, each for a block of its own; the sums of all parts then go to
// `partial`, C and the epilogue wait (add_parts_kernel).                               partial: [batch, parts, M, N]
template <class In, class Out = In>
struct Product {
  MatmulSizes sizes;
  MatrixView<In> a, b;
  Out* c;
  Epilogue<Out> epilogue;
  Size parts = 1;
  Size k_per_part = sizes.k;
  Wide<Out>* partial = nullptr;  // null: there is one part, and C is written
};

// The tile of C that a block computes, and the part of K that it sums over.
struct BlockTile {
  Size matrix;       // of A and of B
  Size output;       // of C: matrix * parts + part
  Size row, column;  // of the tile's first element
  Size first_k, k_count;
};

// Blocks beside each other, which run at the same time, should need the same rows of A and columns of B, so that these
// come from memory once and from the L2 cache then: they go down a band of 16 tiles, then on to the next columns. (A
// square of so many tiles would be best; the number of blocks that a GPU runs at a time is about 16 times 16.)
template <class In, class Out>
__device__ inline BlockTile tile_of_block(const Product<In, Out>& product, int rows, int columns) {
  constexpr unsigned band = 16;
  const auto down = static_cast<unsigned>((product.sizes.m + rows - 1) / rows);
  const auto across = static_cast<unsigned>((product.sizes.n + columns - 1) / columns);
  const unsigned output = blockIdx.x / (down * across), in_output = blockIdx.x % (down * across);
  const unsigned band_row = in_output / (band * across) * band, in_band = in_output % (band * across);
  const unsigned height = down - band_row < band ? down - band_row : band;
  const auto parts = static_cast<unsigned>(product.parts);
  const Size first_k = Size{output % parts} * product.k_per_part, k_left = product.sizes.k - first_k;
  return {.matrix = output / parts,
          .output = output,
          .row = (band_row + in_band % height) * static_cast<unsigned>(rows),
          .column = in_band / height * static_cast<unsigned>(columns),
          .first_k = first_k,
          .k_count = k_left < product.k_per_part ? k_left : product.k_per_part};
}

// ---- The end of every element ---------------------------------------------------------------------------------------

template <class T>
__device__ inline T activated(Activation activation, T x) {
  if (activation == Activation::relu) return Relu{}(x);
  if (activation == Activation::gelu) return Gelu{}(x);
  return x;
}

// `at` is the element's place in C, `column` its column.
template <class Out>
__device__ inline void finish_element(const Epilogue<Out>& epilogue, Out* c, Size at, Size column, Wide<Out> sum) {
  if (epilogue.bias != nullptr) sum += epilogue.bias[column];
  if (epilogue.before_activation != nullptr) epilogue.before_activation[at] = Out(sum);
  c[at] = Out(activated(epilogue.activation, sum));
}

// Element (row, column) of matrix number `output` of C, or of the partial sums.
template <class In, class Out>
__device__ inline void finish_element(const Product<In, Out>& product, Size output, Size row, Size column,
                                      Wide<Out> sum) {
  const Size at = (output * product.sizes.m + row) * product.sizes.n + column;
  if (product.partial != nullptr)
    product.partial[at] = sum;
  else
    finish_element(product.epilogue, product.c, at, column, sum);
}

// Four elements of a row, side by side: one instruction moves them (two, if they are doubles).
template <class T>
struct alignas(sizeof(T) < 4 ? 4 * sizeof(T) : 16) Four {
  T values[4];
};

// Whether all rows of an array [..., n] begin where a Four may.
template <class T>
__host__ __device__ inline bool is_in_fours(const T* rows, Size n) {
  return n % 4 == 0 && reinterpret_cast<std::uintptr_t>(rows) % alignof(Four<T>) == 0;
}

__device__ inline Four<float> rounded_to(const Four<float>& x, const float*) { return x; }
__device__ inline Four<double> rounded_to(const Four<double>& x, const double*) { return x; }
__device__ inline Four<BFloat16> rounded_to(const Four<float>& x, const BFloat16*) {
  const std::uint32_t pairs[2] = {bfloat16_pair(x.values[0], x.values[1]), bfloat16_pair(x.values[2], x.values[3])};
  Four<BFloat16> rounded;
  std::memcpy(&rounded, pairs, sizeof rounded);
  return rounded;
}

// finish_element for four elements side by side, where C and before_activation are in fours.
template <class Out>
__device__ inline void finish_four(const Epilogue<Out>& epilogue, Out* c, Size at, Size column, Four<Wide<Out>> sum) {
  if (epilogue.bias != nullptr)
    for (int i = 0; i < 4; ++i) sum.values[i] += epilogue.bias[column + i];
  if (epilogue.before_activation != nullptr)
    *reinterpret_cast<Four<Out>*>(epilogue.before_activation + at) = rounded_to(sum, c);
  for (int i = 0; i < 4; ++i) sum.values[i] = activated(epilogue.activation, sum.values[i]);
  *reinterpret_cast<Four<Out>*>(c + at) = rounded_to(sum, c);
}

// Whether all that finish_element writes is in fours.
template <class Out>
__host__ __device__ inline bool is_in_fours(const Epilogue<Out>& epilogue, const Out* c, Size n) {
  return is_in_fours(c, n) && is_in_fours(epilogue.before_activation, n);
}

// The sums of all parts, added in the order of k.                    partial: [batch, parts, M, N]   c: [batch, M, N]
template <class Out>
__global__ void add_parts_kernel(MatmulSizes sizes, Size parts, const Wide<Out>* partial, Epilogue<Out> epilogue,
                                 Out* c) {
  const Size of_matrix = sizes.m * sizes.n;
  const bool in_fours = is_in_fours(epilogue, c, sizes.n);
  const int step = in_fours ? 4 : 1;
  for (Size i = global_thread() * step; i < sizes.batch * of_matrix; i += all_threads() * step) {
    const Size first = i + i / of_matrix * (parts - 1) * of_matrix;
    if (in_fours) {
      Four<Wide<Out>> sum{};
      for (Size part = 0; part < parts; ++part) {
        const auto more = *reinterpret_cast<const Four<Wide<Out>>*>(partial + first + part * of_matrix);
        for (int j = 0; j < 4; ++j) sum.values[j] += more.values[j];
      }
      finish_four(epilogue, c, i, i % sizes.n, sum);
    } else {
      Wide<Out> sum = 0;
      for (Size part = 0; part < parts; ++part) sum += partial[first + part * of_matrix];
      finish_element(epilogue, c, i, i % sizes.n, sum);
    }
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
  Size k_step = warp_size;   // parts of K are multiples of it,
  Size shortest_part = 128;  // and not shorter: to start a block and to add its sums to the others' costs time too
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

// The same, with K cut into parts where that gives more blocks work. The kernel never meets a K of 0.
template <class In, class Out>
void launch_in_parts(Cuda device, void (*kernel)(Product<In, Out>), const Product<In, Out>& product,
                     const BlockShape& shape) {
  const MatmulSizes& sizes = product.sizes;
  const Size elements = sizes.batch * sizes.m * sizes.n;
  const auto add_parts = [&](Size parts, const Wide<Out>* partial) {
    launch(add_parts_kernel<Out>, loop_blocks(elements, product_threads), product_threads, 0, device.stream, sizes,
           parts, partial, product.epilogue, product.c);
  };
  if (sizes.k == 0) return add_parts(0, nullptr);  // matrices without elements may lie nowhere

  const Size blocks = blocks_of(sizes, shape);
  const Size wanted = std::min(enough_blocks / std::max(blocks, Size{1}), sizes.k / shape.shortest_part);
  if (blocks == 0 || wanted < 2) return launch_tiles(device, kernel, product, shape);

  Product<In, Out> split = product;
  split.k_per_part = Size{groups_of(groups_of(sizes.k, wanted), shape.k_step)} * shape.k_step;
  split.parts = groups_of(sizes.k, split.k_per_part);
  split.partial = device_scratch<Wide<Out>>(0, elements * split.parts);
  launch_tiles(device, kernel, split, shape);
  add_parts(split.parts, split.partial);
}

// What launch_in_parts decides, for blocks that have a multiprocessor each and take tile after tile (matmul_hopper.cu):
// as many parts as an H100 or H200 has multiprocessors for, none shorter than 512. A shorter one would take less time
// than to fill the block's ring of tiles, and to write sums that others read again.
constexpr Size hopper_multiprocessors = 132;  // a constant, as above
constexpr Size hopper_parts(Size tiles, Size k) {
  return std::max(Size{1}, std::min(hopper_multiprocessors / std::max(tiles, Size{1}), k / 512));
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
  __device__ explicit TileReader(const LinesAlongK<Element>& from) : k_stride_(from.k_stride) {
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
    next_ = from.data + from.first + line * from.line_stride + word_ * (Format::elements * from.k_stride);
    step_ = line_step * from.line_stride + word_step_ * (Format::elements * from.k_stride);
    position_ = word_ * stride + line;
    position_step_ = word_step_ * stride + line_step;
  }

  // The first call fetches the first tile, and so on; k_left is what K has left, this tile included.
  __device__ void fetch(int k_left) {
    const int k_count = k_left < k_step ? k_left : k_step;
    const Element* at = next_;
    for (int i = 0; i < count; ++i, at += step_) {
      const int k = (word_ + i * word_step_) * Format::elements;
      words_[i] = i < words_inside_ && k < k_count ? Format::read(at, k_stride_, k_count - k) : Word{};
    }
    next_ += k_step * k_stride_;
  }

  __device__ void store(Word* tile) const {
    for (int i = 0; i < count; ++i) tile[position_ + i * position_step_] = words_[i];
  }

 private:
  static constexpr int count = lines * depth / product_threads;
  static_assert(depth == 16 && product_warps == 8 && product_threads % lines == 0);

  const Element* next_;           // this thread's first word of the next tile in memory
  Size k_stride_, step_;          // of the matrix; from each of the thread's words to its next
  int position_, position_step_;  // of the first word in the tile, and to the next
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
  int k_left = static_cast<int>(block_tile.k_count);
  a.fetch(k_left);
  b.fetch(k_left);
  int pair = 0;
  for (; k_left > 0; k_left -= Reader::k_step) {
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
  static constexpr int slice_stride = columns + 8;  // from row to row (finish_slice)
  int row, column;                                  // of its first element in the block's tile

  __device__ WarpTile() {
    const int warp = threadIdx.x / warp_size;
    row = warp % 4 * rows;
    column = warp / 4 * columns;
  }
};

// Some rows of a warp's tile, which its lanes have put into shared memory in whatever order they have them: all lanes
// now finish them in the order of memory, four elements a lane at a time.               slice: [rows, stride], in fours
template <int rows, int columns, int stride, class In, class Out>
__device__ inline void finish_slice(const Product<In, Out>& product, const BlockTile& block_tile, int first_row,
                                    int first_column, const Wide<Out>* slice) {
  constexpr int across = columns / 4;
  static_assert(columns % 4 == 0 && stride % 4 == 0 && rows * across % warp_size == 0);
  const MatmulSizes& sizes = product.sizes;
  const bool in_fours = product.partial != nullptr ? is_in_fours(product.partial, sizes.n)
                                                   : is_in_fours(product.epilogue, product.c, sizes.n);
  __syncwarp();
  for (int i = threadIdx.x % warp_size; i < rows * across; i += warp_size) {
    const int slice_row = i / across, slice_column = i % across * 4;
    const Size row = block_tile.row + first_row + slice_row, column = block_tile.column + first_column + slice_column;
    const auto sum = *reinterpret_cast<const Four<Wide<Out>>*>(slice + slice_row * stride + slice_column);
    if (row >= sizes.m || column >= sizes.n) continue;
    const Size at = (block_tile.output * sizes.m + row) * sizes.n + column;
    if (!in_fours) {
      for (int j = 0; j < 4 && column + j < sizes.n; ++j)
        finish_element(product, block_tile.output, row, column + j, sum.values[j]);
    } else if (product.partial != nullptr) {
      *reinterpret_cast<Four<Wide<Out>>*>(product.partial + at) = sum;
    } else {
      finish_four(product.epilogue, product.c, at, column, sum);
    }
  }
  __syncwarp();
}

// 16 rows of a warp's sums, as the tensor cores leave them, on their way to finish_slice: sums[j] belongs to columns 8
// j to 8 j + 7 (mma_bf16). Each row of the slice has eight words more than it needs: so lanes that write eight bytes to
// each of four rows meet all banks.                                            slice: 16 * mma_slice_stride<columns>
template <int columns>
constexpr int mma_slice_stride = columns + 8;

template <int columns>
__device__ inline void store_mma_rows(const float (&sums)[columns / 8][4], float* slice) {
  constexpr int stride = mma_slice_stride<columns>;
  const int r = threadIdx.x % warp_size / 4, c = threadIdx.x % 4;  // names of cuda_mma.cuh
  for (int j = 0; j < columns / 8; ++j) {
    float* const to = slice + r * stride + 8 * j + 2 * c;
    const float2 upper = make_float2(sums[j][0], sums[j][1]), lower = make_float2(sums[j][2], sums[j][3]);
    *reinterpret_cast<float2*>(to) = upper;
    *reinterpret_cast<float2*>(to + 8 * stride) = lower;
  }
}

}  // namespace headshare::kernels
