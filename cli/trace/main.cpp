#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/trace/hot.h"
#include "cli/trace/kernels.h"
#include "kernels/simulator/simulator.h"

// What `headshare trace` starts: a program of its own, because every access of its kernels is watched.
namespace headshare::trace {
namespace {

using cli::Words;

const char* const summary = "Run one CUDA kernel on the simulated device and report every memory access";
const char* const example =
    "  headshare trace\n"
    "  headshare trace matmul-tiled --size M=64,N=64,K=96\n"
    "  headshare trace decode-per-group --size G=1 --json\n"
    "  headshare trace --hot";

void list_kernels() {
  std::cout << "Kernels, with the sizes they run with unless --size says otherwise:\n";
  std::size_t width = 0, sizes_width = 0;
  for (const TracedKernel& kernel : traced_kernels()) {
    width = std::max(width, kernel.name.size());
    sizes_width = std::max(sizes_width, kernel.sizes.text().size());
  }
  for (const TracedKernel& kernel : traced_kernels())
    std::cout << "  " << kernel.name << std::string(width + 2 - kernel.name.size(), ' ') << kernel.sizes.text()
              << std::string(sizes_width + 2 - kernel.sizes.text().size(), ' ') << kernel.summary << '\n';
  std::cout << "Example:\n" << example << '\n';
}

// "M=64"
NamedSize parse_size(const std::string& word) {
  const std::size_t equals = word.find('=');
  char* end = nullptr;
  const long long value = equals == std::string::npos ? 0 : std::strtoll(word.c_str() + equals + 1, &end, 10);
  if (end == nullptr || *end != '\0' || end == word.c_str() + equals + 1)
    throw UsageError("trace: --size wants names and numbers such as M=64,N=64, not '" + word + "'");
  return {word.substr(0, equals), static_cast<Size>(value)};
}

void set_order(const std::string& word) {
  using simulator::ThreadOrder;
  if (word == "forward") return simulator::set_thread_order(ThreadOrder::forward);
  if (word == "reverse") return simulator::set_thread_order(ThreadOrder::reverse);
  if (word == "shuffled") return simulator::set_thread_order(ThreadOrder::shuffled);
  throw UsageError("trace: --order must be forward, reverse or shuffled, not " + word);
}

void print_json(const Launches& launches) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const auto& launch : launches) all.push_back(nlohmann::ordered_json::parse(to_json(launch)));
  std::cout << all.dump(2) << '\n';
}

// The exit status: 1 when a launch has a problem.
int run(Words words) {
  std::string name;
  if (!words.empty() && !words[0].starts_with('-')) {
    name = words[0];
    words.erase(words.begin());
  }
  cli::CommandLine line("trace [KERNEL]", summary, example);
  line.options()("size", "Sizes by name: M=64,N=32", cxxopts::value<std::vector<std::string>>())(
      "order", "In which order threads take turns: forward, reverse or shuffled",
      cxxopts::value<std::string>()->default_value("forward"))("json", "Print JSON")(
      "hot",
      "No single kernel: a table of those that take most of the time, what they ask of memory and what they must");
  const auto arguments = line.parse(words);
  if (!arguments) return 0;
  if (arguments->count("hot") > 0) {
    if (!name.empty()) throw UsageError("trace: --hot is about all hot kernels, not " + name + " alone");
    if (arguments->count("size") + arguments->count("json") > 0)
      throw UsageError("trace: --hot prints one table; it takes no --size and no --json");
    std::cout << hot_table();
    return 0;
  }
  if (name.empty()) {
    list_kernels();
    return 0;
  }
  std::vector<NamedSize> sizes;
  if (arguments->count("size") > 0)
    for (const std::string& word : (*arguments)["size"].as<std::vector<std::string>>())
      sizes.push_back(parse_size(word));
  set_order((*arguments)["order"].as<std::string>());

  simulator::set_strictness(simulator::Strictness::report);
  const Launches launches = run_traced(name, sizes);
  bool problems = false;
  for (const auto& launch : launches) problems = problems || !launch.problems.empty();
  if (arguments->count("json") > 0) {
    print_json(launches);
  } else {
    for (const auto& launch : launches) std::cout << to_text(launch) << '\n';
  }
  return problems ? 1 : 0;
}

}  // namespace
}  // namespace headshare::trace

int main(int count, char** arguments) {
  using namespace headshare;
  try {
    const int status = trace::run(cli::Words(arguments + 1, arguments + count));
    std::cout.flush();
    if (!std::cout) fail("cannot write to standard output");
    return status;
  } catch (const UsageError& error) {
    std::cerr << "headshare: " << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "headshare: " << error.what() << '\n';
    return 1;
  }
}
