#include <algorithm>
#include <cmath>

#include "lesson.h"
#include "tensor/elementwise.h"
#include "tensor/layer_norm.h"
#include "tutorials/support/check.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

TransformerConfig small(Size layers) {
  return {.vocabulary = 23, .d_model = 12, .d_ff = 20, .layers = layers, .attention = multi_head(3), .max_length = 16};
}

// A model none of whose numbers are 0 or 1: a new one has biases of 0 and gains of 1, which would hide mistakes.
Transformer shaken(Size layers, std::uint64_t seed) {
  Transformer model(small(layers), seed);
  model.visit([&](const std::string& name, const Parameter& parameter) {
    if (name.ends_with("bias") || name.ends_with("gain"))
      accumulate(affine(random_tensor(parameter.shape(), ++seed), 0.3, 0), parameter.value());
  });
  return model;
}

Tensor ids(std::initializer_list<std::int32_t> tokens, const Shape& shape) {
  return from_values<std::int32_t>(tokens, shape);
}

// Fails where the two are the same to 1e-3: what should have moved did not.
void check_differs(const Tensor& a, const Tensor& b, const std::string& what) {
  const std::vector<float> x = a.to_vector<float>(), y = b.to_vector<float>();
  float largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) largest = std::max(largest, std::abs(x[i] - y[i]));
  if (!(largest > 1e-3f)) FAIL(text(what, ": expected other numbers than before, got the same"));
}

const Tensor source = ids({4, 5, 6, 7, 8, 9, 10, 2, 0, 0}, {2, 5});
const Tensor source_lengths = ids({5, 3}, {2});
const Tensor target = ids({1, 11, 12, 13, 1, 14, 15, 16}, {2, 4});

Tensor library_logits(const Transformer& model) {
  Dropout dropout = Dropout::none();
  return model.logits(model.decode(target, model.encode(source, source_lengths, dropout), source_lengths, dropout))
      .value();
}

}  // namespace

TEST_CASE("5.1 position 0 is all sines of 0 and cosines of 0") {
  check_close(positions(1, 6), from_values<float>({0, 1, 0, 1, 0, 1}, {1, 6}), "position 0");
}

TEST_CASE("5.1 the first pair turns by 1 at each position, the second by 1/100 where C is 4") {
  const Tensor got = positions(3, 4);
  const Tensor expected = from_values<double>({0, 1, 0, 1, std::sin(1.0), std::cos(1.0), std::sin(0.01), std::cos(0.01),
                                               std::sin(2.0), std::cos(2.0), std::sin(0.02), std::cos(0.02)},
                                              {3, 4});
  check_close(got, expected, "positions 0 to 2");
}

TEST_CASE("5.1 far positions, and an odd number of channels, are as in the library") {
  check_close(positions(97, 7), sinusoidal_positions(97, 7, {}), "97 positions of 7 channels");
  check_close(positions(500, 10), sinusoidal_positions(500, 10, {}), "500 positions of 10 channels");
}

TEST_CASE("5.1 one matrix moves every position on by 3") {
  const Tensor all = sinusoidal_positions(12, 6, {});
  check_close(matmul(all.slice(0, 0, 9), shift_matrix(6, 3)), all.slice(0, 3, 12), "positions 0 to 8, moved on by 3");
}

TEST_CASE("5.1 and another moves them back") {
  const Tensor all = sinusoidal_positions(12, 8, {});
  check_close(matmul(all.slice(0, 2, 12), shift_matrix(8, -2)), all.slice(0, 0, 10),
              "positions 2 to 11, moved back by 2");
  check_close(shift_matrix(2, 0), from_values<float>({1, 0, 0, 1}, {2, 2}), "the matrix of distance 0");
}

TEST_CASE("5.2 a norm by hand: mean 5, deviation 2") {
  const Tensor z = from_values<float>({3, 7, 3, 7}, {1, 1, 4});
  const Tensor gain = from_values<float>({1, 1, 10, 10}, {4}), bias = from_values<float>({0, 0.5, 0, 100}, {4});
  check_close(normalize(Variable(z), Variable(gain), Variable(bias)).value(),
              from_values<float>({-1, 1.5, -10, 110}, {1, 1, 4}), "the norm", 1e-4);
}

TEST_CASE("5.2 each position is normalised for itself, as in the library") {
  const Tensor z = affine(random_tensor({2, 3, 7}, 1), 5, 3), gain = random_tensor({7}, 2),
               bias = random_tensor({7}, 3);
  check_close(normalize(Variable(z), Variable(gain), Variable(bias)).value(),
              layer_norm(z, {}, gain, bias, layer_norm_epsilon).y, "the norm of [2, 3, 7]");
}

TEST_CASE("5.2 a position whose numbers are all alike has no deviation, and the epsilon saves it") {
  const Tensor got = normalize(Variable(full({1, 1, 5}, 4)), Variable(full({5}, 1)), Variable(full({5}, 2))).value();
  check_close(got, full({1, 1, 5}, 2), "the norm of equal numbers");
}

