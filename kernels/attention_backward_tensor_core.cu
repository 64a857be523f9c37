#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/attention_backward_mma.cuh"

// Everything but dK and dV: what the rows bring along, dQ, and the host's part.
namespace headshare::kernels {
namespace {

// ---- Facts ----------------------------------------------------------------------------------------------------------

// A warp per row.
template <Access access>
__global__ void facts_kernel(BackwardCall call, HeadsView<const BFloat16> outputs, HeadsView<const BFloat16> d_outputs,
                             const float* log_sum_exp) {
  const AttentionSizes& sizes = call.sizes;
  const Size index = global_thread() / warp_size, rows = Size{call.row_squares} * square;
  if (index >= sizes.batch * sizes.kv_heads * rows) return;  // the whole warp
  const Size pair = index / rows, row = index % rows, b = pair / sizes.kv_heads, group = sizes.heads / sizes.kv_heads;
  const bool exists = row < sizes.targets * group;
  const Size target = exists ? row / group : sizes.targets - 1, head = pair % sizes.kv_heads * group + row % group;
  RowFacts facts{std::numeric_limits<float>::infinity(), 0, visible_keys(sizes, call.mask, b, target)};
  if (exists) {
    constexpr int width = access == Access::pieces ? 4 : 1;
    const BFloat16* const output = head_at(outputs, b, target, head);
    const BFloat16* const d_output = head_at(d_outputs, b, target, head);
    for (Size d = threadIdx.x % warp_size * width; d < sizes.head_size; d += warp_size * width) {
      const auto o = load_chunk<width>(output + d), d_o = load_chunk<width>(d_output + d);
      for (int i = 0; i < width; ++i) facts.delta += o[i] * d_o[i];
    }
    const float log_sum = log_sum_exp[(b * sizes.heads + head) * sizes.targets + target];
    if (log_sum != -std::numeric_limits<float>::infinity())
      facts.log2_sum = log_sum * static_cast<float>(1 / std::log(2.0));
  }
  facts.delta = warp_sum(facts.delta);
  if (threadIdx.x % warp_size != 0) return;
  const auto place = [&](const HeadsView<const BFloat16>& heads) {
    return static_cast<std::uint32_t>((target * heads.position_stride + row % group * heads.head_stride) /
                                      piece_numbers);
  };
  call.facts[index] = facts;
  call.places[index] = {place(call.query), place(call.d_output)};
}

// ---- Queries --------------------------------------------------------------------------------------------------------

// A warp has two squares of rows, so that each fragment of keys serves two products.
constexpr int query_squares = 2, query_threads = row_block / (query_squares * square) * warp_size;

template <int depth>
struct QueryTiling {
  static constexpr int sums = query_squares * (depth / 8) * 4;  // in a thread
  static constexpr int blocks = depth <= 64 ? 3 : 2;            // on a multiprocessor at a time
  static constexpr int key_numbers = passing_keys * depth;
  static constexpr int d_score_words = row_block / square * (passing_keys / square) * square_words;
  static constexpr int shared_bytes = 2 * (mma_tile_bytes<passing_keys, depth> + 4 * d_score_words);
};

// A square of dS from one of dS^T as d_key_value_kernel stored it: four matrices of eight rows of 16 bytes, one after
// the other, those of the first rows of dS, the columns of dS^T, first.
__device__ inline LeftFragment left_of_d_scores(const std::uint32_t* words) {
  const int lane = threadIdx.x % warp_size, matrix = lane / 8;
  const int stored = matrix / 2 + matrix % 2 * 2;  // the one below each other become those beside each other
  LeftFragment a;
  load_matrices_transposed(a.words, words + stored * (square_words / 4) + lane % 8 * 4);
  return a;
}

// dQ = dS K over the keys of this run.
template <int depth>
__global__ void __launch_bounds__(query_threads, QueryTiling<depth>::blocks)
    d_query_kernel(BackwardCall call, float* partial) {
  using Tiling = QueryTiling<depth>;
  constexpr int squares = query_squares, warp_rows = squares * square, key_squares = passing_keys / square;
  DYNAMIC_SHARED(BFloat16, shared);
  const auto key_tile = [&](int pair) { return MmaTile<depth>{shared + pair * Tiling::key_numbers}; };
  const auto d_scores_of = [&](int pair, int warp) {
    return reinterpret_cast<std::uint32_t*>(shared + 2 * Tiling::key_numbers) + pair * Tiling::d_score_words +
           warp * squares * key_squares * square_words;
  };
  const RowTile tile = tile_of_block(call.sizes, row_block);
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % warp_size, warp = thread / warp_size, warp_row = warp * warp_rows;

  // What the block sees of this run, and each square of rows of this warp. Rows whose windows have left all keys begin
  // and end where the keys do, perhaps within a square of keys; they see nothing of it, and its dS was not stored.
  const int run_end = call.first_key + call.key_squares * square;
  const auto seen_by = [&](int first_row, int last_row) {
    const RowFacts* const facts = call.facts + call.first_row(tile.b, tile.g) + tile.first;
    const KeyRange seen{facts[first_row].visible.begin, facts[last_row].visible.end};
    return seen.begin < seen.end ? seen : KeyRange{0, 0};
  };
  const KeyRange seen = seen_by(0, tile.count - 1);
  KeyRange seen_by_square[squares];
  for (int i = 0; i < squares; ++i) {
    const int row = warp_row + square * i;
    seen_by_square[i] = row < tile.count ? seen_by(row, row + square - 1) : KeyRange{0, 0};
  }
  const int begin = (seen.begin > call.first_key ? seen.begin : call.first_key) / passing_keys * passing_keys;
  const int end = seen.end < run_end ? seen.end : run_end;

  const auto start = [&](int first, int pair) {
    const BFloat16* const from = head_at(call.key, tile.b, first, tile.g);
    copy_tile<query_threads, passing_keys, Access::pieces>(
        thread, [&](int s) { return from + s * call.key.position_stride; },
        end - first < passing_keys ? end - first : passing_keys, call.piece_size, key_tile(pair));
    // Squares that no row sees any key of may never have been stored.
    for (int i = 0; i < squares; ++i) {
      const std::uint32_t* const squares_of_row =
          call.d_scores_of(tile.b, tile.g, tile.first + warp_row + square * i, first) + lane * 4;
      for (int k = 0; k < key_squares; ++k) {
        const int key = first + square * k;
        const bool stored = see_any(seen_by_square[i], seen_by_square[i], key, square);
        copy_async(d_scores_of(pair, warp) + (i * key_squares + k) * square_words + lane * 4,
                   stored ? squares_of_row + k * square_words : call.d_scores, stored ? 16 : 0);
      }
    }
    close_copy_group();
  };

  Sums<squares, depth> d_query = {};
  const Size own_partial = Size{blockIdx.x} * Tiling::sums * query_threads + thread;
  if (!call.is_first) {
    const float* from = partial + own_partial;
    for_each_sum(d_query, [&](float& sum) { sum = *from, from += query_threads; });
  }
  if (begin < end) start(begin, 0);
  int pair = 0;
  for (int first = begin; first < end; first += passing_keys, pair = 1 - pair) {
    wait_for_copies<0>();
    __syncthreads();  // this pair is there, and nobody reads the other one any more
    if (first + passing_keys < end) start(first + passing_keys, 1 - pair);
    for (int k = 0; k < key_squares && first + square * k < end; ++k) {
      LeftFragment d_s[squares];
      for (int i = 0; i < squares; ++i)
        d_s[i] = left_of_d_scores(d_scores_of(pair, warp) + (i * key_squares + k) * square_words);
      add_product<squares, depth>(d_s, key_tile(pair), square * k, d_query);
    }
  }
  if (!call.is_last) {
    float* to = partial + own_partial;
    for_each_sum(d_query, [&](float sum) { *to = sum, to += query_threads; });
    return;
  }
  __syncthreads();  // nobody reads the tiles any more
  store_sums<squares, depth>(
      call, d_query, call.key_scale, {shared}, warp_row,
      [&](int i) { return head_at(call.d_query, tile.b, tile.target(warp_row + i), tile.head(warp_row + i)); },
      tile.count - warp_row);
}

// ---- Heads in pieces ------------------------------------------------------------------------------------------------

// to: [B, positions, heads, size], size the next multiple of a piece's numbers; zeros behind the D numbers of a head.
__global__ void pack_kernel(HeadsView<const BFloat16> from, Size positions, Size heads, Size head_size, Size size,
                            Size n, BFloat16* to) {
  for (Size i = global_thread(); i < n; i += all_threads()) {
    const Size d = i % size, head = i / size % heads, position = i / size / heads;
    to[i] = d < head_size ? head_at(from, position / positions, position % positions, head)[d] : BFloat16{};
  }
}

// The same heads, where they lie on whole 16 bytes: there, or as a copy.
HeadsView<const BFloat16> in_pieces(Cuda device, HeadsView<const BFloat16> view, const AttentionSizes& sizes,
                                    Size positions, Size heads, BackwardScratch slot) {
  if (lies_in_pieces(view, sizes.head_size)) return view;
  const Size size = Size{groups_of(sizes.head_size, piece_numbers)} * piece_numbers;
  const Size n = sizes.batch * positions * heads * size;
  BFloat16* const copy = backward_scratch<BFloat16>(slot, n);
  constexpr int threads = 256;
  launch(pack_kernel, loop_blocks(n, threads), threads, 0, device.stream, view, positions, heads, sizes.head_size, size,
         n, copy);
  return {copy, positions * heads * size, heads * size, size};
}

}  // namespace

void attention_backward_tensor_core(Cuda device, const AttentionSizes& sizes, const AttentionMask& mask,
                                    HeadsView<const BFloat16> query, HeadsView<const BFloat16> key,
                                    HeadsView<const BFloat16> value, HeadsView<const BFloat16> output,
                                    const float* log_sum_exp, HeadsView<const BFloat16> d_output,
                                    HeadsView<BFloat16> d_query, HeadsView<BFloat16> d_key, HeadsView<BFloat16> d_value,
                                    Size most_d_score_bytes) {
  const char* const who = "attention_backward";
  require_mma(who);
  const auto [B, T, S, H, G, D] = sizes;
  with_mma_depth(who, D, [](auto) {});  // throws before anything is launched
  const auto all_in_pieces = [&, size = D](const auto&... views) { return (lies_in_pieces(views, size) && ...); };
  const Size rows = rows_of_group(sizes), row_tiles = groups_of(rows, row_block), pairs = B * G;

  BackwardCall call{};
  call.sizes = sizes, call.mask = mask;
  call.query = in_pieces(device, query, sizes, T, H, BackwardScratch::query);
  call.key = in_pieces(device, key, sizes, S, G, BackwardScratch::key);
  call.value = in_pieces(device, value, sizes, S, G, BackwardScratch::value);
  call.d_output = in_pieces(device, d_output, sizes, T, H, BackwardScratch::d_output);
  call.piece_size = static_cast<int>(groups_of(D, piece_numbers)) * piece_numbers;
  call.d_query = d_query, call.d_key = d_key, call.d_value = d_value;
  call.storing = all_in_pieces(d_query, d_key, d_value) ? Access::pieces : Access::numbers;
  call.group = static_cast<int>(H / G), call.rows = static_cast<int>(rows);
  call.key_scale = static_cast<float>(1 / std::sqrt(static_cast<double>(D)));
  call.scale = static_cast<float>(1 / (std::log(2.0) * std::sqrt(static_cast<double>(D))));

  call.row_squares = static_cast<int>(row_tiles) * (row_block / square);
  const Size facts = pairs * call.row_squares * square;
  call.facts = backward_scratch<RowFacts>(BackwardScratch::facts, facts);
  call.places = backward_scratch<RowPlace>(BackwardScratch::places, facts);
  constexpr int threads = 256;
  launch(all_in_pieces(output, d_output) ? facts_kernel<Access::pieces> : facts_kernel<Access::numbers>,
         groups_of(facts * warp_size, threads), threads, 0, device.stream, call, output, d_output, log_sum_exp);

  // A run has as many keys as the memory for dS allows.
  const Size words_of_block = facts * key_block / 2, key_blocks = std::max(1u, groups_of(S, key_block));
  const Size words = most_d_score_bytes / static_cast<Size>(sizeof(std::uint32_t));
  const Size run_blocks = std::clamp<Size>(words / std::max<Size>(1, words_of_block), 1, key_blocks);
  call.d_scores = backward_scratch<std::uint32_t>(BackwardScratch::d_scores, run_blocks * words_of_block);
  const auto query_blocks = static_cast<unsigned>(row_tiles * pairs);
  for (Size first = 0; first < key_blocks; first += run_blocks) {
    const Size blocks = std::min(run_blocks, key_blocks - first);
    call.first_key = static_cast<int>(first) * key_block;
    call.key_squares = static_cast<int>(blocks) * (key_block / square);
    call.is_first = first == 0, call.is_last = first + blocks == key_blocks;
    attention_backward_keys(device, call);
    with_mma_depth(who, D, [&](auto depth) {
      float* const partial =
          call.is_first && call.is_last
              ? nullptr
              : backward_scratch<float>(BackwardScratch::d_query, row_tiles * pairs * row_block * depth);
      launch(d_query_kernel<depth>, query_blocks, query_threads, QueryTiling<depth>::shared_bytes, device.stream, call,
             partial);
    });
  }
}

}  // namespace headshare::kernels
