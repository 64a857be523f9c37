#include "kernels/copy.h"
#include "kernels/matmul_ladder.h"
#include "kernels/matmul_tile.cuh"

// The ladder's first three rungs, in order, then the product with few rows, then the choice. The tensor cores have a
// file of their own.
namespace headshare::kernels {
namespace {

// ---- 1. One thread per element --------------------------------------------------------------------------------------

constexpr BlockShape naive_shape{.rows = 8, .columns = 32};

template <class T>
__global__ void naive_kernel(Product<T> product) {
  const BlockTile tile = tile_of_block(product, naive_shape.rows, naive_shape.columns);
  const Size row = tile.row + threadIdx.x / naive_shape.columns;
  const Size column = tile.column + threadIdx.x % naive_shape.columns;
  if (row >= product.sizes.m || column >= product.sizes.n) return;
  const T* const a_row = product.a.data + tile.matrix * product.a.batch_stride + row * product.a.row_stride;
  const T* const b_column = product.b.data + tile.matrix * product.b.batch_stride + column * product.b.column_stride;
  T sum = 0;
  for (Size k = 0; k < product.sizes.k; ++k)
    sum += a_row[k * product.a.column_stride] * b_column[k * product.b.row_stride];
  finish_element(product, tile.output, row, column, sum);
}

// ---- 2. Tiles in shared memory --------------------------------------------------------------------------------------

constexpr int side = 32;  // of a tile, and the lanes of a warp
constexpr BlockShape tiled_shape{.rows = side, .columns = side, .threads = side * side};

template <class T>
__global__ void __launch_bounds__(side* side) tiled_kernel(Product<T> product) {
  __shared__ T a_tile[side][side + 1];  // one more: lanes that store a column of the tile meet 32 banks, not one
  __shared__ T b_tile[side][side + 1];
  const BlockTile tile = tile_of_block(product, side, side);
  const LinesAlongK<T> a = rows_of_a(product, tile), b = columns_of_b(product, tile);
  const int x = threadIdx.x % side, y = threadIdx.x / side;

  // The lanes of a warp, x = 0 .. 31, read along the dimension whose stride is 1.
  const int a_row = a.k_stride == 1 ? y : x, a_k = a.k_stride == 1 ? x : y;
  const int b_column = b.k_stride == 1 ? y : x, b_k = b.k_stride == 1 ? x : y;
  T sum = 0;
  for (Size k = 0; k < tile.k_count; k += side) {
    a_tile[a_row][a_k] = a.at_or_zero(a_row, k + a_k);
    b_tile[b_k][b_column] = b.at_or_zero(b_column, k + b_k);
    __syncthreads();
    for (int i = 0; i < side; ++i) sum += a_tile[y][i] * b_tile[i][x];
    __syncthreads();
  }
  const Size row = tile.row + y, column = tile.column + x;
  if (row < product.sizes.m && column < product.sizes.n) finish_element(product, tile.output, row, column, sum);
}

// ---- 3. Tiles in registers ------------------------------------------------------------------------------------------

// What one instruction moves between a lane and shared memory: 16 bytes, four floats or two doubles.
template <class T>
struct alignas(16) Packet {
  static constexpr int size = 16 / static_cast<int>(sizeof(T));
  T values[size];
};

template <class T>
struct PlainNumbers {
  using Element = T;
  using Word = T;
  static constexpr int elements = 1;
  static __device__ T read(const T* at, Size, int) { return *at; }
};

// A thread's elements of C: `side` x `side`, not all side by side. The 32 lanes of a warp stand 4 x 8, each on a
// packet; what they own repeats every 4 packets down and every 8 packets across. So 8 lanes that read packets of B read
// 128 bytes in a row.
template <class T, int tile>
struct ThreadTile {
  static constexpr int side = tile / 16, packet = Packet<T>::size, packets = side / packet;
  static constexpr int rows_apart = 4 * packet, columns_apart = 8 * packet;
  static_assert(packets * rows_apart == WarpTile<tile>::rows && packets * columns_apart == WarpTile<tile>::columns);
};

template <class T>
__device__ inline void load_packet(const T* shared, T* values) {
  const Packet<T> packet = *reinterpret_cast<const Packet<T>*>(shared);
  for (int i = 0; i < Packet<T>::size; ++i) values[i] = packet.values[i];
}

template <class T, int tile>
constexpr Size register_tiled_bytes =
    sizeof(T) * std::max(4 * TileReader<PlainNumbers<T>, tile>::size,
                         product_warps* ThreadTile<T, tile>::rows_apart* WarpTile<tile>::slice_stride);

template <class T, int tile>
__global__ void __launch_bounds__(product_threads, 2) register_tiled_kernel(Product<T> product) {
  using Mine = ThreadTile<T, tile>;
  using Tile = TileReader<PlainNumbers<T>, tile>;
  constexpr int packet = Mine::packet, packets = Mine::packets;
  DYNAMIC_SHARED(T, shared);
  const BlockTile block_tile = tile_of_block(product, tile, tile);
  const WarpTile<tile> warp_tile;
  const int lane = threadIdx.x % warp_size, lane_row = lane / 8 * packet, lane_column = lane % 8 * packet;

  T sums[Mine::side][Mine::side] = {};
  for_each_tile<Tile>(product, block_tile, shared, [&](const T* a_tile, const T* b_tile) {
#pragma unroll 1  // two rounds at once need more registers than there are
    for (int k = 0; k < Tile::depth; ++k) {
      T a[Mine::side], b[Mine::side];
      for (int i = 0; i < packets; ++i) {
        const int row = warp_tile.row + lane_row + i * Mine::rows_apart;
        const int column = warp_tile.column + lane_column + i * Mine::columns_apart;
        load_packet(a_tile + k * Tile::stride + row, a + i * packet);
        load_packet(b_tile + k * Tile::stride + column, b + i * packet);
      }
      for (int i = 0; i < Mine::side; ++i)
        for (int j = 0; j < Mine::side; ++j) sums[i][j] += a[i] * b[j];
    }
  });

  __syncthreads();  // nobody needs the tiles any more
  constexpr int stride = WarpTile<tile>::slice_stride;
  T* const slice = shared + threadIdx.x / warp_size * (Mine::rows_apart * stride);
  unrolled<packets>([&](auto i) {
    for (int row = 0; row < packet; ++row)
      for (int j = 0; j < packets; ++j) {
        Packet<T> finished;
        for (int column = 0; column < packet; ++column)
          finished.values[column] = sums[i * packet + row][j * packet + column];
        *reinterpret_cast<Packet<T>*>(slice + (lane_row + row) * stride + lane_column + j * Mine::columns_apart) =
            finished;
      }
    finish_slice<Mine::rows_apart, WarpTile<tile>::columns, stride>(
        product, block_tile, warp_tile.row + i * Mine::rows_apart, warp_tile.column, slice);
  });
}

// ---- Few rows -------------------------------------------------------------------------------------------------------

constexpr int few_rows_columns = 32;  // of C for a block

// Some of K of all rows of A, which all of a block's threads need, in shared memory. What lies outside of A is 0.
template <int rows, class T>
struct FewRows {
  static constexpr int depth = product_threads;  // of K at a time
  // Where A is read along its rows' dimension, lanes fill all rows at once: these are 128 bytes, all banks, divided by
  // their number apart.
  static constexpr int stride = depth + 128 / static_cast<int>(sizeof(T)) / rows;
  static constexpr int size = rows * stride;

