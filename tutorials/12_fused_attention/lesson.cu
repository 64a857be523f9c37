#include <cmath>
#include <limits>

#include "kernels/warp.cuh"
#include "lesson.h"
#include "tutorials/support/step.h"

// Steps 3 to 5. A block has 64 threads, and each thread one row to itself: a query, or in the last kernel a key. What
// belongs to its row stays in the thread's registers; the other side passes by in tiles of 32 rows in shared memory.
namespace headshare::lesson {
namespace {

using kernels::larger, kernels::warp_max, kernels::warp_size, kernels::warp_sum;

// ---- Given: between global memory, shared memory and registers ----
constexpr int stride = depth + 1;  // of a tile's rows: where each thread reads its own row, they start in 32 banks
constexpr float scale = 0.25f;     // 1 / sqrt(D) for a D of 16: exact

__device__ inline int thread_number() { return static_cast<int>(threadIdx.x); }
__host__ __device__ inline int smaller(int a, int b) { return a < b ? a : b; }

// The block copies `count` rows into a tile: neighbouring threads, neighbouring numbers. The rows after them become 0.
//                                                                                                      from: [count, D]
template <class T, int rows>
__device__ inline void load_rows(const T* from, int count, T (&tile)[rows][stride]) {
  for (int i = thread_number(); i < rows * depth; i += block_rows)
    tile[i / depth][i % depth] = i < count * depth ? from[i] : T{0};
}

// Each thread gets its own row of `count` rows, by way of `room`; threads from `count` on get zeros.
template <class T>
__device__ inline void load_own_row(const T* from, int count, T (&room)[block_rows][stride], T (&own)[depth]) {
  load_rows(from, count, room);
  __syncthreads();
  for (int d = 0; d < depth; ++d) own[d] = room[thread_number()][d];
  __syncthreads();  // the room may be used again
}

// The way back: the first `count` threads' rows, side by side.                                           to: [count, D]
template <class T>
__device__ inline void store_own_row(const T (&own)[depth], int count, T (&room)[block_rows][stride], T* to) {
  for (int d = 0; d < depth; ++d) room[thread_number()][d] = own[d];
  __syncthreads();
  for (int i = thread_number(); i < count * depth; i += block_rows) to[i] = room[i / depth][i % depth];
  __syncthreads();
}

template <class T>
__device__ inline T dot(const T (&a)[depth], const T* b) {
  T sum = 0;
  for (int d = 0; d < depth; ++d) sum += a[d] * b[d];
  return sum;
}

// The number of row (b, head, position) among those of an array [B, heads, positions].
__device__ inline Size row_at(int b, int head, int position, int heads, int positions) {
  return (Size{b} * heads + head) * positions + position;
}

// ---- Step 4: who reads what ----

// [show reads]
// The key/value head that a query head reads: neighbours share, H / G of them each.
__host__ __device__ inline int kv_head_of(const Sizes& sizes, int head) {
  // [step 4] Give query head `head` its key/value head; as it stands, every head counts off: 0, 1, 0, 1, ...
  // [hint] With H = 4 and G = 2 the heads 0, 1, 2, 3 must read 0, 0, 1, 1.
  // [hint] head / (H / G), in whole numbers.
  return head / (sizes.heads / sizes.kv_heads);
  // [stub]
  // return head % sizes.kv_heads;
  // [end]
}

// How many keys a target sees: 0 up to this number, not included.
__host__ __device__ inline int visible_keys(const Sizes& sizes, int target) {
  // [step 4] Let a target in causal order see nothing that comes after it; as it stands, all see all.
  // [hint] The last target, T - 1, sees all S keys; each one before it sees one less.
  // [hint] S - T + target + 1 of them.
  return sizes.order == Order::causal ? sizes.sources - sizes.targets + target + 1 : sizes.sources;
  // [stub]
  // return sizes.sources;
  // [end]
}

// How many keys pass by a block whose first query is `first_target`: those that at least one of its queries sees.
__host__ __device__ inline int end_of_keys(const Sizes& sizes, int first_target) {
  // [step 4] Stop where the last query of the block stops seeing; as it stands, every block goes through all keys.
  // [hint] In causal order, which query of a block sees the most? The last block of a head may be shorter than 64.
  // [hint] visible_keys of target first_target + 63 or T - 1, whichever comes first.
  const int last_target = smaller(first_target + block_rows, sizes.targets) - 1;
  return visible_keys(sizes, last_target);
  // [stub]
  // return sizes.sources;
  // [end]
}
// [end show]

// What a block of queries works on. Its blockIdx is (which 64 queries, head, sentence).
struct QueryBlock {
  int first_target, targets;    // `targets` queries: 64, or what is left
  Size first_query, first_key;  // rows of the arrays: of the first of them, and of key 0 of their key/value head
  int visible;                  // how many keys this thread's query sees; 0 for a thread that has no query
};
__device__ inline QueryBlock query_block(const Sizes& sizes) {
  const int first_target = static_cast<int>(blockIdx.x) * block_rows;
  const int head = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z);
  const int targets = smaller(block_rows, sizes.targets - first_target);
  return {first_target, targets, row_at(b, head, first_target, sizes.heads, sizes.targets),
          row_at(b, kv_head_of(sizes, head), 0, sizes.kv_heads, sizes.sources),
          thread_number() < targets ? visible_keys(sizes, first_target + thread_number()) : 0};
}

// ---- Step 3: forward ----

// [show forward]
// A block per 64 queries of one head.
template <class T>
__global__ void forward_kernel(Sizes sizes, const T* query, const T* key, const T* value, T* output, T* log_sum_exp) {
  __shared__ T room[block_rows][stride], keys[tile_rows][stride], values[tile_rows][stride];
  const auto [first_target, targets, first_query, first_key, visible] = query_block(sizes);
  T q[depth];  // this thread's query; its scores shall come out divided by sqrt(D)
  load_own_row(query + first_query * depth, targets, room, q);
  for (T& number : q) number *= scale;

  // Of one tile, a row for each thread. (An array of its own, indexed in a loop, would end up in global memory.)
  __shared__ T scores[block_rows][tile_rows + 1];
  T max = std::numeric_limits<T>::lowest();  // of this query's scores so far
  T sum = 0;                                 // of exp(score - max)
  T weighted[depth] = {};                    // sum of exp(score - max) value
  const int end = end_of_keys(sizes, first_target);
  for (int first = 0; first < end; first += tile_rows) {
    const int count = smaller(tile_rows, end - first);  // keys of this tile: first, first + 1, ...
    // [step 3] Make the threads wait for each other where they must: these tiles are read by all 64 threads.
    // [hint] A thread must not read a tile before all have written it. What else can go wrong in the second round?
    // [hint] __syncthreads() before the first load_rows and after the second.
    __syncthreads();
    load_rows(key + (first_key + first) * depth, count, keys);
    load_rows(value + (first_key + first) * depth, count, values);
    __syncthreads();
    // [stub]
    // load_rows(key + (first_key + first) * depth, count, keys);
    // load_rows(value + (first_key + first) * depth, count, values);
    // [end]

    // [step 3] Take the tile into max, sum and weighted, as in step 2: dot(q, keys[s]) is the score of key first + s.
    // A key counts only if first + s < visible.
    // [hint] Scores and the new max first; then sum and weighted shrink once; then the tile's own weights come on top.
    // [hint] shrink = exp(old max - new max); weight = exp(score - new max); weighted += weight values[s]; so sum.
    T* const own_scores = scores[thread_number()];
    T new_max = max;
    for (int s = 0; s < tile_rows && first + s < visible; ++s) {
      own_scores[s] = dot(q, keys[s]);
      new_max = larger(new_max, own_scores[s]);
    }
    const T shrink = std::exp(max - new_max);
    max = new_max;
    sum *= shrink;
    for (T& number : weighted) number *= shrink;
    for (int s = 0; s < tile_rows && first + s < visible; ++s) {
      const T weight = std::exp(own_scores[s] - max);
      sum += weight;
      for (int d = 0; d < depth; ++d) weighted[d] += weight * values[s][d];
    }
    // [stub]
    // [end]
  }

  // [step 3] Finish: divide, so that the weights add up to 1, and keep log(sum of exp(score)) of this thread's query.
  // [hint] sum is relative to max: exp(score) = exp(max) exp(score - max). Threads without a query write nothing.
  // [hint] log_sum_exp[first_query + thread_number()] = max + log(sum).
  for (T& number : weighted) number /= sum;
  if (visible > 0) log_sum_exp[first_query + thread_number()] = max + std::log(sum);
  // [stub]
  // [end]
  store_own_row(weighted, targets, room, output + first_query * depth);
}
// [end show]

// ---- Step 5: backward ----

// [show d_query]
// A block per 64 queries of one head, as in the forward; it also computes their deltas.
template <class T>
__global__ void d_query_kernel(Sizes sizes, const T* query, const T* key, const T* value, const T* output,
                               const T* log_sum_exp, const T* d_output, T* delta, T* d_query) {
  __shared__ T room[block_rows][stride], keys[tile_rows][stride], values[tile_rows][stride];
  const auto [first_target, targets, first_query, first_key, visible] = query_block(sizes);
  T q[depth], o[depth], d_o[depth], d_q[depth] = {};
  load_own_row(query + first_query * depth, targets, room, q);
  load_own_row(output + first_query * depth, targets, room, o);
  load_own_row(d_output + first_query * depth, targets, room, d_o);
  const T own_log_sum_exp = visible > 0 ? log_sum_exp[first_query + thread_number()] : T{0};

  T own_delta = 0;
  // [step 5] Compute the delta of this thread's query.
  // [hint] delta = sum over d of dO_d O_d, and dot(a, b) is given.
  own_delta = dot(o, d_o);
  // [stub]
  // [end]
  if (visible > 0) delta[first_query + thread_number()] = own_delta;

  const int end = end_of_keys(sizes, first_target);
  for (int first = 0; first < end; first += tile_rows) {
    const int count = smaller(tile_rows, end - first);
    __syncthreads();
    load_rows(key + (first_key + first) * depth, count, keys);
    load_rows(value + (first_key + first) * depth, count, values);
    __syncthreads();
    // [step 5] Bring the weights of this tile back, and add up dQ.
    // Row s of the tile is key first + s, which counts only if first + s < visible. q is not scaled here.
    // [hint] weight = exp(score - log_sum_exp), dP = dO . value, dS = weight (dP - delta).
    // [hint] d_q += dS keys[s] scale, and the score is dot(q, keys[s]) scale.
    for (int s = 0; s < tile_rows && first + s < visible; ++s) {
      const T weight = std::exp(dot(q, keys[s]) * scale - own_log_sum_exp);
      const T d_score = weight * (dot(d_o, values[s]) - own_delta);
      for (int d = 0; d < depth; ++d) d_q[d] += d_score * keys[s][d] * scale;
    }
    // [stub]
    // [end]
  }
  store_own_row(d_q, targets, room, d_query + first_query * depth);
}
// [end show]

// The first target that sees key `key`.
__device__ inline int first_target_of(const Sizes& sizes, int key) {
  return sizes.order == Order::causal ? larger(0, key - (sizes.sources - sizes.targets)) : 0;
}

// [show d_key_value]
// A block per 64 keys of one key/value head: blockIdx is (which 64, key/value head, sentence). Now the keys stay, and
// the queries of all heads of the group pass by, with what belongs to them.
template <class T>
__global__ void d_key_value_kernel(Sizes sizes, const T* query, const T* key, const T* value, const T* log_sum_exp,
                                   const T* d_output, const T* delta, T* d_key, T* d_value) {
  __shared__ T room[block_rows][stride], queries[tile_rows][stride], d_outputs[tile_rows][stride];
  __shared__ T log_sum_exps[tile_rows], deltas[tile_rows];
  const int first_source = static_cast<int>(blockIdx.x) * block_rows;
  const int kv_head = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z);
  const int sources = smaller(block_rows, sizes.sources - first_source);
  const Size first_key = row_at(b, kv_head, first_source, sizes.kv_heads, sizes.sources);
  const int source = first_source + thread_number();  // this thread's key

