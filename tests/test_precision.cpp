#include <doctest/doctest.h>

#include "nn/checkpoint.h"
#include "nn/evaluation.h"
#include "tests/decoding_helpers.h"

// Models that compute in tf32 and bf16 on Device::cuda, beside the same ones in fp32. The cases name the devices
// themselves, so that they need no choice of one.

using namespace headshare;
using namespace headshare::test;

namespace {

constexpr Size vocabulary = 40;

// Two sizes: heads of 4 numbers, which no 16-byte access can read, and heads of 32, as GPUs like them.
TransformerConfig odd_config() {
  TransformerConfig config = tiny_config(vocabulary, {multi_head(4), multi_query(4), grouped_query(4, 2)});
  config.activation = Activation::gelu;
  config.norm = NormPlacement::pre;
  return config;
}
TransformerConfig even_config() {
  TransformerConfig config = tiny_config(vocabulary, {multi_head(2), multi_query(2), multi_head(2)});
  config.d_model = 64;
  config.d_ff = 128;
  return config;
}

// As training begins: here some forty roundings one after the other add up like a random walk, to about six. A lively
// model multiplies them, to one cannot say how many.
Transformer new_model_in(Precision precision, const TransformerConfig& config, std::uint64_t seed) {
  Transformer model(config, seed);
  model.compute_in(precision);
  return model;
}

Transformer model_in(Precision precision, const TransformerConfig& config, std::uint64_t seed) {
  Transformer model = lively_model(config, seed);
  model.compute_in(precision);
  return model;
}

struct Step {
  double loss;
  std::vector<std::pair<std::string, Tensor>> gradients;
};

Step forward_and_backward(const Transformer& model, const Batch& batch, double dropout = 0) {
  const Tf32Products tf32(model.precision() == Precision::tf32);
  Dropout masks(dropout, 1, 0);
  const BatchLoss result = batch_loss(model, batch, 0.1, masks);
  backward(result.loss);
  Step step{result.loss.value().item(), {}};
  model.visit([&](const std::string& name, const Parameter& parameter) {
    step.gradients.emplace_back(name, parameter.gradient());
    parameter.clear_gradient();
  });
  return step;
}

double dot(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = a.to(ElementType::float64).to_vector<double>(),
                            y = b.to(ElementType::float64).to_vector<double>();
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

// |a - b| / |b|
double relative_distance(const Tensor& a, const Tensor& b) {
  const double squares = dot(b, b), apart = dot(a, a) - 2 * dot(a, b) + squares;
  return squares == 0 ? (apart == 0 ? 0 : 1e9) : std::sqrt(std::max(0.0, apart) / squares);
}

Batch small_batch() {
  const EncodedCorpus corpus = random_pairs({5, 9, 7, 3}, vocabulary, 1);
  const std::vector<Size> members = {0, 1, 2, 3};
  return make_batch(corpus.pairs, members, default_device());
}

}  // namespace

TEST_CASE("loss and gradients in tf32 and bf16 are those of fp32, as far as the roundings allow") {
  const DefaultDevice cuda(Device::cuda);
  const Batch batch = small_batch();
  for (TransformerConfig config : {odd_config(), even_config()}) {
    config.activation = Activation::gelu;  // ReLU turns a rounding into a whole gradient or none
    const Step exact = forward_and_backward(new_model_in(Precision::fp32, config, 2), batch, 0.1);
    struct Expectation {
      Precision precision;
      double unit;  // half the distance of neighbouring numbers, relative
    };
    for (const auto& [precision, unit] :
         {Expectation{Precision::tf32, 1.0 / (1 << 11)}, Expectation{Precision::bf16, 1.0 / (1 << 8)}}) {
      CAPTURE(name(precision));
      const Transformer model = new_model_in(precision, config, 2);
      const Step rounded = forward_and_backward(model, batch, 0.1);
      CHECK(rounded.loss != exact.loss);
      CHECK(std::abs(rounded.loss - exact.loss) < 4 * unit * std::abs(exact.loss));
      REQUIRE(rounded.gradients.size() == exact.gradients.size());
      for (std::size_t i = 0; i < exact.gradients.size(); ++i) {
        const auto& [name, gradient] = rounded.gradients[i];
        CAPTURE(name);
        CHECK(gradient.type() == ElementType::float32);             // sums and Adam never see fewer bits
        if (name.find(".key.bias") != std::string::npos) continue;  // 0 but for roundings: softmax ignores it
        CHECK(relative_distance(gradient, exact.gradients[i].second) < 8 * unit);
      }
    }
  }
}

TEST_CASE("in bf16 activations take two bytes, and parameters four") {
  const DefaultDevice cuda(Device::cuda);
  const Transformer model = model_in(Precision::bf16, even_config(), 3);
  CHECK(model.options().type == ElementType::float32);
  CHECK(model.activations().type == ElementType::bfloat16);
  CHECK(logits_of(model).type() == ElementType::bfloat16);
  CHECK(clone(model).precision() == Precision::bf16);
}

TEST_CASE("training in bf16 and tf32 goes down the curve of fp32") {
  const DefaultDevice cuda(Device::cuda);
  const EncodedCorpus corpus = random_pairs({3, 5, 2, 7, 4, 1}, vocabulary, 1);
  Recipe recipe;
  recipe.steps = 12;
  recipe.tokens_per_batch = 16;
  recipe.accumulate = 2;
  recipe.clip = 0.5;
  recipe.schedule = {.peak = 1e-2, .warmup = 2};
  const auto losses = [&](Precision precision) {
    TransformerConfig config = even_config();
    config.dropout = 0.1;
    Transformer model(config, 1);
    model.compute_in(precision);
    Trainer trainer(model, corpus, recipe);
    std::vector<double> nll;
    while (trainer.state.step < recipe.steps) nll.push_back(trainer.step().nll);
    return nll;
  };
  const std::vector<double> exact = losses(Precision::fp32), tf32 = losses(Precision::tf32),
                            bf16 = losses(Precision::bf16);
  CHECK(exact.back() < exact.front() - 1);
  CHECK(distance(tf32, exact) < 0.01);
  CHECK(distance(bf16, exact) < 0.05);
  CHECK(distance(bf16, exact) > 0);
  CHECK(losses(Precision::bf16) == bf16);  // the same bits again
}

TEST_CASE("a decoder in bf16 gives the logits of the whole model in bf16, in float32") {
  const DefaultDevice cuda(Device::cuda);
  for (const TransformerConfig& config : {odd_config(), even_config()}) {
    const Transformer model = model_in(Precision::bf16, config, 4);
    const std::vector<TokenIds> sources = random_sources({5, 2, 7}, 5);
    const EncodedBatch batch = encoded(model, sources);
    const Tensor target = from_values<std::int32_t>({1, 5, 9, 4, 1, 7, 3, 8, 1, 6, 10, 5}, {3, 4});
    const Tensor expected = full_logits(model, target, batch);  // [3, 4, V]
    const Decoder decoder(model);
    CHECK(decoder.weight_bytes() < Decoder(model_in(Precision::fp32, config, 4)).weight_bytes() * 6 / 10);
    for (const ElementType cache : {ElementType::bfloat16, ElementType::int8}) {
      CAPTURE(name(cache));
      DecoderState state = decoder.start(batch.memory, batch.lengths, {.capacity = 4, .cache_type = cache});
      for (Size t = 0; t < 4; ++t) {
        const Tensor logits = decoder.step(column(target, t), state);
        CHECK(logits.type() == ElementType::float32);
        const Tensor wanted = expected.slice(1, t, t + 1).contiguous().reshape(logits.shape());
        CHECK(relative_distance(logits, wanted) < (cache == ElementType::int8 ? 0.04 : 0.02));
      }
    }
  }
}

TEST_CASE("greedy and beam decoding in tf32 and with int8 caches find nearly what fp32 finds") {
  const DefaultDevice cuda(Device::cuda);
  const Transformer model = model_in(Precision::fp32, even_config(), 6),
                    tf32 = model_in(Precision::tf32, even_config(), 6);
  std::vector<TokenIds> sources = random_sources({4, 6, 3, 5}, 7);
  const DecodingOptions exact{.beam = 3}, quantized{.beam = 3, .cache_type = ElementType::int8};
  const auto agreement = [](const std::vector<TokenIds>& a, const std::vector<TokenIds>& b) {
    Size same = 0;
    for (std::size_t i = 0; i < a.size(); ++i) same += !a[i].empty() && a[i].front() == b[i].front() ? 1 : 0;
    return same;
  };
  CHECK(agreement(decode_greedy(tf32, sources), decode_greedy(model, sources)) >= 3);
  CHECK(agreement(decode_beam(model, sources, quantized), decode_beam(model, sources, exact)) >= 3);
  CHECK(agreement(decode_greedy(model, sources, quantized), decode_greedy(model, sources)) >= 3);
}

TEST_CASE("int8 caches are nearly a quarter of float32 ones") {
  const DefaultDevice cuda(Device::cuda);
  const Transformer model = model_in(Precision::fp32, even_config(), 6);
  const Decoder decoder(model);
  const EncodedBatch batch = encoded(model, random_sources({4, 6}, 7));
  const auto bytes = [&](ElementType type) {
    return decoder.start(batch.memory, batch.lengths, {.capacity = 8, .cache_type = type}).bytes();
  };
  // A head of D numbers: 4 D bytes, or D and a scale of 4.
  const Size D = 32;
  CHECK(bytes(ElementType::int8) * (4 * D) == bytes(ElementType::float32) * (D + 4));
}

TEST_CASE("what a device or a model cannot compute in is refused in one line") {
  const DefaultDevice chosen(Device::cpu);
  Transformer model(even_config(), 1);
  CHECK(error_of([&] { model.compute_in(Precision::bf16); }) ==
        "precision bf16: device cpu computes in fp32 only; choose device cuda, or fp32");
  CHECK(model.precision() == Precision::fp32);
  model.compute_in(Precision::fp32);
  Transformer exact(even_config(), 1, {ElementType::float64, Device::cuda});
  CHECK(error_of([&] { exact.compute_in(Precision::tf32); }) ==
        "precision tf32: a model of float64 is computed with as it is");
  CHECK(error_of([] { parse_precision("fp16"); }) == "precision 'fp16' is unknown; choose fp32, tf32 or bf16");
  const EncodedBatch batch = encoded(model, random_sources({4}, 7));
  CHECK(contains(error_of([&] {
                   Decoder(model).start(batch.memory, batch.lengths, {.capacity = 4, .cache_type = ElementType::int8});
                 }),
                 "a cache of int8 does not serve a model that computes in float32 on device cpu"));
}

TEST_CASE("a training file remembers what the run computed in") {
  const DefaultDevice cuda(Device::cuda);
  const TemporaryFolder folder;
  const EncodedCorpus corpus = random_pairs({3, 5}, vocabulary, 1);
  const Transformer model = model_in(Precision::bf16, even_config(), 1);
  save_training(folder.path / "training", Trainer(model, corpus, {}));
  const LoadedModel loaded = load_training_model(folder.path / "training");
  CHECK(training_precision(loaded.metadata) == Precision::bf16);
  CHECK(training_precision({}) == Precision::fp32);  // of files older than the choice
}
