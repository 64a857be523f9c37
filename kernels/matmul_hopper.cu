#include <algorithm>
#include <cstdint>

#include "kernels/matmul_ladder.h"
#include "kernels/matmul_tile.cuh"

// The ladder's last rung, for Hopper alone. On the rungs before, all warps fetch, and all multiply. Here one thread
// asks the copy engine for whole tiles, several steps along K ahead, and eight warps do nothing but multiply: the
// tensor cores take both factors from shared memory, where no thread has touched them (hopper.h, cuda_hopper.cuh).
//
// Between the two lies a ring of `stages` pairs of tiles. Each has two barriers: `full`, when its copies have arrived,
// and `empty`, when the warps have multiplied it. A block goes on to its next tile of C while the ring fills for it.
//
// Per step of 64 along K, a multiprocessor needs 128 * columns * 64 / 2048 cycles: 1024 for 256 columns. In that time
// shared memory gives the tensor cores A and B, 80 bytes a cycle (m64n256k16: 2 KB of A, 8 KB of B in 128 cycles), and
// takes 48 bytes a cycle from the copy engine, together the 128 bytes a cycle that it has. With 128 columns that would
// be 96 + 64: shared memory then sets the pace, at 80 % of the tensor cores'. Smaller tiles pay where there are few.
namespace headshare::kernels {
namespace {

constexpr int group_threads = 128;  // that multiply together
constexpr int groups = 2;           // each has 64 rows of the block's tile of C
constexpr int tile_rows = 64 * groups;
constexpr int multiplying_threads = group_threads * groups;
constexpr int multiplying_warps = multiplying_threads / warp_size;
constexpr int hopper_threads = multiplying_threads + group_threads;  // only one of the last group does something

constexpr int k_step = line_numbers, k_of_product = 16;

// Registers of a thread: 65536 of a multiprocessor for 384 threads are 168 each, of which 128 sums would leave only 40.
constexpr int copying_registers = 40, multiplying_registers = 232;
static_assert(group_threads * copying_registers + multiplying_threads * multiplying_registers <= 168 * hopper_threads);

// Some of a warp's sums, on their way from the tensor cores' order to that of memory.
constexpr int slice_rows = 16, slice_columns = 64;
constexpr int slice_size = slice_rows * slice_columns;

constexpr int ring_bytes = 192 * 1024;  // of 227 KB that a block may have; 32 KB are for slices

// What lies where in a block's shared memory.
template <int columns>
struct Ring {
  static constexpr int a_bytes = tile_rows * line_bytes, b_bytes = columns * line_bytes;
  static constexpr int stage_bytes = a_bytes + b_bytes;
  static constexpr int stages = ring_bytes / stage_bytes;
  static constexpr int slices_bytes = multiplying_warps * slice_size * static_cast<int>(sizeof(float));
  // Dynamic shared memory begins on whole 16 bytes, pieces on whole 1024.
  static constexpr int bytes =
      piece_bytes - 16 + stages * stage_bytes + slices_bytes + 2 * stages * static_cast<int>(sizeof(CopyBarrier));

  unsigned char* tiles;
  float* slices;
  CopyBarrier* full;
  CopyBarrier* empty;

  __device__ explicit Ring(unsigned char* shared)
      : tiles(shared + (piece_bytes - shared_address(shared) % piece_bytes) % piece_bytes),
        slices(reinterpret_cast<float*>(tiles + stages * stage_bytes)),
        full(reinterpret_cast<CopyBarrier*>(tiles + stages * stage_bytes + slices_bytes)),
        empty(full + stages) {}

