#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/attention_ladder.h"
#include "kernels/decode_ring.cuh"

// Decoding with its products on tensor cores. Where a group shares one key/value head, each number of a bfloat16 or
// int8 cache is multiplied for 8 query rows or more: of the instructions that a GPU has time for while the number
// arrives, the widening and the multiplications of decode_attention.cu take them all. A tensor core multiplies 256
// numbers of the cache for 8 rows in one.
//
// A matrix product has 16 rows on its left side and 8 columns on its right: so here keys and values, of which there are
// many, stand on the left, and queries on the right, and everything is the transpose of what is written elsewhere:
//   scores^T [keys, rows] = keys [keys, D] queries^T [D, rows];   output^T [D, rows] += values^T [D, keys] weights^T
//
// The cache comes by copies to shared memory that each warp keeps under way, always two tiles or more ahead of the one
// it works on: no register waits for them, and no warp for another.
namespace headshare::kernels {
namespace {

using namespace decoding;

constexpr float infinity = std::numeric_limits<float>::infinity();

// What a warp has in registers. The rows of a tile come in eights, because products have eight columns. Lane 4 r + c
// (names of cuda_mma.cuh) has parts of keys r, r + 8, ... and of rows 2c and 2c + 1 of each eight.

// A right side [16, 8], as the sum of `parts` of them: of column r, a query row, two words with two numbers each.
template <int parts>
struct RightSide {
  std::uint32_t words[parts][2];
};

template <class T, class Stored, int depth, int eights>
using Queries = RightSide<query_parts<T, Stored>>[depth / 16][eights];
template <class T, class Stored, int eights>
using Weights = RightSide<weight_parts<T, Stored>>[eights];

// Of keys 8 i + r, i < 4, of a step: scores[i / 2][eight][i % 2 * 2 + row], row < 2.
template <int eights>
using Scores = float[2][eights][4];

template <int depth, int eights>
struct Sums {
  float maximum[eights][2];  // of the scores
  float total[eights][2];    // of the weights of this lane's keys alone, until the end
  float output[depth / 16][eights][4];
};

// What a block knows and rarely needs: in shared memory, because the sums need the registers.
template <int rows>
struct Task {
  RowTile tile;
  int working_warps;
  KeyRange visible[rows];
};

// How a multiprocessor is used: as many blocks at a time as it has registers for, with what the sums, the queries and
// all else need; and rings that together fill the 192 KiB of shared memory that are left beside a little for each
// block. So more than 100 KiB are always under way, where a memory of 4.8 TB/s that answers after 700 ns keeps 25 KB
// for each of 132 multiprocessors busy: one of the blocks may well begin or end meanwhile.
template <class T, class Stored, int depth, int eights>
struct Plan {
  static constexpr int registers = (sizeof(Stored) == 1 ? 124 : 84) + depth * eights * (2 + query_parts<T, Stored>) / 8;
  static constexpr int by_registers = registers <= 128 ? 4 : registers <= 160 ? 3 : 2;
  static constexpr int warp_bytes = 192 * 1024 / warps;
  static constexpr int tile_bytes = RingTile<Stored, depth>::bytes, fewest_stages = 3, most_stages = 6;
  static constexpr int by_memory = warp_bytes / (fewest_stages * tile_bytes);
  static constexpr int blocks = by_memory < by_registers ? by_memory : by_registers;
  static constexpr int stages_there = warp_bytes / blocks / tile_bytes;
  static constexpr int stages = stages_there < most_stages ? stages_there : most_stages;
  using Ring = decoding::Ring<Stored, depth, stages>;
  static constexpr int ring_bytes = warps * stages * tile_bytes;
  static constexpr int shared_bytes = ring_bytes + static_cast<int>(sizeof(Task<8 * eights>));
};

// ---- Steps of the kernel --------------------------------------------------------------------------------------------

// Numbers d and d + 1 of a head, 0 where it has none: together where they lie on four bytes.
__device__ inline void load_pair(const BFloat16* head, int d, int head_size, float (&pair)[2]) {
  BFloat16 both[2] = {};
  if (d + 1 < head_size && reinterpret_cast<std::uintptr_t>(head + d) % sizeof both == 0) {
    std::memcpy(both, __builtin_assume_aligned(head + d, sizeof both), sizeof both);
  } else {
    for (int e = 0; e < 2; ++e)
      if (d + e < head_size) both[e] = head[d + e];
  }
  for (int e = 0; e < 2; ++e) pair[e] = static_cast<float>(both[e]);
}

template <class T, class Stored, int depth, int eights>
__device__ inline void load_queries(const Call<T>& call, const RowTile& tile,
                                    Queries<T, Stored, depth, eights>& queries) {
  const int r = threadIdx.x % warp_size / 4, c = threadIdx.x % 4, head_size = static_cast<int>(call.sizes.head_size);
  unrolled<eights>([&](auto eight) {
    const int row = 8 * eight + r;
    const bool exists = row < tile.count;
    const T* const query = head_at(call.query, tile.b, tile.target(exists ? row : 0), tile.head(exists ? row : 0));
    unrolled<depth / 16>([&](auto k) {
      for (int word = 0; word < 2; ++word) {
        float pair[2];
        if constexpr (std::is_same_v<T, Stored>) {
          load_pair(query, 16 * k + 8 * word + 2 * c, exists ? head_size : 0, pair);
        } else {
          for (int e = 0; e < 2; ++e) {
            const int d = number_in_column<Stored>(16 * k + 8 * word + 2 * c + e);
            pair[e] = exists && d < head_size ? static_cast<float>(query[d]) : 0;
          }
        }
        std::uint32_t pairs[query_parts<T, Stored>];
        split_pair(pair[0], pair[1], pairs);
        for (int part = 0; part < query_parts<T, Stored>; ++part) queries[k][eight].words[part][word] = pairs[part];
      }
    });
  });
}

// scores^T = keys queries^T.
template <class T, class Stored, int depth, int eights, class Tile>
__device__ inline void multiply_keys(Tile tile, const Queries<T, Stored, depth, eights>& queries,
                                     Scores<eights>& scores) {
  unrolled<depth / 32>([&](auto k) {
    for (int m = 0; m < 2; ++m) {
      const TwoFragments f = keys_of<Stored>(tile, m, k);
      for (int i = 0; i < 2; ++i)
        for (int eight = 0; eight < eights; ++eight)
          for (int part = 0; part < query_parts<T, Stored>; ++part)
            mma_bf16(scores[m][eight], f.left[i].words, queries[2 * k + i][eight].words[part]);
    }
  });
}

// The maximum and the sum of the lanes that have the same rows.
__device__ inline float max_over_keys(float x) {
  for (int step = 4; step < warp_size; step *= 2) x = std::fmax(x, __shfl_xor_sync(all_lanes, x, step));
  return x;
}
__device__ inline float sum_over_keys(float x) {
  for (int step = 4; step < warp_size; step *= 2) x += __shfl_xor_sync(all_lanes, x, step);
  return x;
}

// e^x to about 1e-6 of itself where it counts, next to 1; in two instructions.
__device__ inline float fast_exp(float x) {
  constexpr float log2_of_e = 1.44269504f;
  return fast_exp2(x * log2_of_e);
}

// Scores become weights. `factor`: what the products with keys 8 i + r are multiplied with.
template <int depth, int eights>
__device__ inline void update_softmax(const KeyRange* visible, int first, const float (&factor)[4],
                                      Scores<eights>& scores, Sums<depth, eights>& sums) {
  const int r = threadIdx.x % warp_size / 4, c = threadIdx.x % 4;
  unrolled<eights>([&](auto eight) {
    float shrink[2];
    for (int row = 0; row < 2; ++row) {
      const KeyRange seen = visible[8 * eight + 2 * c + row];
      float largest = sums.maximum[eight][row];  // fmax passes over a NaN; its weight is NaN all the same
      for (int i = 0; i < 4; ++i) {
        float& score = scores[i / 2][eight][i % 2 * 2 + row];
        score = seen.contains(first + 8 * i + r) ? score * factor[i] : -infinity;
        largest = std::fmax(largest, score);
      }
      largest = max_over_keys(largest);
      shrink[row] = fast_exp(sums.maximum[eight][row] - largest);
      sums.maximum[eight][row] = largest;
      sums.total[eight][row] *= shrink[row];
      for (int i = 0; i < 4; ++i) {
        float& score = scores[i / 2][eight][i % 2 * 2 + row];
        score = fast_exp(score - largest);
        sums.total[eight][row] += score;
      }
    }
    for (int i = 0; i < depth / 16; ++i)
      for (int e = 0; e < 4; ++e) sums.output[i][eight][e] *= shrink[e % 2];
  });
}

// The weights of 16 keys as the right side of a product; `factor`: what those of keys r and r + 8 are multiplied with.
// A lane gives those of one key, two rows, and gets those of one row, two keys.
template <class T, class Stored, int eights>
__device__ inline void take_weights(const float (&weight)[eights][4], const float* factor,
                                    Weights<T, Stored, eights>& to) {
  unrolled<eights>([&](auto eight) {
    for (int i = 0; i < 2; ++i) {
      std::uint32_t pairs[weight_parts<T, Stored>];
      split_pair(weight[eight][2 * i] * factor[i], weight[eight][2 * i + 1] * factor[i], pairs);
      for (int part = 0; part < weight_parts<T, Stored>; ++part)
        to[eight].words[part][i] = transposed_matrix(pairs[part]);
    }
  });
}

// output^T += values^T weights^T.
template <class T, class Stored, int depth, int eights, class Tile>
__device__ inline void multiply_values(Tile tile, const Scores<eights>& weights, const float (&factor)[4],
                                       Sums<depth, eights>& sums) {
  unrolled<2>([&](auto m) {
    Weights<T, Stored, eights> right;
    take_weights<T, Stored, eights>(weights[m], factor + 2 * m, right);
    unrolled<depth / 32>([&](auto k) {
      const TwoFragments f = values_of<Stored>(tile, m, k);
      for (int i = 0; i < 2; ++i)
        for (int eight = 0; eight < eights; ++eight)
          for (int part = 0; part < weight_parts<T, Stored>; ++part)
            mma_bf16(sums.output[2 * k + i][eight], f.left[i].words, right[eight].words[part]);
    });
  });
}

// This warp's sums to shared memory.
template <class Stored, int depth, int eights>
__device__ inline void leave_sums(const Sums<depth, eights>& sums, const WarpSums<float>& to, int stride) {
  const int r = threadIdx.x % warp_size / 4, c = threadIdx.x % 4, warp = threadIdx.x / warp_size;
  unrolled<eights>([&](auto eight) {
    for (int row = 0; row < 2; ++row) {
      const int own = 8 * (warp * eights + eight) + 2 * c + row;
      const float total = sum_over_keys(sums.total[eight][row]);
      if (r == 0) to.maximum[own] = sums.maximum[eight][row], to.total[own] = total;
      for (int i = 0; i < depth / 16; ++i)
        for (int upper = 0; upper < 2; ++upper)
          to.values[own * stride + number_in_row<Stored>(16 * i + 8 * upper + r)] =
              sums.output[i][eight][2 * upper + row];
    }
  });
}

// eights: of rows of the block's tile, rounded up.
template <class T, class Stored, int depth, int eights>
__global__ void __launch_bounds__(threads, Plan<T, Stored, depth, eights>::blocks)
    decode_kernel(Call<T> call, HeadsView<const Stored> key, HeadsView<const Stored> value, Division division,
                  float scale, Partials<float> partials) {
  using P = Plan<T, Stored, depth, eights>;
  constexpr int rows = 8 * eights;
  DYNAMIC_SHARED(unsigned char, shared);  // [warps, stages, tile_bytes], task
  Task<rows>& task = *reinterpret_cast<Task<rows>*>(shared + P::ring_bytes);
  const int warp = threadIdx.x / warp_size;
  const AttentionSizes& sizes = call.sizes;
  const int head_size = static_cast<int>(sizes.head_size);
  const RowTile tile = division.tile(sizes);
  const auto seen_by = [&](int row) { return visible_keys(sizes, call.mask, tile.b, tile.target(row)); };

  // The keys that any row of the tile sees: the first row's begin first, and the last row's end last.
  const KeyRange keys = keys_of_split({seen_by(0).begin, seen_by(tile.count - 1).end}, division);
  const int first_of_warp = keys.begin + warp * keys_per_step;
  const Stored *const keys_at = head_at(key, tile.b, 0, tile.g), *const values_at = head_at(value, tile.b, 0, tile.g);
  typename P::Ring ring(shared + warp * P::stages * P::tile_bytes, keys_at, key.position_stride, values_at,
                        value.position_stride, head_size, first_of_warp, keys.end);

  Factors<Stored> factors(scales_of(key, keys_at, head_size), scales_of(value, values_at, head_size), first_of_warp,
                          keys.end);

  Queries<T, Stored, depth, eights> queries;
  load_queries<T, Stored, depth, eights>(call, tile, queries);
  Sums<depth, eights> sums{};
  for (auto& of_eight : sums.maximum)
    for (float& maximum : of_eight)
      maximum = std::numeric_limits<float>::lowest();  // -infinity less itself would be NaN
  for (int row = threadIdx.x; row < rows; row += threads)
    task.visible[row] = row < tile.count ? seen_by(row) : KeyRange{0, 0};
  if (threadIdx.x == 0) task.tile = tile, task.working_warps = working_warps_of(keys);
  __syncthreads();

  for (int first = first_of_warp; first < keys.end; first += keys_of_block) {
    float key_factor[4], value_factor[4];
    factors.take(scale, key_factor, value_factor);
    Scores<eights> scores = {};
    multiply_keys<T, Stored, depth>(ring.template await<Content::keys>(), queries, scores);
    update_softmax(task.visible, first, key_factor, scores, sums);
    multiply_values<T, Stored>(ring.template await<Content::values>(), scores, value_factor, sums);
  }

  // The sums of the warps that had keys.
  constexpr int stride = depth + 4;  // lanes store to 32 different banks; with an int8 cache, two to each of 16
  static_assert((2 + stride) * rows * warps * static_cast<int>(sizeof(float)) <= P::ring_bytes);
  float* const shared_sums = reinterpret_cast<float*>(shared);
  const WarpSums<float> warp_sums{shared_sums, shared_sums + warps * rows, shared_sums + 2 * warps * rows};
  __syncthreads();  // the rings make room
  if (warp < task.working_warps) leave_sums<Stored>(sums, warp_sums, stride);
  __syncthreads();
  join_warps<rows>(
      call, task.tile, division, task.working_warps, warp_sums, stride, [](int d) { return d; }, partials);
}

// Calls run(depth) with D rounded up.
template <class Stored, class Run>
void with_ring_depth(Size head_size, Run run) {
  if constexpr (sizeof(Stored) == 2)
    if (head_size <= 32) return run(std::integral_constant<int, 32>{});
  if (head_size <= 64) return run(std::integral_constant<int, 64>{});
  run(std::integral_constant<int, 128>{});
}

template <class Stored>
bool on_whole_pieces(const HeadsView<const Stored>& view, Size head_size) {
  constexpr Size numbers = Chunk<Stored>::size, most_bytes = std::numeric_limits<int>::max() / keys_of_block;
  return reinterpret_cast<std::uintptr_t>(view.data) % chunk_bytes == 0 && view.batch_stride % numbers == 0 &&
         view.position_stride % numbers == 0 && view.head_stride % numbers == 0 && head_size % numbers == 0 &&
         view.position_stride * static_cast<Size>(sizeof(Stored)) <= most_bytes;
}

}  // namespace

template <class Stored>
bool tensor_cores_can_decode(Size head_size, HeadsView<const Stored> key, HeadsView<const Stored> value) {
  return compute_capability() >= 80 && head_size <= 128 && on_whole_pieces(key, head_size) &&
         on_whole_pieces(value, head_size);
}

template <class T, class Stored>
void decode_attention_tensor_core(Cuda device, const AttentionSizes& sizes, const AttentionMask& mask,
                                  HeadsView<const T> query, HeadsView<const Stored> key, HeadsView<const Stored> value,
                                  HeadsView<T> output, float* log_sum_exp) {
  require_mma("decode_attention_tensor_core");
  if (!tensor_cores_can_decode(sizes.head_size, key, value))
    fail("decode_attention_tensor_core: takes heads of at most 128 numbers that lie on whole 16 bytes, not of ",
         sizes.head_size);
  constexpr Size enough_blocks = 1024;
  const Call<T> call{sizes, mask, query, output, log_sum_exp};
  const Size rows = std::min(rows_of_group(sizes), Size{most_rows});
  const float scale = 1 / std::sqrt(static_cast<float>(sizes.head_size));
  divide_and_join(device, call, rows, enough_blocks, [&](Division division, unsigned blocks, auto partials) {
    with_ring_depth<Stored>(sizes.head_size, [&](auto depth) {
      const auto run = [&](auto eights) {
        launch(decode_kernel<T, Stored, depth, eights>, blocks, threads, Plan<T, Stored, depth, eights>::shared_bytes,
               device.stream, call, key, value, division, scale, partials);
      };
      if (rows <= 8)
        run(std::integral_constant<int, 1>{});
      else
        run(std::integral_constant<int, 2>{});
    });
  });
}

template bool tensor_cores_can_decode(Size, HeadsView<const BFloat16>, HeadsView<const BFloat16>);
template bool tensor_cores_can_decode(Size, HeadsView<const std::int8_t>, HeadsView<const std::int8_t>);
template void decode_attention_tensor_core(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                           HeadsView<const BFloat16>, HeadsView<const BFloat16>, HeadsView<float>,
                                           float*);
template void decode_attention_tensor_core(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const float>,
                                           HeadsView<const std::int8_t>, HeadsView<const std::int8_t>, HeadsView<float>,
                                           float*);
template void decode_attention_tensor_core(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const BFloat16>,
                                           HeadsView<const BFloat16>, HeadsView<const BFloat16>, HeadsView<BFloat16>,
                                           float*);
template void decode_attention_tensor_core(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const BFloat16>,
                                           HeadsView<const std::int8_t>, HeadsView<const std::int8_t>,
                                           HeadsView<BFloat16>, float*);

}  // namespace headshare::kernels
