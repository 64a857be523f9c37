#include <doctest/doctest.h>

#include <cmath>

#include "nn/attention_words.h"
#include "tests/decoding_helpers.h"

// Attention weights: they are those that the model computes with, told from its own forward pass, between tokens and
// between words.

using namespace headshare;
using namespace headshare::test;

namespace {

constexpr double rounding = 1e-9;  // of float64
const TokenIds source = {5, 6, 7, 4, end_id}, target = {8, 9, 3};

Transformer model_of(const AttentionSites& attention, NormPlacement norm) {
  TransformerConfig config = tiny_config(11, attention);
  config.layers = 2;
  config.norm = norm;
  return lively_model(config, 30, {.type = ElementType::float64});
}

std::vector<AttentionSites> modes() {
  return {multi_head(4),
          grouped_query(4, 2),
          {multi_head(4), multi_query(4), grouped_query(4, 2)},
          {multi_head(2), local_window(grouped_query(4, 2), 2), multi_head(1)}};
}

// The output of an attention by its definition, from weights [H, T, S].                              result: [1, T, C]
//   sum over s of weight(h, t, s) value(s, g), with g = h / (H / G), all heads side by side, times W_O
Variable attend(const Attention& attention, const Variable& answering, const Tensor& weights) {
  const Tensor value = attention.keys_values(answering).value.value();  // [1, S, G, D]
  const Size H = weights.extent(0), T = weights.extent(1), S = weights.extent(2), D = value.extent(3);
  std::vector<double> heads(static_cast<std::size_t>(T * H * D), 0.0);
  for (Size t = 0; t < T; ++t)
    for (Size h = 0; h < H; ++h)
      for (Size d = 0; d < D; ++d)
        for (Size s = 0; s < S; ++s)
          heads[static_cast<std::size_t>((t * H + h) * D + d)] +=
              weights.at({h, t, s}) * value.at({0, s, h / (H / value.extent(2)), d});
  return attention.output(Variable(from_values(heads, {1, T, H * D}, value.device())));
}

// A forward pass in which every attention's softmax is replaced by the given weights.
struct Replay {
  const Transformer& model;
  const AttentionWeights& weights;

  template <class Function>
  Variable block(const LayerNormalization& norm, const Variable& x, const Function& function) const {
    if (model.config().norm == NormPlacement::pre) return add(x, function(norm(x)));
    return norm(add(x, function(x)));
  }
  Variable embedded(const TokenIds& tokens) const {
    const Tensor row = from_values(tokens, {1, static_cast<Size>(tokens.size())}, model.options().device);
    return embedding(row, Variable(model.embedding_table()), std::sqrt(static_cast<double>(model.config().d_model)),
                     Variable(model.positions()));
  }
  Variable memory() const {
    Variable x = embedded(source);
    for (std::size_t i = 0; i < model.encoder().size(); ++i) {
      const EncoderLayer& layer = model.encoder()[i];
      x = block(layer.self_norm, x,
                [&](const Variable& in) { return attend(layer.self, in, weights.encoder_self[i]); });
      x = block(layer.feed_forward_norm, x, layer.feed_forward);
    }
    if (model.config().norm == NormPlacement::post) return x;
    return layer_norm(x, {}, Variable(parameter_of(model, "encoder.norm.gain")),
                      Variable(parameter_of(model, "encoder.norm.bias")), layer_norm_epsilon);
  }
  Variable decoded(const Variable& memory) const {
    TokenIds input = target;
    input.insert(input.begin(), begin_id);
    Variable x = embedded(input);
    for (std::size_t i = 0; i < model.decoder().size(); ++i) {
      const DecoderLayer& layer = model.decoder()[i];
      x = block(layer.self_norm, x,
                [&](const Variable& in) { return attend(layer.self, in, weights.decoder_self[i]); });
      x = block(layer.cross_norm, x, [&](const Variable&) { return attend(layer.cross, memory, weights.cross[i]); });
      x = block(layer.feed_forward_norm, x, layer.feed_forward);
    }
    return model.config().norm == NormPlacement::post ? x : model.decoder_norm()(x);
  }
  // From the encoder's and the decoder's output of the model itself.
  double distance() const {
    const EncodedBatch batch = encoded(model, {source});
    TokenIds input = target;
    input.insert(input.begin(), begin_id);
    Dropout none = Dropout::none();
    const Variable output =
        model.decode(from_values(input, {1, static_cast<Size>(input.size())}, model.options().device), batch.memory,
                     batch.lengths, none);
    return std::max(difference(memory().value(), batch.memory.value()),
                    difference(decoded(batch.memory).value(), output.value()));
  }
};

}  // namespace

