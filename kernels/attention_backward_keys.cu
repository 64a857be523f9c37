#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/attention_backward_mma.cuh"

// dK, dV and dS^T: a block keeps 128 keys and values, and lets all rows pass by that see any of them.
namespace headshare::kernels {
namespace {

// Each fragment of the passing rows that a warp gets from shared memory serves the products of all its squares of keys.
// Two squares need as many registers of a lane for D = 64 as one does for D = 128: 64 for its keys and values, 128 for
// the sums of their gradients.
template <int depth>
struct KeyTiling {
  static constexpr int squares = depth <= 64 ? 2 : 1;
  static constexpr int warp_keys = squares * square;
  static constexpr int threads = key_block / warp_keys * warp_size;
  static constexpr int blocks = depth <= 64 ? 2 : 1;      // on a multiprocessor at a time
  static constexpr int sums = squares * (depth / 8) * 4;  // of each gradient, in a thread
};

template <int depth>
using KeyFragments = LeftFragment[KeyTiling<depth>::squares][depth / square];
template <int depth>
using KeySums = Sums<KeyTiling<depth>::squares, depth>;
template <int depth>
using KeyScores = float[KeyTiling<depth>::squares][2][4];  // of 16 rows

// Rows as they pass by, in shared memory: twice, so that one tile comes while the other is worked on. Their places have
// to be there before they can come.
template <int depth>
struct PassingRows {
  BFloat16* data;
  static constexpr int row_bytes =
      2 * depth * static_cast<int>(sizeof(BFloat16)) + static_cast<int>(sizeof(RowFacts) + sizeof(RowPlace));
  static constexpr int bytes = passing_rows * row_bytes;
  static constexpr int numbers = bytes / static_cast<int>(sizeof(BFloat16));

  __device__ MmaTile<depth> queries() const { return {data}; }
  __device__ MmaTile<depth> d_outputs() const { return {data + passing_rows * depth}; }
  __device__ RowFacts* facts() const { return reinterpret_cast<RowFacts*>(data + 2 * passing_rows * depth); }
  __device__ RowPlace* places() const { return reinterpret_cast<RowPlace*>(facts() + passing_rows); }

