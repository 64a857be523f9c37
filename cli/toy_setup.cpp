#include "cli/toy_setup.h"

namespace headshare::cli {
namespace {

const Languages languages{.source = "en", .target = "de"};

}  // namespace

void write_toy_language(const ToyLanguage& toy, const std::filesystem::path& folder) {
  for (const auto& [name, corpus] : {std::pair{"train", &toy.train}, std::pair{"valid", &toy.valid},
                                     std::pair{"test", &toy.test}, std::pair{"test-composition", &toy.composition}})
    write_corpus(folder / name, *corpus, languages);
}

DataPaths toy_paths(const std::filesystem::path& folder) {
  return {(folder / "train").string(), (folder / "valid").string(), languages};
}

TransformerConfig toy_model(Size vocabulary) {
  return {.vocabulary = vocabulary,
          .d_model = 128,
          .d_ff = 512,
          .layers = 2,
          .attention = multi_head(8),
          .max_length = 128,
          .dropout = 0};
}

Recipe toy_recipe(Size steps, std::uint64_t seed) {
  return {.steps = steps,
          .tokens_per_batch = 768,
          .schedule = {.peak = 2.5e-3, .warmup = std::min(Size{1500}, steps)},
          .seed = seed};
}

}  // namespace headshare::cli