TEST_CASE("weights times values is what each attention of the model computes, at all three sites") {
  const NoGradient no_gradient;
  for (const NormPlacement norm : {NormPlacement::post, NormPlacement::pre})
    for (const AttentionSites& sites : modes()) {
      CAPTURE(name(sites.decoder_self));
      const Transformer model = model_of(sites, norm);
      AttentionWeights weights = attention_weights(model, source, target);
      CHECK(Replay{model, weights}.distance() < rounding);
      // The same with one site's heads, or layers, in another order is seen.
      for (std::vector<Tensor>* site : {&weights.encoder_self, &weights.decoder_self, &weights.cross}) {
        std::swap((*site)[0], (*site)[1]);
        CHECK(Replay{model, weights}.distance() > 1e-3);
        std::swap((*site)[0], (*site)[1]);
      }
    }
}

TEST_CASE("each row of weights is a distribution over what the position may see") {
  for (const AttentionSites& sites : modes()) {
    const Transformer model = model_of(sites, NormPlacement::post);
    const AttentionWeights weights = attention_weights(model, source, target);
    const Size S = 5, T = 4;  // the source with its end; begin and the target
    const Size window = sites.decoder_self.window == 0 ? T : sites.decoder_self.window;
    const auto check_site = [&](const std::vector<Tensor>& site, const AttentionMode& mode, Size rows, Size columns,
                                const auto& sees) {
      REQUIRE(site.size() == 2);
      double largest = 0;
      for (const Tensor& layer : site) {
        REQUIRE(layer.shape() == Shape{mode.heads, rows, columns});
        for (Size h = 0; h < mode.heads; ++h)
          for (Size t = 0; t < rows; ++t) {
            double sum = 0;
            for (Size s = 0; s < columns; ++s) {
              const double weight = layer.at({h, t, s});
              CHECK((weight > 0) == sees(t, s));
              sum += weight;
              if (t == rows - 1) largest = std::max(largest, weight);
            }
            CHECK(sum == doctest::Approx(1).epsilon(rounding));
          }
      }
      CHECK(largest > 1.2 / static_cast<double>(columns));  // not all alike
    };
    const auto everything = [](Size, Size) { return true; };
    check_site(weights.encoder_self, sites.encoder_self, S, S, everything);
    check_site(weights.cross, sites.cross, T, S, everything);
    check_site(weights.decoder_self, sites.decoder_self, T, T,
               [&](Size t, Size s) { return s <= t && t - s < window; });
  }
}

TEST_CASE("what is written later changes no row before it") {
  const Transformer model = model_of(grouped_query(4, 2), NormPlacement::pre);
  const AttentionWeights one = attention_weights(model, source, target),
                         other = attention_weights(model, source, {target[0], 4, 4});
  for (std::size_t layer = 0; layer < 2; ++layer)
    for (const auto site : {&AttentionWeights::decoder_self, &AttentionWeights::cross}) {
      const Tensor &a = (one.*site)[layer], &b = (other.*site)[layer];
      CHECK(difference(a.slice(1, 0, 2), b.slice(1, 0, 2)) < rounding);
      CHECK(difference(a.slice(1, 2, 4), b.slice(1, 2, 4)) > 1e-3);
    }
}

TEST_CASE("head h reads key head h / (H / G): a model with a copy of it for each head has the same weights") {
  const Size H = 6, G = 2, D = 4;
  TransformerConfig config = tiny_config(11, grouped_query(H, G));
  config.d_model = H * D;
  const Transformer grouped = lively_model(config, 31, {.type = ElementType::float64});
  config.attention = multi_head(H);
  const Transformer copies(config, 0, grouped.options());
  // head_of: which of the shared heads a head copies.
  const auto copy_heads = [&](const auto& head_of) {
    copies.visit([&](const std::string& name, const Parameter& parameter) {
      const Tensor shared = parameter_of(grouped, name).to(Device::cpu);
      Tensor own = shared;
      if (!(shared.shape() == parameter.shape())) {
        const Size rows = shared.count() / (G * D);  // C of a weight, 1 of a bias
        std::vector<double> values;
        for (Size row = 0; row < rows; ++row)
          for (Size column = 0; column < H * D; ++column)
            values.push_back(shared.reshape({rows, G * D}).at({row, head_of(column / D) * D + column % D}));
        own = from_values(values, parameter.shape(), Device::cpu);
      }
      parameter.value().copy_from(own.to(parameter.value().device()));
    });
  };
  const auto distance = [&] {
    const AttentionWeights a = attention_weights(grouped, source, target),
                           b = attention_weights(copies, source, target);
    return std::max({difference(a.encoder_self[0], b.encoder_self[0]), difference(a.decoder_self[0], b.decoder_self[0]),
                     difference(a.cross[0], b.cross[0])});
  };
  copy_heads([&](Size head) { return head / (H / G); });
  CHECK(distance() < rounding);
  copy_heads([&](Size head) { return head % G; });
  CHECK(distance() > 1e-3);
}

