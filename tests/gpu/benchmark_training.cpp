#include <memory>

#include "core/measure.h"
#include "nn/training_speed.h"
#include "tests/gpu/benchmark.h"

// One update: forward, backward, clipping, Adam. against_pytorch.py builds the same models and measures in turns.
namespace headshare::gpu_benchmarks {
namespace {

struct Model {
  const char* name;
  TransformerConfig config;
  std::vector<TrainingMeasurement> measurements;
};

std::vector<Model> models(Scale scale) {
  std::vector<Model> models;
  const auto add = [&](const char* name, const TransformerConfig& config,
                       const std::vector<TrainingMeasurement>& measurements) {
    models.push_back({name, config, measurements});
  };
  if (scale == Scale::small) {
    add("small", {.vocabulary = 64, .d_model = 16, .layers = 1, .attention = multi_head(2)}, {{2, 8}});
  } else {
    add("7.58M", {.vocabulary = 8000, .attention = multi_head(8)}, {{64, 32}, {64, 128}});
    add("60.5M", {.vocabulary = 32000, .d_model = 512, .layers = 6, .attention = multi_head(8)},
        {{64, 128}, {16, 512}});
  }
  return models;
}

struct TrainingRun {
  Transformer model;
  EncodedCorpus corpus;
  Trainer trainer;
  Size updates = 1;  // of a sample

  TrainingRun(const TransformerConfig& config, const TrainingMeasurement& measurement)
      : model(config, 1),
        corpus(random_corpus(measurement, config.vocabulary)),
        trainer(model, corpus, one_batch_recipe(measurement)) {}

  // Updates are queued behind each other, as in training; the report waits for the last.
  double seconds() {
    const double all = seconds_of([&] {
      for (Size i = 0; i < updates; ++i) trainer.update();
      trainer.report();
    });
    return all / static_cast<double>(updates);
  }
};

Prepared prepare(TransformerConfig config, const TrainingMeasurement& measurement, Precision precision) {
  config.max_length = measurement.length + 2;
  config.dropout = 0;
  config = checked(config);
  const auto run = std::make_shared<TrainingRun>(config, measurement);
  run->model.compute_in(precision);
  run->seconds();  // the second one finds all memory there
  run->updates = std::clamp(static_cast<Size>(0.1 / run->seconds()), Size{1}, Size{100});
  // Adam reads a gradient, a weight and two moments, and writes all but the gradient. Activations are not counted.
  return {.work = [run] { return run->seconds(); },
          .flops = training_flops(config, measurement),
          .bytes = static_cast<double>(count_parameters(run->model)) * 4 * 7,
          .tokens = static_cast<double>(measurement.sentences * measurement.length)};
}

}  // namespace

std::vector<Case> training_cases(Scale scale) {
  std::vector<Case> cases;
  for (const Model& model : models(scale))
    for (const TrainingMeasurement& measurement : model.measurements)
      for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16})
        cases.push_back({"training", text("training step ", model.name, ' ', name(precision)),
                         text(measurement.sentences, " x ", measurement.length, " + ", measurement.length), "",
                         [=] { return prepare(model.config, measurement, precision); }});
  return cases;
}

}  // namespace headshare::gpu_benchmarks
