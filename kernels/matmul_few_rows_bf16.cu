#include "kernels/matmul_ladder.h"
#include "kernels/matmul_tile.cuh"

// Beside the ladder: few rows of bfloat16 times large weights. The time is that of reading B, 4.8 TB a second on an
// H200 or 21 bytes a clock for each multiprocessor; with 16 rows these are 170 FMAs, more than there are lanes: so the
// tensor cores must do them. Their instruction wants 16 rows and 8 columns, and here A has few rows: it computes the
// transposed product, with 16 columns of B for its rows and 8 rows of A for its columns.
//
// B goes from memory straight into the registers that the instruction reads, never through shared memory: what an
// instruction calls "k = 0 .. 15" may be any 16 of K, if only A and B agree. A lane 4 r + c takes 8 consecutive k, 8 c
// to 8 c + 7 of a step of 32, and thereby brings the numbers of two instructions. A, which all blocks read, comes from
// the caches in the same way.
namespace headshare::kernels {
namespace {

constexpr int step_k = 32;  // of K, for a warp at a time
constexpr int lane_k = 8;   // of these, for a lane

template <int count>
struct alignas(4 * count) Words {
  std::uint32_t values[count];
};

template <int count>
__device__ inline void load_words(const BFloat16* from, std::uint32_t* words) {
  const auto loaded = *reinterpret_cast<const Words<count>*>(from);
  for (int i = 0; i < count; ++i) words[i] = loaded.values[i];
}

// Words of two numbers each, `stride` apart, of which only the first `exist` are there.
template <int count>
__device__ inline void gather_words(const BFloat16* from, Size stride, int exist, std::uint32_t* words) {
  for (int i = 0; i < count; ++i) {
    const std::uint32_t low = 2 * i < exist ? from[2 * i * stride].bits : 0;
    const std::uint32_t high = 2 * i + 1 < exist ? from[(2 * i + 1) * stride].bits : 0;
    words[i] = high << 16 | low;
  }
}

// Eight rows of A for each group. load() reads a step that begins `ahead` of where advance() has come to.
template <int groups>
class FewRowsOfA {
 public:
  __device__ FewRowsOfA(const LinesAlongK<BFloat16>& a, int r, int c) : k_stride_(a.k_stride) {
    for (int i = 0; i < groups; ++i) {  // the last row stands in for those that do not exist: nobody stores their sums
      const Size row = 8 * i + r < a.lines ? 8 * i + r : a.lines - 1;
      rows_[i] = a.data + a.first + row * a.line_stride + c * lane_k * a.k_stride;
    }
  }
  __device__ void advance(int k) {
    for (int i = 0; i < groups; ++i) rows_[i] += k * k_stride_;
  }
  __device__ void load(int ahead, std::uint32_t (&words)[groups][4]) const {
    for (int i = 0; i < groups; ++i) load_words<4>(rows_[i] + ahead, words[i]);
  }
  __device__ void gather(int k_left, std::uint32_t (&words)[groups][4]) const {
    for (int i = 0; i < groups; ++i) gather_words<4>(rows_[i], k_stride_, k_left, words[i]);
  }

 private:
  const BFloat16* rows_[groups];
  Size k_stride_;
};

// 16 columns of B for each piece: what a lane has of them, and which registers of mma_bf16 that becomes.
template <int pieces, bool along_k>
class ColumnsOfB;

// Along K: lane 4 r + c reads columns r, r + 8, ... by 16 bytes; four lanes read 64 bytes in a row.
template <int pieces>
class ColumnsOfB<pieces, true> {
 public:
  using Words = std::uint32_t[2 * pieces][4];  // of a column: pairs along K
  __device__ ColumnsOfB(const LinesAlongK<BFloat16>& b, int r, int c) {
    for (int i = 0; i < 2 * pieces; ++i) {
      const Size column = 8 * i + r < b.lines ? 8 * i + r : b.lines - 1;
      columns_[i] = b.data + b.first + column * b.line_stride + c * lane_k;
    }
  }
  __device__ void advance(int k) {
    for (int i = 0; i < 2 * pieces; ++i) columns_[i] += k;
  }
  __device__ void load(int ahead, Words& words) const {
    for (int i = 0; i < 2 * pieces; ++i) load_words<4>(columns_[i] + ahead, words[i]);
  }
  __device__ void gather(int k_left, Words& words) const {
    for (int i = 0; i < 2 * pieces; ++i) gather_words<4>(columns_[i], 1, k_left, words[i]);
  }
  // For the first (0) or second (1) instruction of a step, of a piece.
  static __device__ void fragment(const std::uint32_t (*words)[4], int piece, int second, std::uint32_t (&a)[4]) {
    a[0] = words[2 * piece][2 * second];
    a[1] = words[2 * piece + 1][2 * second];
    a[2] = words[2 * piece][2 * second + 1];
    a[3] = words[2 * piece + 1][2 * second + 1];
  }
  static __device__ int column(int piece, int upper, int r) { return 16 * piece + 8 * upper + r; }