  static __device__ void fill(const LinesAlongK<T>& a, Size first, T* shared) {
    for (int i = threadIdx.x; i < rows * depth; i += product_threads) {
      const int row = a.k_stride == 1 ? i / depth : i % rows, k = a.k_stride == 1 ? i % depth : i / rows;
      shared[row * stride + k] = a.at_or_zero(row, first + k);
    }
  }
};

// The rows of B are contiguous: each lane has a column. The warps share K, each adding up `steps` consecutive k at a
// time, so that many reads of B are under way at once. At the end the warps' sums are added in the order of the warps.
template <int rows, class T>
__global__ void __launch_bounds__(product_threads) few_rows_of_b_kernel(Product<T> product) {
  using Rows = FewRows<rows, T>;
  constexpr int steps = 8, packet = Packet<T>::size;
  __shared__ __align__(16) T shared[Rows::size];  // rows of A; at the end sums: [product_warps, rows, few_rows_columns]
  static_assert(Rows::size >= product_warps * rows * few_rows_columns);
  const BlockTile tile = tile_of_block(product, rows, few_rows_columns);
  const LinesAlongK<T> a = rows_of_a(product, tile), b = columns_of_b(product, tile);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const bool has_column = lane < b.lines;

  T sums[rows] = {};
  for (Size first = 0; first < tile.k_count; first += Rows::depth) {
    const int count = static_cast<int>(tile.k_count - first < Rows::depth ? tile.k_count - first : Rows::depth);
    Rows::fill(a, first, shared);
    __syncthreads();
    for (int k = warp * steps; k < count; k += product_warps * steps) {
      T b_values[steps], a_values[steps];
      for (int i = 0; i < steps; ++i) b_values[i] = b.at_or_zero(lane, first + k + i);
      for (int row = 0; row < rows; ++row) {
        for (int i = 0; i < steps; i += packet) load_packet(shared + row * Rows::stride + k + i, a_values + i);
        for (int i = 0; i < steps; ++i) sums[row] += a_values[i] * b_values[i];
      }
    }
    __syncthreads();
  }

  for (int row = 0; row < rows; ++row) shared[(warp * rows + row) * few_rows_columns + lane] = sums[row];
  __syncthreads();
  if (warp >= rows || warp >= a.lines || !has_column) return;
  T sum = 0;  // warp i finishes row i
  for (int i = 0; i < product_warps; ++i) sum += shared[(i * rows + warp) * few_rows_columns + lane];
  finish_element(product, tile.output, warp, tile.column + lane, sum);
}

// The columns of B are contiguous: each warp has four of them, and its lanes share K.
template <int rows, class T>
__global__ void __launch_bounds__(product_threads) few_columns_of_b_kernel(Product<T> product) {
  using Rows = FewRows<rows, T>;
  constexpr int columns = few_rows_columns / product_warps;
  static_assert(rows * columns <= warp_size);
  __shared__ T shared[Rows::size];
  const BlockTile tile = tile_of_block(product, rows, few_rows_columns);
  const LinesAlongK<T> a = rows_of_a(product, tile), b = columns_of_b(product, tile);
  const int lane = threadIdx.x % warp_size, first_column = threadIdx.x / warp_size * columns;

  T sums[rows][columns] = {};
  for (Size first = 0; first < tile.k_count; first += Rows::depth) {
    const int count = static_cast<int>(tile.k_count - first < Rows::depth ? tile.k_count - first : Rows::depth);
    Rows::fill(a, first, shared);
    __syncthreads();
    for (int k = lane; k < count; k += warp_size) {
      T b_values[columns];
      for (int j = 0; j < columns; ++j) b_values[j] = b.at_or_zero(first_column + j, first + k);
      for (int row = 0; row < rows; ++row)
        for (int j = 0; j < columns; ++j) sums[row][j] += shared[row * Rows::stride + k] * b_values[j];
    }
    __syncthreads();
  }

  T mine = 0;  // lane row * columns + j finishes element (row, j)
  for (int row = 0; row < rows; ++row)
    for (int j = 0; j < columns; ++j) {
      const T sum = warp_sum(sums[row][j]);
      if (lane == row * columns + j) mine = sum;
    }
  const int row = lane / columns, own_column = first_column + lane % columns;
  if (row >= rows || row >= a.lines || own_column >= b.lines) return;
  finish_element(product, tile.output, row, tile.column + own_column, mine);
}

template <int rows, class T>
void launch_few_rows(Cuda device, const Product<T>& product) {
  launch_in_parts(device,
                  product.b.column_stride == 1 ? few_rows_of_b_kernel<rows, T> : few_columns_of_b_kernel<rows, T>,
                  product, {.rows = rows, .columns = few_rows_columns});
}

}  // namespace

// ---- What the host calls --------------------------------------------------------------------------------------------

template <class T>
void matmul_naive(Cuda device, const MatmulSizes& sizes, const MatrixView<T>& a, const MatrixView<T>& b, T* c,
                  const Epilogue<T>& epilogue) {
  launch_tiles(device, naive_kernel<T>, {sizes, a, b, c, epilogue}, naive_shape);
}

template <class T>
void matmul_tiled(Cuda device, const MatmulSizes& sizes, const MatrixView<T>& a, const MatrixView<T>& b, T* c,
                  const Epilogue<T>& epilogue) {
  launch_tiles(device, tiled_kernel<T>, {sizes, a, b, c, epilogue}, tiled_shape);
}

template <class T, int tile>
void matmul_register_tiled(Cuda device, const MatmulSizes& sizes, const MatrixView<T>& a, const MatrixView<T>& b, T* c,
                           const Epilogue<T>& epilogue) {
  launch_in_parts(device, register_tiled_kernel<T, tile>, {sizes, a, b, c, epilogue},
                  {.rows = tile, .columns = tile, .shared_bytes = register_tiled_bytes<T, tile>});
}

template <class T>
void matmul_few_rows(Cuda device, const MatmulSizes& sizes, const MatrixView<T>& a, const MatrixView<T>& b, T* c,
                     const Epilogue<T>& epilogue) {
  if (sizes.m > most_few_rows) fail("matmul_few_rows: ", sizes.m, " rows; at most ", most_few_rows, " are few");
  const Product<T> product{sizes, a, b, c, epilogue};
  // Rows that do not exist would cost as much as those that do.
  if (sizes.m <= 1)
    launch_few_rows<1>(device, product);
  else if (sizes.m <= 4)
    launch_few_rows<4>(device, product);
  else
    launch_few_rows<most_few_rows>(device, product);
}

// A tile of 128 needs the fewest reads; but a GPU is better occupied by many small tiles than by a few large ones.
template <class T>
void matmul(Cuda device, const MatmulSizes& sizes, const MatrixView<T>& a, const MatrixView<T>& b, T* c,
            const Epilogue<T>& epilogue) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    matmul_bf16(device, sizes, a, b, c, epilogue);
    return;
  } else {
    constexpr int small = 64, large = sizeof(T) == 4 ? 128 : small;  // more sums than 64 floats fit no thread
    if (sizes.m <= most_few_rows)
      matmul_few_rows(device, sizes, a, b, c, epilogue);
    else if (blocks_of(sizes, {.rows = large, .columns = large}) < enough_blocks)
      matmul_register_tiled<T, small>(device, sizes, a, b, c, epilogue);
    else
      matmul_register_tiled<T, large>(device, sizes, a, b, c, epilogue);
  }
}