  __device__ unsigned char* a_tile(int stage) const { return tiles + stage * stage_bytes; }
  __device__ unsigned char* b_tile(int stage) const { return tiles + stage * stage_bytes + a_bytes; }
};

// Goes around the ring; the parity is that of the rounds.
template <int stages>
struct Position {
  int stage = 0;
  unsigned parity = 0;
  __device__ void next() {
    if (++stage < stages) return;
    stage = 0;
    parity ^= 1;
  }
};

// The tiles of C one after the other. Blocks work on neighbours at the same time, in bands of `band` tiles down: 132
// blocks have 16 x 8 tiles of 128 x 256, 2048 rows of A and of B^T, which is the least for so many tiles. Whatever
// several of them need comes from memory once and from the L2 cache then.
template <int columns, class Out>
__device__ inline BlockTile tile_number(const Product<BFloat16, Out>& product, unsigned number) {
  constexpr unsigned band = 16;
  const auto down = static_cast<unsigned>((product.sizes.m + tile_rows - 1) / tile_rows);
  const auto across = static_cast<unsigned>((product.sizes.n + columns - 1) / columns);
  const unsigned output = number / (down * across), in_output = number % (down * across);
  const unsigned first_down = in_output / (band * across) * band, in_band = in_output % (band * across);
  const unsigned height = down - first_down < band ? down - first_down : band;
  const auto parts = static_cast<unsigned>(product.parts);
  const Size first_k = Size{output % parts} * product.k_per_part, k_left = product.sizes.k - first_k;
  return {.matrix = output / parts,
          .output = output,
          .row = Size{first_down + in_band % height} * tile_rows,
          .column = Size{in_band / height} * columns,
          .first_k = first_k,
          .k_count = k_left < product.k_per_part ? k_left : product.k_per_part};
}

__device__ inline int steps_of(const BlockTile& tile) { return static_cast<int>((tile.k_count + k_step - 1) / k_step); }

// ---- The thread that asks for copies --------------------------------------------------------------------------------

// `lines` rows of A or columns of B and 64 of K. Along K in memory, a line of shared memory is one of those; otherwise
// there are 64 lines, one for each k, of the first 64 rows or columns, then of the next.
template <Major major, int lines>
__device__ inline void copy_tile(unsigned char* to, const TensorMap& map, int line, int k, int matrix,
                                 CopyBarrier* arrived) {
  if constexpr (major == Major::k) {
    copy_box(to, map, k, line, matrix, arrived);
  } else {
    for (int i = 0; i < lines; i += line_numbers) copy_box(to + i * line_bytes, map, line + i, k, matrix, arrived);
  }
}

template <int columns, Major a_major, Major b_major, class Out>
__device__ inline void ask_for_tiles(const Product<BFloat16, Out>& product, const Ring<columns>& ring, unsigned tiles,
                                     const TensorMap& a, const TensorMap& b) {
  using Tiles = Ring<columns>;
  prefetch(a);
  prefetch(b);
  Position<Tiles::stages> at;
  for (unsigned number = blockIdx.x; number < tiles; number += gridDim.x) {
    const BlockTile tile = tile_number<columns>(product, number);
    // A matrix for the whole batch is a batch of one.
    const int a_matrix = product.a.batch_stride == 0 ? 0 : static_cast<int>(tile.matrix);
    const int b_matrix = product.b.batch_stride == 0 ? 0 : static_cast<int>(tile.matrix);
    const int row = static_cast<int>(tile.row), column = static_cast<int>(tile.column);
    int k = static_cast<int>(tile.first_k);
    for (int step = steps_of(tile); step > 0; --step, k += k_step, at.next()) {
      wait_for_phase(&ring.empty[at.stage], at.parity ^ 1);  // in the first round nothing has to become empty
      arrive_and_expect(&ring.full[at.stage], Tiles::stage_bytes);
      copy_tile<a_major, tile_rows>(ring.a_tile(at.stage), a, row, k, a_matrix, &ring.full[at.stage]);
      copy_tile<b_major, columns>(ring.b_tile(at.stage), b, column, k, b_matrix, &ring.full[at.stage]);
    }
  }
}

// ---- The threads that multiply --------------------------------------------------------------------------------------

// 64 numbers of K by 64 rows or columns of a factor, which comes first in shared memory.
constexpr int square_bytes = line_numbers * line_bytes;

// The step of 64 along K that lies in a pair of tiles.
template <Major a_major, Major b_major, int count>
__device__ inline void multiply_tiles(float (&sums)[count], std::uint32_t a_tile, std::uint32_t b_tile) {
  constexpr int a_step = a_major == Major::k ? 2 * k_of_product : 2 * piece_bytes;  // hopper.h
  constexpr int b_step = b_major == Major::k ? 2 * k_of_product : 2 * piece_bytes;
  begin_products();
  unrolled<k_step / k_of_product>([&](auto i) {
    multiply_matrices<a_major, b_major>(sums, matrix_descriptor(a_tile + i * a_step, square_bytes),
                                        matrix_descriptor(b_tile + i * b_step, square_bytes));
  });
  close_product_group();
}

// Where an element stands in a slice. The exchanged columns let lanes that write eight bytes to each of four rows meet
// all banks. Rows that are 8 apart exchange alike.
__device__ inline int slice_position(int row, int column) { return row * slice_columns + (column ^ row % 4 * 8); }

// One instruction: of an assignment nvcc makes four here.
__device__ inline void store_four(float* to, float a, float b, float c, float d) {
  __stwb(reinterpret_cast<float4*>(to), make_float4(a, b, c, d));
}
__device__ inline void store_four(BFloat16* to, float a, float b, float c, float d) {
  __stwb(reinterpret_cast<uint2*>(to), make_uint2(bfloat16_pair(a, b), bfloat16_pair(c, d)));
}

// All lanes finish a slice in the order of memory, two rows at a time, four columns a lane. (finish_slice of
// matmul_tile.cuh is for slices of any shape. Here a lane keeps its columns, and their bias in registers.)
template <class Out>
__device__ inline void finish_rows(const Product<BFloat16, Out>& product, const BlockTile& tile, int first_row,
                                   int first_column, bool in_fours, const float* slice) {
  constexpr int across = slice_columns / 4, rows_at_once = warp_size / across;
  const int lane = threadIdx.x % warp_size, lane_row = lane / across, lane_column = lane % across * 4;
  const Size m = product.sizes.m, n = product.sizes.n;
  const Size row = tile.row + first_row + lane_row, column = tile.column + first_column + lane_column;
  const int columns_left = static_cast<int>(n - column < 4 ? n - column : 4);
  const int rows_left = static_cast<int>(m - row < slice_rows - lane_row ? m - row : slice_rows - lane_row);
  Epilogue<Out> epilogue = product.epilogue;
  float bias[4] = {};
  if (epilogue.bias != nullptr && product.partial == nullptr)
    for (int j = 0; j < 4; ++j)
      if (j < columns_left) bias[j] = epilogue.bias[column + j];
  epilogue.bias = nullptr;  // a lane's columns are the same in all rows

  Size at = (tile.output * m + row) * n + column;
  __syncwarp();
  for (int i = 0; i < rows_left; i += rows_at_once, at += rows_at_once * n) {
    auto [a, b, c, d] = *reinterpret_cast<const float4*>(slice + slice_position(lane_row + i, lane_column));
    a += bias[0], b += bias[1], c += bias[2], d += bias[3];
    if (!in_fours || columns_left < 4) {
      const float sums[4] = {a, b, c, d};
      for (int j = 0; j < 4 && j < columns_left; ++j)
        if (product.partial != nullptr)
          product.partial[at + j] = sums[j];
        else
          finish_element(epilogue, product.c, at + j, column + j, sums[j]);
    } else if (product.partial != nullptr) {
      store_four(product.partial + at, a, b, c, d);
    } else {
      if (epilogue.before_activation != nullptr) store_four(epilogue.before_activation + at, a, b, c, d);
      const Activation f = epilogue.activation;
      store_four(product.c + at, activated(f, a), activated(f, b), activated(f, c), activated(f, d));
    }
  }
  __syncwarp();
}

template <int columns, Major a_major, Major b_major, class Out>
__device__ inline void multiply_and_finish(const Product<BFloat16, Out>& product, const Ring<columns>& ring,
                                           unsigned tiles) {
  const int warp = threadIdx.x / warp_size, lane = threadIdx.x % warp_size, group = threadIdx.x / group_threads;
  const int r = lane / 4, c = lane % 4;                                               // names of cuda_hopper.cuh
  const std::uint32_t own_a = shared_address(ring.a_tile(0)) + group * square_bytes;  // the same for both majors
  const std::uint32_t own_b = shared_address(ring.b_tile(0));
  float* const slice = ring.slices + warp * slice_size;
  const bool in_fours = product.partial != nullptr ? is_in_fours(product.partial, product.sizes.n)
                                                   : is_in_fours(product.epilogue, product.c, product.sizes.n);
  Position<Ring<columns>::stages> at;

  for (unsigned number = blockIdx.x; number < tiles; number += gridDim.x) {
    const BlockTile tile = tile_number<columns>(product, number);
    float sums[columns / 2] = {};
    int before = 0;  // the stage of the step before
    const int steps = steps_of(tile);
    for (int step = 0; step < steps; ++step, at.next()) {
      wait_for_phase(&ring.full[at.stage], at.parity);
      const std::uint32_t offset = at.stage * Ring<columns>::stage_bytes;
      multiply_tiles<a_major, b_major>(sums, own_a + offset, own_b + offset);
      // The tensor cores have their next work before it is known that they are done with the last: they never wait.
      wait_for_products<1>(sums);
      if (step > 0 && lane == 0) arrive(&ring.empty[before]);
      before = at.stage;
    }
    wait_for_products<0>(sums);
    if (lane == 0) arrive(&ring.empty[before]);

    unrolled<columns / slice_columns>([&](auto i) {
      for (int j = 0; j < slice_columns; j += 8)
        for (int rows_8 = 0; rows_8 < 2; ++rows_8) {
          const float* const pair = sums + (i * slice_columns + j) / 2 + 2 * rows_8;
          float* const to = slice + slice_position(r, j + 2 * c) + rows_8 * (8 * slice_columns);
          // As one number: of two, nvcc makes two instructions.
          *reinterpret_cast<std::uint64_t*>(to) =
              std::uint64_t{__float_as_uint(pair[1])} << 32 | __float_as_uint(pair[0]);
        }
      finish_rows(product, tile, warp * slice_rows, i * slice_columns, in_fours, slice);
    });
  }
}

template <int columns, Major a_major, Major b_major, class Out>
__global__ void __launch_bounds__(hopper_threads, 1)
    hopper_kernel(const __grid_constant__ Product<BFloat16, Out> product, const __grid_constant__ TensorMap a,
                  const __grid_constant__ TensorMap b, unsigned tiles) {
  require_hopper();
  DYNAMIC_SHARED(unsigned char, shared);
  const Ring<columns> ring(shared);
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Ring<columns>::stages; ++stage) {
      start_barrier(&ring.full[stage], 1);
      start_barrier(&ring.empty[stage], multiplying_warps);
    }
    publish_barriers();
  }
  __syncthreads();
  if (threadIdx.x >= multiplying_threads) {
    give_registers<copying_registers>();
    if (threadIdx.x == multiplying_threads) ask_for_tiles<columns, a_major, b_major>(product, ring, tiles, a, b);
  } else {
    take_registers<multiplying_registers>();
    multiply_and_finish<columns, a_major, b_major>(product, ring, tiles);
  }
}

