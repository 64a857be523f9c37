#include <cmath>
#include <limits>

#include "kernels/attention_ladder.h"
#include "kernels/attention_mask.cuh"
#include "kernels/attention_mma.cuh"

// The fused kernel of attention.cu again, its two products on tensor cores (FlashAttention-2; Dao 2023). These multiply
// so fast that all else has to be kept out of their way: keys and values come by themselves while the products of the
// tile before are computed, scores and weights never leave their registers, and masks are looked at only where one cuts
// through a tile.
namespace headshare::kernels {
namespace {

constexpr int warps = 4, threads = warps * warp_size;

// Of queries, per warp two squares of 16: each fragment of keys or values that a warp gets from shared memory then
// serves two products. With one square, shared memory would take longer than the tensor cores.
constexpr int squares = 2, warp_rows = squares * 16, rows = warps * warp_rows;
// In a tile. Of wide heads fewer: their outputs leave registers for no more scores.
template <int depth>
constexpr int keys_of = depth > 64 ? 32 : 64;

constexpr float infinity = std::numeric_limits<float>::infinity();

struct Call {
  AttentionSizes sizes;
  AttentionMask mask;
  HeadsView<const BFloat16> query, key, value;
  HeadsView<BFloat16> output;
  float* log_sum_exp;
  float scale;  // 1 / (sqrt(D) ln 2)
};

// ---- What a warp has in registers -----------------------------------------------------------------------------------

constexpr float slack = 8;  // weights up to 2^8: float32 and bfloat16 hold them as exactly as those up to 1

// A lane has parts of the rows r and r + 8 of each square: halves 0 and 1 (cuda_mma.cuh).
template <int depth>
using Scores = float[squares][keys_of<depth> / 8][4];
template <int depth>
using Weights = LeftFragment[squares][keys_of<depth> / 16];

template <int depth>
struct Sums {
  // Weights are powers of 2, which take one instruction, of scores over ln 2 less this: the largest score so far, or
  // up to `slack` less. (Scaling all sums for every slightly larger score would take as long as a quarter of the rest.)
  float top[squares][2];
  float weights[squares][2];            // the sum of this lane's own: added up at the end
  float output[squares][depth / 8][4];  // of weights times values
};

// The fragments of this warp's queries: in registers, where there is room beside the sums, else in shared memory.
template <int depth>
class Queries {
 public:
  __device__ Queries(MmaTile<depth> tile, int first_row) : tile_(tile), first_row_(first_row) {
    if constexpr (kept)
      for (int i = 0; i < squares; ++i)
        for (int k = 0; k < depth / 16; ++k) fragments_[i][k] = left_of(tile, first_row + 16 * i, 16 * k);
  }
  __device__ LeftFragment fragment(int square, int k) const {
    if constexpr (kept) return fragments_[square][k];
    return left_of(tile_, first_row_ + 16 * square, 16 * k);
  }

 private:
  static constexpr bool kept = depth <= 64;

