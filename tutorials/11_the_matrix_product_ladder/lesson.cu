#include "kernels/cuda.cuh"
#include "kernels/device_memory.h"
#include "lesson.h"
#include "tutorials/support/step.h"

namespace headshare::lesson {

using kernels::groups_of;
using kernels::launch;

// ---- Given ----------------------------------------------------------------------------------------------------------

// [show down]
// blockIdx says which 32 x 32 elements of C, threadIdx which of them. threadIdx.x is the lane.
__global__ void down_kernel(Sizes sizes, const float* a, const float* b, float* c) {
  const Size row = Size{blockIdx.y} * side + threadIdx.x;
  const Size column = Size{blockIdx.x} * side + threadIdx.y;
  if (row >= sizes.m || column >= sizes.n) return;
  float sum = 0;
  for (Size k = 0; k < sizes.k; ++k) sum += a[row * sizes.k + k] * b[k * sizes.n + column];
  c[row * sizes.n + column] = sum;
}
// [end show]

// [show column]
__global__ void store_column_kernel(int stride, float* y) {
  __shared__ float words[32 * 40];
  const int lane = static_cast<int>(threadIdx.x);
  words[lane * stride] = 1;
  __syncthreads();
  y[lane] = words[lane * stride];
}
// [end show]

// [show element]
// Element (row, column) of a matrix [rows, columns]; 0 outside of it.
__device__ inline float element_or_zero(const float* matrix, Size rows, Size columns, Size row, Size column) {
  return row < rows && column < columns ? matrix[row * columns + column] : 0;
}
// [end show]

// [show launch]
// A grid of blocks, each with a thread for every element of a 32 x 32 tile of C.
template <class Kernel>
void launch_sides(Cuda device, Kernel kernel, const Sizes& sizes, const float* a, const float* b, float* c) {
  launch(kernel, dim3(groups_of(sizes.n, side), groups_of(sizes.m, side)), dim3(side, side), 0, device.stream, sizes, a,
         b, c);
}
// [end show]

void matmul_down(Cuda device, const Sizes& sizes, const float* a, const float* b, float* c) {
  launch_sides(device, down_kernel, sizes, a, b, c);
}
void store_column(Cuda device, int stride, float* y) {
  launch(store_column_kernel, 1, 32, 0, device.stream, stride, y);
}

// ---- Step 1: the order of the lanes ---------------------------------------------------------------------------------

// [show across]
__global__ void across_kernel(Sizes sizes, const float* a, const float* b, float* c) {
  Size row = 0, column = 0;
  // [step 1] Let the 32 lanes of a warp take 32 neighbours of one row of C; as it stands, they are below each other.
  // [hint] Lanes are threads whose threadIdx.x are neighbours. Which of row and column should change from lane to lane?
  row = Size{blockIdx.y} * side + threadIdx.y;
  column = Size{blockIdx.x} * side + threadIdx.x;
  // [stub]
  // row = Size{blockIdx.y} * side + threadIdx.x;
  // column = Size{blockIdx.x} * side + threadIdx.y;
  // [end]
  if (row >= sizes.m || column >= sizes.n) return;
  float sum = 0;
  for (Size k = 0; k < sizes.k; ++k) sum += a[row * sizes.k + k] * b[k * sizes.n + column];
  c[row * sizes.n + column] = sum;
}
// [end show]

void matmul_across(Cuda device, const Sizes& sizes, const float* a, const float* b, float* c) {
  launch_sides(device, across_kernel, sizes, a, b, c);
}

// ---- Step 2: tiles in shared memory ---------------------------------------------------------------------------------

// [show tiled]
__global__ void __launch_bounds__(side* side) tiled_kernel(Sizes sizes, const float* a, const float* b, float* c) {
  __shared__ float a_tile[side][side], b_tile[side][side];
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const Size row = Size{blockIdx.y} * side + y, column = Size{blockIdx.x} * side + x;
  float sum = 0;
  for (Size k = 0; k < sizes.k; k += side) {
    // [step 2] Repair this round: its barriers are missing, and it reads outside of A and B at their edges.
    // [hint] A thread uses what others have loaded. When may it begin to? When may the next round overwrite it?
    // [hint] One __syncthreads() between the loads and the loop, one after the loop.
    // [hint] element_or_zero(a, sizes.m, sizes.k, row, k + x) is 0 where A has ended, and 0 adds nothing to the sum.
    a_tile[y][x] = element_or_zero(a, sizes.m, sizes.k, row, k + x);
    b_tile[y][x] = element_or_zero(b, sizes.k, sizes.n, k + y, column);
    __syncthreads();
    for (int i = 0; i < side; ++i) sum += a_tile[y][i] * b_tile[i][x];
    __syncthreads();
    // [stub]
    // a_tile[y][x] = a[row * sizes.k + k + x];
    // b_tile[y][x] = b[(k + y) * sizes.n + column];
    // for (int i = 0; i < side; ++i) sum += a_tile[y][i] * b_tile[i][x];
    // [end]
  }
  if (row < sizes.m && column < sizes.n) c[row * sizes.n + column] = sum;
}
// [end show]

void matmul_tiled(Cuda device, const Sizes& sizes, const float* a, const float* b, float* c) {
  launch_sides(device, tiled_kernel, sizes, a, b, c);
}

// ---- Step 3: banks --------------------------------------------------------------------------------------------------

constexpr int most_stride = 40;

// [show stride]
// How many words apart the rows of b_tile lie: at least 32, at most 40.
__device__ inline int row_stride() {
  // [step 3] Choose the distance so that lanes that store to one column of the tile meet 32 different banks.
  // [hint] Your passes_of_warp(stride) knows which ones are good. The words between two rows stay unused.
  return side + 1;
  // [stub]
  // return side;
  // [end]
}
// [end show]

// [show transposed]
// B is stored transposed: [N, K]. Element (i, j) of b_tile is word i * stride + j, as before for k = i and column = j.
__global__ void __launch_bounds__(side* side) transposed_kernel(Sizes sizes, const float* a, const float* b, float* c) {
  __shared__ float a_tile[side][side], b_tile[side * most_stride];
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y), stride = row_stride();
  const Size first_column = Size{blockIdx.x} * side;
  const Size row = Size{blockIdx.y} * side + y, column = first_column + x;
  float sum = 0;
  for (Size k = 0; k < sizes.k; k += side) {
    a_tile[y][x] = element_or_zero(a, sizes.m, sizes.k, row, k + x);
    // [step 3] Let the lanes read neighbours of B; as it stands, each reads from another row of it.
    // [hint] Neighbours in memory differ in k now. So lane x takes k + x, and the thread's y says which column.
    // [hint] What lane x has read is element (x, y) of the tile: it goes to word x * stride + y.
    b_tile[x * stride + y] = element_or_zero(b, sizes.n, sizes.k, first_column + y, k + x);
    // [stub]
    // b_tile[y * stride + x] = element_or_zero(b, sizes.n, sizes.k, first_column + x, k + y);
    // [end]
    __syncthreads();
    for (int i = 0; i < side; ++i) sum += a_tile[y][i] * b_tile[i * stride + x];
    __syncthreads();
  }
  if (row < sizes.m && column < sizes.n) c[row * sizes.n + column] = sum;
}
// [end show]

