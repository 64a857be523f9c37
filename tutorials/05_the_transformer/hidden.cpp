#include <algorithm>
#include <cmath>

#include "lesson.h"
#include "tensor/elementwise.h"
#include "tensor/layer_norm.h"
#include "tutorials/support/check.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

// An extent that changes with the grading: least .. least + 4.
Size extent(Size least, std::uint64_t which) { return least + Generator(grading_seed() + which).below(5); }
Tensor draw(const Shape& shape, std::uint64_t which) { return random_tensor(shape, grading_seed() + which); }

// A model of sizes that change with the grading, no bias 0 and no gain 1.
Transformer drawn_model(std::uint64_t which) {
  const Size heads = extent(1, which);
  const TransformerConfig config = {.vocabulary = extent(30, which + 1),
                                    .d_model = 4 * heads,
                                    .d_ff = extent(7, which + 2),
                                    .layers = 1 + extent(0, which + 3) % 3,
                                    .attention = multi_head(heads),
                                    .max_length = 32};
  Transformer model(config, grading_seed() + which);
  std::uint64_t next = which;
  model.visit([&](const std::string& name, const Parameter& parameter) {
    if (name.ends_with("bias") || name.ends_with("gain"))
      accumulate(affine(draw(parameter.shape(), ++next), 0.3, 0), parameter.value());
  });
  return model;
}

Tensor drawn_tokens(Size B, Size length, std::uint64_t which) {
  Generator generator(grading_seed() + which);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(B * length));
  for (std::int32_t& token : tokens) token = static_cast<std::int32_t>(generator.below(29));
  return from_values(tokens, {B, length});
}

Tensor two_lengths(Size S) { return from_values<std::int32_t>({static_cast<std::int32_t>(S), 2}, {2}); }

}  // namespace

TEST_CASE("5.1 positions of any size") {
  const Size length = extent(40, 1), C = extent(9, 2);
  check_close(positions(length, C), sinusoidal_positions(length, C, {}),
              text(length, " positions of ", C, " channels"));
}

TEST_CASE("5.1 moving positions by any distance") {
  const Size length = extent(20, 3), C = 2 * extent(2, 4), distance = extent(1, 5);
  const Tensor all = sinusoidal_positions(length, C, {});
  check_close(matmul(all.slice(0, 0, length - distance), shift_matrix(C, static_cast<double>(distance))),
              all.slice(0, distance, length), text("positions moved on by ", distance), 1e-4);
}

TEST_CASE("5.2 norm, feed-forward and frame of any size, and their gradients") {
  const Size C = extent(5, 11), F = extent(8, 12);
  const Tensor x = affine(draw({2, 3, C}, 13), 4, -2), seed = draw({2, 3, C}, 14);
  Generator generator(grading_seed() + 15);
  const FeedForward layer(C, F, Activation::relu, generator, {});
  layer.inner.bias.value().copy_from(draw({F}, 16));
  const LayerNormalization norm(C, {});
  norm.gain.value().copy_from(draw({C}, 17));
  norm.bias.value().copy_from(draw({C}, 18));
  const Variable mine = leaf(x), library = leaf(x);
  const Variable got = add_and_norm(norm, mine, feed_forward(layer, mine)), expected = norm(layer(library), library);
  check_close(got.value(), expected.value(), "norm(x + feed_forward(x))");
  backward(got, seed);
  backward(expected, seed);
  if (!mine.gradient().defined()) FAIL("the gradient of x: expected one, got none");
  check_close(mine.gradient(), library.gradient(), "the gradient of x", 1e-4);
}

TEST_CASE("5.3 an encoder layer of any size") {
  const Transformer model = drawn_model(21);
  const Size S = extent(3, 22), C = model.config().d_model;
  const EncoderLayer& layer = model.encoder()[0];
  const Variable x(draw({2, S, C}, 23));
  const Variable y = layer.self_norm(layer.self(x, x, {two_lengths(S), any_order}), x);
  check_close(encoder_layer(layer, x, two_lengths(S)).value(),
              layer.feed_forward_norm(layer.feed_forward(y), y).value(), "the encoder layer", 1e-4);
}

TEST_CASE("5.4 a decoder layer of any size") {
  const Transformer model = drawn_model(31);
  const Size S = extent(3, 32), T = extent(2, 33), C = model.config().d_model;
  const DecoderLayer& layer = model.decoder()[0];
  const Variable x(draw({2, T, C}, 34)), memory(draw({2, S, C}, 35));
  const Variable y = layer.self_norm(layer.self(x, x, {{}, causal}), x);
  const Variable z = layer.cross_norm(layer.cross(y, memory, {two_lengths(S), any_order}), y);
  check_close(decoder_layer(layer, x, memory, two_lengths(S)).value(),
              layer.feed_forward_norm(layer.feed_forward(z), z).value(), "the decoder layer", 1e-4);
}

TEST_CASE("5.5 logits and gradients of a model of any size") {
  const Transformer model = drawn_model(41), same = clone(model);
  const Size S = extent(3, 42), T = extent(2, 43);
  const Tensor source = drawn_tokens(2, S, 44), target = drawn_tokens(2, T, 45);
  Dropout dropout = Dropout::none();
  const Variable expected =
      same.logits(same.decode(target, same.encode(source, two_lengths(S), dropout), two_lengths(S), dropout));
  const Variable got = model_logits(model, source, two_lengths(S), target);
  check_close(got.value(), expected.value(), "the logits", 1e-4);
  const Tensor seed = draw(expected.shape(), 46);
  backward(got, seed);
  backward(expected, seed);
  const Variable table = table_of(model);
  if (!table.gradient().defined()) FAIL("the gradient of the table: expected one, got none");
  check_close(table.gradient(), table_of(same).gradient(), "the gradient of the table", 1e-3);
}

TEST_CASE("5.5 the parts of a model of any size") {
  const Transformer model = drawn_model(51);
  const PartCounts got = count_parts(model.config());
  check_equal(got.embedding + got.encoder_attention + got.encoder_feed_forward + got.encoder_norms +
                  got.decoder_self_attention + got.decoder_cross_attention + got.decoder_feed_forward +
                  got.decoder_norms,
              count_parameters(model), "all parts together");
}

TEST_CASE("5.6 influence through a table of weights") {
  const Size M = extent(2, 61), N = extent(3, 62);
  const Tensor weights = draw({M, 3, N}, 63);
  const auto run = [&](const Tensor& tokens) {
    return matmul(weights, tokens.to(ElementType::float32).reshape({N, 1})).reshape({1, M, 3});
  };
  const Tensor got = influence(run, full({1, N}, 4, {ElementType::int32, Device::cpu}), 7);
  for (Size m = 0; m < M; ++m)
    for (Size n = 0; n < N; ++n) {
      double largest = 0;
      for (Size i = 0; i < 3; ++i) largest = std::max(largest, 3 * std::abs(weights.at({m, i, n})));
      check_close(got.at({m, n}), largest, text("row ", m, " when token ", n, " changes"), 1e-4);
    }
}