// ---- Packed: on a GPU simply B without gaps, its rows contiguous ---------------------------------------------------

template <class T>
void pack_matrix(Cuda device, Size k, Size n, const MatrixView<T>& b, T* packed) {
  copy_strided(device, {2, {k, n}, {b.row_stride, b.column_stride}}, b.data, packed);
}

template <class T>
void matmul_packed(Cuda device, Size m, Size n, Size k, const MatrixView<T>& a, const T* packed_b, T* c,
                   const Epilogue<T>& epilogue) {
  matmul(device, {1, m, n, k}, a, {packed_b, n, 1}, c, epilogue);
}

template void matmul_naive(Cuda, const MatmulSizes&, const MatrixView<float>&, const MatrixView<float>&, float*,
                           const Epilogue<float>&);
template void matmul_naive(Cuda, const MatmulSizes&, const MatrixView<double>&, const MatrixView<double>&, double*,
                           const Epilogue<double>&);
template void matmul_tiled(Cuda, const MatmulSizes&, const MatrixView<float>&, const MatrixView<float>&, float*,
                           const Epilogue<float>&);
template void matmul_tiled(Cuda, const MatmulSizes&, const MatrixView<double>&, const MatrixView<double>&, double*,
                           const Epilogue<double>&);
template void matmul_register_tiled<float, 64>(Cuda, const MatmulSizes&, const MatrixView<float>&,
                                               const MatrixView<float>&, float*, const Epilogue<float>&);
