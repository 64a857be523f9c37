#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "nn/checkpoint.h"
#include "nn/decoding.h"
#include "nn/training.h"
#include "tests/model_helpers.h"

// The training loop: it learns, it fails cleanly, and it can be stopped and resumed at any step without a trace.

using namespace headshare;
using namespace headshare::test;

namespace {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();

// No label smoothing, a rate for models of this size, batches of a few sentences.
Recipe tiny_recipe(Size steps, Size tokens_per_batch) {
  Recipe recipe;
  recipe.steps = steps;
  recipe.tokens_per_batch = tokens_per_batch;
  recipe.label_smoothing = 0;
  recipe.schedule = {.peak = 1e-2, .warmup = 5};
  return recipe;
}

double norm_of_means(const Adam& optimizer) {
  double squares = 0;
  for (const Adam::Slot& slot : optimizer.slots())
    for (const float value : slot.mean.to_vector<float>()) squares += static_cast<double>(value) * value;
  return std::sqrt(squares);
}

std::vector<Tensor> copies(const Transformer& model) {
  std::vector<Tensor> all;
  for (const auto& [name, value] : parameters_of(model)) all.push_back(value.clone());
  return all;
}

bool unchanged(const Transformer& model, const std::vector<Tensor>& before) {
  const auto now = parameters_of(model);
  for (std::size_t i = 0; i < now.size(); ++i)
    if (!same_bits(now[i].second, before[i])) return false;
  return true;
}

bool holds_no_gradient(const Transformer& model) {
  bool none = true;
  model.visit([&](const std::string&, const Parameter& p) { none = none && !p.gradient().defined(); });
  return none;
}

}  // namespace

TEST_CASE("a small model learns eight sentences by heart, so that greedy decoding repeats every target") {
  // Three sentences and one mode on the simulated device.
  const std::vector<AttentionMode> all_modes = {multi_head(4), grouped_query(4, 2), multi_query(4)};
  for (const AttentionMode mode : fewer(all_modes, {grouped_query(4, 2)})) {
    CAPTURE(name(mode));
    const EncodedCorpus corpus = random_pairs(fewer(std::vector<Size>{3, 4, 5, 6, 3, 4, 5, 6}, {3, 4, 2}), 30, 1);
    TransformerConfig config = tiny_config(30, mode);
    config.d_model = 32;
    const Transformer model(config, 1);
    Recipe recipe = tiny_recipe(fewer(120, 40), 1000);
    recipe.schedule = {.peak = fewer(5e-3, 1e-2), .warmup = fewer(20, 5)};
    Trainer trainer(model, corpus, recipe);
    const double first = trainer.step().loss;
    CHECK(first == doctest::Approx(std::log(30)).epsilon(0.4));  // knows nothing yet: near a uniform guess
    double last = first;
    while (trainer.state.step < recipe.steps) last = trainer.step().loss;
    CHECK(last < 0.1);
    std::vector<TokenIds> sources, targets;
    for (const EncodedPair& pair : corpus.pairs) {
      sources.push_back(pair.source);
      targets.emplace_back(pair.target.begin() + 1, pair.target.end() - 1);
    }
    CHECK(decode_greedy(model, sources) == targets);
  }
}

