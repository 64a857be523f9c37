#include <filesystem>
#include <iostream>

#include "cli/command.h"
#include "core/report/progress.h"
#include "core/text/toy_language.h"

namespace headshare::cli {
namespace {

void run(const Words& words, const std::string& summary) {
  CommandLine line("data", summary, "  headshare data toy --out toy --pairs 40000 --seed 1", {"KIND"});
  line.options()("out", "Folder to make; gets train, valid, test and test-composition, each as .en and .de",
                 cxxopts::value<std::string>())("pairs", "Training pairs",
                                                cxxopts::value<Size>()->default_value("40000"))(
      "seed", "Another seed gives other sentences of the same language",
      cxxopts::value<std::uint64_t>()->default_value("1"));
  const auto arguments = line.parse(words);
  if (!arguments) return;
  const auto kind = (*arguments)["KIND"].as<std::string>();
  if (kind != "toy") throw UsageError(text("data: there is no '", kind, "' data; this program makes: toy"));
  const std::filesystem::path out = required(*arguments, "out", "data");
  if ((*arguments)["pairs"].as<Size>() < 1) throw UsageError("data: --pairs must be at least 1");
  for (const char* name : {"train", "valid", "test", "test-composition"})
    for (const char* ending : {".en", ".de"})
      if (const std::filesystem::path file = out / text(name, ending); std::filesystem::exists(file))
        fail("data: ", file.string(), " is there already; choose another --out folder");
  const ToyLanguage toy =
      make_toy_language({.pairs = (*arguments)["pairs"].as<Size>(), .seed = (*arguments)["seed"].as<std::uint64_t>()});
  const Languages languages{.source = "en", .target = "de"};
  for (const auto& [name, corpus] : {std::pair{"train", &toy.train}, std::pair{"valid", &toy.valid},
                                     std::pair{"test", &toy.test}, std::pair{"test-composition", &toy.composition}}) {
    write_corpus(out / name, *corpus, languages);
    std::cout << (out / name).string() << ".en, .de: " << with_thousands(corpus->size()) << " pairs\n";
  }
  std::cout << "for example: " << toy.train.pairs[0].source << "  ->  " << toy.train.pairs[0].target << '\n';
}

}  // namespace

Command data_command() {
  const std::string summary = "Make a corpus: the toy language, English to German from a grammar";
  return {"data", summary, [summary](const Words& words) { run(words, summary); }};
}

}  // namespace headshare::cli
