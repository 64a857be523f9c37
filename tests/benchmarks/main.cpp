#include <omp.h>

#include <cxxopts.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/device.h"
#include "core/error.h"
#include "core/file.h"
#include "core/report/progress.h"
#include "core/report/table.h"
#include "tests/benchmarks/benchmark.h"
#include "tests/benchmarks/machine_limits.h"

// headshare_benchmarks [--only matmul|attention|memory|training] [--json FILE]
namespace {

using namespace headshare;
using namespace headshare::benchmarks;

const std::vector<std::pair<std::string, std::vector<Row> (*)()>> groups = {{"matmul", benchmark_matmul},
                                                                            {"attention", benchmark_attention},
                                                                            {"memory", benchmark_memory_kernels},
                                                                            {"training", benchmark_training_step}};

// The columns of the table are the keys of the JSON rows.
nlohmann::ordered_json to_json(const Row& row, const MachineLimits& limits) {
  return {{"kernel", row.name},
          {"size", row.size},
          {"ms", 1e3 * row.seconds},
          {"GFLOP/s", row.flops / row.seconds / 1e9},
          {"of peak", row.flops / row.seconds / limits.flops_per_second},
          {"GB/s", row.bytes / row.seconds / 1e9},
          {"of bandwidth", row.bytes / row.seconds / limits.bytes_per_second}};
}

void run(const std::string& only, const std::string& file) {
  std::cout << describe_devices();
  const MachineLimits limits = measure_limits();
  std::cout << "peak " << with_decimals(limits.flops_per_second / 1e9, 0) << " GFLOP/s, reading "
            << with_decimals(limits.bytes_per_second / 1e9, 1) << " GB/s, " << omp_get_max_threads()
            << " threads, float32\n\n";
  Table table({{"kernel"},
               {"size"},
               {"ms", Alignment::right},
               {"GFLOP/s", Alignment::right},
               {"of peak", Alignment::right},
               {"GB/s", Alignment::right},
               {"of bandwidth", Alignment::right}});
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  bool known = only.empty();
  for (const auto& [name, benchmark] : groups) {
    if (!only.empty() && only != name) continue;
    known = true;
    for (const Row& row : benchmark()) {
      const nlohmann::ordered_json json = to_json(row, limits);
      rows.push_back(json);
      table.add_row({row.name, row.size, with_decimals(json["ms"], 3), with_decimals(json["GFLOP/s"], 0),
                     with_decimals(json["of peak"], 2), with_decimals(json["GB/s"], 1),
                     with_decimals(json["of bandwidth"], 2)});
    }
  }
  if (!known) throw UsageError("benchmarks: --only must be matmul, attention, memory or training");
  std::cout << table.plain();
  if (!file.empty()) write_file(file, rows.dump(1) + "\n");
}

}  // namespace

int main(int count, char** arguments) {
  try {
    cxxopts::Options options("headshare_benchmarks", "Times every kernel against what this machine can do");
    options.add_options()("only", "matmul, attention, memory or training",
                          cxxopts::value<std::string>()->default_value(""))(
        "json", "Also write one object per row to this file", cxxopts::value<std::string>()->default_value(""));
    const auto parsed = options.parse(count, arguments);
    run(parsed["only"].as<std::string>(), parsed["json"].as<std::string>());
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "headshare_benchmarks: " << error.what() << '\n';
    return 1;
  }
}