// ---- What the host does ---------------------------------------------------------------------------------------------

template <int columns, class Out>
auto kernel_for(Major a, Major b) {
  using enum Major;
  if (a == k) return b == k ? hopper_kernel<columns, k, k, Out> : hopper_kernel<columns, k, other, Out>;
  return b == k ? hopper_kernel<columns, other, k, Out> : hopper_kernel<columns, other, other, Out>;
}

// `lines` rows of A or columns of B, and how boxes for tiles of that many are cut from them.
struct FactorInMemory {
  Major major;
  TensorMap map;
};
FactorInMemory factor_in_memory(const BFloat16* data, Size line_stride, Size k_stride, Size batch_stride, Size lines,
                                Size k, Size batch, int tile_lines) {
  const Size matrices = batch_stride == 0 ? 1 : batch;
  if (k_stride == 1)
    return {Major::k, make_tensor_map({data, k, lines, line_stride, matrices, batch_stride}, tile_lines)};
  return {Major::other, make_tensor_map({data, lines, k, k_stride, matrices, batch_stride}, k_step)};
}

}  // namespace

template <int columns, class Out>
void matmul_hopper_tiled(Cuda device, const MatmulSizes& sizes, const MatrixView<BFloat16>& a,
                         const MatrixView<BFloat16>& b, Out* c, const Epilogue<Out>& epilogue) {
  if (const int capability = compute_capability(); capability != 90)
    fail("matmul_hopper: this GPU's compute capability is ", capability / 10, ".", capability % 10,
         ", but these instructions are those of 9.0; use matmul_pipelined");
  if (!is_on_16_bytes(a) || !is_on_16_bytes(b))
    fail("matmul_hopper: lines of a factor do not begin on whole 16 bytes; use matmul_tensor_core");
  Product<BFloat16, Out> product{sizes, a, b, c, epilogue};
  const Size elements = sizes.batch * sizes.m * sizes.n;
  if (elements == 0) return;
  const unsigned finishing_blocks = loop_blocks(elements, product_threads);
  if (sizes.k == 0)  // the sum of no parts
    return launch(add_parts_kernel<Out>, finishing_blocks, product_threads, 0, device.stream, sizes, Size{0},
                  product.partial, epilogue, c);

  const Size tiles = blocks_of(sizes, {.rows = tile_rows, .columns = columns});
  if (const Size wanted = hopper_parts(tiles, sizes.k); wanted > 1) {
    product.k_per_part = Size{groups_of(groups_of(sizes.k, wanted), k_step)} * k_step;
    product.parts = groups_of(sizes.k, product.k_per_part);
    product.partial = device_scratch<float>(0, elements * product.parts);
  }
  const auto work = static_cast<unsigned>(tiles * product.parts);
  const FactorInMemory left =
      factor_in_memory(a.data, a.row_stride, a.column_stride, a.batch_stride, sizes.m, sizes.k, sizes.batch, tile_rows);
  const FactorInMemory right =
      factor_in_memory(b.data, b.column_stride, b.row_stride, b.batch_stride, sizes.n, sizes.k, sizes.batch, columns);
  launch(kernel_for<columns, Out>(left.major, right.major), std::min(work, static_cast<unsigned>(multiprocessors())),
         hopper_threads, Ring<columns>::bytes, device.stream, product, left.map, right.map, work);
  if (product.parts > 1)
    launch(add_parts_kernel<Out>, finishing_blocks, product_threads, 0, device.stream, sizes, product.parts,
           product.partial, epilogue, c);
}

