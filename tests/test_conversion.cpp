#include <doctest/doctest.h>

#include <functional>

#include "nn/checkpoint.h"
#include "nn/conversion.h"
#include "tests/model_helpers.h"

// From many key/value heads to few: what is pooled, what stays, and that training goes on afterwards.

using namespace headshare;
using namespace headshare::test;

namespace {

bool belongs_to_keys_or_values(const std::string& name) {
  return name.find(".key.") != std::string::npos || name.find(".value.") != std::string::npos;
}

// Makes the four key/value heads of every group of `group` equal to the group's first.
void make_heads_equal(const Transformer& model, Size heads, Size group) {
  for (const auto& [name, value] : parameters_of(model)) {
    if (!belongs_to_keys_or_values(name)) continue;
    const Size D = value.extent(-1) / heads;
    const int last = value.rank() - 1;
    for (Size head = 0; head < heads; ++head) {
      const Size first = head / group * group;
      value.slice(last, head * D, (head + 1) * D).copy_from(value.slice(last, first * D, (first + 1) * D).clone());
    }
  }
}

Transformer disturbed_model(const TransformerConfig& config, TensorOptions options = {}) {
  Transformer model(config, 2, options);
  disturb(model, 3);
  return model;
}

TransformerConfig two_layers(AttentionSites attention = multi_head(4)) {
  TransformerConfig config = tiny_config(11, attention);
  config.layers = 2;
  return config;
}

}  // namespace

TEST_CASE("heads of a weight and of a bias are pooled by mean, first and sum as computed by hand") {
  // Two rows; four heads of two columns each become two.
  const Tensor weight = from_values<double>({1, 2, 3, 4, 50, 60, 70, 90,  //
                                             0, -1, 2, 5, 8, 8, -8, 0},
                                            {2, 8});
  const auto pooled = [&](const Tensor& x, Size to, HeadPooling how) { return pool_heads(x, 4, to, how); };
  CHECK(pooled(weight, 2, HeadPooling::mean).shape() == Shape{2, 4});
  CHECK(pooled(weight, 2, HeadPooling::mean).to_vector<double>() == std::vector<double>{2, 3, 60, 75, 1, 2, 0, 4});
  CHECK(pooled(weight, 2, HeadPooling::first).to_vector<double>() == std::vector<double>{1, 2, 50, 60, 0, -1, 8, 8});
  CHECK(pooled(weight, 2, HeadPooling::sum).to_vector<double>() == std::vector<double>{4, 6, 120, 150, 2, 4, 0, 8});
  CHECK(pooled(weight, 1, HeadPooling::mean).to_vector<double>() == std::vector<double>{31, 39, 0.5, 3});
  CHECK(pooled(weight, 4, HeadPooling::sum).to_vector<double>() == weight.to_vector<double>());
  const Tensor bias = from_values<double>({1, 2, 3, 4, 50, 60, 70, 90}, {8});
  CHECK(pooled(bias, 2, HeadPooling::mean).shape() == Shape{4});
  CHECK(pooled(bias, 2, HeadPooling::mean).to_vector<double>() == std::vector<double>{2, 3, 60, 75});
  CHECK(pooled(bias, 1, HeadPooling::first).to_vector<double>() == std::vector<double>{1, 2});
}

TEST_CASE("pooling heads that are equal changes no output, and pooling others does") {
  for (const Size group : {2, 4})
    for (const Pooling pooling : {Pooling::mean, Pooling::first}) {
      CAPTURE(group);
      CAPTURE(name(pooling));
      const AttentionMode mode = grouped_query(4, 4 / group);
      const Transformer model = disturbed_model(two_layers());
      CHECK(difference(logits_of(convert_attention(model, mode, pooling)), logits_of(model)) > 1e-2);
      make_heads_equal(model, 4, group);
      CHECK(difference(logits_of(convert_attention(model, mode, pooling)), logits_of(model)) < 1e-5);
      const Transformer precise = disturbed_model(two_layers(), float64);
      make_heads_equal(precise, 4, group);
      const Transformer converted = convert_attention(precise, mode, pooling);
      CHECK(difference(logits_of(converted), logits_of(precise)) < 1e-12);
      CHECK(converted.config().attention == AttentionSites(mode));
      CHECK(count_parameters(converted) < count_parameters(precise));
      CHECK(difference(logits_of(convert_attention(precise, mode, Pooling::random, 5)), logits_of(precise)) > 1e-2);
    }
}

