#include "kernels/matmul_ladder.h"
#include "kernels/matmul_tile.cuh"

// The ladder's fifth rung. A tile travels in pieces of 16 bytes straight from memory to shared memory, in the layout it
// has in memory, while the tensor cores work on tiles that came before (cp.async, in "stages"). From shared memory
// ldmatrix brings it to the registers, turned by 90 degrees on the way where the layout needs that: so all transposed
// forms are the same kernel, read in place.
//
// What bounds it, in bytes for each FMA of a tile of 128 x 256 with warps of 64 x 64: 2 / 128 + 2 / 256 = 0.023 from L2
// to shared memory, the same once more when that is written, and 2 / 64 + 2 / 64 = 0.063 when it is read. An H200's
// multiprocessor does 2048 bfloat16 FMAs a clock by wgmma, some 60 % of that by the older instruction used here (Luo et
// al. 2024, "Benchmarking and Dissecting the Nvidia Hopper GPU Architecture"), and its shared memory moves 128 bytes a
// clock: 1480 FMAs a clock at most. So reading shared memory, not copying, is what a warp tile must be large for.
namespace headshare::kernels {
namespace {

constexpr int depth = 64;  // of a tile along K: 128 bytes, a whole line of the caches
constexpr int packet = 8;  // numbers of bfloat16 that one copy moves: 16 bytes
constexpr int piece = 16;  // lines, and k, that load_matrices brings at a time

// ---- A tile of an operand -------------------------------------------------------------------------------------------

// `lines` rows of A or columns of B times `depth` of K. Where K is the direction in which numbers lie side by side
// (along_k), a row of the tile is a line; else a row is what all lines have at one k.
//
// ldmatrix reads 16 bytes from each of eight rows at once. Rows are multiples of 128 bytes long: in all of them the
// same place would lie in the same banks. Therefore packet p of row r is stored in place p ^ (r % 8): eight rows, eight
// places. The eight copies that fill 128 bytes of a row stay in these 128 bytes, and meet all banks too.
enum class Side { left, right };  // of the product: A or B

template <Side side, int lines, int threads, bool along_k>
class CopiedTile {
 public:
  static constexpr int size = lines * depth;

  __device__ CopiedTile(const LinesAlongK<BFloat16>& from, int first_line_of_warp)
      : start_(from.data), lines_(static_cast<int>(from.lines < lines ? from.lines : lines)) {
    const int thread = threadIdx.x, lane = thread % warp_size;
    row_ = thread / packets;
    column_ = thread % packets * packet;
    const int line = along_k ? row_ : column_, k = along_k ? column_ : row_;
    next_ = from.data + from.first + line * from.line_stride + k * from.k_stride;
    row_step_ = rows_apart * (along_k ? from.line_stride : from.k_stride);
    to_ = position(row_, column_);
    // Eight lanes read the rows of one of four matrices: lines 0-7 or 8-15, k 0-7 or 8-15. Which is the second of the
    // four is where mma_bf16's fragments of A and B differ.
    const int second = lane / 8 % 2 * 8, third = lane / 16 * 8;
    const int lane_line = first_line_of_warp + (side == Side::left ? second : third);
    const int lane_k = side == Side::left ? third : second;
    from_ = along_k ? position(lane_line + lane % 8, lane_k) : position(lane_k + lane % 8, lane_line);
  }

  // Asks for the next tile, of which k_count of `depth` exist. What does not exist becomes 0.
  __device__ void copy(int k_count, BFloat16* tile) {
    const BFloat16* at = next_;
    if (k_count == depth && lines_ == lines) {  // nearly always; to count bytes takes eight instructions for each copy
      for (int i = 0; i < copies; ++i, at += row_step_) copy_async(tile + to_ + i * rows_apart * row_size, at);
    } else {
      const int rows = along_k ? lines_ : k_count, columns_left = (along_k ? k_count : lines_) - column_;
      const int numbers = columns_left < 0 ? 0 : columns_left < packet ? columns_left : packet;
      BFloat16* to = tile + to_;
      for (int row = row_; row < size / row_size; row += rows_apart, at += row_step_, to += rows_apart * row_size) {
        const bool exists = row < rows && numbers > 0;
        copy_async(to, exists ? at : start_, exists ? numbers * 2 : 0);
      }
    }
    next_ = along_k ? next_ + depth : at;
  }

  // The i-th 16 lines of the warp, the step-th 16 of the tile's k, as mma_bf16 wants them: of A words[0..3] are its
  // `a`, of B words[0..1] are its `b` of eight lines, words[2..3] of the next eight.
  // All that differs from call to call is a constant: packet p of a row becomes packet p ^ q by the same ^ q wherever
  // p was stored.
  __device__ void read(std::uint32_t (&words)[4], const BFloat16* tile, int i, int step) const {
    if constexpr (along_k)
      load_matrices(words, tile + (from_ ^ step * piece) + i * piece * row_size);
    else
      load_matrices_transposed(words, tile + (from_ ^ i * piece) + step * piece * row_size);
  }

