#include "lesson.h"

#include <algorithm>
#include <cmath>

#include "kernels/vector.h"
#include "tutorials/support/step.h"

namespace headshare::lesson {

namespace {

constexpr double bytes_per_number = 4;

double number(Size n) { return static_cast<double>(n); }

}  // namespace

// ---- Step 1: count one step -----------------------------------------------------------------------------------------

// [show weights]
Cost weights_cost(const DecodingSizes& sizes) {
  const Size C = sizes.d_model, F = sizes.d_ff, V = sizes.vocabulary;
  const Size H = sizes.heads, G = sizes.kv_heads, D = sizes.head_size;
  // A projection from `in` to `out` numbers has a weight [in, out] and a bias [out].
  const auto projection = [](Size in, Size out) { return in * out + out; };
  Size numbers = 0;
  // [step 1] Add up the weights and biases that one decoding step multiplies with; return their bytes and operations.
  // A decoder layer has self-attention, cross-attention and two feed-forward projections; at the end come V logits,
  // products with the embedding table [V, C], without a bias.
  // [hint] Self-attention has four projections. Which of the four has cross-attention already done, once per sentence?
  // [hint] The source's keys and values wait in their cache: cross-attention projects only queries and the output.
  // [hint] Every weight is read once, but takes part in a multiply-add, two operations, for each of the B sentences.
  const Size self = projection(C, H * D) + 2 * projection(C, G * D) + projection(H * D, C);
  const Size cross = projection(C, H * D) + projection(H * D, C);
  const Size feed_forward = projection(C, F) + projection(F, C);
  numbers = sizes.layers * (self + cross + feed_forward) + V * C;
  return {bytes_per_number * number(numbers), 2 * number(sizes.batch * numbers)};
  // [end]
}
// [end show]

// [show caches]
Cost caches_cost(const DecodingSizes& sizes) {
  const double so_far = (number(sizes.target) + 1) / 2;  // target positions, on average over the text
  // [step 1] Count keys and values, of all layers and sentences: bytes by key/value heads, operations by query heads.
  // [hint] How many positions does one layer read for one sentence? Those so far, and the source's.
  // [hint] A position holds a key and a value of D numbers for each of the G heads.
  // [hint] Each of the H query heads makes D multiply-adds with a key and D with a value, whoever shares them.
  const double positions = number(sizes.layers * sizes.batch) * (so_far + number(sizes.source));
  const double cached = 2 * number(sizes.kv_heads * sizes.head_size);
  const double multiply_adds = 2 * number(sizes.heads * sizes.head_size);
  return {bytes_per_number * positions * cached, 2 * positions * multiply_adds};
  // [end]
}
// [end show]

// ---- Step 2: the roofline -------------------------------------------------------------------------------------------

// [show roofline]
double roofline_seconds(const Cost& cost, const Machine& machine) {
  // [step 2] Return the time of the slower of the two: reading all bytes, or doing all operations.
  // [hint] They happen at the same time, so the times are not added.
  return std::max(cost.bytes / machine.bytes_per_second, cost.flops / machine.flops_per_second);
  // [end]
}

Bound bound_of(const Cost& weights, const Cost& caches, const Machine& machine) {
  const Cost all = weights + caches;
  // [step 2] Name what a step waits for: compute where arithmetic takes longer, else the part with more bytes.
  // [hint] Compare the two times of roofline_seconds, for weights and caches together.
  if (all.flops / machine.flops_per_second > all.bytes / machine.bytes_per_second) return Bound::compute;
  return weights.bytes > caches.bytes ? Bound::weights : Bound::caches;
  // [end]
}
// [end show]

std::string name_of(Bound bound) {
  return bound == Bound::compute ? "compute" : bound == Bound::weights ? "weights" : "caches";
}

// ---- Step 3: attention of one step ----------------------------------------------------------------------------------

namespace {

using kernels::lanes;
using kernels::Vector;

// a . b, a whole register at a time.                                                                         a, b: [n]
float dot(const float* a, const float* b, Size n) {
  Vector<float> sums{};
  Size i = 0;
  for (; i + lanes<float> <= n; i += lanes<float>) sums += kernels::load(a + i) * kernels::load(b + i);
  float sum = kernels::sum_of_lanes<float>(sums);
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// y += weight x.                                                                                             x, y: [n]
void add_scaled(float weight, const float* x, float* y, Size n) {
  Size i = 0;
  for (; i + lanes<float> <= n; i += lanes<float>)
    kernels::store<float>(y + i, kernels::load(y + i) + weight * kernels::load(x + i));
  for (; i < n; ++i) y[i] += weight * x[i];
}

// Scores become weights, in place.                                                                         scores: [n]
void softmax(float* scores, Size n) {
  const float largest = *std::max_element(scores, scores + n);
  float sum = 0;
  Size i = 0;
  Vector<float> sums{};
  for (; i + lanes<float> <= n; i += lanes<float>) {
    const Vector<float> weights = kernels::exp(kernels::load(scores + i) - largest);
    kernels::store<float>(scores + i, weights);
    sums += weights;
  }
  sum = kernels::sum_of_lanes<float>(sums);
  for (; i < n; ++i) sum += scores[i] = std::exp(scores[i] - largest);
  for (i = 0; i < n; ++i) scores[i] /= sum;
}

}  // namespace

// The cores share the query heads. Each head walks through the keys and values that belong to it, of all sentences.
// [show per head]
void decode_per_head(const Cache& cache, Size heads, const float* query, float* output) {
  const Size D = cache.head_size, S = cache.positions, group = heads / cache.kv_heads;
  const float scale = 1 / std::sqrt(static_cast<float>(D));
#pragma omp parallel for schedule(static)
  for (Size h = 0; h < heads; ++h) {
    std::vector<float> weights(static_cast<std::size_t>(S));
    for (Size b = 0; b < cache.batch; ++b) {
      const float* q = query + (b * heads + h) * D;
      float* y = output + (b * heads + h) * D;
      for (Size s = 0; s < S; ++s) weights[s] = scale * dot(q, cache.key(b, h / group, s), D);
      softmax(weights.data(), S);
      std::fill_n(y, D, 0.0f);
      for (Size s = 0; s < S; ++s) add_scaled(weights[s], cache.value(b, h / group, s), y, D);
    }
  }
}
// [end show]

// [show per group]
void decode_per_group(const Cache& cache, Size heads, const float* query, float* output) {
  const Size D = cache.head_size, S = cache.positions, group = heads / cache.kv_heads;
  const float scale = 1 / std::sqrt(static_cast<float>(D));
  // [step 3] Compute what decode_per_head computes, but fetch each key and each value only once for its whole group.
  // A piece of work is one key/value head of one sentence: `#pragma omp parallel for collapse(2)` before two loops,
  // over b and over g, shares all these pieces between the cores.
  // [hint] In each piece exchange two loops: positions outside, the group's query heads inside. All scores need room.
  // [hint] Keep the pointer of cache.key(b, g, s) in a variable, and let each query head use it while it is near.
  // [hint] Three parts: the scores of all heads, a softmax for each head, then the same walk over the values.
#pragma omp parallel for schedule(static) collapse(2)
  for (Size b = 0; b < cache.batch; ++b)
    for (Size g = 0; g < cache.kv_heads; ++g) {
      std::vector<float> weights(static_cast<std::size_t>(group * S));  // [group, S]
      const float* q = query + (b * heads + g * group) * D;             // of the group's query heads: [group, D]
      float* y = output + (b * heads + g * group) * D;                  // [group, D]
      for (Size s = 0; s < S; ++s) {
        const float* key = cache.key(b, g, s);
        for (Size j = 0; j < group; ++j) weights[j * S + s] = scale * dot(q + j * D, key, D);
      }
      for (Size j = 0; j < group; ++j) softmax(weights.data() + j * S, S);
      std::fill_n(y, group * D, 0.0f);
      for (Size s = 0; s < S; ++s) {
        const float* value = cache.value(b, g, s);
        for (Size j = 0; j < group; ++j) add_scaled(weights[j * S + s], value, y + j * D, D);
      }
    }
  // [end]
}
// [end show]

// ---- Step 4: measuring ----------------------------------------------------------------------------------------------

// [show turns]
std::vector<double> medians_in_turns(const std::vector<std::function<double()>>& candidates, Size turns) {
  // [step 4] Run all candidates in order, turns + 1 times; drop the first turn; return each one's median.
  // [hint] Keep one list of seconds for each candidate, and sort it at the end.
  // [hint] The loop over turns is the outer one. What would drift do to the comparison if it were the inner one?
  std::vector<std::vector<double>> seconds(candidates.size());
  for (Size turn = 0; turn <= turns; ++turn)
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const double taken = candidates[i]();
      if (turn > 0) seconds[i].push_back(taken);
    }
  std::vector<double> medians;
  for (std::vector<double>& all : seconds) {
    std::sort(all.begin(), all.end());
    medians.push_back((all[all.size() / 2] + all[(all.size() - 1) / 2]) / 2);
  }
  return medians;
  // [end]
}
// [end show]

// ---- Step 5: beams and windows --------------------------------------------------------------------------------------

// [show seen]
double positions_seen(Size target, Size window) {
  // [step 5] Average over the T queries how many positions each sees: 1, 2, 3 ... but never more than the window.
  // [hint] Query number t (from 1) sees min(t, window) positions. A window of 0 is no window.
  double seen = 0;
  for (Size t = 1; t <= target; ++t) seen += number(window == 0 ? t : std::min(t, window));
  return seen / number(target);
  // [end]
}
// [end show]

// [show beam]
Cost beam_caches_cost(const DecodingSizes& sizes, Size beam, Size window) {
  const double seen = positions_seen(sizes.target, window);
  const double cached = 2 * bytes_per_number * number(sizes.kv_heads * sizes.head_size);  // bytes of a position
  const double flops = 2 * 2 * number(sizes.heads * sizes.head_size);                     // of a query and a position
  // [step 5] Count the caches of beam search: self-attention by texts, the source's by sentences, and what is moved.
  // [hint] The source's keys are read once per sentence, used by every text: bytes by sentences, operations by texts.
  // [hint] Moving reads and writes: twice the bytes of self-attention, times (beam - 1) / beam, and no operation.
  const double sentences = number(sizes.layers * sizes.batch), texts = number(beam) * sentences;
  const double self_bytes = texts * seen * cached, cross_bytes = sentences * number(sizes.source) * cached;
  const double moved_bytes = 2 * self_bytes * number(beam - 1) / number(beam);
  return {self_bytes + cross_bytes + moved_bytes, texts * (seen + number(sizes.source)) * flops};
  // [end]
}
// [end show]

}  // namespace headshare::lesson
