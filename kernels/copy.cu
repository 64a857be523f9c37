#include "kernels/copy.h"

#include <algorithm>
#include <limits>

#include "kernels/chunk.cuh"
#include "kernels/converted.h"
#include "kernels/device_memory.h"
#include "kernels/indices.h"
#include "kernels/strided.h"
#include "kernels/warp.cuh"

namespace headshare::kernels {
namespace {

constexpr int threads = 256;

// ---- Views ----------------------------------------------------------------------------------------------------------
// Operand 0 is where to read, operand 1 where to write.

// The offset of element i in both operands, from the last dimension to the first. Dividing is the expensive part, and
// 32-bit numbers take a third of the instructions of 64-bit ones: Index is 32 bits where n allows.
template <class Index, class T>
__global__ void copy_elements_kernel(Size n, Strided<2> strided, const T* x, T* y) {
  for (Size i = global_thread(); i < n; i += all_threads()) {
    auto rest = static_cast<Index>(i);
    Size from = 0, to = 0;
    for (int d = strided.rank - 1; d >= 0; --d) {
      const auto extent = static_cast<Index>(strided.extents[d]);
      const auto index = static_cast<Size>(rest % extent);
      rest /= extent;
      from += index * strided.strides[0][d];
      to += index * strided.strides[1][d];
    }
    y[to] = x[from];
  }
}

// A transposed plane: x is contiguous along one dimension and y along another, so lanes that read neighbours would
// write far apart, and the other way round. Through a square of shared memory both sides see neighbours: it is filled
// row by row as x lies, and emptied column by column as y lies. The 33rd column, which nobody uses, shifts each row by
// one bank, so that the 32 elements of a column lie in 32 different banks.
constexpr int side = 32, block_rows = 8;  // a block is one warp wide: each thread moves four elements of the square

// The last two dimensions make the plane: first the one along which y is contiguous, then x's. Grid: the squares of all
// planes, one after the other.
template <class T>
__global__ void transpose_kernel(Strided<2> strided, Size squares_down, Size squares_across, const T* x, T* y) {
  __shared__ T square[side][side + 1];
  const int row_dimension = strided.rank - 2, column_dimension = strided.rank - 1;
  const Size rows = strided.extents[row_dimension], columns = strided.extents[column_dimension];
  const Size x_line = strided.strides[0][row_dimension], y_line = strided.strides[1][column_dimension];
  Size rest = blockIdx.x;
  const Size left = rest % squares_across * side;
  rest /= squares_across;
  const Size top = rest % squares_down * side;
  rest /= squares_down;
  for (int d = row_dimension - 1; d >= 0; --d) {  // which plane
    const Size index = rest % strided.extents[d];
    rest /= strided.extents[d];
    x += index * strided.strides[0][d];
    y += index * strided.strides[1][d];
  }
  const int lane = threadIdx.x, first = threadIdx.y;
  for (int i = first; i < side; i += block_rows)
    if (top + i < rows && left + lane < columns) square[i][lane] = x[(top + i) * x_line + left + lane];
  __syncthreads();
  for (int j = first; j < side; j += block_rows)
    if (left + j < columns && top + lane < rows) y[(left + j) * y_line + top + lane] = square[lane][j];
}

// Moves dimension d behind all others.
void move_to_the_end(Strided<2>& strided, int d) {
  const auto rotate = [&](std::array<Size, max_rank>& numbers) {
    std::rotate(numbers.begin() + d, numbers.begin() + d + 1, numbers.begin() + strided.rank);
  };
  rotate(strided.extents);
  for (auto& strides : strided.strides) rotate(strides);
}

// The dimension along which this operand is contiguous and long enough for squares; -1 when there is none.
int contiguous_dimension(const Strided<2>& strided, int operand) {
  constexpr Size shortest = side / 4;  // below, most of a square would be empty
  for (int d = strided.rank - 1; d >= 0; --d)
    if (strided.strides[operand][d] == 1 && strided.extents[d] >= shortest) return d;
  return -1;
}

template <class T>
void copy(Cuda device, Strided<2> strided, const T* x, T* y) {
  const Size n = element_count(strided.rank, strided.extents);
  if (n == 0) return;
  strided = simplify(strided);
  // simplify() leaves one row where nothing is rearranged.
  if (strided.extents[0] == 1 && strided.rank == 2 && strided.strides[0][1] == 1 && strided.strides[1][1] == 1)
    return copy_on_device(device, x, y, n * static_cast<Size>(sizeof(T)));
  const int of_x = contiguous_dimension(strided, 0), of_y = contiguous_dimension(strided, 1);
  if (of_x >= 0 && of_y >= 0 && strided.strides[0][of_y] != 1 && strided.strides[1][of_x] != 1) {
    move_to_the_end(strided, of_y);
    move_to_the_end(strided, of_x > of_y ? of_x - 1 : of_x);
    const Size squares_down = (strided.extents[strided.rank - 2] + side - 1) / side;
    const Size squares_across = (strided.extents[strided.rank - 1] + side - 1) / side;
    const Size planes = element_count(strided.rank - 2, strided.extents);
    launch(transpose_kernel<T>, static_cast<unsigned>(planes * squares_down * squares_across), dim3(side, block_rows),
           0, device.stream, strided, squares_down, squares_across, x, y);
  } else if (n <= std::numeric_limits<std::uint32_t>::max()) {
    launch(copy_elements_kernel<std::uint32_t, T>, loop_blocks(n, threads), threads, 0, device.stream, n, strided, x,
           y);
  } else {
    launch(copy_elements_kernel<std::uint64_t, T>, loop_blocks(n, threads), threads, 0, device.stream, n, strided, x,
           y);
  }
}

// ---- Elements and rows ----------------------------------------------------------------------------------------------

template <class T>
__global__ void fill_kernel(Size n, T value, T* y) {
  chunks_of(n, y).for_each(global_thread(), all_threads(), [&](Size i, auto count) {
    Chunk<T, count> values;
    for (int k = 0; k < count; ++k) values[k] = value;
    *reinterpret_cast<Chunk<T, count>*>(y + i) = values;
  });
}

template <class From, class To>
__global__ void convert_kernel(Size n, const From* x, To* y) {
  chunks_of(n, x, y).for_each(global_thread(), all_threads(), [&](Size i, auto count) {
    const auto from = *reinterpret_cast<const Chunk<From, count>*>(x + i);
    Chunk<To, count> to;
    for (int k = 0; k < count; ++k) to[k] = converted<From, To>(from[k]);
    *reinterpret_cast<Chunk<To, count>*>(y + i) = to;
  });
}

template <class T>
__global__ void accumulate_kernel(Size n, const T* x, T* y) {
  chunks_of(n, x, y).for_each(global_thread(), all_threads(), [&](Size i, auto count) {
    auto sums = load_chunk<count>(y + i);
    const auto values = load_chunk<count>(x + i);
    for (int k = 0; k < count; ++k) sums[k] += values[k];
    store_chunk(sums, y + i);
  });
}

// Grid: x covers the elements of a row, y the rows, so that no thread has to divide.
template <class T>
__global__ void gather_rows_kernel(Size rows, Size x_rows, Size row_size, const std::int32_t* index, const T* x, T* y) {
  for (Size row = blockIdx.y; row < rows; row += gridDim.y) {
    if (index[row] < 0 || index[row] >= x_rows) continue;
    const T* const from = x + Size{index[row]} * row_size;
    for (Size c = global_thread(); c < row_size; c += all_threads()) y[row * row_size + c] = from[c];
  }
}

}  // namespace

template <class T>
void copy_strided(Cuda device, const StridedSizes& sizes, const T* x, T* y) {
  const auto to = contiguous_strides(sizes.rank, sizes.extents);
  copy(device, Strided<2>{sizes.rank, sizes.extents, {sizes.strides, to}}, x, y);
}

template <class T>
void scatter_strided(Cuda device, const StridedSizes& sizes, const T* x, T* y) {
  const auto from = contiguous_strides(sizes.rank, sizes.extents);
  copy(device, Strided<2>{sizes.rank, sizes.extents, {from, sizes.strides}}, x, y);
}

template <class T>
void fill(Cuda device, Size n, T value, T* y) {
  launch(fill_kernel<T>, chunk_blocks<T>(n, threads), threads, 0, device.stream, n, value, y);
}

template <class From, class To>
void convert(Cuda device, Size n, const From* x, To* y) {
  launch(convert_kernel<From, To>, chunk_blocks<From, To>(n, threads), threads, 0, device.stream, n, x, y);
}

template <class T>
void accumulate(Cuda device, Size n, const T* x, T* y) {
  launch(accumulate_kernel<T>, chunk_blocks<T>(n, threads), threads, 0, device.stream, n, x, y);
}

template <class T>
void gather_rows(Cuda device, Size rows, Size x_rows, Size row_size, const std::int32_t* index, const T* x, T* y) {
  check_indices(device, "gather_rows", "index", rows, index, 0, x_rows);
  const auto rows_at_once = static_cast<unsigned>(std::min<Size>(rows, 65535));  // the most that a grid's y can be
  launch(gather_rows_kernel<T>, dim3(loop_blocks(row_size, threads), rows_at_once), threads, 0, device.stream, rows,
         x_rows, row_size, index, x, y);
}

using Here = Cuda;

}  // namespace headshare::kernels

#include "kernels/copy_instances.h"

namespace headshare::kernels {

// Of gradients, which only the device has in bfloat16.
template void accumulate(Cuda, Size, const BFloat16*, BFloat16*);

}  // namespace headshare::kernels