 private:
  static constexpr int row_size = along_k ? depth : lines;
  static constexpr int packets = row_size / packet;     // of a row
  static constexpr int rows_apart = threads / packets;  // of a thread's copies
  static constexpr int copies = size / packet / threads;
  static_assert(packets % 8 == 0 && rows_apart % 8 == 0);  // so a thread's copies go to the same place of their rows

  static __device__ int position(int row, int column) { return row * row_size + (column / packet ^ row % 8) * packet; }

  const BFloat16* start_;
  const BFloat16* next_;  // what this thread copies first of the next tile,
  Size row_step_;         // and from each of its copies to the next
  int lines_;             // that exist
  int row_, column_;      // of the tile, where next_ goes
  int to_, from_;         // positions in the tile: of the first copy, and of what the lane reads first
};

// ---- The kernel -----------------------------------------------------------------------------------------------------

template <int rows_, int columns_, int warp_rows_, int warp_columns_, int stages_, int blocks_>
struct PipelinedTile {
  static constexpr int rows = rows_, columns = columns_;  // of C, for a block
  static constexpr int warp_rows = warp_rows_, warp_columns = warp_columns_;
  static constexpr int stages = stages_;  // tiles of A and B in shared memory
  static constexpr int blocks = blocks_;  // that a multiprocessor of compute capability 9.0 has room for
  static constexpr int warps_down = rows / warp_rows, warps_across = columns / warp_columns;
  static constexpr int threads = warps_down * warps_across * warp_size;
  static constexpr int stage_size = (rows + columns) * depth;
  static constexpr Size bytes = stages * stage_size * 2;
  static_assert(bytes >= threads / warp_size * warp_rows * mma_slice_stride<warp_columns> * 4);
};

template <class Tile, bool a_along_k, bool b_along_k, class Out>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks) pipelined_kernel(Product<BFloat16, Out> product) {
  using ATile = CopiedTile<Side::left, Tile::rows, Tile::threads, a_along_k>;
  using BTile = CopiedTile<Side::right, Tile::columns, Tile::threads, b_along_k>;
  constexpr int down = Tile::warp_rows / piece, across = Tile::warp_columns / piece, steps = depth / piece;
  constexpr int under_way = Tile::stages - 2;  // tiles that a tile's end need not wait for
  DYNAMIC_SHARED(BFloat16, shared);
  const BlockTile block_tile = tile_of_block(product, Tile::rows, Tile::columns);
  const int warp = threadIdx.x / warp_size;
  const int warp_row = warp % Tile::warps_down * Tile::warp_rows;
  const int warp_column = warp / Tile::warps_down * Tile::warp_columns;

  ATile a(rows_of_a(product, block_tile), warp_row);
  BTile b(columns_of_b(product, block_tile), warp_column);
  const int tiles = static_cast<int>((block_tile.k_count + depth - 1) / depth);
  const int last_k_count = static_cast<int>(block_tile.k_count - Size{tiles - 1} * depth);
  int to_copy = tiles, to_stage = 0, from_stage = 0;
  const auto copy = [&] {  // the next tiles, where there are any
    if (to_copy > 0) {
      BFloat16* const stage = shared + to_stage * Tile::stage_size;
      const int k_count = to_copy > 1 ? depth : last_k_count;
      a.copy(k_count, stage);
      b.copy(k_count, stage + ATile::size);
    }
    close_copy_group();
    --to_copy;
    to_stage = to_stage + 1 < Tile::stages ? to_stage + 1 : 0;
  };

  // Two sets of registers for what is multiplied: one is filled while the other is used.
  std::uint32_t a_words[2][down][4], b_words[2][across][4];
  const auto read = [&](auto step) {
    const BFloat16* const stage = shared + from_stage * Tile::stage_size;
    for (int i = 0; i < down; ++i) a.read(a_words[step % 2][i], stage, i, step);
    for (int j = 0; j < across; ++j) b.read(b_words[step % 2][j], stage + ATile::size, j, step);
  };
  float sums[down][2 * across][4] = {};
  const auto multiply = [&](auto step) {
    for (int i = 0; i < down; ++i)
      for (int j = 0; j < 2 * across; ++j) {
        const std::uint32_t* const b_pair = b_words[step % 2][j / 2] + j % 2 * 2;
        mma_bf16(sums[i][j], a_words[step % 2][i], {b_pair[0], b_pair[1]});
      }
  };

  for (int i = 0; i < Tile::stages - 1; ++i) copy();
  wait_for_copies<under_way>();
  __syncthreads();
  read(std::integral_constant<int, 0>{});
  for (int left = tiles; left > 0; --left)
    unrolled<steps>([&](auto step) {
      if constexpr (step + 1 < steps) {
        read(std::integral_constant<int, step + 1>{});
      } else {  // the next tile has come; and nobody needs this one any more, so that a copy may overwrite it
        wait_for_copies<under_way>();
        __syncthreads();
        from_stage = from_stage + 1 < Tile::stages ? from_stage + 1 : 0;
        if (left > 1) read(std::integral_constant<int, 0>{});
      }
      if constexpr (step == 0) copy();
      multiply(step);
    });

  // All of the warp's sums at a time: there is room, since nobody needs the tiles any more.
  constexpr int stride = mma_slice_stride<Tile::warp_columns>;
  float* const slice = reinterpret_cast<float*>(shared) + warp * (Tile::warp_rows * stride);
  unrolled<down>([&](auto i) { store_mma_rows<Tile::warp_columns>(sums[i], slice + i * piece * stride); });
  finish_slice<Tile::warp_rows, Tile::warp_columns, stride>(product, block_tile, warp_row, warp_column, slice);
}

// ---- Tiles for all sizes --------------------------------------------------------------------------------------------

template <class Tile, class Out>
void launch_pipelined(Cuda device, const Product<BFloat16, Out>& product) {
  const bool a_along_k = product.a.column_stride == 1, b_along_k = product.b.column_stride != 1;
  const auto kernel =
      a_along_k   ? b_along_k ? pipelined_kernel<Tile, true, true, Out> : pipelined_kernel<Tile, true, false, Out>
        : b_along_k ? pipelined_kernel<Tile, false, true, Out>
                  : pipelined_kernel<Tile, false, false, Out>;
  launch_in_parts(device, kernel, product,
                  {.rows = Tile::rows,
                   .columns = Tile::columns,
                   .threads = Tile::threads,
                   .shared_bytes = Tile::bytes,
                   .k_step = depth,
                   .shortest_part = 8 * depth});
}

template <int rows, int columns>
struct Tiles;
template <>
struct Tiles<64, 128> : PipelinedTile<64, 128, 32, 64, 4, 2> {};
template <>
struct Tiles<128, 128> : PipelinedTile<128, 128, 64, 64, 3, 2> {};
template <>
struct Tiles<128, 256> : PipelinedTile<128, 256, 64, 64, 3, 1> {};

}  // namespace

