#include <cmath>
#include <limits>

#include "lesson.h"
#include "tutorials/support/check.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

// The same as mix_into, a plain loop in float64.
Tensor plain_mixture(const Tensor& weights, const Tensor& value) {
  const Tensor result = zeros({weights.extent(0), value.extent(1)});
  for (Size t = 0; t < weights.extent(0); ++t)
    for (Size d = 0; d < value.extent(1); ++d) {
      double sum = 0;
      for (Size s = 0; s < value.extent(0); ++s) sum += weights.at({t, s}) * value.at({s, d});
      result.set({t, d}, sum);
    }
  return result;
}

Tensor mixed(const Tensor& weights, const Tensor& value) {
  const Tensor output = zeros({weights.extent(0), value.extent(1)});
  mix_into(weights, value, output);
  return output;
}

}  // namespace

TEST_CASE("4.1 the dot product of two small vectors, by hand") {
  const Tensor query = from_values<float>({1, 2, 3}, {1, 3});
  const Tensor key = from_values<float>({4, 5, 6, -1, 0, 1}, {2, 3});
  check_close(dot_products(query, key), from_values<float>({32, 2}, {1, 2}), "q . k");
}

TEST_CASE("4.1 row t belongs to query t, column s to key s") {
  const Tensor query = from_values<float>({1, 0, 0, 1}, {2, 2});
  const Tensor key = from_values<float>({1, 4, 2, 5, 3, 6}, {3, 2});
  check_close(dot_products(query, key), from_values<float>({1, 2, 3, 4, 5, 6}, {2, 3}), "q . k");
}

TEST_CASE("4.1 what is at right angles scores nothing, what is turned round scores below nothing") {
  const Tensor query = from_values<float>({3, 4}, {1, 2});
  const Tensor key = from_values<float>({4, -3, -3, -4, 6, 8}, {3, 2});
  check_close(dot_products(query, key), from_values<float>({0, -25, 50}, {1, 3}), "q . k");
}

TEST_CASE("4.1 rows that do not lie side by side in memory are followed by their strides") {
  const Tensor query = random_tensor({5, 3}, 1), key = random_tensor({5, 7}, 2);
  const Tensor turned = dot_products(query.transpose(0, 1), key.transpose(0, 1));  // [3, 7], of columns of 5
  check_close(turned, dot_products(query.transpose(0, 1).clone(), key.transpose(0, 1).clone()), "q . k of a view");
  CHECK(std::abs(turned.at({2, 6})) > 1e-6);
}

TEST_CASE("4.2 two scores that differ by log 3 are shares of 1/4 and 3/4") {
  const float log3 = std::log(3.0f);
  check_close(softmax_rows(from_values<float>({0, log3, 5 + log3, 5}, {2, 2})),
              from_values<float>({0.25, 0.75, 0.75, 0.25}, {2, 2}), "the shares");
}

TEST_CASE("4.2 every row sums to 1") {
  const Tensor weights = softmax_rows(random_tensor({7, 5}, 3));
  for (Size t = 0; t < 7; ++t) {
    double sum = 0;
    for (Size s = 0; s < 5; ++s) sum += weights.at({t, s});
    check_close(sum, 1, text("the sum of row ", t));
  }
}

TEST_CASE("4.2 scores of a thousand are no trouble") {
  check_close(softmax_rows(from_values<float>({1000, 1000, -1000, -1000}, {2, 2})),
              from_values<float>({0.5, 0.5, 0.5, 0.5}, {2, 2}), "the shares of large scores");
}

TEST_CASE("4.2 minus infinity is a share of 0, and a row of nothing else is a row of zeros") {
  check_close(softmax_rows(from_values<float>({0, -infinity, 0, -infinity, -infinity, -infinity}, {2, 3})),
              from_values<float>({0.5, 0, 0.5, 0, 0, 0}, {2, 3}), "the shares");
}

TEST_CASE("4.2 the mixture of the values is what a plain loop says") {
  const Tensor weights = random_tensor({4, 7}, 4), value = random_tensor({7, 3}, 5);
  check_close(mixed(weights, value), plain_mixture(weights, value), "the mixture");
}

TEST_CASE("4.2 the mixture does not add to what lay in the output") {
  const Tensor weights = from_values<float>({0.25, 0.75}, {1, 2}), value = from_values<float>({4, 8}, {2, 1});
  const Tensor output = full({1, 1}, 100);
  mix_into(weights, value, output);
  check_close(output, full({1, 1}, 7), "1/4 of 4 and 3/4 of 8");
}

