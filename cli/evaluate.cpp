#include <iomanip>
#include <iostream>

#include "cli/command.h"
#include "core/file.h"
#include "core/report/progress.h"
#include "nn/evaluation.h"
#include "nn/run.h"

namespace headshare::cli {
namespace {

void run(const Words& words, const std::string& summary) {
  CommandLine line("evaluate", summary, "  headshare evaluate runs/toy --data toy/test --beam 4", {"RUN"});
  line.options()("data", "Test text: PATH.en and PATH.de, or one tab-separated file", cxxopts::value<std::string>())(
      "source", "Ending of the source file", cxxopts::value<std::string>()->default_value("en"))(
      "target", "Ending of the target file", cxxopts::value<std::string>()->default_value("de"))(
      "beam", "Hypotheses kept per sentence; 1 is greedy", cxxopts::value<Size>()->default_value("4"))(
      "length-penalty", "alpha; larger prefers longer translations", cxxopts::value<double>()->default_value("0.6"))(
      "batch", "Sentences decoded side by side", cxxopts::value<Size>()->default_value("64"))(
      "cache", "Keep keys and values as f32, bf16 or (device cuda) int8, and say what that costs in NLL",
      cxxopts::value<std::string>())("lower-case", "Compare without regard to case; the signature says so")(
      "out", "Write the translations to this file, a line each", cxxopts::value<std::string>())(
      "threads", "Processor cores to use", cxxopts::value<Size>())("device", "Where to compute: cpu or cuda",
                                                                   cxxopts::value<std::string>());
  add_precision(line);
  const auto arguments = line.parse(words);
  if (!arguments) return;
  use_threads(*arguments);
  use_device(*arguments);
  const std::string data = required(*arguments, "data", "evaluate");
  const std::string out = arguments->count("out") > 0 ? (*arguments)["out"].as<std::string>() : "";
  if (!out.empty() && std::filesystem::exists(out)) fail("evaluate: ", out, " is there already; choose another --out");
  LoadedRun loaded = load_run((*arguments)["RUN"].as<std::string>());
  loaded.model.compute_in(precision(*arguments));
  const Corpus test =
      read_corpus(data, {(*arguments)["source"].as<std::string>(), (*arguments)["target"].as<std::string>()});
  const Evaluation result = evaluate(loaded.model, loaded.tokenizer, test,
                                     {.decoding = {.beam = (*arguments)["beam"].as<Size>(),
                                                   .length_penalty = (*arguments)["length-penalty"].as<double>(),
                                                   .batch = (*arguments)["batch"].as<Size>(),
                                                   .cache_type = cache_type(*arguments)},
                                      .lower_case = arguments->count("lower-case") > 0});
  std::cout << std::fixed << std::setprecision(2) << "sentences       " << with_thousands(test.size())
            << "\nBLEU            " << result.bleu << "  95 % interval " << result.bleu_interval.low << " to "
            << result.bleu_interval.high << "  " << result.bleu_signature << "\nchrF2           " << result.chrf << "  "
            << result.chrf_signature << "\nexact match     " << 100 * result.exact_match << " %\ntoken accuracy  "
            << 100 * result.token_accuracy << " %\nNLL per token   " << std::setprecision(4) << result.nll
            << (arguments->count("cache") ? text("\nNLL from cache  ", with_decimals(result.cached_nll, 4), "  (",
                                                 result.cached_nll < result.nll ? "" : "+",
                                                 with_decimals(result.cached_nll - result.nll, 5), ")")
                                          : "")
            << "\ntime            " << format_duration(result.seconds) << '\n';
  if (result.left_out > 0)
    std::cout << "the NLL leaves out " << result.left_out << " references that are longer than the model's positions\n";
  if (!out.empty())
    write_file(out, [&](std::ostream& file) {
      for (const std::string& translation : result.translations) file << translation << '\n';
    });
}

}  // namespace

Command evaluate_command() {
  const std::string summary = "Score a model on a test corpus: BLEU, chrF, exact match, NLL";
  return {"evaluate", summary, [summary](const Words& words) { run(words, summary); }};
}

}  // namespace headshare::cli