TEST_CASE("5.2 the feed-forward layer is two linear layers with a ReLU between them") {
  Generator generator(4);
  const FeedForward layer(5, 9, Activation::relu, generator, {});
  layer.inner.bias.value().copy_from(random_tensor({9}, 5));
  layer.outer.bias.value().copy_from(random_tensor({5}, 6));
  const Variable x(random_tensor({2, 3, 5}, 7));
  check_close(feed_forward(layer, x).value(), layer(x).value(), "feed-forward");
}

TEST_CASE("5.2 the frame adds what came in, then normalises") {
  const LayerNormalization norm(7, {});
  norm.gain.value().copy_from(random_tensor({7}, 8));
  const Variable x(random_tensor({1, 3, 7}, 9)), change(random_tensor({1, 3, 7}, 10));
  check_close(add_and_norm(norm, x, change).value(), norm(x, change).value(), "norm(x + change)");
}

TEST_CASE("5.3 padding changes no word") {
  const Transformer model = shaken(1, 12);
  const Tensor x = random_tensor({1, 5, 12}, 13), other = x.clone();
  other.slice(1, 3, 5).copy_from(random_tensor({1, 2, 12}, 14));
  const auto words = [&](const Tensor& in) {
    return encoder_layer(model.encoder()[0], Variable(in), ids({3}, {1})).value().slice(1, 0, 3);
  };
  check_close(words(other), words(x), "the 3 words, with other padding");
}

TEST_CASE("5.3 every word depends on every other") {
  const Transformer model = shaken(1, 15);
  const Tensor x = random_tensor({1, 4, 12}, 16);
  const Tensor before = encoder_layer(model.encoder()[0], Variable(x), {}).value();
  for (const Size s : {0, 3}) {
    const Tensor other = x.clone();
    other.slice(1, s, s + 1).copy_from(random_tensor({1, 1, 12}, 17));
    const Tensor after = encoder_layer(model.encoder()[0], Variable(other), {}).value();
    for (Size t = 0; t < 4; ++t)
      check_differs(after.slice(1, t, t + 1), before.slice(1, t, t + 1),
                    text("row ", t, " after word ", s, " changed"));
  }
}

TEST_CASE("5.3 the encoder layer is that of the library") {
  const Transformer model = shaken(1, 11);
  Dropout dropout = Dropout::none();
  const Variable x =
      embedding(source, Variable(model.embedding_table()), std::sqrt(12.0), Variable(sinusoidal_positions(16, 12, {})));
  check_close(encoder_layer(model.encoder()[0], x, source_lengths).value(),
              model.encode(source, source_lengths, dropout).value(), "the encoder layer", 1e-4);
}

TEST_CASE("5.4 a later position changes no earlier one") {
  const Transformer model = shaken(1, 20);
  const Tensor x = random_tensor({1, 4, 12}, 21), memory = random_tensor({1, 3, 12}, 22), other = x.clone();
  other.slice(1, 2, 4).copy_from(random_tensor({1, 2, 12}, 23));
  const auto run = [&](const Tensor& in) {
    return decoder_layer(model.decoder()[0], Variable(in), Variable(memory), {}).value();
  };
  check_close(run(other).slice(1, 0, 2), run(x).slice(1, 0, 2), "positions 0 and 1, with other words after them");
  check_differs(run(other).slice(1, 3, 4), run(x).slice(1, 3, 4), "position 3 after it changed");
}

TEST_CASE("5.4 every position sees the whole memory, but not its padding") {
  const Transformer model = shaken(1, 24);
  const Tensor x = random_tensor({1, 4, 12}, 25), memory = random_tensor({1, 4, 12}, 26);
  const auto run = [&](Size changed) {
    const Tensor other = memory.clone();
    if (changed >= 0) other.slice(1, changed, changed + 1).copy_from(random_tensor({1, 1, 12}, 27));
    return decoder_layer(model.decoder()[0], Variable(x), Variable(other), ids({3}, {1})).value();
  };
  check_close(run(3), run(-1), "the layer with other padding in the memory");
  check_differs(run(2).slice(1, 0, 1), run(-1).slice(1, 0, 1), "position 0 after the last source word changed");
}

TEST_CASE("5.4 the decoder layer is that of the library") {
  const Transformer model = shaken(1, 18);
  Dropout dropout = Dropout::none();
  const Variable memory(random_tensor({2, 5, 12}, 19));
  const Variable x =
      embedding(target, Variable(model.embedding_table()), std::sqrt(12.0), Variable(sinusoidal_positions(16, 12, {})));
  check_close(decoder_layer(model.decoder()[0], x, memory, source_lengths).value(),
              model.decode(target, memory, source_lengths, dropout).value(), "the decoder layer", 1e-4);
}

TEST_CASE("5.5 an embedding is a row of the table times sqrt(C), plus its position") {
  const Transformer model = shaken(1, 28);
  const Tensor got = embed(model, ids({7, 7, 3}, {1, 3})).value();
  for (const Size t : {0, 1, 2})
    for (Size c = 0; c < 12; ++c) {
      const double angle = static_cast<double>(t) / std::pow(10000.0, static_cast<double>(c / 2 * 2) / 12);
      check_close(got.at({0, t, c}),
                  model.embedding_table().at({t == 2 ? 3 : 7, c}) * std::sqrt(12.0) +
                      (c % 2 == 0 ? std::sin(angle) : std::cos(angle)),
                  text("channel ", c, " of the token at position ", t));
    }
}