TEST_CASE("the gradient of the whole model's loss agrees with central differences") {
  const EncodedCorpus corpus = random_pairs({4, 2, 3}, 11, 2);
  const std::vector<Size> members = {0, 1, 2};
  const Batch batch = make_batch(corpus.pairs, members, default_device());
  const Size repetitions = fewer(2, 1);
  std::vector<TransformerConfig> configs;
  configs.push_back(tiny_config(11, {multi_head(4), grouped_query(4, 2), multi_query(4)}));
  configs.push_back(configs[0]);
  configs[1].norm = NormPlacement::pre;
  configs[1].activation = Activation::gelu;
  configs[1].positions = Positions::learned;
  for (const TransformerConfig& config : configs) {
    const Transformer model(config, 3, float64);
    disturb(model, 4, 0.1);
    const auto loss = [&] {  // the same dropout masks each time
      Dropout dropout(0.2, 5, 6);
      return batch_loss(model, batch, 0.1, dropout).loss;
    };
    backward(loss());
    std::uint64_t seed = 7;
    double worst = 0;
    Size checked_elements = 0;
    model.visit([&](const std::string& name, const Parameter& parameter) {
      const NoGradient no_gradient;
      Generator generator(++seed);
      const Tensor gradient = parameter.gradient();
      REQUIRE_MESSAGE(gradient.defined(), name);
      for (Size repetition = 0; repetition < repetitions; ++repetition) {
        const Size i = generator.below(parameter.value().count());
        const Tensor elements = parameter.value().reshape({parameter.value().count()});
        const double at = elements.at({i}), step = 1e-6;
        elements.set({i}, at + step);
        const double above = loss().value().item();
        elements.set({i}, at - step);
        const double below = loss().value().item();
        elements.set({i}, at);
        const double numeric = (above - below) / (2 * step);
        const double analytic = gradient.to_vector<double>()[static_cast<std::size_t>(i)];
        const double error = std::abs(analytic - numeric) / std::max(1.0, std::abs(numeric));
        CHECK_MESSAGE(error < 2e-7, name, " element ", i, ": ", analytic, " against ", numeric);
        worst = std::max(worst, std::abs(analytic));
        ++checked_elements;
      }
    });
    CHECK(checked_elements >= repetitions * 43);
    CHECK(worst > 0.1);  // it is not that all are 0
  }
}

TEST_CASE("resuming after any step gives the same bits as never having stopped") {
  const TemporaryFolder folder;
  const EncodedCorpus corpus = random_pairs({2, 3, 4, 5, 2, 3, 4}, 11, 8);
  TransformerConfig config = tiny_config(11, grouped_query(4, 2));
  config.dropout = 0.2;
  Recipe recipe = tiny_recipe(fewer(12, 8), 14);
  recipe.accumulate = 2;
  recipe.label_smoothing = 0.1;

  const Transformer straight(config, 9);
  Trainer trainer(straight, corpus, recipe);
  const auto file = [&](Size step) { return folder / text(step, ".safetensors"); };
  for (Size step = 1; step <= recipe.steps; ++step) {
    trainer.step();
    save_training(file(step), trainer, {{"note", "kept"}});
  }
  REQUIRE(trainer.state.epoch >= 3);  // stops in the middle and at the end of an epoch are among them

  for (Size stop = 1; stop < recipe.steps; ++stop) {
    CAPTURE(stop);
    const LoadedModel loaded = load_training_model(file(stop));
    CHECK(loaded.metadata.at("note") == "kept");
    Trainer resumed(loaded.model, corpus, headshare::recipe(loaded.metadata));
    load_training_state(file(stop), resumed);
    CHECK(resumed.state.step == stop);
    while (resumed.state.step < resumed.recipe().steps) resumed.step();
    CHECK(first_difference(loaded.model, straight) == "");
    CHECK(first_difference(resumed.optimizer(), trainer.optimizer()) == "");
    CHECK(resumed.state.epoch == trainer.state.epoch);
    CHECK(resumed.state.batch == trainer.state.batch);
    CHECK(resumed.state.target_tokens == trainer.state.target_tokens);
  }
}

TEST_CASE("two half batches accumulated make the same update as one whole batch") {
  const EncodedCorpus corpus = random_pairs({4, 4, 4, 4}, 11, 10);  // 6 tokens with begin and end
  Recipe whole = tiny_recipe(3, 24), halves = tiny_recipe(3, 12);
  halves.accumulate = 2;
  REQUIRE(plan_epoch(corpus, 24, 1, 0).size() == 1);
  REQUIRE(plan_epoch(corpus, 12, 1, 0).size() == 2);
  const Transformer a(tiny_config(), 11, float64), b(tiny_config(), 11, float64);
  Trainer with_whole(a, corpus, whole), with_halves(b, corpus, halves);
  for (int step = 0; step < 3; ++step) {
    const StepReport x = with_whole.step(), y = with_halves.step();
    CHECK(x.loss == doctest::Approx(y.loss).epsilon(1e-9));
    CHECK(x.nll == doctest::Approx(y.nll).epsilon(1e-9));
    CHECK(x.gradient_norm == doctest::Approx(y.gradient_norm).epsilon(1e-7));
    CHECK(x.target_tokens == 20);
    CHECK(y.target_tokens == 20);
  }
  CHECK(parameter_distance(a, b) < 1e-8);
  CHECK(parameter_distance(a, Transformer(tiny_config(), 11, float64)) > 1e-3);
}

