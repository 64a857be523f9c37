#include "lesson.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "tutorials/support/step.h"

// Steps 1, 2 and 6: what can be thought through on the processor before a kernel is written, and what is to be expected
// of it afterwards.
namespace headshare::lesson {

namespace {
constexpr Size bytes_of_float = 4;

// How many blocks of 64 rows cover `rows`.
Size blocks_of(Size rows) { return (rows + block_rows - 1) / block_rows; }
}  // namespace

void check_sizes(const char* who, const Sizes& sizes) {
  const auto& [B, H, G, T, S, order, D] = sizes;
  if (B < 1 || H < 1 || T < 1 || S < 1) fail(who, ": every size must be at least 1");
  if (G < 1 || H % G != 0) fail(who, ": ", H, " query heads cannot share ", G, " key/value heads evenly");
  if (D != depth) fail(who, ": D is ", D, "; these kernels are made for ", depth);
  if (order == Order::causal && S < T) fail(who, ": causal order with ", T, " targets needs as many sources, not ", S);
}

// ---- Step 1 ----

// [show plain]
Size plain_bytes(const Sizes& sizes) {
  // [step 1] Count the bytes that the three kernels of plain attention read and write.
  // [hint] For one head: how often do T x S scores or weights pass through memory? How often is each key read?
  // [hint] T x S passes four times: written, read, written, read. Queries are read and outputs written once. Keys and
  // values are read once by each block of 64 queries.
  const Size T = sizes.targets, S = sizes.sources, D = sizes.head_size;
  const Size scores = 4 * T * S;
  const Size rows = 2 * T * D + blocks_of(T) * 2 * S * D;
  return Size{sizes.batch} * sizes.heads * (scores + rows) * bytes_of_float;
  // [end]
}
// [end show]

// [show fused]
Size fused_bytes(const Sizes& sizes) {
  // [step 1] Count the bytes that one fused kernel reads and writes.
  // [hint] The same queries, keys, values and outputs; what is missing, and which small thing is new?
  // [hint] No scores; one log-sum-exp for each query.
  const Size T = sizes.targets, S = sizes.sources, D = sizes.head_size;
  const Size rows = 2 * T * D + blocks_of(T) * 2 * S * D;
  return Size{sizes.batch} * sizes.heads * (rows + T) * bytes_of_float;
  // [end]
}
// [end show]

// ---- Step 2 ----

OnlineSoftmax nothing_seen(int head_size) {
  return {-std::numeric_limits<double>::infinity(), 0, std::vector<double>(head_size)};
}

// [show add_tile]
void add_tile(OnlineSoftmax& softmax, const std::vector<double>& scores, const std::vector<double>& values) {
  // [step 2] Take the tile in: find the new maximum, bring what was summed up so far to it, then add the tile.
  // [hint] sum and output are made of exp(score - old max). By which factor do they become exp(score - new max)?
  // [hint] By exp(old max - new max). Where the new maximum is still minus infinity, return: nothing was seen.
  const double max = std::max(softmax.max, *std::max_element(scores.begin(), scores.end()));
  if (max == -std::numeric_limits<double>::infinity()) return;  // minus infinity less itself is not a number
  const double shrink = std::exp(softmax.max - max);
  softmax.max = max;
  softmax.sum *= shrink;
  for (double& number : softmax.output) number *= shrink;
  const std::size_t D = softmax.output.size();
  for (std::size_t s = 0; s < scores.size(); ++s) {
    const double weight = std::exp(scores[s] - max);
    softmax.sum += weight;
    for (std::size_t d = 0; d < D; ++d) softmax.output[d] += weight * values[s * D + d];
  }
  // [end]
}
// [end show]

// [show finish]
std::vector<double> attention_of(const OnlineSoftmax& softmax) {
  // [step 2] Divide once, at the end; a query that has seen no key gets zeros.
  // [hint] The weights exp(score - max) / sum add up to 1.
  // [hint] output / sum, but 0 / 0 is not a number.
  std::vector<double> result = softmax.output;
  if (softmax.sum > 0)
    for (double& number : result) number /= softmax.sum;
  return result;
  // [end]
}

double log_sum_exp(const OnlineSoftmax& softmax) {
  // [step 2] Give log(sum of exp(score)) without computing a single exp(score).
  // [hint] sum is made of exp(score - max) = exp(score) / exp(max).
  // [hint] The logarithm of a product is the sum of the logarithms.
  return softmax.max + std::log(softmax.sum);
  // [end]
}
// [end show]

// ---- Step 6 ----

// [show forward]
Size forward_bytes(const Sizes& sizes) {
  // [step 6] Count the bytes of your forward kernel, with what keys_read leaves out in causal order.
  // [hint] As in step 1, but one head reads keys_read(sizes) keys, and as many values.
  // [hint] B H (2 T D + 2 keys_read D + T) numbers. Does G appear?
  const Size T = sizes.targets, D = sizes.head_size;
  return Size{sizes.batch} * sizes.heads * (2 * T * D + 2 * keys_read(sizes) * D + T) * bytes_of_float;
  // [end]
}
// [end show]

// [show backward]
Size backward_bytes(const Sizes& sizes) {
  // [step 6] Count the bytes of both backward kernels.
  // [hint] For dQ list what a head reads and writes: four arrays of T rows, two numbers for each query, keys and
  // values.
  // [hint] For dK and dV: a block of 64 keys begins at first_target of its first key and reads, for every head of the
  // group and every target from there on, a query, a dO and two numbers. Keys, values, dK, dV pass once.
  const Size T = sizes.targets, S = sizes.sources, D = sizes.head_size;
  const Size for_d_query = sizes.heads * (4 * T * D + 2 * T + 2 * keys_read(sizes) * D);
  Size targets_read = 0;  // by the blocks of one query head
  for (Size first_source = 0; first_source < S; first_source += block_rows)
    targets_read += T - (sizes.order == Order::causal ? std::max<Size>(0, first_source - (S - T)) : 0);
  const Size for_d_key_value = sizes.heads * targets_read * (2 * D + 2) + sizes.kv_heads * 4 * S * D;
  return sizes.batch * (for_d_query + for_d_key_value) * bytes_of_float;
  // [end]
}
// [end show]

}  // namespace headshare::lesson