  MmaTile<depth> tile_;
  int first_row_;
  LeftFragment fragments_[kept ? squares : 1][kept ? depth / 16 : 1];
};

// scores = queries keys^T.
template <int depth>
__device__ inline void multiply_keys(const Queries<depth>& queries, MmaTile<depth> key_tile, Scores<depth>& scores) {
  for (int k = 0; k < depth / 16; ++k) {
    LeftFragment q[squares];
    for (int i = 0; i < squares; ++i) q[i] = queries.fragment(i, k);
    for (int j = 0; j < keys_of<depth> / 16; ++j) {
      const RightFragment key = right_of_transposed(key_tile, 16 * j, 16 * k);
      for (int i = 0; i < squares; ++i) multiply(scores[i][2 * j], scores[i][2 * j + 1], q[i], key);
    }
  }
}

// Scores of keys that a row does not see become -infinity. `first` is the number of the tile's first key.
//                                                                             visible: from this warp's first row on
template <int depth>
__device__ inline void hide_keys(const KeyRange* visible, int first, Scores<depth>& scores) {
  const int r = threadIdx.x % warp_size / 4, c = threadIdx.x % 4;
  for (int i = 0; i < squares; ++i)
    for (int half = 0; half < 2; ++half) {
      const KeyRange seen = visible[16 * i + 8 * half + r];
      for (int j = 0; j < keys_of<depth> / 8; ++j)
        for (int e = 0; e < 2; ++e)
          if (!seen.contains(first + 8 * j + 2 * c + e)) scores[i][j][2 * half + e] = -infinity;
    }
}

// One value of the 4 lanes that have parts of the same rows.
template <class Combine>
__device__ inline float over_columns(float value, Combine combine) {
  for (int step = 1; step < 4; step *= 2) value = combine(value, __shfl_xor_sync(all_lanes, value, step));
  return value;
}

// What was summed up so far, relative to new tops.
template <int depth>
__device__ inline void shrink_sums(const float (&shrink)[squares][2], Sums<depth>& sums) {
  for (int i = 0; i < squares; ++i)
    for (int half = 0; half < 2; ++half) sums.weights[i][half] *= shrink[i][half];
  for (int i = 0; i < squares; ++i)
    for (int j = 0; j < depth / 8; ++j)
      for (int e = 0; e < 4; ++e) sums.output[i][j][e] *= shrink[i][e / 2];
}

// Brings the new scores into the softmax, and makes them weights. `scale`: of Call.
template <int depth>
__device__ inline void update_softmax(float scale, const Scores<depth>& scores, Sums<depth>& sums,
                                      Weights<depth>& weights) {
  float shrink[squares][2];
  bool any_moves = false;
  for (int i = 0; i < squares; ++i)
    for (int half = 0; half < 2; ++half) {
      float largest = -infinity;  // fmax passes over a NaN; its weight is NaN all the same
      for (int j = 0; j < keys_of<depth> / 8; ++j)
        for (int e = 0; e < 2; ++e) largest = std::fmax(largest, scores[i][j][2 * half + e]);
      largest = scale * over_columns(largest, [](float a, float b) { return std::fmax(a, b); });
      float& top = sums.top[i][half];
      const bool moves = largest > top + slack;
      shrink[i][half] = moves ? fast_exp2(top - largest) : 1;
      if (moves) top = largest;
      any_moves = any_moves || moves;
    }
  if (__any_sync(all_lanes, any_moves)) shrink_sums(shrink, sums);
  for (int i = 0; i < squares; ++i)
    for (int half = 0; half < 2; ++half) {
      const float top = sums.top[i][half];
      const float from = top == -infinity ? 0 : top;  // no key seen yet: -infinity less itself would be NaN
      for (int j = 0; j < keys_of<depth> / 8; ++j) {
        const float even = fast_exp2(std::fma(scores[i][j][2 * half], scale, -from));
        const float odd = fast_exp2(std::fma(scores[i][j][2 * half + 1], scale, -from));
        sums.weights[i][half] += even + odd;
        weights[i][j / 2].words[j % 2 * 2 + half] = bfloat16_pair(even, odd);  // as as_left would
      }
    }
}

// sums += weights values.
template <int depth>
__device__ inline void add_values(const Weights<depth>& weights, MmaTile<depth> value_tile, Sums<depth>& sums) {
  for (int k = 0; k < keys_of<depth> / 16; ++k)
    for (int j = 0; j < depth / 16; ++j) {
      const RightFragment value = right_of(value_tile, 16 * k, 16 * j);
      for (int i = 0; i < squares; ++i)
        multiply(sums.output[i][2 * j], sums.output[i][2 * j + 1], weights[i][k], value);
    }
}

// ---- The block ------------------------------------------------------------------------------------------------------

// The queries, and two pairs of a tile of keys and one of values.
template <int depth>
constexpr int shared_bytes = mma_tile_bytes<rows, depth> + 4 * mma_tile_bytes<keys_of<depth>, depth>;

template <int depth, Access access>
__global__ void __launch_bounds__(threads, depth <= 32 ? 3 : 2) attention_kernel(Call call) {
  DYNAMIC_SHARED(BFloat16, shared);
  const MmaTile<depth> query_tile{shared};
  constexpr int keys = keys_of<depth>;
  const auto key_tile = [&](int pair) { return MmaTile<depth>{shared + (rows + 2 * pair * keys) * depth}; };
  const auto value_tile = [&](int pair) { return MmaTile<depth>{shared + (rows + (2 * pair + 1) * keys) * depth}; };

  const AttentionSizes& sizes = call.sizes;
  const int head_size = static_cast<int>(sizes.head_size), thread = static_cast<int>(threadIdx.x);
  __shared__ RowTile tile;  // this and what follows not in registers: the sums need them
  __shared__ const BFloat16 *all_keys, *all_values;
  if (thread == 0) {
    tile = tile_of_block(sizes, rows);
    all_keys = head_at(call.key, tile.b, 0, tile.g);
    all_values = head_at(call.value, tile.b, 0, tile.g);
  }
  __syncthreads();
  __shared__ KeyRange visible[rows];
  for (int r = thread; r < rows; r += threads)
    visible[r] = visible_keys(sizes, call.mask, tile.b, tile.target(r < tile.count ? r : tile.count - 1));
  __syncthreads();
  const int begin = visible[0].begin, end = visible[tile.count - 1].end;  // of what any row of the tile sees

  // The first keys and values come together with the queries, all others while those before are worked on.
  const auto start_keys = [&](int first, int pair) {
    const int count = end - first < keys ? end - first : keys;
    const auto start = [&](const BFloat16* from, Size stride, MmaTile<depth> to) {
      copy_tile<threads, keys, access>(
          thread, [&](int s) { return from + (first + s) * stride; }, count, head_size, to);
    };
    start(all_keys, call.key.position_stride, key_tile(pair));
    start(all_values, call.value.position_stride, value_tile(pair));
    close_copy_group();
  };
  const auto wait_for_all = [] {
    wait_for_copies<0>();
    __syncthreads();
  };

  // Rows of this warp; one without queries only helps to load.
  const int warp_row = thread / warp_size * warp_rows;
  Sums<depth> sums = {};
  for (auto& square : sums.top)
    for (float& top : square) top = -infinity;
  if (begin < end) {
    copy_tile<threads, rows, access>(
        thread, [&](int r) { return head_at(call.query, tile.b, tile.target(r), tile.head(r)); }, tile.count, head_size,
        query_tile);
    start_keys(begin, 0);
    wait_for_all();
    const Queries<depth> queries(query_tile, warp_row);
    int pair = 0;
    for (int first = begin; first < end; first += keys, pair = 1 - pair) {
      // `end`, asked for again: the compiler is short of this one register.
      if (first + keys < visible[tile.count - 1].end) start_keys(first + keys, 1 - pair);
      const KeyRange first_row = visible[warp_row], last_row = visible[warp_row + warp_rows - 1];
      if (warp_row < tile.count && first < last_row.end && first + keys > first_row.begin) {
        Scores<depth> scores = {};
        multiply_keys(queries, key_tile(pair), scores);
        if (first < last_row.begin || first + keys > first_row.end) hide_keys<depth>(visible + warp_row, first, scores);
        Weights<depth> weights;
        update_softmax(call.scale, scores, sums, weights);
        add_values(weights, value_tile(pair), sums);
      }
      wait_for_all();  // the next pair is there, and nobody reads this one any more
    }
  }

  // The outputs go through the place of this warp's queries, which no other warp reads: so the warp stores whole rows.
  const int r = thread % warp_size / 4;
  float inverse[squares][2];
  for (int i = 0; i < squares; ++i)
    for (int half = 0; half < 2; ++half) {
      const int row = warp_row + 16 * i + 8 * half + r;
      const float sum = over_columns(sums.weights[i][half], [](float a, float b) { return a + b; });
      inverse[i][half] = sum != 0 ? 1 / sum : 0;  // 0: no key is visible
      if (call.log_sum_exp != nullptr && thread % 4 == 0 && row < tile.count)
        call.log_sum_exp[(tile.b * sizes.heads + tile.head(row)) * sizes.targets + tile.target(row)] =
            static_cast<float>(std::log(2.0)) * (sums.top[i][half] + std::log2(sum));
    }
  shrink_sums(inverse, sums);
  unrolled<squares>([&](auto i) {
    for (int j = 0; j < depth / 8; ++j) put_sums(query_tile, warp_row + 16 * i, 8 * j, sums.output[i][j]);
  });
  __syncwarp();
  store_tile<warp_size, warp_rows, access>(
      thread % warp_size, query_tile, warp_row,
      [&](int i) { return head_at(call.output, tile.b, tile.target(warp_row + i), tile.head(warp_row + i)); },
      tile.count - warp_row, head_size);
}

}  // namespace

void attention_tensor_core(Cuda device, const AttentionSizes& sizes, const AttentionMask& mask,
                           HeadsView<const BFloat16> query, HeadsView<const BFloat16> key,
                           HeadsView<const BFloat16> value, HeadsView<BFloat16> output, float* log_sum_exp) {
  require_mma("attention_tensor_core");
  const Size D = sizes.head_size;
  const bool in_pieces =
      lies_in_pieces(query, D) && lies_in_pieces(key, D) && lies_in_pieces(value, D) && lies_in_pieces(output, D);
  const double scale = 1 / (std::log(2.0) * std::sqrt(static_cast<double>(D)));
  with_mma_depth("attention_tensor_core", D, [&](auto depth) {
    const Size blocks = groups_of(rows_of_group(sizes), rows) * sizes.batch * sizes.kv_heads;
    launch(in_pieces ? attention_kernel<depth, Access::pieces> : attention_kernel<depth, Access::numbers>,
           static_cast<unsigned>(blocks), threads, shared_bytes<depth>, device.stream,
           Call{sizes, mask, query, key, value, output, log_sum_exp, static_cast<float>(scale)});
  });
}

}  // namespace headshare::kernels
