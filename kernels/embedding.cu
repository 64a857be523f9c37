#include "kernels/embedding.h"

#include "kernels/chunk.cuh"
#include "kernels/indices.h"

namespace headshare::kernels {
namespace {

constexpr int threads = 256, warps = threads / warp_size;

// One warp per token: its lanes read neighbouring columns of the row, so a row of any width is read in whole sectors,
// and the divisions that find the position are done once per row.
template <class T>
__global__ void embedding_kernel(Size tokens_count, Size width, Size vocabulary, const std::int32_t* tokens,
                                 const Wide<T>* table, Wide<T> scale, const Wide<T>* positions, Size length,
                                 const std::int32_t* first_position, T* y) {
  const Size i = global_thread() / warp_size;
  if (i >= tokens_count || tokens[i] < 0 || tokens[i] >= vocabulary) return;
  const Size first = first_position == nullptr ? 0 : *first_position;
  const Wide<T>* const from = table + Size{tokens[i]} * width;
  const Wide<T>* const position = positions == nullptr ? from : positions + (first + i % length) * width;
  T* const to = y + i * width;
  chunks_of(width, from, position, to).for_each(threadIdx.x % warp_size, warp_size, [&](Size c, auto count) {
    auto values = load_chunk<count>(from + c);
    for (int k = 0; k < count; ++k) values[k] *= scale;
    if (positions != nullptr) {
      const auto of_position = load_chunk<count>(position + c);
      for (int k = 0; k < count; ++k) values[k] += of_position[k];
    }
    store_chunk(values, to + c);
  });
}

// ---- Backward -------------------------------------------------------------------------------------------------------
// Adding each row of dy to d_table at once would need atomic additions, whose order, and so the last bits of the sums,
// changes from run to run; sorting the tokens first takes several kernels. Here a block owns `block_rows` rows of the
// table and `threads` columns. It looks at all tokens, which the second cache holds: 32 KiB for 8192 tokens. Those that
// hit its rows it collects in their order and adds up their rows of dy in shared memory. dy is read once, d_table is
// written once, zeros included, and each sum has one owner: thread c adds column c, in the order of the tokens.
template <class T>
constexpr int block_rows = 128 / sizeof(T);  // 32 KiB of sums: the more rows, the fewer blocks that read the tokens

struct Match {
  int position;  // of the token, from the first one of this round
  int row;       // of the table, from the block's first one
};

// All threads call it, each with one token of this round. matches becomes the list of the tokens that are `mine`, in
// the order of the threads; returns how many they are. The list may be read until the next call: that one writes to it
// only behind its first barrier, which nobody passes before all have read.
__device__ int collect(bool mine, Match match, int* count_of_warp, Match* matches) {
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const unsigned votes = __ballot_sync(all_lanes, mine);
  if (lane == 0) count_of_warp[warp] = __popc(votes);
  __syncthreads();
  int before = __popc(votes & ((1u << lane) - 1)), total = 0;  // before: matches of the lanes and warps before mine
  for (int w = 0; w < warps; ++w) {
    if (w < warp) before += count_of_warp[w];
    total += count_of_warp[w];
  }
  if (mine) matches[before] = match;
  __syncthreads();
  return total;
}

// Grid: x covers the rows of the table, y the columns. Dynamic shared memory: Wide<T>[block_rows<Wide<T>>][threads].
template <class T>
__global__ void embedding_backward_kernel(Size tokens_count, Size width, Size vocabulary, const std::int32_t* tokens,
                                          Wide<T> scale, const T* dy, Wide<T>* d_table) {
  constexpr int rows = block_rows<Wide<T>>;
  __shared__ int count_of_warp[warps];
  __shared__ Match matches[threads];
  DYNAMIC_SHARED(Wide<T>, sums);
  const Size first_row = Size{blockIdx.x} * rows, column = Size{blockIdx.y} * threads + threadIdx.x;
  Wide<T>* const my_sums = sums + threadIdx.x;  // nobody else's: they need no barrier
  for (int row = 0; row < rows; ++row) my_sums[row * threads] = 0;
  for (Size start = 0; start < tokens_count; start += threads) {
    const Size i = start + threadIdx.x;
    const Size row = i < tokens_count ? tokens[i] - first_row : -1;
    const bool mine = row >= 0 && row < rows;  // outside the table: nobody's, or of a row that is not written
    const Match match{static_cast<int>(threadIdx.x), static_cast<int>(row)};
    const int total = collect(mine, match, count_of_warp, matches);
    if (column >= width) continue;
    // A frequent token has hundreds of matches: eight loads are on their way before the first is waited for.
    constexpr int batch = 8;
    for (int first = 0; first < total; first += batch) {
      Wide<T> values[batch];
      for (int k = 0; k < batch; ++k)
        values[k] = first + k < total ? static_cast<Wide<T>>(dy[(start + matches[first + k].position) * width + column])
                                      : Wide<T>(0);
      for (int k = 0; k < batch; ++k)
        if (first + k < total) my_sums[matches[first + k].row * threads] += values[k];
    }
  }
  if (column >= width) return;
  for (int row = 0; row < rows && first_row + row < vocabulary; ++row)
    d_table[(first_row + row) * width + column] = scale * my_sums[row * threads];
}

}  // namespace

template <class T>
void embedding(Cuda device, Size tokens_count, Size width, Size vocabulary, const std::int32_t* tokens,
               const Wide<T>* table, Wide<T> scale, const Wide<T>* positions, Size length,
               const std::int32_t* first_position, T* y) {
  check_indices(device, "embedding", "token", tokens_count, tokens, 0, vocabulary);
  launch(embedding_kernel<T>, groups_of(tokens_count, warps), threads, 0, device.stream, tokens_count, width,
         vocabulary, tokens, table, scale, positions, length, first_position, y);
}

template <class T>
void embedding_backward(Cuda device, Size tokens_count, Size width, Size vocabulary, const std::int32_t* tokens,
                        Wide<T> scale, const T* dy, Wide<T>* d_table) {
  check_indices(device, "embedding_backward", "token", tokens_count, tokens, 0, vocabulary);
  constexpr int rows = block_rows<Wide<T>>;
  const dim3 grid(groups_of(vocabulary, rows), groups_of(width, threads));
  launch(embedding_backward_kernel<T>, grid, threads, rows * threads * sizeof(Wide<T>), device.stream, tokens_count,
         width, vocabulary, tokens, scale, dy, d_table);
}

template void embedding(Cuda, Size, Size, Size, const std::int32_t*, const float*, float, const float*, Size,
                        const std::int32_t*, float*);
template void embedding(Cuda, Size, Size, Size, const std::int32_t*, const double*, double, const double*, Size,
                        const std::int32_t*, double*);
template void embedding(Cuda, Size, Size, Size, const std::int32_t*, const float*, float, const float*, Size,
                        const std::int32_t*, BFloat16*);
template void embedding_backward(Cuda, Size, Size, Size, const std::int32_t*, float, const float*, float*);
template void embedding_backward(Cuda, Size, Size, Size, const std::int32_t*, double, const double*, double*);
template void embedding_backward(Cuda, Size, Size, Size, const std::int32_t*, float, const BFloat16*, float*);

}  // namespace headshare::kernels
