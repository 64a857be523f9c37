#include <algorithm>
#include <cmath>
#include <limits>

#include "lesson.h"
#include "tensor/elementwise.h"
#include "tensor/softmax.h"
#include "tutorials/support/check.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

// An extent that changes with the grading: least .. least + 4.
Size extent(Size least, std::uint64_t which) { return least + Generator(grading_seed() + which).below(5); }
Tensor draw(const Shape& shape, std::uint64_t which) { return random_tensor(shape, grading_seed() + which); }

}  // namespace

TEST_CASE("4.1 dot products of any sizes and strides") {
  const Size T = extent(2, 1), S = extent(7, 2), D = extent(13, 3);
  const Tensor query = draw({T, D}, 4), wide = draw({S, 2 * D}, 5), key = wide.slice(1, D, 2 * D);
  const Tensor got = dot_products(query, key);
  for (Size t = 0; t < T; ++t)
    for (Size s = 0; s < S; ++s) {
      double sum = 0;
      for (Size d = 0; d < D; ++d) sum += query.at({t, d}) * key.at({s, d});
      check_close(got.at({t, s}), sum, text("query ", t, " with key ", s));
    }
}

TEST_CASE("4.2 softmax of any sizes and strides") {
  const Size T = extent(3, 11), S = extent(9, 12);
  const Tensor scores = affine(draw({S, T}, 13), 30, -200).transpose(0, 1);
  check_close(softmax_rows(scores), softmax(scores.contiguous()), "softmax of a view, around -200");
  const Tensor hidden = draw({T, S}, 14);
  hidden.set({1, 0}, -infinity);
  check_close(softmax_rows(hidden), softmax(hidden), "softmax with a hidden score");
}

TEST_CASE("4.2 mixtures written into a view") {
  const Size T = extent(3, 21), S = extent(5, 22), D = extent(2, 23);
  const Tensor weights = draw({T, S}, 24), value = draw({D, S}, 25).transpose(0, 1), room = full({T, 2 * D}, -3);
  const Tensor output = room.slice(1, D, 2 * D);
  mix_into(weights, value, output);
  for (Size t = 0; t < T; ++t)
    for (Size d = 0; d < D; ++d) {
      double sum = 0;
      for (Size s = 0; s < S; ++s) sum += weights.at({t, s}) * value.at({s, d});
      check_close(output.at({t, d}), sum, text("output ", t, ", number ", d));
      check_close(room.at({t, d}), -3, text("the memory beside the output, at [", t, ", ", d, "]"), 0);
    }
}

TEST_CASE("4.3 scaling and sharpness of any sizes") {
  const Size D = extent(11, 31), S = extent(6, 32);
  const Tensor query = draw({3, D}, 33), key = draw({S, D}, 34);
  const Tensor scores = scaled_scores(query, key);
  for (Size s = 0; s < S; ++s) {
    double sum = 0;
    for (Size d = 0; d < D; ++d) sum += query.at({2, d}) * key.at({s, d});
    check_close(scores.at({2, s}), sum / std::sqrt(static_cast<double>(D)), text("query 2 with key ", s));
  }
  const Tensor weights = softmax(scores);
  double largest = 0, entropy = 0, slope = 0;
  for (Size t = 0; t < 3; ++t) {
    double row = 0;
    for (Size s = 0; s < S; ++s) {
      const double w = weights.at({t, s});
      row = std::max(row, w);
      entropy -= w * std::log2(w) / 3;
      slope += w * (1 - w) / 3;
    }
    largest += row / 3;
  }
  const Sharpness got = sharpness(weights);
  check_close(got.largest, largest, "the largest weight");
  check_close(got.entropy, entropy, "the entropy");
  check_close(got.slope, slope, "the slope");
}

TEST_CASE("4.4 masks of any sizes") {
  const Size T = extent(5, 41), S = extent(4, 42), length = extent(1, 43);
  const Tensor later = causal_mask(T), padding = padding_mask(T, S, length);
  for (Size t = 0; t < T; ++t) {
    for (Size s = 0; s < T; ++s)
      check_close(later.at({t, s}), s > t ? -infinity : 0, text("the causal mask at [", t, ", ", s, "]"), 0);
    for (Size s = 0; s < S; ++s)
      check_close(padding.at({t, s}), s >= length ? -infinity : 0, text("the padding mask at [", t, ", ", s, "]"), 0);
  }
}

TEST_CASE("4.4 a query that may see nobody gets weights of 0") {
  const Tensor weights = masked_weights(draw({3, 5}, 44), draw({4, 5}, 45), padding_mask(3, 4, 0));
  check_close(weights, zeros({3, 4}), "the weights", 0);
}

TEST_CASE("4.5 heads of any sizes agree with the library") {
  const Size T = extent(2, 51), H = extent(1, 52), D = extent(3, 53);
  const Tensor joint = draw({3, T, 3 * H, D}, 54);  // queries, keys and values of one joint projection
  const Tensor query = joint.slice(2, 0, H), key = joint.slice(2, H, 2 * H), value = joint.slice(2, 2 * H, 3 * H);
  const Mask mask{from_values<std::int32_t>({static_cast<std::int32_t>(T), 1, 2}, {3}), causal};
  check_close(attend_heads(query, key, value, mask), attention(query, key, value, mask).output,
              "attention of heads inside a larger tensor");
}

TEST_CASE("4.6 a layer of any sizes agrees with the library") {
  const Size H = extent(2, 61), C = 3 * H, T = extent(1, 62), S = extent(3, 63);
  Generator generator(grading_seed() + 64);
  const Attention layer(C, multi_head(H), generator, {});
  const Attention wide(C, with_head_size(multi_head(H), 5), generator, {});  // H * D is not C
  for (const Attention* each : {&layer, &wide}) {
    for (const Linear* part : {&each->query, &each->key, &each->value, &each->output})
      part->bias.value().copy_from(draw(part->bias.shape(), 65));
    const Tensor x = draw({2, T, C}, 66), source = draw({2, S, C}, 67);
    const Mask mask{from_values<std::int32_t>({static_cast<std::int32_t>(S), 2}, {2}), any_order};
    check_close(attention_layer(x, source, *each, mask), (*each)(Variable(x), Variable(source), mask).value(),
                text("attention of ", T, " positions to ", S, " others, D = ", each->head_size()));
  }
}