  T k[depth], v[depth], d_k[depth] = {}, d_v[depth] = {};
  load_own_row(key + first_key * depth, sources, room, k);
  load_own_row(value + first_key * depth, sources, room, v);

  const int group = sizes.heads / sizes.kv_heads;
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head)
    for (int first = first_target_of(sizes, first_source); first < sizes.targets; first += tile_rows) {
      const int count = smaller(tile_rows, sizes.targets - first);
      const Size first_query = row_at(b, head, first, sizes.heads, sizes.targets);
      __syncthreads();
      load_rows(query + first_query * depth, count, queries);
      load_rows(d_output + first_query * depth, count, d_outputs);
      if (thread_number() < count) {
        log_sum_exps[thread_number()] = log_sum_exp[first_query + thread_number()];
        deltas[thread_number()] = delta[first_query + thread_number()];
      }
      __syncthreads();
      // [step 5] Add up dK and dV of this thread's key over the queries of this tile that see it.
      // Row t of the tile is target first + t, which sees this key only if source < visible_keys(sizes, first + t).
      // [hint] The same weight and dS as for dQ, from the key's side: dV += weight dO, dK += dS q scale.
      // [hint] Loop over t < count; log_sum_exps[t] and deltas[t] belong to row t.
      for (int t = 0; t < count; ++t) {
        if (source >= visible_keys(sizes, first + t)) continue;
        const T weight = std::exp(dot(k, queries[t]) * scale - log_sum_exps[t]);
        const T d_score = weight * (dot(v, d_outputs[t]) - deltas[t]);
        for (int d = 0; d < depth; ++d) {
          d_v[d] += weight * d_outputs[t][d];
          d_k[d] += d_score * queries[t][d] * scale;
        }
      }
      // [stub]
      // [end]
    }
  store_own_row(d_k, sources, room, d_key + first_key * depth);
  store_own_row(d_v, sources, room, d_value + first_key * depth);
}
// [end show]