// All blocks run at once and take tile after tile, so the time is that of the block with the most tiles. One of 256
// columns takes 8 units of time where one of 128 takes 5: see above.
template <class Out>
void matmul_hopper(Cuda device, const MatmulSizes& sizes, const MatrixView<BFloat16>& a, const MatrixView<BFloat16>& b,
                   Out* c, const Epilogue<Out>& epilogue) {
  const auto rounds = [&](Size columns) {
    return groups_of(blocks_of(sizes, {.rows = tile_rows, .columns = columns}), hopper_multiprocessors);
  };
  if (8 * rounds(256) <= 5 * rounds(128))
    matmul_hopper_tiled<256>(device, sizes, a, b, c, epilogue);
  else
    matmul_hopper_tiled<128>(device, sizes, a, b, c, epilogue);
}

template void matmul_hopper_tiled<128>(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&,
                                       const MatrixView<BFloat16>&, float*, const Epilogue<float>&);
template void matmul_hopper_tiled<128>(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&,
                                       const MatrixView<BFloat16>&, BFloat16*, const Epilogue<BFloat16>&);
template void matmul_hopper_tiled<256>(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&,
                                       const MatrixView<BFloat16>&, float*, const Epilogue<float>&);
template void matmul_hopper_tiled<256>(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&,
                                       const MatrixView<BFloat16>&, BFloat16*, const Epilogue<BFloat16>&);
template void matmul_hopper(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&, const MatrixView<BFloat16>&, float*,
                            const Epilogue<float>&);
template void matmul_hopper(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&, const MatrixView<BFloat16>&,
                            BFloat16*, const Epilogue<BFloat16>&);

}  // namespace headshare::kernels