  // Before the first rows, keys or values are here.
  __device__ MmaTile<depth> keys() const { return {data}; }
  static_assert(key_block == 2 * passing_rows);
};

// scores += keys rows^T, for 16 rows of the tile.
template <int depth>
__device__ inline void multiply_rows(const KeyFragments<depth>& keys, MmaTile<depth> rows, int first_row,
                                     KeyScores<depth>& scores) {
  unrolled<depth / square>([&](auto k) {
    const RightFragment right = right_of_transposed(rows, first_row, square * k);
    for (int i = 0; i < KeyTiling<depth>::squares; ++i) multiply(scores[i][0], scores[i][1], keys[i][k], right);
  });
}

// What rows do not see gets weight 0. `first_key` is the first of this warp.
template <int depth>
__device__ inline void hide(const RowFacts* facts, int first_key, KeyScores<depth>& scores,
                            KeyScores<depth>& d_weights) {
  const int r = threadIdx.x % warp_size / 4, c = threadIdx.x % 4;  // names of cuda_mma.cuh
  for (int j = 0; j < 2; ++j)
    for (int e = 0; e < 2; ++e) {
      const KeyRange visible = facts[8 * j + 2 * c + e].visible;
      for (int i = 0; i < KeyTiling<depth>::squares; ++i)
        for (int half = 0; half < 2; ++half)
          if (!visible.contains(first_key + square * i + 8 * half + r)) {
            scores[i][j][2 * half + e] = -std::numeric_limits<float>::infinity();
            d_weights[i][j][2 * half + e] = 0;
          }
    }
}

// In place: scores become the weights P, and the gradients dP of the weights become those of the scores, dS.
template <int depth>
__device__ inline void to_weights(const RowFacts* facts, float scale, KeyScores<depth>& scores,
                                  KeyScores<depth>& d_weights) {
  const int c = threadIdx.x % 4;
  for (int j = 0; j < 2; ++j)
    for (int e = 0; e < 2; ++e) {
      const RowFacts& row = facts[8 * j + 2 * c + e];
      const float log2_sum = row.log2_sum, delta = row.delta;
      for (int i = 0; i < KeyTiling<depth>::squares; ++i)
        for (int half = 0; half < 2; ++half) {
          float& score = scores[i][j][2 * half + e];
          float& d_weight = d_weights[i][j][2 * half + e];
          score = fast_exp2(std::fma(score, scale, -log2_sum));
          d_weight = score * (d_weight - delta);
        }
    }
}

// Which keys of which sentence a block works on.
struct KeyPlace {
  int b, g, first_key;
  int visible;  // so many of the block's keys some row sees
};
__device__ inline int first_key_of_block(const BackwardCall& call) {
  return call.first_key + static_cast<int>(blockIdx.y) * key_block;
}
__device__ inline KeyPlace key_place_of_block(const BackwardCall& call) {
  const int pair = static_cast<int>(blockIdx.x), kv_heads = static_cast<int>(call.sizes.kv_heads);
  const int b = pair / kv_heads, first = first_key_of_block(call);
  return {b, pair % kv_heads, first, visible_keys(call.sizes, call.mask, b, call.sizes.targets - 1).end - first};
}

// Where there are few blocks, several share the rows that see the same keys: every so many tiles is one's. Where this
// one's sums begin:                                    [splits, key blocks, pairs, dK and dV, KeyTiling::sums, threads]
template <int depth>
__device__ inline Size split_sums(unsigned split) {
  const Size block = (Size{split} * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  return block * (2 * KeyTiling<depth>::sums * KeyTiling<depth>::threads);
}

struct RowRange {
  int begin, end;
};
// The rows, in whole tiles, that see any key of the block.
__device__ inline RowRange rows_that_see(const BackwardCall& call, const KeyPlace& place) {
  const AttentionSizes& sizes = call.sizes;
  const int targets = static_cast<int>(sizes.targets), ahead = static_cast<int>(sizes.sources) - targets;
  if (place.visible <= 0) return {0, 0};
  Size begin = 0, end = targets;
  if (call.mask.order == AttentionMask::Order::causal) {
    const int own_target = place.first_key - ahead;  // stands where the first key does
    if (own_target > 0) begin = own_target;
    const Size too_late = own_target + key_block - 1 + call.mask.window;  // the last key has left its window
    if (call.mask.window > 0 && too_late < end) end = too_late;
  }
  return {static_cast<int>(begin) * call.group / passing_rows * passing_rows, static_cast<int>(end) * call.group};
}

template <int depth>
__device__ inline void store_gradient(const BackwardCall& call, const KeyPlace& place, KeySums<depth>& sums,
                                      float scale, HeadsView<BFloat16> to, MmaTile<depth> tile) {
  const int first = static_cast<int>(threadIdx.x) / warp_size * KeyTiling<depth>::warp_keys;
  store_sums<KeyTiling<depth>::squares, depth>(
      call, sums, scale, tile, first, [&](int s) { return head_at(to, place.b, place.first_key + first + s, place.g); },
      static_cast<int>(call.sizes.sources) - place.first_key - first);
}

template <int depth>
__global__ void __launch_bounds__(KeyTiling<depth>::threads, KeyTiling<depth>::blocks)
    d_key_value_kernel(BackwardCall call, float* sums_of_splits) {
  using Tiling = KeyTiling<depth>;
  constexpr int threads = Tiling::threads, squares = Tiling::squares, warp_keys = Tiling::warp_keys;
  DYNAMIC_SHARED(BFloat16, shared);
  const PassingRows<depth> tiles[2] = {{shared}, {shared + PassingRows<depth>::numbers}};
  const int thread = static_cast<int>(threadIdx.x), lane = thread % warp_size;

  // What is the same for all threads is in shared memory: registers are scarce.
  __shared__ struct alignas(16) {  // compilers move members in pairs
    KeyPlace place;
    Size first_row, d_scores;  // where those of the key/value head begin, and of the first key
    const BFloat16 *query, *d_output;
    RowRange rows;
  } here;
  if (thread == 0) {
    const KeyPlace place = key_place_of_block(call);
    here.place = place;
    here.rows = rows_that_see(call, place);
    here.rows.begin += static_cast<int>(blockIdx.z) * passing_rows;
    here.d_scores = call.d_scores_of(place.b, place.g, 0, place.first_key) - call.d_scores;
    here.query = head_at(call.query, place.b, 0, Size{place.g} * call.group);
    here.d_output = head_at(call.d_output, place.b, 0, Size{place.g} * call.group);
    here.first_row = call.first_row(place.b, place.g);
  }
  __syncthreads();
  const int warp_key = thread / warp_size * warp_keys, first_key = first_key_of_block(call) + warp_key;
  const int step = static_cast<int>(gridDim.z) * passing_rows;

  KeySums<depth> d_key = {}, d_value = {};
  if (here.rows.begin < here.rows.end) {
    const auto wait_for_all = [] {
      close_copy_group();
      wait_for_copies<0>();
      __syncthreads();
    };
    const auto start_places = [&](int first, const PassingRows<depth>& to) {
      constexpr int beside = sizeof(Piece) / sizeof(RowPlace);
      const int row = thread * beside;
      if (row < passing_rows) copy_async(to.places() + row, call.places + here.first_row + first + row);
    };
    const auto start_keys = [&](const HeadsView<const BFloat16>& heads, const PassingRows<depth>& to) {
      const BFloat16* const from = head_at(heads, here.place.b, here.place.first_key, here.place.g);
      copy_tile<threads, key_block, Access::pieces>(
          thread, [&](int s) { return from + s * heads.position_stride; }, here.place.visible, call.piece_size,
          to.keys());
    };
    start_keys(call.key, tiles[0]);
    start_keys(call.value, tiles[1]);
    start_places(here.rows.begin, tiles[0]);
    wait_for_all();
    KeyFragments<depth> keys, values;
    unrolled<depth / square>([&](auto k) {
      for (int i = 0; i < squares; ++i) {
        keys[i][k] = left_of(tiles[0].keys(), warp_key + square * i, square * k);
        values[i][k] = left_of(tiles[1].keys(), warp_key + square * i, square * k);
      }
    });

    const auto start_rows = [&](int first, const PassingRows<depth>& to) {
      for_each_row<threads, passing_rows, depth>(thread, [&](int row, int piece, int pieces_beside) {
        const RowPlace place = to.places()[row];
        for (; piece < MmaTile<depth>::pieces; piece += pieces_beside) {
          const int column = piece * piece_numbers;
          const bool inside = column < call.piece_size;
          const int bytes = inside ? static_cast<int>(sizeof(Piece)) : 0;
          const auto from = [&](const BFloat16* rows, std::uint32_t at) {
            return rows + (Size{at} * piece_numbers + (inside ? column : 0));
          };
          copy_async(to.queries().piece(row, piece), from(here.query, place.query), bytes);
          copy_async(to.d_outputs().piece(row, piece), from(here.d_output, place.d_output), bytes);
        }
      });
      if (thread < passing_rows) copy_async(to.facts() + thread, call.facts + here.first_row + first + thread);
    };
    __syncthreads();  // all have their keys and values
    start_rows(here.rows.begin, tiles[0]);
    if (here.rows.begin + step < here.rows.end) start_places(here.rows.begin + step, tiles[1]);
    std::uint32_t* const own_d_scores = call.d_scores + here.d_scores + warp_key / square * square_words + lane;
    int pair = 0;
    PassingRows<depth> tile = tiles[0];
    for (int first = here.rows.begin; first < here.rows.end;
         first += step, pair = 1 - pair, tile = {shared + pair * PassingRows<depth>::numbers}) {
      wait_for_all();  // this tile is there and the next places are, and nobody reads the others any more
      const PassingRows<depth> next{shared + (1 - pair) * PassingRows<depth>::numbers};
      if (first + 2 * step < here.rows.end) start_places(first + 2 * step, tile);
      if (first + step < here.rows.end) start_rows(first + step, next);
      for (int row = 0; row < passing_rows; row += square) {
        const RowFacts* const facts = tile.facts() + row;
        const KeyRange first_row = facts[0].visible, last_row = facts[square - 1].visible;
        if (!see_any(first_row, last_row, first_key, warp_keys)) continue;
        const bool hidden = !see_all(first_row, last_row, first_key, warp_keys);
        KeyScores<depth> weights = {}, d_scores = {};
        multiply_rows<depth>(values, tile.d_outputs(), row, d_scores);
        multiply_rows<depth>(keys, tile.queries(), row, weights);
        if (hidden) hide<depth>(facts, first_key, weights, d_scores);
        to_weights<depth>(facts, call.scale, weights, d_scores);
        LeftFragment p[squares], d_s[squares];
        for (int i = 0; i < squares; ++i) {
          p[i] = as_left(weights[i][0], weights[i][1]);
          d_s[i] = as_left(d_scores[i][0], d_scores[i][1]);
          const Size row_square = Size{(first + row) / square} * call.key_squares + i;
          std::uint32_t* const to = own_d_scores + row_square * square_words;
          for (int word = 0; word < 4; ++word) to[word * warp_size] = d_s[i].words[word];
        }
        add_product<squares, depth>(p, tile.d_outputs(), row, d_value);
        add_product<squares, depth>(d_s, tile.queries(), row, d_key);
      }
    }
  }
  if (sums_of_splits != nullptr) {
    float* to = sums_of_splits + split_sums<depth>(blockIdx.z) + thread;
    const auto keep = [&](float sum) { *to = sum, to += threads; };
    for_each_sum(d_key, keep);
    for_each_sum(d_value, keep);
    return;
  }
  __syncthreads();  // nobody reads the tiles any more
  store_gradient<depth>(call, here.place, d_key, call.key_scale, call.d_key, tiles[0].keys());
  store_gradient<depth>(call, here.place, d_value, 1, call.d_value, tiles[1].keys());
}

// What several blocks summed up for the same keys, in their order. Each thread has what the same one of those had.
template <int depth>
__global__ void __launch_bounds__(KeyTiling<depth>::threads)
    add_splits_kernel(BackwardCall call, const float* sums_of_splits, unsigned splits) {
  using Tiling = KeyTiling<depth>;
  DYNAMIC_SHARED(BFloat16, shared);
  const KeyPlace place = key_place_of_block(call);
  const auto add = [&](int gradient, float scale, const HeadsView<BFloat16>& to) {
    KeySums<depth> sums = {};
    for (unsigned split = 0; split < splits; ++split) {
      const float* from = sums_of_splits + split_sums<depth>(split) + gradient * Tiling::sums * Tiling::threads;
      from += threadIdx.x;
      for_each_sum(sums, [&](float& sum) { sum += *from, from += Tiling::threads; });
    }
    store_gradient<depth>(call, place, sums, scale, to, {shared});
  };
  add(0, call.key_scale, call.d_key);
  add(1, 1, call.d_value);
}

}  // namespace

void attention_backward_keys(Cuda device, const BackwardCall& call) {
  constexpr Size enough_blocks = 256;              // for a large GPU
  constexpr int rows_of_split = 4 * passing_rows;  // fewer are not worth the sum
  const Size pairs = call.sizes.batch * call.sizes.kv_heads, key_blocks = call.key_squares * square / key_block;
  const Size most = std::max(1u, groups_of(call.rows, rows_of_split));
  const Size splits = std::clamp<Size>(enough_blocks / std::max<Size>(1, pairs * key_blocks), 1, most);
  with_mma_depth("attention_backward", call.sizes.head_size, [&](auto depth) {
    constexpr int threads = KeyTiling<depth>::threads;
    float* const sums = splits == 1 ? nullptr
                                    : backward_scratch<float>(BackwardScratch::d_key_value,
                                                              splits * key_blocks * pairs * 2 * key_block * depth);
    const dim3 grid(static_cast<unsigned>(pairs), static_cast<unsigned>(key_blocks), static_cast<unsigned>(splits));
    launch(d_key_value_kernel<depth>, grid, threads, 2 * PassingRows<depth>::bytes, device.stream, call, sums);
    if (splits > 1)
      launch(add_splits_kernel<depth>, dim3(grid.x, grid.y), threads, mma_tile_bytes<key_block, depth>, device.stream,
             call, sums, grid.z);
  });
}

}  // namespace headshare::kernels