// ---- Given: plain attention, with stored scores ----

// scores = q k^T / sqrt(D), minus infinity where a key is not visible. A block per 64 queries, as above.
template <class T>
__global__ void plain_scores_kernel(Sizes sizes, const T* query, const T* key, T* scores) {
  __shared__ T queries[block_rows][stride], room[block_rows][stride];
  const auto [first_target, targets, first_query, first_key, visible] = query_block(sizes);
  load_rows(query + first_query * depth, targets, queries);
  for (int first = 0; first < sizes.sources; first += block_rows) {
    T k[depth];  // a thread per key, so that neighbouring threads store neighbouring scores
    load_own_row(key + (first_key + first) * depth, smaller(block_rows, sizes.sources - first), room, k);
    const int s = first + thread_number();
    for (int t = 0; t < targets && s < sizes.sources; ++t)
      scores[(first_query + t) * sizes.sources + s] =
          s < visible_keys(sizes, first_target + t) ? dot(k, queries[t]) * scale : -std::numeric_limits<T>::infinity();
  }
}

// A warp per row, which it reads once and writes once; in between the row is in shared memory.         scores: [., S]
template <class T>
__global__ void plain_softmax_kernel(int sources, T* scores) {
  DYNAMIC_SHARED(T, row);  // each lane only touches the numbers that it brought
  T* const in_memory = scores + Size{blockIdx.x} * sources;
  T max = -std::numeric_limits<T>::infinity(), sum = 0;
  for (int s = thread_number(); s < sources; s += warp_size) max = larger(max, row[s] = in_memory[s]);
  max = warp_max(max);
  for (int s = thread_number(); s < sources; s += warp_size) sum += row[s] = std::exp(row[s] - max);
  sum = warp_sum(sum);
  for (int s = thread_number(); s < sources; s += warp_size) in_memory[s] = row[s] / sum;
}

