#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "nn/conversion.h"
#include "nn/training.h"

namespace headshare {

using Metadata = std::map<std::string, std::string>;

// A model on disk: a safetensors file with every parameter under its name, and the configuration as metadata beside
// whatever else is given (the tokenizer's fingerprint, the step, the recipe). The Python package `safetensors` opens
// it.
void save_model(const std::filesystem::path& path, const Transformer& model, const Metadata& extra = {});

// Fails when the file is damaged, has a parameter too many or too few, or one of another shape.
struct LoadedModel {
  Transformer model;
  Metadata metadata;
};
LoadedModel load_model(const std::filesystem::path& path, Device device = default_device());

// All that a run needs to go on, in one file, so that no crash can leave half of it: weights, both moments of every
// parameter, the recipe, the state, and `extra`.
void save_training(const std::filesystem::path& path, const Trainer& trainer, const Metadata& extra = {});

// The weights in such a file, and its metadata; see transformer_config, recipe and training_state for what that holds.
LoadedModel load_training_model(const std::filesystem::path& path, Device device = default_device());
// What such a run computed in; fp32 for those written before there was a choice.
Precision training_precision(const Metadata& metadata);
// Puts moments and state into a trainer whose model has the same parameters.
void load_training_state(const std::filesystem::path& path, Trainer& trainer);

// The element-wise mean of several checkpoints of one model ("checkpoint averaging", Vaswani et al. 2017, 6.1).
LoadedModel mean_of_models(const std::vector<std::filesystem::path>& paths);

// The training state of a run after conversion to fewer key/value heads: weights and moments as converted, same step
// and recipe.
void convert_training(const std::filesystem::path& from, const std::filesystem::path& to, const Transformer& before,
                      const Transformer& after, Pooling pooling, const Metadata& extra);

}  // namespace headshare
