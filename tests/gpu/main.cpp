#include <algorithm>
#include <cmath>
#include <cxxopts.hpp>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/file.h"
#include "core/measure.h"
#include "core/report/measurements.h"
#include "core/report/progress.h"
#include "tests/gpu/benchmark.h"
#include "tests/gpu/cublas.h"

// headshare_gpu_benchmarks [--only GROUP,...] [--json FILE] [--seconds N]: a table of all cases.
// headshare_gpu_benchmarks --serve: measures the cases that are asked for, one a line, for against_pytorch.py.
namespace {

using namespace headshare;
using namespace headshare::gpu_benchmarks;

const std::vector<std::pair<std::string, std::vector<Case> (*)(Scale)>> groups = {
    {"ceilings", ceiling_cases},    {"matmul", matmul_cases},
    {"attention", attention_cases}, {"decode_attention", decode_attention_cases},
    {"training", training_cases},   {"shazeer", shazeer_cases},
    {"ainslie", ainslie_cases}};

std::string group_names() {
  std::string names;
  for (const auto& [name, cases] : groups) names += (names.empty() ? "" : ", ") + name;
  return names;
}

std::vector<Case> cases_of(const std::vector<std::string>& only, Scale scale) {
  for (const std::string& wanted : only)
    if (std::none_of(groups.begin(), groups.end(), [&](const auto& group) { return group.first == wanted; }))
      throw UsageError(text("--only knows no group ", wanted, "; choose from ", group_names()));
  std::vector<Case> chosen;
  for (const auto& [name, cases] : groups)
    if (only.empty() || std::find(only.begin(), only.end(), name) != only.end())
      for (Case& one : cases(scale)) chosen.push_back(std::move(one));
  return chosen;
}

// A kernel that reached for memory that is not its own leaves a device on which nothing works any more.
bool device_works() {
  try {
    kernels::synchronize(kernels::cuda());
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

// ---- A table --------------------------------------------------------------------------------------------------------

struct Times {
  double work = 0, reference = 0;  // medians, in seconds
};

Times measure(const Prepared& prepared) {
  std::vector<double> work, reference;
  for (int turn = prepared.turns > 1 ? -1 : 0; turn < prepared.turns; ++turn) {  // the first of several warms up
    const double seconds = prepared.work(), other = prepared.reference ? prepared.reference() : 0;
    if (turn < 0) continue;
    work.push_back(seconds);
    reference.push_back(other);
  }
  return {median(work), median(reference)};
}

std::vector<Measured> row_of(const Case& one, const Prepared& prepared, const Times& times, const std::string& note) {
  const auto rate = [&](double count) { return times.work > 0 ? count / times.work : 0; };
  return {{"group", one.group},
          {"kernel", one.kernel},
          {"size", one.size},
          {"ms", 1e3 * times.work, 4},
          {"TFLOP/s", rate(prepared.flops) / 1e12, 1},
          {"GB/s", rate(prepared.bytes) / 1e9, 1},
          {"us a token", prepared.tokens > 0 ? 1e6 * times.work / prepared.tokens : 0, 3},
          {"predicted ms", 1e3 * prepared.predicted_seconds, 4},
          {"reference", one.reference},
          {"reference ms", 1e3 * times.reference, 4},
          {"of reference", rate(times.reference), 3},
          {"note", note}};
}

// Writes after every row: what was measured before a kernel hangs is kept.
bool run(const std::vector<Case>& cases, const std::string& file, double seconds) {
  Measurements rows;
  bool all = true;
  const auto add = [&](const std::vector<Measured>& row) {
    rows.add(row);
    if (!file.empty()) write_file(file, rows.json());
  };
  double spent = 0;
  for (const Case& one : cases) {
    if (spent > seconds) {
      add(row_of(one, {}, {}, "no time was left"));
      all = false;
      continue;
    }
    spent += seconds_of([&] {
      try {
        const Prepared prepared = one.prepare();
        const Times times = measure(prepared);
        if (prepared.check) prepared.check();
        add(row_of(one, prepared, times, ""));
        std::cout << one.name() << ": " << with_decimals(1e3 * times.work, 4) << " ms\n" << std::flush;
      } catch (const std::exception& error) {
        add(row_of(one, {}, {}, error.what()));
        std::cout << one.name() << ": " << error.what() << '\n' << std::flush;
        all = false;
      }
      release_cached_memory(Device::cuda);
    });
    if (!device_works()) fail("the device no longer works after ", one.name());
  }
  std::cout << '\n' << rows.table();
  return all;
}

// ---- One case at a time ---------------------------------------------------------------------------------------------

// Reads names of cases, a line each, and answers each with a line of JSON: {"ms": ...} or {"error": ...}. A case stays
// prepared until another is asked for, so that asking in turns with somebody else costs nothing but the measurement.
void serve(const std::vector<Case>& cases) {
  std::string last;
  std::optional<Prepared> prepared;
  std::cout << nlohmann::json{{"device", kernels::describe_cuda()}} << std::endl;
  for (std::string name; std::getline(std::cin, name);) {
    nlohmann::json answer;
    try {
      const auto one = std::find_if(cases.begin(), cases.end(), [&](const Case& x) { return x.name() == name; });
      if (one == cases.end()) fail("there is no case ", name);
      if (name != last) {
        prepared.reset();
        last.clear();
        release_cached_memory(Device::cuda);
        prepared = one->prepare();
        prepared->work();
        last = name;
      }
      std::vector<double> samples;
      for (int sample = 0; sample < 3; ++sample) samples.push_back(prepared->work());
      answer["ms"] = 1e3 * median(samples);
    } catch (const std::exception& error) {
      answer["error"] = error.what();
    }
    std::cout << answer << std::endl;
    if (!device_works()) fail("the device no longer works after ", name);
  }
}

bool parse_and_run(int count, char** arguments) {
  cxxopts::Options options("headshare_gpu_benchmarks", "Times every kernel on a GPU, beside what it should reach");
  const auto word = [] { return cxxopts::value<std::string>()->default_value(""); };
  options.add_options()("only", "Some groups, with commas: " + group_names(),
                        cxxopts::value<std::vector<std::string>>()->default_value(""))(
      "json", "Also write one object per row to this file", word())("seconds", "Begin no case after so much time",
                                                                    cxxopts::value<double>()->default_value("1e9"))(
      "list", "Name all cases and measure none")("serve", "Measure the cases that standard input names")(
      "small", "Tiny sizes, to try this program")("h,help", "This text");
  const auto parsed = [&] {
    try {
      return options.parse(count, arguments);
    } catch (const cxxopts::exceptions::exception& error) {
      throw UsageError(error.what());
    }
  }();
  if (!parsed.unmatched().empty()) throw UsageError("unexpected " + parsed.unmatched().front());
  if (parsed.count("help")) {
    std::cout << options.help();
    return true;
  }
  std::vector<std::string> only = parsed["only"].as<std::vector<std::string>>();
  std::erase(only, "");
  const std::vector<Case> cases = cases_of(only, parsed.count("small") ? Scale::small : Scale::full);
  if (parsed.count("list")) {
    for (const Case& one : cases) std::cout << one.name() << '\n';
    return true;
  }
  const DefaultDevice device(Device::cuda);
  if (parsed.count("serve")) {
    serve(cases);
    return true;
  }
  std::cout << kernels::describe_cuda() << '\n';
  return run(cases, parsed["json"].as<std::string>(), parsed["seconds"].as<double>());
}

}  // namespace

// 0: everything was measured; 1: something was not; 2: the command line is wrong.
int main(int count, char** arguments) {
  try {
    return parse_and_run(count, arguments) ? 0 : 1;
  } catch (const UsageError& error) {
    std::cerr << "headshare_gpu_benchmarks: " << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "headshare_gpu_benchmarks: " << error.what() << '\n';
    return 1;
  }
}