// output = weights values. A block per 64 queries.
template <class T>
__global__ void plain_output_kernel(Sizes sizes, const T* weights, const T* value, T* output) {
  __shared__ T room[block_rows][stride], values[tile_rows][stride], tile[block_rows][tile_rows + 1];
  const auto [first_target, targets, first_query, first_key, visible] = query_block(sizes);
  T sums[depth] = {};
  for (int first = 0; first < sizes.sources; first += tile_rows) {
    const int count = smaller(tile_rows, sizes.sources - first);
    __syncthreads();
    load_rows(value + (first_key + first) * depth, count, values);
    for (int i = thread_number(); i < block_rows * tile_rows; i += block_rows) {
      const int t = i / tile_rows, s = i % tile_rows;
      tile[t][s] = t < targets && s < count ? weights[(first_query + t) * sizes.sources + first + s] : T{0};
    }
    __syncthreads();
    for (int s = 0; s < count; ++s)
      for (int d = 0; d < depth; ++d) sums[d] += tile[thread_number()][s] * values[s][d];
  }
  store_own_row(sums, targets, room, output + first_query * depth);
}

}  // namespace

template <class T>
void attention_plain(kernels::Cuda device, const Sizes& sizes, const T* query, const T* key, const T* value, T* scores,
                     T* output) {
  check_sizes("attention_plain", sizes);
  const dim3 blocks(kernels::groups_of(sizes.targets, block_rows), sizes.heads, sizes.batch);
  kernels::launch(plain_scores_kernel<T>, blocks, block_rows, 0, device.stream, sizes, query, key, scores);
  const Size rows = Size{sizes.batch} * sizes.heads * sizes.targets;
  kernels::launch(plain_softmax_kernel<T>, static_cast<unsigned>(rows), warp_size, sizes.sources * sizeof(T),
                  device.stream, sizes.sources, scores);
  kernels::launch(plain_output_kernel<T>, blocks, block_rows, 0, device.stream, sizes, scores, value, output);
}

