#include "cli/lab/multi_head_origin.h"

#include "core/numbers.h"
#include "nn/conversion.h"

namespace headshare::cli {
namespace {

MultiHeadOrigin toy_origin(const cxxopts::ParseResult& arguments, const std::filesystem::path& folder) {
  const bool quick = arguments.count("quick") > 0;
  const Size steps = chosen<Size>(arguments, "steps", quick ? 600 : 8000);
  if (steps < 1) throw UsageError("lab uptrain: --steps must be at least 1");
  if (arguments.count("test") > 0) throw UsageError("lab uptrain: --test is for a run given with --run");
  LabText text = toy_text(folder, quick ? quick_toy_text() : ToyText{});
  TransformerConfig model = quick ? quick_toy_model(text.tokenizer.size()) : toy_model(text.tokenizer.size());
  if (quick) model.attention = multi_head(4);
  return {std::move(text), checked(model), toy_recipe(steps, 1), {}, {}};
}

MultiHeadOrigin given_origin(const cxxopts::ParseResult& arguments) {
  const RunPaths run{arguments["run"].as<std::string>()};
  if (arguments.count("steps") > 0) throw UsageError("lab uptrain: --steps is for its own training, not with --run");
  if (arguments.count("test") == 0)
    throw UsageError("lab uptrain: --run needs --test too: the text that its translations are scored on");
  if (!std::filesystem::exists(run.training()))
    fail("lab uptrain: there is no ", run.training().string(),
         "; uptraining needs the optimizer's state of the original run");
  const LoadedModel loaded = load_training_model(run.training());
  LabText text = load_lab_text(data_paths(loaded.metadata), arguments["test"].as<std::string>(),
                               load_tokenizer(run, loaded), loaded.model.config().max_length);
  check_same_corpus(text.encoded, loaded.metadata);
  return {std::move(text), loaded.model.config(), headshare::recipe(loaded.metadata), run, loaded.metadata};
}

}  // namespace

MultiHeadOrigin multi_head_origin(const cxxopts::ParseResult& arguments, const std::filesystem::path& folder) {
  return arguments.count("run") > 0 ? given_origin(arguments) : toy_origin(arguments, folder);
}

Size MultiHeadOrigin::original_steps() const {
  const auto known = metadata.find("uptrain.original_steps");
  if (known != metadata.end()) return parse_number<Size>(known->second, known->first);
  return is_given() ? training_state(metadata).step : recipe.steps;
}

Recipe MultiHeadOrigin::recipe_of(Size seed) const {
  Recipe own = recipe;
  own.seed += static_cast<std::uint64_t>(seed - 1);
  return own;
}

RunPaths MultiHeadOrigin::run(const std::filesystem::path& folder, Size seed) const {
  return is_given() ? given : RunPaths{folder / headshare::text("multi-head-seed-", seed)};
}

bool MultiHeadOrigin::is_trained(const std::filesystem::path& folder, Size seed) const {
  return is_given() || std::filesystem::exists(run(folder, seed).model());
}

MultiHead::MultiHead(const RunPaths& run, const LabText& text)
    : loaded(load_training_model(run.training())),
      trainer(loaded.model, text.encoded.train, headshare::recipe(loaded.metadata)) {
  load_training_state(run.training(), trainer);
}

void hand_over(const Trainer& original, Trainer& converted, Pooling pooling) {
  Moments moments;
  for (const Adam::Slot& slot : original.optimizer().slots()) {
    moments.means[slot.name] = slot.mean;
    moments.variances[slot.name] = slot.variance;
  }
  moments = convert_moments(moments, original.model(), converted.model(), pooling);
  for (const Adam::Slot& slot : converted.optimizer().slots()) {
    slot.mean.copy_from(moments.means.at(slot.name));
    slot.variance.copy_from(moments.variances.at(slot.name));
  }
  converted.state = original.state;
}

}  // namespace headshare::cli