TEST_CASE("4.2 the mixture is written where the output lies, and nowhere else") {
  const Tensor weights = random_tensor({3, 2}, 4), value = random_tensor({2, 2}, 5), room = full({3, 4}, -1);
  mix_into(weights, value, room.slice(1, 2, 4));  // the right half of each row
  check_close(room.slice(1, 2, 4), plain_mixture(weights, value), "the mixture");
  check_close(room.slice(1, 0, 2), full({3, 2}, -1), "the memory beside it", 0);
}

TEST_CASE("4.3 scores are divided by the square root of D") {
  const Tensor query = full({1, 9}, 1), key = full({1, 9}, 2);
  check_close(scaled_scores(query, key), full({1, 1}, 6), "18 / sqrt(9)");
  check_close(scaled_scores(full({1, 2}, 1), full({1, 2}, 1)), full({1, 1}, std::sqrt(2.0)), "2 / sqrt(2)");
}

TEST_CASE("4.3 the variance of the scores is near 1 for narrow and for wide heads") {
  for (const Size D : {3, 300}) {
    const std::vector<float> scores =
        scaled_scores(random_tensor({40, D}, 6), random_tensor({40, D}, 7)).to_vector<float>();
    double square = 0;
    for (const float score : scores) square += score * score / 1600.0;
    if (square < 0.6 || square > 1.6) check_close(square, 1, text("the variance for D = ", D), 0.6);
  }
}

TEST_CASE("4.3 a certain choice is sharp, an even one is not") {
  const Sharpness certain = sharpness(from_values<float>({0, 1, 0, 0}, {1, 4}));
  check_close(certain.largest, 1, "the largest weight of one word alone");
  check_close(certain.entropy, 0, "the entropy of one word alone");
  check_close(certain.slope, 0, "the slope of one word alone");
  const Sharpness even = sharpness(full({3, 8}, 0.125));
  check_close(even.largest, 0.125, "the largest of 8 equal weights");
  check_close(even.entropy, 3, "the entropy of 8 equal weights, in bits");
  check_close(even.slope, 0.875, "the slope of 8 equal weights");
}

TEST_CASE("4.3 sharpness is a mean over the rows") {
  const Sharpness both = sharpness(from_values<float>({1, 0, 0.5, 0.5}, {2, 2}));
  check_close(both.largest, 0.75, "the mean of the largest, 1 and 1/2");
  check_close(both.entropy, 0.5, "the mean entropy of 0 and 1 bit");
  check_close(both.slope, 0.25, "the mean slope of 0 and 1/2");
}

TEST_CASE("4.4 nobody sees what comes later, and each sees itself") {
  check_close(causal_mask(3), from_values<float>({0, -infinity, -infinity, 0, 0, -infinity, 0, 0, 0}, {3, 3}),
              "the causal mask of 3", 0);
}

TEST_CASE("4.4 nobody sees padding") {
  check_close(padding_mask(2, 4, 3), from_values<float>({0, 0, 0, -infinity, 0, 0, 0, -infinity}, {2, 4}),
              "the padding mask of a sentence of 3 words of 4", 0);
  check_close(padding_mask(1, 3, 5), zeros({1, 3}), "the padding mask of a sentence longer than that", 0);
}

TEST_CASE("4.4 rows still sum to 1 under a mask") {
  const Tensor query = random_tensor({5, 3}, 8), key = random_tensor({5, 3}, 9);
  const Tensor weights = masked_weights(query, key, causal_mask(5));
  for (Size t = 0; t < 5; ++t) {
    double sum = 0;
    for (Size s = 0; s < 5; ++s) {
      sum += weights.at({t, s});
      if (s > t) check_close(weights.at({t, s}), 0, text("the weight of position ", t, " on the later ", s), 0);
    }
    check_close(sum, 1, text("the sum of row ", t));
  }
}