template <class T>
void attention_forward(kernels::Cuda device, const Sizes& sizes, const T* query, const T* key, const T* value,
                       T* output, T* log_sum_exp) {
  check_sizes("attention_forward", sizes);
  // [step 3] Launch forward_kernel: a block of 64 threads for every 64 targets of every head of every sentence.
  // [hint] The grid has three numbers, and blockIdx in the kernel says what they are. 70 targets need two blocks.
  // [hint] dim3(groups_of(T, 64), H, B) makes the grid; plain_scores_kernel is launched the same way.
  const dim3 blocks(kernels::groups_of(sizes.targets, block_rows), sizes.heads, sizes.batch);
  kernels::launch(forward_kernel<T>, blocks, block_rows, 0, device.stream, sizes, query, key, value, output,
                  log_sum_exp);
  // [end]
}

Size keys_read(const Sizes& sizes) {
  // [step 4] Add up the keys that the blocks of one query head read, as end_of_keys says.
  // [hint] One loop over first_target, 0, 64, 128, ..., that adds end_of_keys(sizes, first_target).
  Size keys = 0;
  for (int first_target = 0; first_target < sizes.targets; first_target += block_rows)
    keys += end_of_keys(sizes, first_target);
  return keys;
  // [end]
}

template <class T>
void attention_backward(kernels::Cuda device, const Sizes& sizes, const T* query, const T* key, const T* value,
                        const T* output, const T* log_sum_exp, const T* d_output, T* delta, T* d_query, T* d_key,
                        T* d_value) {
  check_sizes("attention_backward", sizes);
  // [step 5] Launch the two kernels in the order that they need each other, each with its own grid.
  // [hint] Which of them writes delta, and which only reads it? One goes by 64 queries, the other by 64 keys.
  // [hint] d_query_kernel: groups_of(T, 64), H, B. Then d_key_value_kernel: groups_of(S, 64), G, B.
  const dim3 query_blocks(kernels::groups_of(sizes.targets, block_rows), sizes.heads, sizes.batch);
  const dim3 key_blocks(kernels::groups_of(sizes.sources, block_rows), sizes.kv_heads, sizes.batch);
  kernels::launch(d_query_kernel<T>, query_blocks, block_rows, 0, device.stream, sizes, query, key, value, output,
                  log_sum_exp, d_output, delta, d_query);
  kernels::launch(d_key_value_kernel<T>, key_blocks, block_rows, 0, device.stream, sizes, query, key, value,
                  log_sum_exp, d_output, delta, d_key, d_value);
  // [end]
}

template void attention_plain(kernels::Cuda, const Sizes&, const float*, const float*, const float*, float*, float*);
template void attention_forward(kernels::Cuda, const Sizes&, const float*, const float*, const float*, float*, float*);
template void attention_forward(kernels::Cuda, const Sizes&, const double*, const double*, const double*, double*,
                                double*);
template void attention_backward(kernels::Cuda, const Sizes&, const float*, const float*, const float*, const float*,
                                 const float*, const float*, float*, float*, float*, float*);
template void attention_backward(kernels::Cuda, const Sizes&, const double*, const double*, const double*,
                                 const double*, const double*, const double*, double*, double*, double*, double*);

}  // namespace headshare::lesson
