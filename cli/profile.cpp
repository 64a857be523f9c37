#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "core/device.h"
#include "core/file.h"
#include "core/report/measurements.h"
#include "core/report/progress.h"
#include "nn/decoding_ceilings.h"
#include "nn/decoding_speed.h"
#include "nn/training_speed.h"
#include "tensor/profile.h"

namespace headshare::cli {
namespace {

struct Total {
  std::string name;
  Size calls = 0;
  double seconds = 0, flops = 0, bytes = 0;
};

// The records summed by operation, the longest first.
std::vector<Total> totals(const std::vector<OperationRecord>& records) {
  std::map<std::string, Total> by_name;
  for (const OperationRecord& record : records) {
    Total& total = by_name[record.name];
    total.name = record.name;
    ++total.calls;
    total.seconds += record.seconds;
    total.flops += record.flops;
    total.bytes += record.bytes;
  }
  std::vector<Total> sorted;
  for (const auto& [name, total] : by_name) sorted.push_back(total);
  std::sort(sorted.begin(), sorted.end(), [](const Total& a, const Total& b) { return a.seconds > b.seconds; });
  return sorted;
}

// What Chrome (chrome://tracing) and Perfetto open: one complete event per operation, in microseconds.
std::string chrome_trace(const std::vector<OperationRecord>& records) {
  nlohmann::ordered_json events = nlohmann::ordered_json::array();
  for (const OperationRecord& record : records)
    events.push_back({{"name", record.name},
                      {"ph", "X"},
                      {"ts", 1e6 * record.start},
                      {"dur", 1e6 * record.seconds},
                      {"pid", 1},
                      {"tid", 1},
                      {"args", {{"flops", record.flops}, {"bytes", record.bytes}}}});
  return nlohmann::ordered_json{{"traceEvents", events}, {"displayTimeUnit", "ms"}}.dump() + "\n";
}

struct Profiled {
  std::vector<OperationRecord> records;
  double seconds;
};

Profiled profile_training(const Transformer& model, const TrainingMeasurement& measurement, Size steps) {
  const EncodedCorpus corpus = random_corpus(measurement, model.config().vocabulary);
  Trainer trainer(model, corpus, one_batch_recipe(measurement));
  trainer.step();
  trainer.step();  // from here on memory is reused
  const Profile profile;
  for (Size step = 0; step < steps; ++step) trainer.step();
  return {profile.records(), profile.seconds()};
}

Profiled profile_decoding(const Transformer& model, const DecodingMeasurement& measurement) {
  const Decoder decoder(model);
  measure_decoding(decoder, measurement);  // warms up
  DecodingRun decoding(decoder, measurement);
  const Profile profile;
  for (Size step = 0; step < measurement.target_length; ++step) decoding.step();
  return {profile.records(), profile.seconds()};
}

void run(const Words& words, const std::string& summary) {
  CommandLine line("profile", summary,
                   "  headshare profile train --batch 64 --source 32 --trace train.json\n"
                   "  headshare profile decode --batch 128 --source 512 --kv-heads 1",
                   {"WHAT"});
  const auto size = [](const char* value) { return cxxopts::value<Size>()->default_value(value); };
  line.options()("batch", "Sentences side by side", size("64"))(
      "source", "Source tokens; in training of the target too", size("32"))(
      "steps", "Training steps, or tokens to decode", size("5"))("d-model", "Width", size("256"))(
      "layers", "Encoder and decoder layers", size("3"))("heads", "Query heads", size("8"))(
      "kv-heads", "Key/value heads", size("8"))("vocabulary", "Tokens", size("8000"))(
      "threads", "Processor cores to use", cxxopts::value<Size>())("device", "Where to compute: cpu or cuda",
                                                                   cxxopts::value<std::string>())(
      "trace", "Also write every operation to this file, for chrome://tracing", cxxopts::value<std::string>())(
      "json", "Also write one object per row to this file", cxxopts::value<std::string>());
  add_precision(line);
  const auto arguments = line.parse(words);
  if (!arguments) return;
  use_threads(*arguments);
  use_device(*arguments);
  const auto value = [&](const char* option) { return (*arguments)[option].as<Size>(); };
  for (const char* option : {"batch", "source", "steps", "heads", "layers"})
    if (value(option) < 1) throw UsageError(text("profile: --", option, " must be at least 1"));
  const std::string what = (*arguments)["WHAT"].as<std::string>();
  if (what != "train" && what != "decode") throw UsageError("profile: WHAT must be train or decode, not " + what);

  const TransformerConfig config = checked({.vocabulary = value("vocabulary"),
                                            .d_model = value("d-model"),
                                            .layers = value("layers"),
                                            .attention = grouped_query(value("heads"), value("kv-heads")),
                                            .max_length = std::max(value("source"), value("steps")) + 2,
                                            .dropout = 0});
  Transformer model(config, 1);
  model.compute_in(precision(*arguments));
  const double peak = measure_peak(default_device(), model.precision()), bandwidth = measure_memory(default_device());
  const Size steps = value("steps");
  const Profiled profiled =
      what == "train"
          ? profile_training(model, {value("batch"), value("source")}, steps)
          : profile_decoding(
                model,
                {.batch = value("batch"), .source_length = value("source"), .target_length = steps, .repetitions = 1});
  Measurements rows;
  const double per_step = 1.0 / static_cast<double>(steps);
  double listed = 0;
  const auto add = [&](const std::string& name, double calls, double seconds, double flops, double bytes) {
    rows.add({{"operation", name},
              {"calls a step", calls * per_step, 1},
              {"ms a step", 1e3 * seconds * per_step, 3},
              {"share %", 100 * seconds / profiled.seconds, 1},
              {"MFLOP a step", flops * per_step / 1e6, 1},
              {"MB a step", bytes * per_step / 1e6, 1},
              {"GFLOP/s", flops / seconds / 1e9, 1},
              {"% of peak", 100 * flops / seconds / peak, 1},
              {"GB/s", bytes / seconds / 1e9, 1}});
    listed += seconds;
  };
  for (const Total& total : totals(profiled.records))
    add(total.name, static_cast<double>(total.calls), total.seconds, total.flops, total.bytes);
  add("between operations", 0, std::max(1e-9, profiled.seconds - listed), 0, 0);
  std::cout << describe_devices() << "measured now: " << with_decimals(peak / 1e9, 0) << " GFLOP/s of "
            << peak_is_of(default_device()) << ", " << with_decimals(bandwidth / 1e9, 1) << " GB/s from memory\n"
            << with_decimals(1e3 * profiled.seconds * per_step, 2) << " ms a step, " << steps
            << " steps; FLOPs and bytes are those of the definition, each number read or written once\n\n"
            << rows.table();
  if (arguments->count("json")) write_file((*arguments)["json"].as<std::string>(), rows.json());
  if (arguments->count("trace")) write_file((*arguments)["trace"].as<std::string>(), chrome_trace(profiled.records));
}

}  // namespace

Command profile_command() {
  const std::string summary = "Show where the time of training or decoding goes, by operation";
  return {"profile", summary, [summary](const Words& words) { run(words, summary); }};
}

}  // namespace headshare::cli