TEST_CASE("4.4 a later key changes no earlier row") {
  const Tensor query = random_tensor({5, 3}, 10), key = random_tensor({5, 3}, 11), other = key.clone();
  for (Size d = 0; d < 3; ++d) other.set({4, d}, 9);
  const Tensor before = masked_weights(query, key, causal_mask(5)),
               after = masked_weights(query, other, causal_mask(5));
  check_close(after.slice(0, 0, 4), before.slice(0, 0, 4), "the weights of positions 0 to 3", 0);
  const double moved = std::abs(after.at({4, 4}) - before.at({4, 4}));
  CHECK_MESSAGE(moved > 1e-3, "position 4 sees its own key: expected other weights in row 4, got the same");
}

TEST_CASE("4.4 the weights are the softmax of scaled scores, worked by hand") {
  // D = 4: scores 0 and 2 log 3, halved to 0 and log 3. The third key is hidden.
  const float log3 = std::log(3.0f);
  const Tensor query = from_values<float>({log3, log3, 0, 0}, {1, 4});
  const Tensor key = from_values<float>({0, 0, 5, 0, 1, 1, 0, 0, 9, 9, 9, 9}, {3, 4});
  check_close(masked_weights(query, key, padding_mask(1, 3, 2)), from_values<float>({0.25, 0.75, 0}, {1, 3}),
              "the weights");
}

TEST_CASE("4.5 a head is found where it lies") {
  const Tensor x = random_tensor({2, 3, 4, 5}, 12);
  const Matrix head = head_of(x, 1, 2);
  check_equal(head.rows, 3, "rows, one a position");
  check_equal(head.columns, 5, "columns, the numbers of a head");
  for (Size t = 0; t < 3; ++t)
    for (Size d = 0; d < 5; ++d)
      check_close(head(t, d), x.at({1, t, 2, d}), text("sentence 1, head 2, position ", t, ", number ", d), 0);
}

TEST_CASE("4.5 a head is no copy: what is written to it is in the tensor") {
  const Tensor x = zeros({2, 3, 4, 5});
  head_of(x, 1, 3)(2, 4) = 7;
  check_close(x.at({1, 2, 3, 4}), 7, "the tensor's number at [1, 2, 3, 4]");
}

TEST_CASE("4.5 a cache that keeps its heads apart, [B, H, S, D], serves too") {
  const Tensor cache = random_tensor({2, 4, 3, 5}, 13);
  const Matrix head = head_of(cache.transpose(1, 2), 1, 2);  // seen as [B, S, H, D]
  check_equal(head.rows, 3, "rows, one a position");
  for (Size t = 0; t < 3; ++t)
    for (Size d = 0; d < 5; ++d)
      check_close(head(t, d), cache.at({1, 2, t, d}), text("sentence 1, head 2, position ", t, ", number ", d), 0);
}

TEST_CASE("4.5 the heads agree with the library's attention to 1e-5") {
  const Tensor query = random_tensor({2, 4, 3, 5}, 14), key = random_tensor({2, 7, 3, 5}, 15),
               value = random_tensor({2, 7, 3, 5}, 16);
  const Mask padded{from_values<std::int32_t>({7, 4}, {2}), any_order};
  check_close(attend_heads(query, key, value, {}), attention(query, key, value, {}).output, "attention of all keys");
  check_close(attend_heads(query, key, value, padded), attention(query, key, value, padded).output,
              "attention under a padding mask");
  const Mask both{from_values<std::int32_t>({7, 4}, {2}), causal};
  check_close(attend_heads(key, key, value, both), attention(key, key, value, both).output,
              "attention under a causal and a padding mask");
}

TEST_CASE("4.6 the layer agrees with the library's layer to 1e-5") {
  Generator generator(17);
  const Attention layer(12, multi_head(3), generator, {});
  for (const Linear* part : {&layer.query, &layer.key, &layer.value, &layer.output})
    part->bias.value().copy_from(random_tensor({12}, 18));  // a new layer's biases are 0
  const Tensor x = random_tensor({2, 5, 12}, 19);
  const Mask mask{from_values<std::int32_t>({5, 3}, {2}), causal};
  check_close(attention_layer(x, x, layer, mask), layer(Variable(x), Variable(x), mask).value(), "self-attention");
}

TEST_CASE("4.6 one side asks, the other answers") {
  Generator generator(20);
  const Attention layer(8, multi_head(2), generator, {});
  const Tensor x = random_tensor({1, 3, 8}, 21), source = random_tensor({1, 6, 8}, 22);
  check_close(attention_layer(x, source, layer, {}), layer(Variable(x), Variable(source), {}).value(),
              "attention of 3 positions to 6 others");
}
