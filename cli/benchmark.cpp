#include <deque>
#include <iostream>

#include "cli/training_options.h"
#include "core/device.h"
#include "core/file.h"
#include "core/report/measurements.h"
#include "core/report/progress.h"
#include "nn/decoding_ceilings.h"
#include "nn/decoding_speed.h"
#include "nn/evaluation.h"
#include "nn/run.h"
#include "nn/training_speed.h"

namespace headshare::cli {
namespace {

using Arguments = cxxopts::ParseResult;

Size size_of(const Arguments& arguments, const char* option) { return arguments[option].as<Size>(); }

TransformerConfig model_config(const Arguments& arguments, Size kv_heads) {
  return checked({.vocabulary = size_of(arguments, "vocabulary"),
                  .d_model = size_of(arguments, "d-model"),
                  .d_ff = size_of(arguments, "d-ff"),
                  .layers = size_of(arguments, "layers"),
                  .attention = grouped_query(size_of(arguments, "heads"), kv_heads),
                  .max_length = std::max(size_of(arguments, "source"), size_of(arguments, "target")) + 2,
                  .dropout = 0});
}

std::vector<Size> kv_head_choices(const Arguments& arguments) {
  const Size heads = size_of(arguments, "heads");
  std::vector<Size> choices;
  for (Size kv_heads = heads; kv_heads >= 1; --kv_heads)
    if (heads % kv_heads == 0) choices.push_back(kv_heads);
  if (!arguments.count("kv-heads")) return choices;
  const Size wanted = size_of(arguments, "kv-heads");
  if (std::find(choices.begin(), choices.end(), wanted) == choices.end())
    throw UsageError(text("benchmark: --kv-heads ", wanted, " does not divide --heads ", heads));
  return {wanted};
}

// A narrower one beside the one that it replaces: of the type that the model computes in.
std::vector<ElementType> cache_types(const Arguments& arguments, ElementType computed) {
  const ElementType wanted = cache_type(arguments).value_or(computed);
  return wanted == computed ? std::vector{wanted} : std::vector{computed, wanted};
}

// What a narrower cache, bfloat16 unless another was asked for, costs a trained model on its validation text.
void report_quality(const Arguments& arguments) {
  const std::string run = arguments["run"].as<std::string>();
  LoadedRun loaded = load_run(run);
  loaded.model.compute_in(precision(arguments));
  const DataPaths data = data_paths(loaded.metadata);
  const EncodedCorpus valid =
      encode(read_corpus(data.valid, data.languages), loaded.tokenizer, loaded.model.config().max_length);
  const Decoder decoder(loaded.model);
  const ElementType computed = loaded.model.activations().type;
  const ElementType type = cache_type(arguments).value_or(ElementType::bfloat16);
  const double wide = cached_nll(decoder, valid, computed), narrow = cached_nll(decoder, valid, type);
  std::cout << "\nvalidation NLL of " << run << " per token: " << name(computed) << " cache " << with_decimals(wide, 5)
            << ", " << name(type) << " cache " << with_decimals(narrow, 5) << ", change "
            << with_decimals(narrow - wide, 5) << '\n';
}

Measurements benchmark_decoding(const Arguments& arguments) {
  struct Candidate {
    const Decoder* decoder;
    DecodingMeasurement measurement;
    DecodingCost cost;
  };
  std::vector<Transformer> models;
  for (const Size kv_heads : kv_head_choices(arguments)) {
    models.emplace_back(model_config(arguments, kv_heads), 1);
    models.back().compute_in(precision(arguments));
  }
  const std::deque<Decoder> decoders(models.begin(), models.end());
  std::vector<Candidate> candidates;
  double working_set = 0;
  for (const Decoder& decoder : decoders)
    for (const ElementType type : cache_types(arguments, decoder.model().activations().type)) {
      const DecodingMeasurement measurement{.batch = size_of(arguments, "batch"),
                                            .source_length = size_of(arguments, "source"),
                                            .target_length = size_of(arguments, "target"),
                                            .repetitions = size_of(arguments, "repetitions"),
                                            .cache_type = type,
                                            .beam = size_of(arguments, "beam")};
      candidates.push_back({&decoder, measurement, decoding_cost(decoder, measurement)});
      working_set = std::max(working_set, candidates.back().cost.bytes());
    }

  CeilingMeter meter(default_device(), reading_amounts(default_device(), static_cast<Size>(working_set)));
  std::cout << "measured now: " << with_decimals(meter.peak_flops() / 1e9, 0) << " GFLOP/s, "
            << with_decimals(meter.reading().back().bytes_per_second / 1e9, 1) << " GB/s of "
            << (static_cast<Size>(meter.reading().back().bytes) >> 20) << " MiB read again and again, "
            << with_decimals(1e6 * (meter.operation_seconds() + meter.team_seconds()), 2)
            << " us to start an operation\n\n";
  Measurements rows;
  std::string missed;
  double first = 0;
  for (const auto& [decoder, measurement, cost] : candidates) {
    const Prediction prediction = predict(cost, meter.ceilings(*decoder, measurement));
    const DecodingSpeed speed = measure_decoding(*decoder, measurement);
    const Verdict verdict = judge(cost, prediction, speed.seconds_per_step,
                                  gather_evidence(*decoder, measurement, cost, prediction, speed.seconds_per_step));
    const Transformer& model = decoder->model();
    if (first == 0) first = speed.tokens_per_second;
    rows.add({{"attention", name(model.config().attention.cross)},
              {"cache", name(*measurement.cache_type)},
              {"parameters", static_cast<double>(count_parameters(model))},
              {"weights MB", cost.weights.bytes / 1e6, 1},
              {"cache MB", cost.cache_bytes() / 1e6, 1},
              {"predicted ms", 1e3 * prediction.seconds(), 2},
              {"ms a step", 1e3 * speed.seconds_per_step, 2},
              {"tokens/s", speed.tokens_per_second},
              {"speed-up", speed.tokens_per_second / first, 2},
              {"GB/s", cost.bytes() / speed.seconds_per_step / 1e9, 1},
              {"verdict", name(verdict.bound)}});
    if (!verdict.predicted)
      missed +=
          text(name(model.config().attention.cross), ", ", name(*measurement.cache_type), ": ", verdict.why, '\n');
  }
  if (!missed.empty()) std::cout << "Further than 35 % from what was predicted:\n" << missed << '\n';
  return rows;
}

Measurements benchmark_training(const Arguments& arguments) {
  const double peak = measure_peak(default_device(), precision(arguments));
  std::cout << "measured now: " << with_decimals(peak / 1e9, 0) << " GFLOP/s of " << peak_is_of(default_device())
            << "\n\n";
  Measurements rows;
  for (const Size kv_heads : kv_head_choices(arguments)) {
    const TransformerConfig config = model_config(arguments, kv_heads);
    Transformer model(config, 1);
    model.compute_in(precision(arguments));
    const TrainingMeasurement measurement{size_of(arguments, "batch"), size_of(arguments, "source")};
    const TrainingSpeed speed = measure_training(model, measurement, size_of(arguments, "repetitions"));
    const double flops = training_flops(config, measurement);
    rows.add(
        {{"attention", name(config.attention.cross)},
         {"parameters", static_cast<double>(count_parameters(model))},
         {"predicted ms", 1e3 * flops / peak},
         {"ms a step", 1e3 * speed.seconds_per_step},
         {"target tokens/s", static_cast<double>(measurement.sentences * measurement.length) / speed.seconds_per_step},
         {"GFLOP/s", flops / speed.seconds_per_step / 1e9},
         {"of peak", flops / speed.seconds_per_step / peak, 2},
         {"peak MiB", static_cast<double>(speed.peak_bytes) / (1 << 20)}});
  }
  return rows;
}

void run(const Words& words, const std::string& summary) {
  CommandLine line("benchmark", summary,
                   "  headshare benchmark --batch 64 --source 256 --target 32\n"
                   "  headshare benchmark --what train --batch 64 --source 32 --kv-heads 8\n"
                   "  headshare benchmark --batch 128 --source 512 --kv-heads 8 --cache bf16 --json speed.json");
  const auto size = [](const char* value) { return cxxopts::value<Size>()->default_value(value); };
  line.options()("what", "decode or train", cxxopts::value<std::string>()->default_value("decode"))(
      "batch", "Sentences side by side", size("64"))("source", "Source tokens; in training of the target too",
                                                     size("128"))("target", "Tokens to decode", size("32"))(
      "d-model", "Width", size("256"))("d-ff", "Width of the feed-forward layers; 0: four times --d-model", size("0"))(
      "layers", "Decoder layers", size("3"))("heads", "Query heads", size("8"))(
      "kv-heads", "Only this number of key/value heads", cxxopts::value<Size>())(
      "beam", "Hypotheses of a sentence; 1 decodes greedily", size("1"))("vocabulary", "Tokens", size("8000"))(
      "cache", "Keys and values as f32, or as bf16 or (device cuda) int8 beside f32", cxxopts::value<std::string>())(
      "run", "Also say what a narrower cache (bf16, or that of --cache) costs this trained run in validation NLL",
      cxxopts::value<std::string>())("repetitions", "The median of this many counts", size("5"))(
      "threads", "Processor cores to use", cxxopts::value<Size>())("device", "Where to compute: cpu or cuda",
                                                                   cxxopts::value<std::string>())(
      "json", "Also write one object per row to this file", cxxopts::value<std::string>());
  add_precision(line);
  const auto arguments = line.parse(words);
  if (!arguments) return;
  use_threads(*arguments);
  use_device(*arguments);
  for (const char* option : {"batch", "source", "target", "heads", "layers", "repetitions", "beam"})
    if (size_of(*arguments, option) < 1) throw UsageError(text("benchmark: --", option, " must be at least 1"));
  const std::string what = (*arguments)["what"].as<std::string>();
  if (what != "decode" && what != "train") throw UsageError("benchmark: --what must be decode or train, not " + what);

  std::cout << describe_devices() << (what == "decode" ? "decoding" : "training steps")
            << " with random weights, batch " << size_of(*arguments, "batch") << ", source "
            << size_of(*arguments, "source");
  if (what == "decode")
    std::cout << ", " << size_of(*arguments, "target") << " steps, beam " << size_of(*arguments, "beam");
  std::cout << ", median of " << size_of(*arguments, "repetitions") << '\n';
  const Measurements rows = what == "decode" ? benchmark_decoding(*arguments) : benchmark_training(*arguments);
  std::cout << rows.table();
  if (arguments->count("run")) report_quality(*arguments);
  if (arguments->count("json")) write_file((*arguments)["json"].as<std::string>(), rows.json());
}

}  // namespace

Command benchmark_command() {
  const std::string summary = "Time decoding or training for every number of key/value heads";
  return {"benchmark", summary, [summary](const Words& words) { run(words, summary); }};
}

}  // namespace headshare::cli