void matmul_transposed(Cuda device, const Sizes& sizes, const float* a, const float* b, float* c) {
  launch_sides(device, transposed_kernel, sizes, a, b, c);
}

// ---- Step 4: registers ----------------------------------------------------------------------------------------------

constexpr int tile_stride = tile + 4;  // 8 lanes along k x 4 along the rows of A store to 32 banks

// Given: the block carries 64 x 16 numbers of A and 16 x 64 of B to shared memory; both tiles have k first.
//                                                                              a_tile, b_tile: [depth, tile_stride]
__device__ inline void load_tiles(const Sizes& sizes, const float* a, const float* b, Size first_row, Size first_column,
                                  Size k, float (*a_tile)[tile_stride], float (*b_tile)[tile_stride]) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int a_k = warp % 2 * 8 + lane % 8;  // 8 lanes in a row read a whole sector
  for (int line = warp / 2 * 4 + lane / 8; line < tile; line += 16)
    a_tile[a_k][line] = element_or_zero(a, sizes.m, sizes.k, first_row + line, k + a_k);
  const int line = thread % tile;
  for (int b_k = thread / tile; b_k < depth; b_k += tile_threads / tile)
    b_tile[b_k][line] = element_or_zero(b, sizes.k, sizes.n, k + b_k, first_column + line);
}

