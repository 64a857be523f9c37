#include <doctest/doctest.h>

#include "tests/decoding_helpers.h"

// Both devices side by side: what is trained and decoded on Device::cuda is what the CPU trains and decodes, up to
// roundings. The cases name both devices themselves, so that they need no choice of one.

using namespace headshare;
using namespace headshare::test;

namespace {

constexpr Size vocabulary = 30;

TransformerConfig config() {
  TransformerConfig config = tiny_config(vocabulary, {multi_head(4), multi_query(4), grouped_query(4, 2)});
  config.layers = 2;
  config.dropout = 0.2;
  return config;
}

struct Curve {
  std::vector<double> loss, nll, gradient_norm;
};

// The first updates of a run, all of it on one device.
Curve train_on(Device device, const EncodedCorpus& corpus, const Recipe& recipe, const TransformerConfig& config) {
  const DefaultDevice chosen(device);
  const Transformer model(config, 1);
  REQUIRE(model.options().device == device);
  Trainer trainer(model, corpus, recipe);
  Curve curve;
  while (trainer.state.step < recipe.steps) {
    const StepReport report = trainer.step();
    curve.loss.push_back(report.loss);
    curve.nll.push_back(report.nll);
    curve.gradient_norm.push_back(report.gradient_norm);
  }
  return curve;
}

}  // namespace

TEST_CASE("training on CUDA goes down the CPU's curve, with dropout, clipping and several batches an update") {
  const EncodedCorpus corpus = random_pairs({3, 5, 2, 7, 4, 1}, vocabulary, 1);
  Recipe recipe;
  recipe.steps = 6;
  recipe.tokens_per_batch = 16;
  recipe.accumulate = 2;
  recipe.clip = 0.5;
  recipe.schedule = {.peak = 1e-2, .warmup = 2};
  for (const NormPlacement norm : {NormPlacement::post, NormPlacement::pre}) {
    TransformerConfig chosen = config();
    chosen.norm = norm;
    const Curve expected = train_on(Device::cpu, corpus, recipe, chosen);
    const Curve found = train_on(Device::cuda, corpus, recipe, chosen);
    CHECK(distance(found.loss, expected.loss) < 1e-4);
    CHECK(distance(found.nll, expected.nll) < 1e-4);
    CHECK(distance(found.gradient_norm, expected.gradient_norm) < 1e-3);
    for (const double gradient_norm : expected.gradient_norm) CHECK(gradient_norm > recipe.clip);  // each is clipped
    CHECK(expected.loss.back() < expected.loss.front() - 0.1);                                     // and that it learns
  }
}

TEST_CASE("greedy and beam translations on CUDA are those of the CPU") {
  const DefaultDevice chosen(Device::cpu);
  std::vector<TokenIds> sources;
  for (const EncodedPair& pair : random_pairs({1, 6, 3, 4}, vocabulary, 2).pairs) sources.push_back(pair.source);
  TransformerConfig small = config();
  small.max_length = 12;
  const Transformer on_cpu = lively_model(small, 3), on_cuda = copy_on(Device::cuda, on_cpu);
  const std::vector<TokenIds> greedy = decode_greedy(on_cpu, sources);
  const std::vector<TokenIds> beams = decode_beam(on_cpu, sources, {.beam = 3});
  CHECK(greedy != beams);
  CHECK(decode_greedy(on_cuda, sources) == greedy);
  CHECK(decode_beam(on_cuda, sources, {.beam = 3}) == beams);
}

TEST_CASE("a decoder that records its steps on CUDA gives the CPU's logits, and goes on after any selection") {
  const DefaultDevice cpu(Device::cpu);
  std::vector<TokenIds> sources;
  for (const EncodedPair& pair : random_pairs({5, 2, 7}, vocabulary, 4).pairs) sources.push_back(pair.source);
  for (const NormPlacement norm : {NormPlacement::post, NormPlacement::pre}) {
    TransformerConfig chosen = config();
    chosen.norm = norm;
    const Transformer on_cpu = lively_model(chosen, 5), on_cuda = copy_on(Device::cuda, on_cpu);
    const Decoder cpu_decoder(on_cpu), cuda_decoder(on_cuda);
    const auto start = [&](const Decoder& decoder) {
      const EncodedBatch batch = encoded(decoder.model(), sources);
      return decoder.start(batch.memory, batch.lengths, {.capacity = 12, .beam = 2});
    };
    DecoderState cpu_state = start(cpu_decoder), cuda_state = start(cuda_decoder);
    Generator generator(6);
    const auto steps = [&](Size count) {
      for (Size i = 0; i < count; ++i) {
        CAPTURE(cpu_state.length);
        std::vector<std::int32_t> tokens(static_cast<std::size_t>(cpu_state.rows()));
        for (std::int32_t& token : tokens) token = static_cast<std::int32_t>(generator.below(vocabulary));
        const auto step = [&](const Decoder& decoder, DecoderState& state) {
          return decoder.step(from_values(tokens, {state.rows()}, decoder.model().options().device), state);
        };
        const Tensor expected = step(cpu_decoder, cpu_state), found = step(cuda_decoder, cuda_state);
        CHECK(difference(found.to(Device::cpu), expected) < 1e-4);
      }
      CHECK(cuda_state.step.recorded());
      CHECK_FALSE(cpu_state.step.recorded());
    };
    const auto select = [&](const std::vector<std::int32_t>& rows) {
      cpu_state.select(rows);
      cuda_state.select(rows);
    };
    steps(6);
    select({1, 1, 3, 2, 4, 5});  // within their sentences: what was recorded still holds
    CHECK(cuda_state.step.recorded());
    steps(2);
    select({5, 4, 0, 1});  // a sentence is finished, and the others change places
    CHECK_FALSE(cuda_state.step.recorded());
    steps(4);
    CHECK(cuda_state.length == 12);
  }
}