TEST_CASE("5.5 a later target word changes no earlier logits, padding changes nothing") {
  const Transformer model = shaken(2, 30);
  const Tensor before = model_logits(model, source, source_lengths, target).value();
  const Tensor later = model_logits(model, source, source_lengths, ids({1, 11, 12, 20, 1, 14, 15, 21}, {2, 4})).value();
  check_close(later.slice(1, 0, 3), before.slice(1, 0, 3), "the logits of positions 0 to 2, with another word 3");
  check_differs(later.slice(1, 3, 4), before.slice(1, 3, 4), "the logits of position 3, with another word 3");
  const Tensor padded =
      model_logits(model, ids({4, 5, 6, 7, 8, 9, 10, 2, 21, 22}, {2, 5}), source_lengths, target).value();
  check_close(padded, before, "the logits with other padding");
}

TEST_CASE("5.5 the logits agree with the library's Transformer to 1e-4") {
  for (const Size layers : {1, 3}) {
    const Transformer model = shaken(layers, 29);
    check_close(model_logits(model, source, source_lengths, target).value(), library_logits(model),
                text("the logits of ", layers, " + ", layers, " layers"), 1e-4);
  }
}

TEST_CASE("5.5 a gradient reaches every parameter") {
  const Transformer model = shaken(2, 31);
  const Variable logits = model_logits(model, source, source_lengths, target);
  backward(logits, random_tensor(logits.shape(), 32));
  model.visit([&](const std::string& name, const Parameter& parameter) {
    if (!parameter.gradient().defined()) FAIL(text("the gradient of ", name, ": expected one, got none"));
  });
}

TEST_CASE("5.5 the parts add up to what the library counts") {
  const TransformerConfig config = checked(small(3));
  const Transformer model(config, 33);
  const PartCounts got = count_parts(config);
  PartCounts expected{};
  model.visit([&](const std::string& name, const Parameter& parameter) {
    const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
    Size& count = name == "embedding"                     ? expected.embedding
                  : has("encoder") && has("norm")         ? expected.encoder_norms
                  : has("encoder") && has("feed_forward") ? expected.encoder_feed_forward
                  : has("encoder")                        ? expected.encoder_attention
                  : has("norm")                           ? expected.decoder_norms
                  : has("feed_forward")                   ? expected.decoder_feed_forward
                  : has("cross")                          ? expected.decoder_cross_attention
                                                          : expected.decoder_self_attention;
    count += parameter.value().count();
  });
  check_equal(got.embedding, expected.embedding, "the embedding");
  check_equal(got.encoder_attention, expected.encoder_attention, "the encoder's attention");
  check_equal(got.encoder_feed_forward, expected.encoder_feed_forward, "the encoder's feed-forward layers");
  check_equal(got.encoder_norms, expected.encoder_norms, "the encoder's norms");
  check_equal(got.decoder_self_attention, expected.decoder_self_attention, "the decoder's self-attention");
  check_equal(got.decoder_cross_attention, expected.decoder_cross_attention, "the decoder's cross-attention");
  check_equal(got.decoder_feed_forward, expected.decoder_feed_forward, "the decoder's feed-forward layers");
  check_equal(got.decoder_norms, expected.decoder_norms, "the decoder's norms");
}

namespace {

// Row m is the sum of tokens 0 .. m, and ten times it, negative.
Tensor running_sums(const Tensor& tokens) {
  const Size N = tokens.extent(1);
  const Tensor rows = zeros({1, N, 2});
  float sum = 0;
  for (Size m = 0; m < N; ++m) {
    sum += static_cast<float>(tokens.data<std::int32_t>()[m]);
    rows.set({0, m, 0}, sum);
    rows.set({0, m, 1}, -10 * sum);
  }
  return rows;
}

}  // namespace

TEST_CASE("5.6 the tokens are as before") {
  const Tensor tokens = ids({5, 7, 6}, {1, 3});
  influence(running_sums, tokens, 9);
  check_equal(tokens.to_vector<std::int32_t>(), {5, 7, 6}, "the tokens");
}

TEST_CASE("5.6 a running sum depends on what came before, ten times as much in its larger number") {
  const Tensor expected = from_values<float>({40, 0, 0, 40, 20, 0, 40, 20, 30}, {3, 3});
  check_close(influence(running_sums, ids({5, 7, 6}, {1, 3}), 9), expected, "the influence");
}

TEST_CASE("5.6 there may be more rows than tokens") {
  const auto twice = [](const Tensor& tokens) {
    const Tensor rows = zeros({1, 4, 1});
    for (Size m = 0; m < 4; ++m) rows.set({0, m, 0}, tokens.at({0, m / 2}));
    return rows;
  };
  check_close(influence(twice, ids({1, 2}, {1, 2}), 6), from_values<float>({5, 0, 5, 0, 0, 4, 0, 4}, {4, 2}),
              "the influence");
}