// [show registers]
// Thread (x, y) of 16 x 16 has the elements in rows y, y + 16, y + 32, y + 48 and columns x, x + 16, x + 32, x + 48 of
// the block's 64 x 64. sums[i][j] belongs to row y + 16 i and column x + 16 j.
__global__ void __launch_bounds__(tile_threads)
    registers_kernel(Sizes sizes, const float* a, const float* b, float* c) {
  __shared__ float a_tile[depth][tile_stride], b_tile[depth][tile_stride];
  const int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  const Size first_row = Size{blockIdx.y} * tile, first_column = Size{blockIdx.x} * tile;
  float sums[mine][mine] = {};
  for (Size first_k = 0; first_k < sizes.k; first_k += depth) {
    load_tiles(sizes, a, b, first_row, first_column, first_k, a_tile, b_tile);
    __syncthreads();
    // [step 4] For each k of the tiles, load 4 + 4 numbers into registers and make 16 multiply-adds of them.
    // [hint] a_tile[k][y + 16 * i] belongs to row y + 16 i; b_tile[k][x + 16 * j] to column x + 16 j.
    // [hint] float from_a[mine], from_b[mine]: fill both in one loop, then two nested loops over sums[i][j].
    for (int k = 0; k < depth; ++k) {
      float from_a[mine], from_b[mine];
      for (int i = 0; i < mine; ++i) {
        from_a[i] = a_tile[k][y + 16 * i];
        from_b[i] = b_tile[k][x + 16 * i];
      }
      for (int i = 0; i < mine; ++i)
        for (int j = 0; j < mine; ++j) sums[i][j] += from_a[i] * from_b[j];
    }
    // [stub]
    // // (the sums: yours)
    // [end]
    __syncthreads();
  }
  // [step 4] Store the 16 sums, those that lie inside of C.
  // [hint] Row first_row + y + 16 i, column first_column + x + 16 j; C may end within the tile.
  for (int i = 0; i < mine; ++i)
    for (int j = 0; j < mine; ++j) {
      const Size row = first_row + y + 16 * i, column = first_column + x + 16 * j;
      if (row < sizes.m && column < sizes.n) c[row * sizes.n + column] = sums[i][j];
    }
  // [stub]
  // // (the result: yours)
  // [end]
}

void matmul_registers(Cuda device, const Sizes& sizes, const float* a, const float* b, float* c) {
  // [step 4] Launch a block of tile_threads threads for each 64 x 64 elements of C, and write the two parts above.
  // [hint] blockIdx.x counts the tiles from left to right, blockIdx.y from top to bottom; see launch_sides.
  // [hint] launch(registers_kernel, dim3(..., ...), tile_threads, 0, device.stream, sizes, a, b, c).
  launch(registers_kernel, dim3(groups_of(sizes.n, tile), groups_of(sizes.m, tile)), tile_threads, 0, device.stream,
         sizes, a, b, c);
  // [end]
}
// [end show]

// ---- Step 5: tensor cores -------------------------------------------------------------------------------------------

// Given: elements (row, column) and (row, column + 1) of C, in one store where they lie at a multiple of 8 bytes.
__device__ inline void store_pair(const Sizes& sizes, float* c, Size row, Size column, float left, float right) {
  if (row >= sizes.m) return;
  float* const at = c + row * sizes.n + column;
  if (sizes.n % 2 == 0 && column + 1 < sizes.n) {
    *reinterpret_cast<float2*>(at) = make_float2(left, right);
    return;
  }
  if (column < sizes.n) at[0] = left;
  if (column + 1 < sizes.n) at[1] = right;
}

