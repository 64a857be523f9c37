#include "nn/training_speed.h"

#include "core/measure.h"
#include "core/random.h"
#include "kernels/device_memory.h"

namespace headshare {

EncodedCorpus random_corpus(const TrainingMeasurement& measurement, Size vocabulary) {
  Generator generator(1);
  const auto sentence = [&](Size tokens) {
    std::vector<std::int32_t> ids;
    for (Size i = 0; i < tokens; ++i) ids.push_back(static_cast<std::int32_t>(3 + generator.below(vocabulary - 3)));
    return ids;
  };
  EncodedCorpus corpus;
  for (Size i = 0; i < measurement.sentences; ++i)  // of a target, all but the first token are predicted
    corpus.pairs.push_back({sentence(measurement.length), sentence(measurement.length + 1)});
  return corpus;
}

Recipe one_batch_recipe(const TrainingMeasurement& measurement) {
  return {.tokens_per_batch = measurement.sentences * (measurement.length + 1),
          .schedule = {.peak = 3e-4, .warmup = 1}};
}

double training_flops(const TransformerConfig& config, const TrainingMeasurement& measurement) {
  const double C = static_cast<double>(config.d_model), F = static_cast<double>(config.d_ff),
               V = static_cast<double>(config.vocabulary);
  double weights = C * V;
  for (Size layer = 0; layer < config.layers; ++layer) {
    weights += 2 * 2 * C * F;  // feed-forward layers of encoder and decoder
    const AttentionSites& sites = config.sites(layer);
    for (const AttentionMode& mode : {sites.encoder_self, sites.decoder_self, sites.cross})
      weights += 2 * C * static_cast<double>(head_size(mode, config.d_model) * (mode.heads + mode.kv_heads));
  }
  return 6 * static_cast<double>(measurement.sentences * measurement.length) * weights;
}

TrainingSpeed measure_training(const Transformer& model, const TrainingMeasurement& measurement, Size steps) {
  const Device device = model.options().device;
  const EncodedCorpus corpus = random_corpus(measurement, model.config().vocabulary);
  Trainer trainer(model, corpus, one_batch_recipe(measurement));
  reset_peak_memory(device);
  trainer.step();
  trainer.step();
  const Size allocations = memory_statistics(device).system_allocations;
  // A GPU is not waited for after every update in training either.
  const Size updates = device == Device::cpu || kernels::cuda_is_simulated() ? 1 : 10;
  std::vector<double> seconds;
  for (Size step = 0; step < steps; ++step)
    seconds.push_back(seconds_of([&] {
                        for (Size i = 0; i < updates; ++i) trainer.update();
                        trainer.report();
                      }) /
                      static_cast<double>(updates));
  const MemoryStatistics memory = memory_statistics(device);
  return {median(seconds), memory.peak_bytes_in_use, memory.system_allocations - allocations};
}

}  // namespace headshare