 private:
  const BFloat16* columns_[2 * pieces];
};

// Across: lane 4 r + c reads 2 * pieces columns beside each other at each of its eight k; eight lanes read 32 * pieces
// bytes in a row. Of two rows of B, pairs along K are made by exchanging halves of words.
template <int pieces>
class ColumnsOfB<pieces, false> {
 public:
  static constexpr int columns = 2 * pieces;
  using Words = std::uint32_t[lane_k][pieces];  // at a k: pairs of columns
  __device__ ColumnsOfB(const LinesAlongK<BFloat16>& b, int r, int c) : row_stride_(b.k_stride) {
    const Size left = b.lines - columns * r;
    columns_left_ = left < 0 ? 0 : left < columns ? static_cast<int>(left) : columns;
    // Where N is a multiple of `columns`, the last ones stand in for those that do not exist.
    const Size first = left > 0 ? columns * r : b.lines > columns ? b.lines - columns : 0;
    next_ = b.data + b.first + first + c * lane_k * row_stride_;
  }
  __device__ void advance(int k) { next_ += k * row_stride_; }
  __device__ void load(int ahead, Words& words) const {
    const BFloat16* at = next_ + ahead * row_stride_;
    for (int i = 0; i < lane_k; ++i, at += row_stride_) load_words<pieces>(at, words[i]);
  }
  __device__ void gather(int k_left, Words& words) const {
    const BFloat16* at = next_;
    for (int i = 0; i < lane_k; ++i, at += row_stride_)
      gather_words<pieces>(at, 1, i < k_left ? columns_left_ : 0, words[i]);
  }
  static __device__ void fragment(const Words& words, int piece, int second, std::uint32_t (&a)[4]) {
    for (int i = 0; i < 2; ++i) {
      const std::uint32_t k0 = words[4 * second + 2 * i][piece], k1 = words[4 * second + 2 * i + 1][piece];
      a[2 * i] = (k0 & 0xffffu) | k1 << 16;
      a[2 * i + 1] = k0 >> 16 | (k1 & 0xffff0000u);
    }
  }
  static __device__ int column(int piece, int upper, int r) { return columns * r + 2 * piece + upper; }