template void matmul_register_tiled<float, 128>(Cuda, const MatmulSizes&, const MatrixView<float>&,
                                                const MatrixView<float>&, float*, const Epilogue<float>&);
template void matmul_register_tiled<double, 64>(Cuda, const MatmulSizes&, const MatrixView<double>&,
                                                const MatrixView<double>&, double*, const Epilogue<double>&);
template void matmul_few_rows(Cuda, const MatmulSizes&, const MatrixView<float>&, const MatrixView<float>&, float*,
                              const Epilogue<float>&);
template void matmul_few_rows(Cuda, const MatmulSizes&, const MatrixView<double>&, const MatrixView<double>&, double*,
                              const Epilogue<double>&);
template void matmul(Cuda, const MatmulSizes&, const MatrixView<float>&, const MatrixView<float>&, float*,
                     const Epilogue<float>&);
template void matmul(Cuda, const MatmulSizes&, const MatrixView<double>&, const MatrixView<double>&, double*,
                     const Epilogue<double>&);
template void matmul(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&, const MatrixView<BFloat16>&, BFloat16*,
                     const Epilogue<BFloat16>&);
template void pack_matrix(Cuda, Size, Size, const MatrixView<float>&, float*);
template void pack_matrix(Cuda, Size, Size, const MatrixView<double>&, double*);
template void pack_matrix(Cuda, Size, Size, const MatrixView<BFloat16>&, BFloat16*);
template void matmul_packed(Cuda, Size, Size, Size, const MatrixView<float>&, const float*, float*,
                            const Epilogue<float>&);
template void matmul_packed(Cuda, Size, Size, Size, const MatrixView<double>&, const double*, double*,
                            const Epilogue<double>&);
template void matmul_packed(Cuda, Size, Size, Size, const MatrixView<BFloat16>&, const BFloat16*, BFloat16*,
                            const Epilogue<BFloat16>&);

}  // namespace headshare::kernels