template <int rows, int columns, class Out>
void matmul_pipelined_tiled(Cuda device, const MatmulSizes& sizes, const MatrixView<BFloat16>& a,
                            const MatrixView<BFloat16>& b, Out* c, const Epilogue<Out>& epilogue) {
  if (const int capability = compute_capability(); capability < 80)
    fail("matmul_pipelined: this GPU's compute capability is ", capability / 10, ".", capability % 10,
         ", but tensor cores take bfloat16 from 8.0 on");
  if (!is_on_16_bytes(a) || !is_on_16_bytes(b))
    fail("matmul_pipelined: lines of a factor do not begin on whole 16 bytes; use matmul_bf16");
  launch_pipelined<Tiles<rows, columns>>(device, Product<BFloat16, Out>{sizes, a, b, c, epilogue});
}

// A large tile needs fewer reads, but a GPU is better occupied by many small tiles than by a few large ones.
template <class Out>
void matmul_pipelined(Cuda device, const MatmulSizes& sizes, const MatrixView<BFloat16>& a,
                      const MatrixView<BFloat16>& b, Out* c, const Epilogue<Out>& epilogue) {
  // 144 KB of shared memory: some GPUs (compute capability 8.6, 8.9, 12.0) have 99 KB for a block.
  const int capability = compute_capability();
  const bool has_room = capability == 80 || capability == 87 || (capability >= 90 && capability < 120);
  if (has_room && blocks_of(sizes, {.rows = 128, .columns = 256}) >= enough_blocks)
    matmul_pipelined_tiled<128, 256>(device, sizes, a, b, c, epilogue);
  else if (sizes.m > 64 && blocks_of(sizes, {.rows = 128, .columns = 128}) >= enough_blocks / 2)
    matmul_pipelined_tiled<128, 128>(device, sizes, a, b, c, epilogue);
  else
    matmul_pipelined_tiled<64, 128>(device, sizes, a, b, c, epilogue);
}

template void matmul_pipelined_tiled<64, 128>(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&,
                                              const MatrixView<BFloat16>&, BFloat16*, const Epilogue<BFloat16>&);
template void matmul_pipelined_tiled<128, 128>(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&,
                                               const MatrixView<BFloat16>&, BFloat16*, const Epilogue<BFloat16>&);
template void matmul_pipelined_tiled<128, 256>(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&,
                                               const MatrixView<BFloat16>&, BFloat16*, const Epilogue<BFloat16>&);
template void matmul_pipelined(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&, const MatrixView<BFloat16>&,
                               BFloat16*, const Epilogue<BFloat16>&);
template void matmul_pipelined_tiled<64, 128>(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&,
                                              const MatrixView<BFloat16>&, float*, const Epilogue<float>&);
template void matmul_pipelined_tiled<128, 128>(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&,
                                               const MatrixView<BFloat16>&, float*, const Epilogue<float>&);
template void matmul_pipelined_tiled<128, 256>(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&,
                                               const MatrixView<BFloat16>&, float*, const Epilogue<float>&);
template void matmul_pipelined(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&, const MatrixView<BFloat16>&,
                               float*, const Epilogue<float>&);

}  // namespace headshare::kernels