 private:
  const BFloat16* next_;
  Size row_stride_;
  int columns_left_;
};

// Whether all lines of a matrix begin on whole `numbers` numbers.
__device__ inline bool is_in_words(const MatrixView<BFloat16>& x, Size line_stride, int numbers) {
  return reinterpret_cast<std::uintptr_t>(x.data) % (2 * numbers) == 0 && line_stride % numbers == 0 &&
         x.batch_stride % numbers == 0;
}

template <int pieces, bool along_k, class Out>
__device__ inline bool is_in_words(const Product<BFloat16, Out>& product) {
  const MatrixView<BFloat16>&a = product.a, &b = product.b;
  constexpr int columns = ColumnsOfB<pieces, false>::columns;
  return a.column_stride == 1 && is_in_words(a, product.sizes.m == 1 ? 0 : a.row_stride, lane_k) &&
         (along_k ? is_in_words(b, b.column_stride, lane_k)
                  : product.sizes.n % columns == 0 && is_in_words(b, b.row_stride, columns));
}

// The warps share K, step by step in turn; at the end their sums are added in the order of the warps.
template <int groups, int pieces, bool along_k, class Out>
__global__ void __launch_bounds__(product_threads, 2) few_rows_bf16_kernel(Product<BFloat16, Out> product) {
  constexpr int rows = 8 * groups, columns = 16 * pieces;
  constexpr int under_way = groups * pieces == 4 ? 2 : 4;  // steps that a warp asks for before it uses the first
  constexpr int stride = columns + 4;  // twice that are 8 banks: so 4 lanes on every second row and 8 in a row meet all
  __shared__ float partial[product_warps][rows][stride];
  const BlockTile tile = tile_of_block(product, rows, columns);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int r = lane / 4, c = lane % 4;  // names of cuda_mma.cuh
  using Columns = ColumnsOfB<pieces, along_k>;
  Columns b(columns_of_b(product, tile), r, c);
  FewRowsOfA<groups> a(rows_of_a(product, tile), r, c);

  float sums[2][pieces][groups][4] = {};  // two of each: an instruction need not wait for the one before
  const auto multiply = [&](const typename Columns::Words& b_words, const std::uint32_t(&a_words)[groups][4]) {
    for (int second = 0; second < 2; ++second)
      for (int i = 0; i < pieces; ++i) {
        std::uint32_t fragment[4];
        Columns::fragment(b_words, i, second, fragment);
        for (int j = 0; j < groups; ++j)
          mma_bf16(sums[second][i][j], fragment, {a_words[j][2 * second], a_words[j][2 * second + 1]});
      }
  };

  const int k_count = static_cast<int>(tile.k_count),
            whole_steps = is_in_words<pieces, along_k>(product) ? k_count / step_k : 0;
  typename Columns::Words b_words[under_way];
  std::uint32_t a_words[under_way][groups][4];
  const auto ask = [&](auto i, int steps_left) {  // for the i-th step of a round
    if (i * product_warps >= steps_left) return;
    b.load(i * product_warps * step_k, b_words[i]);
    a.load(i * product_warps * step_k, a_words[i]);
  };
  constexpr int round = under_way * product_warps;  // steps, of all warps
  a.advance(warp * step_k);
  b.advance(warp * step_k);
  int steps_left = whole_steps - warp;  // from this warp's next one on
  unrolled<under_way>([&](auto i) { ask(i, steps_left); });
  while (steps_left > 0) {
    a.advance(round * step_k);
    b.advance(round * step_k);
    unrolled<under_way>([&](auto i) {
      if (i * product_warps < steps_left) multiply(b_words[i], a_words[i]);
      ask(i, steps_left - round);
    });
    steps_left -= round;
  }
  // What is left: less than a step, or all of K where the matrices do not lie on whole words.
  a.advance((steps_left + warp) * step_k);
  b.advance((steps_left + warp) * step_k);
  for (int k_left = k_count - (whole_steps + warp) * step_k; k_left > 0; k_left -= product_warps * step_k) {
    a.gather(k_left - c * lane_k, a_words[0]);
    b.gather(k_left - c * lane_k, b_words[0]);
    multiply(b_words[0], a_words[0]);
    a.advance(product_warps * step_k);
    b.advance(product_warps * step_k);
  }

  for (int i = 0; i < pieces; ++i)
    for (int j = 0; j < groups; ++j)
      for (int d = 0; d < 4; ++d)  // its row is a column of B, its column a row of A
        partial[warp][8 * j + 2 * c + d % 2][Columns::column(i, d / 2, r)] = sums[0][i][j][d] + sums[1][i][j][d];
  __syncthreads();
  for (int i = threadIdx.x; i < rows * columns; i += product_threads) {
    const int row = i / columns, column = i % columns;
    if (row >= product.sizes.m || tile.column + column >= product.sizes.n) continue;
    float sum = 0;
    for (int j = 0; j < product_warps; ++j) sum += partial[j][row][column];
    finish_element(product, tile.output, row, tile.column + column, sum);
  }
}

template <int groups, int pieces, class Out>
void launch_few_rows(Cuda device, const Product<BFloat16, Out>& product) {
  launch_in_parts(device,
                  product.b.column_stride == 1 ? few_rows_bf16_kernel<groups, pieces, false, Out>
                                               : few_rows_bf16_kernel<groups, pieces, true, Out>,
                  product, {.rows = 8 * groups, .columns = 16 * pieces, .shortest_part = 8192});
}

}  // namespace

// Narrow blocks where wide ones would leave multiprocessors without work. Across, narrow ones read 32 bytes in a row
// instead of 64, and a word at a time: only for a matrix of the size of a cache.
template <class Out>
void matmul_few_rows_bf16(Cuda device, const MatmulSizes& sizes, const MatrixView<BFloat16>& a,
                          const MatrixView<BFloat16>& b, Out* c, const Epilogue<Out>& epilogue) {
  if (sizes.m > most_few_rows_bf16)
    fail("matmul_few_rows_bf16: ", sizes.m, " rows; at most ", most_few_rows_bf16, " are few");
  if (const int capability = compute_capability(); capability < 80)
    fail("matmul_few_rows_bf16: this GPU's compute capability is ", capability / 10, ".", capability % 10,
         ", but tensor cores take bfloat16 from 8.0 on");
  const Product<BFloat16, Out> product{sizes, a, b, c, epilogue};
  const bool wide = sizes.batch * sizes.n >= (b.column_stride == 1 ? enough_blocks / 2 : enough_blocks) * 32;
  if (sizes.m <= 8)
    wide ? launch_few_rows<1, 2>(device, product) : launch_few_rows<1, 1>(device, product);
  else
    wide ? launch_few_rows<2, 2>(device, product) : launch_few_rows<2, 1>(device, product);
}

template void matmul_few_rows_bf16(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&, const MatrixView<BFloat16>&,
                                   BFloat16*, const Epilogue<BFloat16>&);
template void matmul_few_rows_bf16(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&, const MatrixView<BFloat16>&,
                                   float*, const Epilogue<float>&);

}  // namespace headshare::kernels