TEST_CASE("every key and value projection is pooled, and every other parameter is copied") {
  const Transformer model = disturbed_model(two_layers());
  for (const Pooling pooling : {Pooling::mean, Pooling::first, Pooling::random}) {
    const Transformer converted = convert_attention(model, grouped_query(4, 2), pooling, 6);
    Size pooled = 0;
    for (const auto& [name, value] : parameters_of(converted)) {
      CAPTURE(name);
      const Tensor before = parameter_of(model, name);
      if (!belongs_to_keys_or_values(name)) {
        CHECK(same_bits(value, before));
        CHECK(!value.same_storage(before));  // a copy: training one model must not change the other
        continue;
      }
      ++pooled;
      CHECK(value.extent(-1) * 2 == before.extent(-1));
      const double from_mean = difference(value, pool_heads(before, 4, 2, HeadPooling::mean));
      const double from_first = difference(value, pool_heads(before, 4, 2, HeadPooling::first));
      CHECK((from_mean == 0) == (pooling == Pooling::mean));
      CHECK((from_first == 0) == (pooling == Pooling::first));
    }
    CHECK(pooled == 2 * 3 * 2 * 2);  // layers, sites, key and value, weight and bias
  }
  const auto random = [&](std::uint64_t seed) {
    return convert_attention(model, multi_query(4), Pooling::random, seed);
  };
  CHECK(first_difference(random(7), random(7)) == "");
  CHECK(first_difference(random(7), random(8)) == "encoder.0.self.key.weight");
}

TEST_CASE("each site is converted on its own") {
  const Transformer model = disturbed_model(two_layers());
  const AttentionSites decoder_only(multi_head(4), grouped_query(4, 2),
                                    multi_query(4));  // Ainslie leaves the encoder alone
  const Transformer converted = convert_attention(model, decoder_only);
  CHECK(converted.config().attention == decoder_only);
  for (const auto& [name, value] : parameters_of(converted)) {
    CAPTURE(name);
    const Tensor before = parameter_of(model, name);
    const bool is_decoder_self = name.find("decoder.") == 0 && name.find(".self.") != std::string::npos;
    const bool is_cross = name.find(".cross.") != std::string::npos;
    const Size heads = !belongs_to_keys_or_values(name) ? 4 : is_decoder_self ? 2 : is_cross ? 1 : 4;
    CHECK(value.extent(-1) * 4 == before.extent(-1) * heads);
    if (heads == 4) CHECK(same_bits(value, before));
  }
}

TEST_CASE("two conversions by mean are one: 4 heads, 2 heads, 1 head") {
  const Transformer model = disturbed_model(two_layers(), float64);
  const Transformer in_two = convert_attention(convert_attention(model, grouped_query(4, 2)), multi_query(4));
  const Transformer in_one = convert_attention(model, multi_query(4));
  CHECK(parameter_distance(in_two, in_one) < 1e-15);
  CHECK(first_difference(convert_attention(model, multi_head(4)), model) == "");
}

TEST_CASE("models with other modes in each layer are converted layer by layer") {
  TransformerConfig config = two_layers();
  config.attention_per_layer = {multi_head(4), grouped_query(4, 2)};
  const Transformer model = disturbed_model(config);
  const Transformer converted = convert_attention(model, multi_query(4));
  const std::string key = ".cross.key.weight";
  CHECK(same_bits(parameter_of(converted, "decoder.0" + key),
                  pool_heads(parameter_of(model, "decoder.0" + key), 4, 1, HeadPooling::mean)));
  CHECK(same_bits(parameter_of(converted, "decoder.1" + key),
                  pool_heads(parameter_of(model, "decoder.1" + key), 2, 1, HeadPooling::mean)));
  CHECK(converted.config().attention_per_layer.empty());

  const TemporaryFolder folder;
  const EncodedCorpus corpus = random_pairs({2, 3}, 11, 13);
  save_training(folder / "before.safetensors", Trainer(model, corpus, {}));
  convert_training(folder / "before.safetensors", folder / "after.safetensors", model, converted, Pooling::mean, {});
  const LoadedModel loaded =
      load_training_model(folder / "after.safetensors");  // nothing of the old configuration is left
  CHECK(to_metadata(loaded.model.config()) == to_metadata(converted.config()));
  CHECK_THROWS_WITH_AS(convert_attention(model, multi_head(4)),
                       "convert: encoder self-attention has 2 key/value heads, which cannot be pooled into 4 evenly",
                       Error);
}