TEST_CASE("sentences longer than the model's positions and a second observer are errors") {
  const Transformer model = model_of(multi_head(4), NormPlacement::post);
  CHECK_THROWS_WITH_AS(attention_weights(model, {5, end_id}, TokenIds(24, 5)),
                       "attention: the target has 25 tokens, the model has 24 positions", Error);
  CHECK_THROWS_WITH_AS(attention_weights(model, TokenIds(25, 5), {}),
                       "attention: the source has 25 tokens, the model has 24 positions", Error);
  CHECK(attention_weights(model, TokenIds(24, 5), TokenIds(23, 5)).cross[1].shape() == Shape{4, 24, 24});
  Size told = 0;
  {
    const AttentionObserver observer([&](const auto&...) { ++told; });
    CHECK_THROWS_WITH_AS(attention_weights(model, source, target), "attention: there is an observer already", Error);
    encoded(model, {source});
  }
  CHECK(told == 2);  // one for each layer
  attention_weights(model, source, target);
  CHECK(told == 2);
}

TEST_CASE("tokens know the words that they are pieces of") {
  const Tokenizer bytes;
  const auto words = [&](const Tokenizer& tokenizer, const std::string& sentence) {
    return words_of(tokenizer, tokenizer.encode(sentence)).words;
  };
  using Strings = std::vector<std::string>;
  CHECK(words(bytes, "Zwei Hunde, 12.") == Strings{"Zwei", "Hunde", ",", "12", "."});
  CHECK(words(bytes, "").empty());
  const Corpus corpus = small_corpus(20);
  const Tokenizer tokenizer = learn_byte_pairs(corpus, {.merges = 40});
  TokenIds tokens = tokenizer.encode("the bigger dog sees");
  tokens.insert(tokens.begin(), begin_id);
  tokens.push_back(end_id);
  const TokenWords found = words_of(tokenizer, tokens);
  CHECK(found.words == Strings{"<begin>", "the", "bigger", "dog", "sees", "<end>"});
  REQUIRE(found.word_of_token.size() == tokens.size());
  REQUIRE(tokens.size() > 6);  // or no word has pieces
  std::vector<std::string> spelled(found.words.size());
  for (std::size_t i = 0; i < tokens.size(); ++i)
    spelled[found.word_of_token[i]] += tokenizer.decode(std::span(&tokens[i], 1));
  CHECK(spelled == Strings{"", "the", " bigger", " dog", " sees", ""});

  // A model may write what no tokenizer would: two spaces as one token, of which the second belongs to a word.
  const std::int32_t space = first_byte_id + ' ', letter = first_byte_id + 'a';
  const TokenWords strange =
      words_of(Tokenizer({{space, space}}), {first_merge_id, letter, padding_id, letter, end_id});
  CHECK(strange.words == Strings{"", "aa", "<padding>", "<end>"});
  CHECK(strange.word_of_token == std::vector<std::size_t>{0, 1, 2, 1, 3});
}

TEST_CASE("a word gets the sum of what its pieces get and pays the mean of what they pay") {
  const Tensor weights = from_values(std::vector<float>{0.5f, 0.25f, 0.25f,  //
                                                        0.0f, 0.0f, 1.0f,    //
                                                        0.5f, 0.5f, 0.0f},
                                     {3, 3}, Device::cpu);
  const TokenWords two_pieces_first{{"ab", "c"}, {0, 0, 1}}, two_pieces_last{{"x", "yz"}, {0, 1, 1}};
  CHECK(between_words(weights, two_pieces_first, two_pieces_last) == std::vector<float>{0.25f, 0.75f, 0.5f, 0.5f});
  CHECK_THROWS_AS(between_words(weights, two_pieces_first, {{"x"}, {0, 0}}), Error);
}

TEST_CASE("total variation is 0 for equal rows and 1 for rows that share nothing") {
  const auto matrix = [](const std::vector<float>& values) { return from_values(values, {2, 2}, Device::cpu); };
  const Tensor left = matrix({1, 0, 1, 0}), right = matrix({0, 1, 0, 1}), mixed = matrix({1, 0, 0.25f, 0.75f});
  CHECK(total_variation(left, left) == 0);
  CHECK(total_variation(left, right) == 1);
  CHECK(total_variation(left, mixed) == doctest::Approx(0.375));
  CHECK(total_variation(mixed, left) == doctest::Approx(0.375));
  CHECK_THROWS_AS(total_variation(left, from_values(std::vector<float>{1, 0}, {1, 2}, Device::cpu)), Error);
}
