#include <omp.h>

#include <algorithm>
#include <cxxopts.hpp>
#include <iostream>

#include "core/device.h"
#include "core/error.h"
#include "core/file.h"
#include "core/report/measurements.h"
#include "core/report/progress.h"
#include "kernels/machine_limits.h"
#include "tests/benchmarks/benchmark.h"

// headshare_benchmarks [--only GROUP] [--json FILE]
namespace {

using namespace headshare;
using namespace headshare::benchmarks;

const std::vector<std::pair<std::string, std::vector<Row> (*)()>> groups = {
    {"matmul", benchmark_matmul},          {"attention", benchmark_attention}, {"memory", benchmark_memory_kernels},
    {"training", benchmark_training_step}, {"decoding", benchmark_decoding},   {"texts", benchmark_texts}};

std::string group_names() {
  std::string names;
  for (const auto& [name, benchmark] : groups) names += (names.empty() ? "" : ", ") + name;
  return names;
}

void run(const std::string& only, const std::string& file) {
  const bool known =
      only.empty() || std::any_of(groups.begin(), groups.end(), [&](const auto& group) { return group.first == only; });
  if (!known) throw UsageError("--only must be one of " + group_names());
  std::cout << describe_processor() << '\n';
  const double vectors = kernels::measure_arithmetic(), unit = kernels::measure_matrix_unit();
  const double peak = std::max(vectors, unit), bandwidth = kernels::measure_reading();
  std::cout << with_decimals(vectors / 1e9, 0) << " GFLOP/s of multiply-adds in registers, reading "
            << with_decimals(bandwidth / 1e9, 1) << " GB/s, " << omp_get_max_threads() << " threads, float32\n";
  if (unit > 0)
    std::cout << with_decimals(unit / 1e9, 0)
              << " GFLOP/s in the matrix unit: the peak below, which only large matrix products can come near\n";
  std::cout << '\n';
  Measurements measurements;
  for (const auto& [name, benchmark] : groups) {
    if (!only.empty() && only != name) continue;
    for (const Row& row : benchmark()) {
      const double flops = row.flops / row.seconds, bytes = row.bytes / row.seconds;
      measurements.add({{"kernel", row.name},
                        {"size", row.size},
                        {"ms", 1e3 * row.seconds, 3},
                        {"GFLOP/s", flops / 1e9},
                        {"of peak", flops / peak, 2},
                        {"GB/s", bytes / 1e9, 1},
                        {"of bandwidth", bytes / bandwidth, 2}});
    }
  }
  std::cout << measurements.table();
  if (!file.empty()) write_file(file, measurements.json());
}

}  // namespace

int main(int count, char** arguments) {
  try {
    cxxopts::Options options("headshare_benchmarks", "Times every kernel against what this machine can do");
    options.add_options()("only", "One group: " + group_names(), cxxopts::value<std::string>()->default_value(""))(
        "json", "Also write one object per row to this file", cxxopts::value<std::string>()->default_value(""));
    const auto parsed = options.parse(count, arguments);
    run(parsed["only"].as<std::string>(), parsed["json"].as<std::string>());
    return 0;
  } catch (const UsageError& error) {
    std::cerr << "headshare_benchmarks: " << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "headshare_benchmarks: " << error.what() << '\n';
    return 1;
  }
}