TEST_CASE("dropout masks depend on the seed and the step, and on nothing that happened before") {
  TransformerConfig config = tiny_config();
  config.dropout = 0.3;
  const Transformer model(config, 12);
  const EncodedCorpus corpus = random_pairs({4, 3}, 11, 13);
  const std::vector<Size> members = {0, 1};
  const Batch batch = make_batch(corpus.pairs, members, default_device());
  const auto loss = [&](double probability, std::uint64_t seed, std::uint64_t step) {
    Dropout dropout(probability, seed, step);
    return batch_loss(model, batch, 0, dropout).loss.value().item();
  };
  const double reference = loss(0.3, 1, 5);
  CHECK(loss(0.3, 1, 6) != reference);
  CHECK(loss(0.3, 2, 5) != reference);
  CHECK(loss(0, 1, 5) != reference);
  CHECK(loss(0, 1, 5) == loss(0, 2, 6));
  CHECK(loss(0.3, 1, 5) == reference);

  // A trainer that is told to be at step 4 draws the masks of step 4, without having made the steps before.
  Trainer trainer(model, corpus, tiny_recipe(10, 1000));
  trainer.state.step = 4;
  const Batch planned = make_batch(corpus.pairs, plan_epoch(corpus, 1000, 1, 0).at(0), test_device());
  Dropout dropout(0.3, 1, 4);
  const double expected = batch_loss(model, planned, 0, dropout).loss.value().item();
  CHECK(trainer.step().loss == doctest::Approx(expected / static_cast<double>(batch.target_tokens)).epsilon(1e-12));
}

TEST_CASE("a loss or gradient that is not finite is one clear error and changes nothing") {
  const EncodedCorpus corpus = random_pairs({3, 4, 5}, 11, 14);
  SUBCASE("because of a weight") {
    const Transformer model(tiny_config(), 15);
    parameter_of(model, "decoder.0.cross.value.weight").set({0, 3}, nan_value);
    Trainer trainer(model, corpus, tiny_recipe(5, 1000));
    const std::vector<Tensor> before = copies(model);
    CHECK_THROWS_WITH_AS(trainer.step(),
                         "train: the loss or its gradient is not a finite number at step 1; lower the learning rate, "
                         "lengthen the warm-up or clip the gradient",
                         Error);
    CHECK(unchanged(model, before));
    CHECK(norm_of_means(trainer.optimizer()) == 0);
    CHECK(holds_no_gradient(model));
    CHECK(trainer.state.step == 0);
  }
  SUBCASE("because of the learning rate") {
    const Transformer model(tiny_config(), 15);
    Recipe recipe = tiny_recipe(5, 1000);
    recipe.schedule = {.peak = 1e30, .warmup = 1};
    Trainer trainer(model, corpus, recipe);
    std::vector<Tensor> before = copies(model);
    std::string message;
    for (int step = 0; step < 5 && message.empty(); ++step) {
      before = copies(model);
      try {
        trainer.step();
      } catch (const Error& error) {
        message = error.what();
      }
    }
    CHECK(message.starts_with("train: the loss or its gradient is not a finite number at step "));
    CHECK(unchanged(model, before));
  }
}

TEST_CASE("the gradient is that of the mean loss per token, and is clipped to the given norm") {
  const EncodedCorpus corpus = random_pairs({3, 4, 5}, 11, 16);
  for (const double clip : {0.0, 0.05, 1e6}) {
    CAPTURE(clip);
    const Transformer model(tiny_config(), 17);
    Recipe recipe = tiny_recipe(1, 1000);
    recipe.clip = clip;
    Trainer trainer(model, corpus, recipe);
    const StepReport report = trainer.step();
    REQUIRE(report.gradient_norm > 0.1);
    CHECK(report.target_tokens == 3 + 4 + 5 + 3);
    // After one step the first moment is (1 - beta1) times the gradient that Adam saw.
    const double expected = clip == 0.05 ? 0.05 : report.gradient_norm;
    CHECK(norm_of_means(trainer.optimizer()) == doctest::Approx(0.1 * expected).epsilon(1e-4));
    CHECK(report.learning_rate == doctest::Approx(1e-2 / 5));
  }
}

