#include <unistd.h>

#include <iostream>

#include "cli/command.h"
#include "nn/decoding.h"
#include "nn/run.h"

namespace headshare::cli {
namespace {

void run(const Words& words, const std::string& summary) {
  CommandLine line("translate", summary, "  echo \"The old dog sleeps.\" | headshare translate runs/toy --beam 4",
                   {"RUN"});
  line.options()("beam", "Hypotheses kept per sentence; 1 is greedy", cxxopts::value<Size>()->default_value("4"))(
      "length-penalty", "alpha; larger prefers longer translations", cxxopts::value<double>()->default_value("0.6"))(
      "cache", "Keep keys and values as f32 or bf16; on device cuda also int8", cxxopts::value<std::string>())(
      "threads", "Processor cores to use", cxxopts::value<Size>())("device", "Where to compute: cpu or cuda",
                                                                   cxxopts::value<std::string>());
  add_precision(line);
  const auto arguments = line.parse(words);
  if (!arguments) return;
  use_threads(*arguments);
  use_device(*arguments);
  LoadedRun loaded = load_run((*arguments)["RUN"].as<std::string>());
  loaded.model.compute_in(precision(*arguments));
  const DecodingOptions options{.beam = (*arguments)["beam"].as<Size>(),
                                .length_penalty = (*arguments)["length-penalty"].as<double>(),
                                .cache_type = cache_type(*arguments)};
  const Decoder decoder(loaded.model);
  // A line at a time, answered at once: works for a person at a terminal and in a pipe.
  if (::isatty(STDIN_FILENO) != 0) std::cerr << "Type a sentence and press Enter; Ctrl+D ends.\n";
  std::string sentence;
  for (Size number = 1; std::getline(std::cin, sentence); ++number) {
    if (!sentence.empty() && sentence.back() == '\r') sentence.pop_back();
    if (sentence.empty()) {  // nothing to say; the model would invent something
      std::cout << std::endl;
      continue;
    }
    try {
      std::cout << translate(decoder, loaded.tokenizer, {sentence}, options)[0] << std::endl;
    } catch (const Error& error) {
      fail("standard input, line ", number, ": ", error.what());
    }
    if (!std::cout) fail("cannot write to standard output");
  }
}

}  // namespace

Command translate_command() {
  const std::string summary = "Translate standard input, line by line";
  return {"translate", summary, [summary](const Words& words) { run(words, summary); }};
}

}  // namespace headshare::cli
