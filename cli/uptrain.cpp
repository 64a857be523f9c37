#include <iostream>

#include "cli/training_options.h"
#include "core/numbers.h"
#include "nn/uptraining.h"

namespace headshare::cli {
namespace {

constexpr const char* original_steps_key = "uptrain.original_steps";

void run(const Words& words, const std::string& summary) {
  CommandLine line("uptrain", summary, "  headshare uptrain runs/gqa --alpha 0.05 --out runs/gqa-uptrained", {"RUN"});
  line.options()("alpha", "Share of the original steps", cxxopts::value<double>()->default_value("0.05"))(
      "schedule", "Learning rate: decay (linearly to 0) or continued",
      cxxopts::value<std::string>()->default_value("decay"))(
      "validate-every", "Steps between validations and checkpoints; 0: as in the original run",
      cxxopts::value<Size>()->default_value("0"))("out", "Folder of the new run", cxxopts::value<std::string>())(
      "threads", "Processor cores to use", cxxopts::value<Size>())("device", "Where to compute: cpu or cuda",
                                                                   cxxopts::value<std::string>());
  add_precision(line);
  const auto arguments = line.parse(words);
  if (!arguments) return;
  use_threads(*arguments);
  use_device(*arguments);
  const RunPaths source{(*arguments)["RUN"].as<std::string>()}, destination{required(*arguments, "out", "uptrain")};
  if (!std::filesystem::exists(source.training()))
    fail("uptrain: there is no ", source.training().string(),
         "; uptraining needs the optimizer's state of the original run");
  check_new_run(destination);

  LoadedModel loaded = load_training_model(source.training());
  loaded.model.compute_in(precision(*arguments, training_precision(loaded.metadata)));
  const Tokenizer tokenizer = load_tokenizer(source, loaded);
  const TrainingState state = training_state(loaded.metadata);
  const auto known = loaded.metadata.find(original_steps_key);  // a run uptrained before keeps the first run's count
  const Size original_steps =
      known == loaded.metadata.end() ? state.step : parse_number<Size>(known->second, original_steps_key);
  const Recipe recipe = uptraining_recipe(headshare::recipe(loaded.metadata), state.step, original_steps,
                                          (*arguments)["alpha"].as<double>(),
                                          parse_uptraining_schedule((*arguments)["schedule"].as<std::string>()));
  const DataPaths data = data_paths(loaded.metadata);
  const TrainingData corpora = load_data(data, tokenizer, loaded.model.config().max_length);
  Trainer trainer(loaded.model, corpora.train, recipe);
  check_same_corpus(corpora, loaded.metadata);
  load_training_state(source.training(), trainer);
  trainer.state.best_nll = std::numeric_limits<double>::infinity();  // of this run, not of the one before
  trainer.state.validations_without_gain = 0;

  RunOptions options = run_options(loaded.metadata);
  options.keep =
      Keep::last;  // a short run to its end; an average over it would bring back the damage of the conversion
  options.patience = 0;
  options.minutes = 0;
  if ((*arguments)["validate-every"].as<Size>() > 0) options.validate_every = (*arguments)["validate-every"].as<Size>();
  options.metadata = provenance(loaded.metadata);
  options.metadata.merge(to_metadata(options));
  options.metadata[original_steps_key] = exact_text(original_steps);
  std::cout << recipe.steps - state.step << " steps, " << 100 * (*arguments)["alpha"].as<double>() << " % of "
            << original_steps << '\n';
  tokenizer.save(destination.tokenizer());
  train_and_report(trainer, corpora, tokenizer, destination, options);
}

}  // namespace

Command uptrain_command() {
  const std::string summary = "Continue the original training of a converted model for a few per cent of its steps";
  return {"uptrain", summary, [summary](const Words& words) { run(words, summary); }};
}

}  // namespace headshare::cli
