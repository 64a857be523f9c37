#include <iomanip>
#include <iostream>

#include "cli/command.h"
#include "core/device.h"
#include "core/report/progress.h"
#include "core/report/table.h"
#include "nn/decoding.h"

namespace headshare::cli {
namespace {

void run(const Words& words, const std::string& summary) {
  CommandLine line("benchmark", summary, "  headshare benchmark --batch 64 --source 256 --target 32");
  line.options()("batch", "Sentences side by side", cxxopts::value<Size>()->default_value("64"))(
      "source", "Source tokens", cxxopts::value<Size>()->default_value("128"))(
      "target", "Tokens to decode", cxxopts::value<Size>()->default_value("32"))(
      "d-model", "Width", cxxopts::value<Size>()->default_value("256"))("layers", "Decoder layers",
                                                                        cxxopts::value<Size>()->default_value("3"))(
      "heads", "Query heads", cxxopts::value<Size>()->default_value("8"))(
      "vocabulary", "Tokens", cxxopts::value<Size>()->default_value("8000"))("threads", "Processor cores to use",
                                                                             cxxopts::value<Size>());
  const auto arguments = line.parse(words);
  if (!arguments) return;
  use_threads(*arguments);
  const auto size = [&](const char* option) { return (*arguments)[option].as<Size>(); };
  const DecodingMeasurement measurement{
      .batch = size("batch"), .source_length = size("source"), .target_length = size("target")};
  for (const char* option : {"batch", "source", "target", "heads", "layers"})
    if (size(option) < 1) throw UsageError(text("benchmark: --", option, " must be at least 1"));
  std::cout << describe_devices() << "greedy decoding with random weights, batch " << measurement.batch << ", source "
            << measurement.source_length << ", " << measurement.target_length << " steps, median of "
            << measurement.repetitions << "\n\n";
  Table table({{"attention"},
               {"parameters", Alignment::right},
               {"cache MiB", Alignment::right},
               {"ms a step", Alignment::right},
               {"tokens/s", Alignment::right},
               {"speed-up", Alignment::right}});
  double first = 0;
  for (Size kv_heads = size("heads"); kv_heads >= 1; --kv_heads) {
    if (size("heads") % kv_heads != 0) continue;
    const Transformer model({.vocabulary = size("vocabulary"),
                             .d_model = size("d-model"),
                             .layers = size("layers"),
                             .attention = grouped_query(size("heads"), kv_heads),
                             .max_length = std::max(measurement.source_length, measurement.target_length)},
                            1);
    const DecodingSpeed speed = measure_decoding(model, measurement);
    if (first == 0) first = speed.tokens_per_second;
    table.add_row({name(model.config().attention.cross), with_thousands(count_parameters(model)),
                   with_decimals(static_cast<double>(speed.cache_bytes) / (1 << 20), 1),
                   with_decimals(1e3 * speed.seconds_per_step, 2),
                   with_thousands(static_cast<Size>(speed.tokens_per_second)),
                   with_decimals(speed.tokens_per_second / first, 2)});
  }
  std::cout << table.plain();
}

}  // namespace

Command benchmark_command() {
  const std::string summary = "Time greedy decoding for every number of key/value heads";
  return {"benchmark", summary, [summary](const Words& words) { run(words, summary); }};
}

}  // namespace headshare::cli
