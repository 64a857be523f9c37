#include "cli/training_options.h"

#include <iomanip>
#include <iostream>

#include "core/numbers.h"
#include "core/report/progress.h"

namespace headshare::cli {
namespace {

std::string field(const Metadata& metadata, const std::string& name) {
  const auto found = metadata.find(name);
  if (found == metadata.end()) fail("checkpoint: ", name, " is missing; it was not written by headshare train");
  return found->second;
}

const std::map<std::string, Keep> keep_names = {{"last", Keep::last}, {"best", Keep::best}, {"average", Keep::average}};

}  // namespace

Metadata to_metadata(const DataPaths& data) {
  return {{"data.train", data.train},
          {"data.valid", data.valid},
          {"data.source", data.languages.source},
          {"data.target", data.languages.target}};
}

DataPaths data_paths(const Metadata& metadata) {
  return {field(metadata, "data.train"),
          field(metadata, "data.valid"),
          {field(metadata, "data.source"), field(metadata, "data.target")}};
}

Metadata to_metadata(const RunOptions& options) {
  std::string keep;
  for (const auto& [name, value] : keep_names)
    if (value == options.keep) keep = name;
  return {{"run.log_every", exact_text(options.log_every)},
          {"run.validate_every", exact_text(options.validate_every)},
          {"run.patience", exact_text(options.patience)},
          {"run.keep", keep},
          {"run.average_of", exact_text(options.average_of)}};
}

RunOptions run_options(const Metadata& metadata) {
  RunOptions options;
  options.log_every = parse_number<Size>(field(metadata, "run.log_every"), "run.log_every");
  options.validate_every = parse_number<Size>(field(metadata, "run.validate_every"), "run.validate_every");
  options.patience = parse_number<Size>(field(metadata, "run.patience"), "run.patience");
  options.average_of = parse_number<Size>(field(metadata, "run.average_of"), "run.average_of");
  const auto keep = keep_names.find(field(metadata, "run.keep"));
  if (keep == keep_names.end())
    throw UsageError(text("--keep '", field(metadata, "run.keep"), "' is unknown; choose last, best or average"));
  options.keep = keep->second;
  return options;
}

TrainingData load_data(const DataPaths& data, const Tokenizer& tokenizer, Size max_length) {
  TrainingData loaded{encode(read_corpus(data.train, data.languages), tokenizer, max_length),
                      encode(read_corpus(data.valid, data.languages), tokenizer, max_length)};
  for (const EncodedCorpus* corpus : {&loaded.train, &loaded.valid})
    if (corpus->too_long > 0)
      std::cerr << "left out " << corpus->too_long << " pairs longer than " << max_length << " tokens\n";
  return loaded;
}

void train_and_report(Trainer& trainer, const TrainingData& data, const Tokenizer& tokenizer, const RunPaths& run,
                      const RunOptions& options) {
  const Transformer& model = trainer.model();
  std::cout << with_thousands(count_parameters(model)) << " parameters, attention "
            << name(model.config().attention.decoder_self) << ", vocabulary "
            << with_thousands(model.config().vocabulary) << ", "
            << with_thousands(static_cast<Size>(data.train.pairs.size())) << " training pairs, "
            << (trainer.state.step == 0 ? text("seed ", trainer.recipe().seed) : text("from step ", trainer.state.step))
            << std::endl;
  const double nll = run_training(trainer, data.valid, tokenizer, run, options);
  std::cout << "step " << trainer.state.step << ", " << with_thousands(trainer.state.target_tokens)
            << " target tokens in " << format_duration(trainer.state.seconds) << ", validation NLL " << std::fixed
            << std::setprecision(4) << nll << "\n"
            << run.folder.string() << ": model.safetensors, optimizer.safetensors, tokenizer.txt, log.csv, loss.png\n";
}

}  // namespace headshare::cli