TEST_CASE("what cannot be converted is refused by name") {
  const Transformer model(tiny_config(11, multi_head(8)), 9);
  const auto refused = [&](const AttentionSites& sites, const char* message) {
    CHECK_THROWS_WITH_AS(convert_attention(model, sites), message, Error);
  };
  refused(grouped_query(8, 5),
          "convert: encoder self-attention has 8 key/value heads, which cannot be pooled into 5 evenly");
  refused({multi_head(8), grouped_query(8, 0), multi_head(8)},
          "convert: decoder self-attention has 8 key/value heads, which cannot be pooled into 0 evenly");
  refused({multi_head(8), multi_head(8), grouped_query(8, -2)},
          "convert: cross-attention has 8 key/value heads, which cannot be pooled into -2 evenly");
  refused({multi_head(8), multi_head(8), multi_head(4)},
          "convert: cross-attention has 8 query heads and must keep them, not get 4");
  refused({multi_head(8), local_window(grouped_query(8, 2), 3), multi_head(8)},
          "convert: decoder self-attention is multi-head(8) and must keep the size of its heads and its window, not "
          "become grouped-query(8, 2), window 3");
  const Transformer shared(tiny_config(11, multi_query(8)), 9);
  CHECK_THROWS_WITH_AS(convert_attention(shared, multi_head(8)),
                       "convert: encoder self-attention has 1 key/value heads, which cannot be pooled into 8 evenly",
                       Error);
  for (const Pooling pooling : all_poolings) CHECK(parse_pooling(name(pooling)) == pooling);
  CHECK_THROWS_WITH_AS(parse_pooling("max"),
                       "pooling 'max' is unknown; choose mean, first, random, aligned or subspace", Error);
}

TEST_CASE("the gradient of a shared head is the sum of the gradients of the heads it stands for") {
  const Transformer model = disturbed_model(two_layers(), float64);
  make_heads_equal(model, 4, 2);
  const Transformer converted = convert_attention(model, grouped_query(4, 2));
  const EncodedCorpus corpus = random_pairs({5, 3, 7}, 11, 12);
  const std::vector<Size> members = {0, 1, 2};
  const Batch batch = make_batch(corpus.pairs, members, default_device());
  std::map<std::string, Tensor> gradients;
  for (const Transformer* each : {&model, &converted}) {
    Dropout none = Dropout::none();
    backward(batch_loss(*each, batch, 0.1, none).loss);
  }
  model.visit([&](const std::string& name, const Parameter& parameter) { gradients[name] = parameter.gradient(); });
  const std::map<std::string, Tensor> expected =
      convert_moments({gradients, {}}, model, converted, Pooling::mean).means;
  converted.visit([&](const std::string& name, const Parameter& parameter) {
    CAPTURE(name);
    CHECK(difference(parameter.gradient(), expected.at(name)) < 1e-11);
  });
}

TEST_CASE("the moments of pooled heads are summed, and training goes on from the converted file") {
  const TemporaryFolder folder;
  const EncodedCorpus corpus = random_pairs({2, 3, 4, 5}, 11, 10);
  const Transformer model(two_layers(), 11);
  Recipe recipe;
  recipe.steps = 9;
  recipe.tokens_per_batch = 14;
  recipe.schedule = {.peak = 1e-2, .warmup = 3};
  Trainer trainer(model, corpus, recipe);
  for (int step = 0; step < 5; ++step) trainer.step();
  save_training(folder / "before.safetensors", trainer, {{"tokenizer", "abc"}, {"note", "old"}});

  const AttentionSites decoder_only(multi_head(4), grouped_query(4, 2), multi_query(4));
  const Transformer converted = convert_attention(model, decoder_only);
  convert_training(folder / "before.safetensors", folder / "after.safetensors", model, converted, Pooling::mean,
                   {{"note", "new"}});

  const LoadedModel loaded = load_training_model(folder / "after.safetensors");
  CHECK(first_difference(loaded.model, converted) == "");
  CHECK(loaded.model.config().attention == decoder_only);
  CHECK(loaded.metadata.at("tokenizer") == "abc");
  CHECK(loaded.metadata.at("note") == "new");
  Trainer resumed(loaded.model, corpus, headshare::recipe(loaded.metadata));
  load_training_state(folder / "after.safetensors", resumed);
  CHECK(resumed.state.step == 5);
  CHECK(resumed.state.batch == trainer.state.batch);
  CHECK(resumed.recipe().steps == 9);
  Size summed = 0;
  for (std::size_t i = 0; i < trainer.optimizer().slots().size(); ++i) {
    const Adam::Slot &before = trainer.optimizer().slots()[i], &after = resumed.optimizer().slots()[i];
    CAPTURE(before.name);
    const Size to = 4 * after.mean.extent(-1) / before.mean.extent(-1);
    if (to == 4) {
      CHECK(same_bits(after.mean, before.mean));
      CHECK(same_bits(after.variance, before.variance));
      continue;
    }
    ++summed;
    CHECK(same_bits(after.mean, pool_heads(before.mean, 4, to, HeadPooling::sum)));
    CHECK(same_bits(after.variance, pool_heads(before.variance, 4, to, HeadPooling::sum)));
  }
  CHECK(summed == 2 * 2 * 2 * 2);  // layers, decoder sites, key and value, weight and bias
  while (resumed.state.step < resumed.recipe().steps) CHECK(std::isfinite(resumed.step().loss));
  CHECK(first_difference(loaded.model, converted) != "");
}
