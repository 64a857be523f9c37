#include "cli/training_options.h"

#include <csignal>
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

constexpr const char* pairs_key = "data.pairs";  // those that fit the model

// Set by Ctrl+C. A second one ends the program at once.
volatile std::sig_atomic_t interrupted = 0;
void on_interrupt(int signal) {
  interrupted = 1;
  std::signal(signal, SIG_DFL);
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
  return {{"run.minutes", exact_text(options.minutes)},
          {"run.log_every", exact_text(options.log_every)},
          {"run.validate_every", exact_text(options.validate_every)},
          {"run.patience", exact_text(options.patience)},
          {"run.keep", keep},
          {"run.average_of", exact_text(options.average_of)}};
}

RunOptions run_options(const Metadata& metadata) {
  RunOptions options;
  options.minutes = parse_number<double>(field(metadata, "run.minutes"), "run.minutes");
  options.log_every = parse_number<Size>(field(metadata, "run.log_every"), "run.log_every");
  options.validate_every = parse_number<Size>(field(metadata, "run.validate_every"), "run.validate_every");
  options.patience = parse_number<Size>(field(metadata, "run.patience"), "run.patience");
  options.average_of = parse_number<Size>(field(metadata, "run.average_of"), "run.average_of");
  const auto keep = keep_names.find(field(metadata, "run.keep"));
  if (keep == keep_names.end())
    throw UsageError(text("--keep '", field(metadata, "run.keep"), "' is unknown; choose last, best or average"));
  options.keep = keep->second;
  if (!(options.minutes >= 0) || options.patience < 0) throw UsageError("--minutes and --patience must be 0 or more");
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

Metadata run_metadata(const DataPaths& data, const EncodedCorpus& train, const RunOptions& options) {
  Metadata metadata = to_metadata(data);
  metadata[pairs_key] = std::to_string(train.pairs.size());
  metadata.merge(to_metadata(options));
  return metadata;
}

Metadata provenance(const Metadata& metadata) {
  Metadata kept = metadata;
  std::erase_if(kept, [](const auto& entry) {
    for (const char* group : {"model.", "train.", "state.", "run."})
      if (entry.first.starts_with(group)) return true;
    return false;
  });
  return kept;
}

void check_same_corpus(const TrainingData& data, const Metadata& metadata) {
  const std::string pairs = field(metadata, pairs_key);
  if (pairs != std::to_string(data.train.pairs.size()))
    fail("train: the run was trained on ", pairs, " pairs, ", field(metadata, "data.train"), " now holds ",
         data.train.pairs.size(), "; put the old text back, or start a new run");
}

void train_and_report(Trainer& trainer, const TrainingData& data, const Tokenizer& tokenizer, const RunPaths& run,
                      const RunOptions& given) {
  RunOptions options = given;
  options.stop = [] { return interrupted != 0; };
  std::signal(SIGINT, on_interrupt);
  const Transformer& model = trainer.model();
  std::cout << with_thousands(count_parameters(model)) << " parameters, attention "
            << name(model.config().attention.decoder_self) << ", vocabulary "
            << with_thousands(model.config().vocabulary) << ", "
            << with_thousands(static_cast<Size>(data.train.pairs.size())) << " training pairs, "
            << (trainer.state.step == 0 ? text("seed ", trainer.recipe().seed) : text("from step ", trainer.state.step))
            << std::endl;
  const double nll = run_training(trainer, data.valid, tokenizer, run, options);
  if (interrupted != 0)
    std::cout << "stopped; go on with: headshare train --resume --out " << run.folder.string() << '\n';
  std::cout << "step " << trainer.state.step << ", " << with_thousands(trainer.state.target_tokens)
            << " target tokens in " << format_duration(trainer.state.seconds) << ", validation NLL " << std::fixed
            << std::setprecision(4) << nll << "\n"
            << run.folder.string() << ": model.safetensors, optimizer.safetensors, tokenizer.txt, log.csv, loss.png\n";
}

}  // namespace headshare::cli
