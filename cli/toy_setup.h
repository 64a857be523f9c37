#pragma once

#include <filesystem>

#include "cli/training_options.h"
#include "core/text/toy_language.h"

namespace headshare::cli {

// The quickstart's experiment: the toy language with a model of a million parameters and a recipe that tell the whole
// story in minutes of two cores. The laboratory repeats it with several seeds.

// FOLDER/train, valid, test and test-composition, each as .en and .de.
void write_toy_language(const ToyLanguage& toy, const std::filesystem::path& folder);
DataPaths toy_paths(const std::filesystem::path& folder);

constexpr Size toy_merges = 741;  // a vocabulary of 1,000
TransformerConfig toy_model(Size vocabulary);
Recipe toy_recipe(Size steps, std::uint64_t seed);

}  // namespace headshare::cli