TEST_CASE("the validation NLL is the mean over target tokens, whatever the batches") {
  const EncodedCorpus corpus = random_pairs({1, 7, 3, 4}, 11, 18);
  const Transformer model(tiny_config(), 19, float64);
  disturb(model, 20);
  // Straight from the definition, one sentence at a time.
  double nll = 0, tokens = 0;
  for (const EncodedPair& pair : corpus.pairs) {
    const std::vector<TokenIds> source = {pair.source}, input = {TokenIds(pair.target.begin(), pair.target.end() - 1)};
    const PaddedTokens padded = pad(source, default_device());
    Dropout none = Dropout::none();
    const NoGradient no_gradient;
    const Variable memory = model.encode(padded.tokens, padded.lengths, none);
    const Tensor logits =
        model.logits(model.decode(pad(input, default_device()).tokens, memory, padded.lengths, none)).value();
    for (std::size_t t = 0; t + 1 < pair.target.size(); ++t) {
      double sum = 0;
      for (Size v = 0; v < 11; ++v) sum += std::exp(logits.at({0, static_cast<Size>(t), v}));
      nll += std::log(sum) - logits.at({0, static_cast<Size>(t), pair.target[t + 1]});
      tokens += 1;
    }
  }
  REQUIRE(tokens == 1 + 7 + 3 + 4 + 4);
  for (const Size budget : {1, 12, 1000})
    CHECK(validation_nll(model, corpus, budget) == doctest::Approx(nll / tokens).epsilon(1e-12));
  CHECK_THROWS_WITH_AS(validation_nll(model, {}), "validate: no sentence pair to validate on", Error);
}

TEST_CASE("a trainer refuses an empty corpus and impossible numbers") {
  const Transformer model(tiny_config(), 21);
  const EncodedCorpus corpus = random_pairs({3}, 11, 22);
  CHECK_THROWS_WITH_AS(Trainer(model, EncodedCorpus{}, tiny_recipe(1, 10)), "train: no sentence pair to train on",
                       Error);
  CHECK_THROWS_WITH_AS(Trainer(model, EncodedCorpus{{}, 4}, tiny_recipe(1, 10)),
                       "train: no sentence pair to train on; all are longer than the model's max_length", Error);
  CHECK_THROWS_WITH_AS(Trainer(model, corpus, tiny_recipe(1, 0)),
                       "train: accumulate and tokens_per_batch must be at least 1", Error);
}

TEST_CASE("recipe and state read back from metadata as they were written, and say what is missing or damaged") {
  Recipe recipe;
  recipe.steps = 123456789012;
  recipe.schedule = {0.1 + 0.2, 7, 8, 9};
  recipe.adam.epsilon = 1e-300;
  recipe.seed = 18446744073709551615u;
  std::map<std::string, std::string> metadata = to_metadata(recipe);
  CHECK(to_metadata(headshare::recipe(metadata)) == metadata);
  CHECK(headshare::recipe(metadata).schedule.peak == 0.1 + 0.2);
  metadata["train.clip"] = "1.0x";
  CHECK_THROWS_WITH_AS(headshare::recipe(metadata), "checkpoint: train.clip: '1.0x' is not a number of the needed kind",
                       Error);
  metadata.erase("train.clip");
  CHECK_THROWS_WITH_AS(headshare::recipe(metadata),
                       "checkpoint: train.clip is missing; it was not written by a training run of this program",
                       Error);

  TrainingState state;
  state.batch = 3;
  state.seconds = 1.0 / 3;
  metadata = to_metadata(state);
  CHECK(training_state(metadata).seconds == 1.0 / 3);
  CHECK(training_state(metadata).best_nll == std::numeric_limits<double>::infinity());
  // A negative batch would be an index outside the plan.
  for (const char* field : {"state.step", "state.epoch", "state.batch", "state.target_tokens"}) {
    std::map<std::string, std::string> damaged = metadata;
    damaged[field] = "-3";
    CHECK_THROWS_WITH_AS(training_state(damaged), doctest::Contains(text("checkpoint: ", field, " is -3").c_str()),
                         Error);
  }
}
