#pragma once

#include "cli/command.h"
#include "cli/lab/experiment.h"

namespace headshare::cli {

// Where the multi-head models of `headshare lab uptrain` come from, one for each seed, all trained on the same text.
struct MultiHeadOrigin {
  LabText text;
  TransformerConfig model;
  Recipe recipe;      // of the first seed
  RunPaths given;     // --run: the one model for all seeds; else empty, and the experiment trains its own
  Metadata metadata;  // of that run

  bool is_given() const { return !given.folder.empty(); }
  Size original_steps() const;  // what alpha is a share of
  Recipe recipe_of(Size seed) const;
  RunPaths run(const std::filesystem::path& folder, Size seed) const;
  bool is_trained(const std::filesystem::path& folder, Size seed) const;
};

// --run, or else the toy language in the experiment's folder, with the quickstart's model and recipe.
MultiHeadOrigin multi_head_origin(const cxxopts::ParseResult& arguments, const std::filesystem::path& folder);

// A trained multi-head model with its optimizer. It stays where it is: the trainer refers to the model.
struct MultiHead {
  MultiHead(const RunPaths& run, const LabText& text);
  MultiHead(const MultiHead&) = delete;
  MultiHead& operator=(const MultiHead&) = delete;

  const LoadedModel loaded;
  Trainer trainer;
};

// Lets a converted model train on from where the original stopped: same step, moments as convert_moments makes them.
void hand_over(const Trainer& original, Trainer& converted, Pooling pooling);

}  // namespace headshare::cli