// [show tensor]
// Each of the 8 warps computes 16 rows x 32 columns of the block's 64 x 64: four pieces of 16 x 8 beside each other.
// Lane l = 4 r + c holds of sums[piece]:  [0], [1]: row r, columns 2c and 2c + 1;  [2], [3]: the same in row r + 8.
__global__ void __launch_bounds__(tile_threads)
    tensor_cores_kernel(Sizes sizes, const float* a, const float* b, float* c) {
  __shared__ float a_tile[depth][tile_stride], b_tile[depth][tile_stride];
  const int warp = static_cast<int>(threadIdx.x) / 32, row_of_lane = static_cast<int>(threadIdx.x) % 32 / 4;
  const int column_of_lane = static_cast<int>(threadIdx.x) % 4;
  const int warp_row = warp % 4 * 16, warp_column = warp / 4 * 32;  // of the warp's first element in the tile
  const Size first_row = Size{blockIdx.y} * tile, first_column = Size{blockIdx.x} * tile;
  float sums[4][4] = {};
  for (Size first_k = 0; first_k < sizes.k; first_k += depth) {
    load_tiles(sizes, a, b, first_row, first_column, first_k, a_tile, b_tile);
    __syncthreads();
    // [step 5] For each 8 of k, give every lane its part of A and B, and call mma_tf32 for the four pieces.
    // With r = row_of_lane and c = column_of_lane a lane has a[0]: row r, k c;  a[1]: row r + 8, k c;  a[2]: row r,
    // k c + 4;  a[3]: row r + 8, k c + 4;  and b[0]: k c, column r;  b[1]: k c + 4, column r (kernels/cuda_mma.cuh).
    // Any other two of the eight k will do as well, if all eight are taken and A and B agree: the text says why.
    // [hint] Row r of the warp's part of A for k is a_tile[k][warp_row + r]; wrap it in kernels::to_tf32(...).
    // [hint] Piece p of B begins at column warp_column + 8 p. a is the same for all four pieces: load it once.
    // [hint] kernels::mma_tf32(sums[piece], a, b), with std::uint32_t a[4], b[2]; all 32 lanes call it.
    for (int k = 0; k < depth; k += 8) {
      const int low = k + 2 * column_of_lane, high = low + 1;  // any two, if A and B agree: these are in other banks
      const int row = warp_row + row_of_lane;
      const std::uint32_t of_a[4] = {kernels::to_tf32(a_tile[low][row]), kernels::to_tf32(a_tile[low][row + 8]),
                                     kernels::to_tf32(a_tile[high][row]), kernels::to_tf32(a_tile[high][row + 8])};
      for (int piece = 0; piece < 4; ++piece) {
        const int column = warp_column + 8 * piece + row_of_lane;
        const std::uint32_t of_b[2] = {kernels::to_tf32(b_tile[low][column]), kernels::to_tf32(b_tile[high][column])};
        kernels::mma_tf32(sums[piece], of_a, of_b);
      }
    }
    // [stub]
    // // (the sums: yours)
    // [end]
    __syncthreads();
  }
  for (int piece = 0; piece < 4; ++piece)
    for (int half = 0; half < 2; ++half)
      store_pair(sizes, c, first_row + warp_row + row_of_lane + 8 * half,
                 first_column + warp_column + 8 * piece + 2 * column_of_lane, sums[piece][2 * half],
                 sums[piece][2 * half + 1]);
}

void matmul_tensor_cores(Cuda device, const Sizes& sizes, const float* a, const float* b, float* c) {
  if (kernels::compute_capability() < 80) fail("matmul_tensor_cores: needs a GPU of compute capability 8.0 or later");
  // [step 5] Launch a block of tile_threads threads for each 64 x 64 elements of C, and write the part above.
  // [hint] As in step 4.
  launch(tensor_cores_kernel, dim3(groups_of(sizes.n, tile), groups_of(sizes.m, tile)), tile_threads, 0, device.stream,
         sizes, a, b, c);
  // [end]
}
// [end show]

}  // namespace headshare::lesson
