#include "core/error.h"
#include "core/random.h"
#include "nn/training.h"
#include "tests/benchmarks/benchmark.h"

namespace headshare::benchmarks {
namespace {

// Sentences of one length, random tokens.
EncodedCorpus random_corpus(Size sentences, Size length, Size vocabulary) {
  Generator generator(1);
  const auto sentence = [&](Size tokens) {
    std::vector<std::int32_t> ids;
    for (Size i = 0; i < tokens; ++i) ids.push_back(static_cast<std::int32_t>(3 + generator.below(vocabulary - 3)));
    return ids;
  };
  EncodedCorpus corpus;
  for (Size i = 0; i < sentences; ++i) corpus.pairs.push_back({sentence(length), sentence(length + 1)});
  return corpus;
}

// Multiply-adds of the weight products, forward and twice that backward; attention and the rest are small beside them.
double step_flops(const TransformerConfig& config, Size tokens) {
  const double C = static_cast<double>(config.d_model), F = static_cast<double>(config.d_ff),
               V = static_cast<double>(config.vocabulary), L = static_cast<double>(config.layers);
  const double encoder = L * (4 * C * C + 2 * C * F), decoder = L * (8 * C * C + 2 * C * F);
  return 6 * static_cast<double>(tokens) * (encoder + decoder + C * V);
}

}  // namespace

std::vector<Row> benchmark_training_step() {
  std::vector<Row> rows;
  for (const Size length : {32, 128}) {
    const Size sentences = 2048 / length;
    const TransformerConfig config = checked({.vocabulary = 8000, .max_length = length + 2, .dropout = 0});
    const Transformer model(config, 1);
    const EncodedCorpus corpus = random_corpus(sentences, length, config.vocabulary);
    Trainer trainer(model, corpus,
                    {.tokens_per_batch = sentences * (length + 1), .schedule = {.peak = 3e-4, .warmup = 1}});
    const double bytes = static_cast<double>(count_parameters(model)) * 4 * 7;  // Adam's pass; activations not counted
    rows.push_back({"training step, 7.58M parameters", text(sentences, " x ", length, " + ", length),
                    median_seconds([&] { trainer.step(); }), step_flops(config, 2048), bytes});
  }
  return rows;
}

}  // namespace headshare::benchmarks
