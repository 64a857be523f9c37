#pragma once

#include <filesystem>
#include <functional>

#include "nn/checkpoint.h"

namespace headshare {

// A run is a folder:
//   model.safetensors      the model to translate with; see Keep
//   optimizer.safetensors  everything to go on training from, weights included
//   tokenizer.txt          its tokenizer
//   log.csv                a row every log_every steps and at every validation
//   loss.png               the curves in log.csv
//   best.safetensors       the best model so far by validation (Keep::best only)
//   recent/                the last checkpoints (Keep::average only)
// Until the run ends, model.safetensors is the last checkpoint, whatever Keep says. optimizer.safetensors, the
// tokenizer and the corpora are all it takes to go on: a run killed at any moment continues from its last one as if
// never stopped.
enum class Keep { last, best, average };

struct RunOptions {
  double minutes = 0;               // stop after this much training time, resumed parts included; 0: no limit
  std::function<bool()> stop = {};  // asked after every step; true: save and stop, to be resumed later
  Size log_every = 50;              // steps
  Size validate_every = 500;        // steps; a checkpoint is written at the same time
  Size patience = 0;                // stop after this many validations without a better one; 0: never
  Keep keep = Keep::last;
  Size average_of = 5;     // Keep::average: this many checkpoints, validate_every steps apart
  Metadata metadata = {};  // kept in every checkpoint: where the data is, what the run was made from
};

struct RunPaths {
  std::filesystem::path folder;
  std::filesystem::path model() const { return folder / "model.safetensors"; }
  std::filesystem::path training() const { return folder / "optimizer.safetensors"; }
  std::filesystem::path tokenizer() const { return folder / "tokenizer.txt"; }
  std::filesystem::path log() const { return folder / "log.csv"; }
  std::filesystem::path chart() const { return folder / "loss.png"; }
  std::filesystem::path best() const { return folder / "best.safetensors"; }
  std::filesystem::path recent() const { return folder / "recent"; }
};

// Fails when the folder already holds a run: nothing is written over.
void check_new_run(const RunPaths& run);

// Trains until trainer.recipe().steps updates are done, the time is up, or patience ends, and keeps the folder up to
// date. A trainer whose state is not at step 0 continues the folder's log. Returns the model's final validation NLL.
double run_training(Trainer& trainer, const EncodedCorpus& valid, const Tokenizer& tokenizer, const RunPaths& run,
                    const RunOptions& options);

// The run's tokenizer. Fails when it is not the one that the model was trained with.
Tokenizer load_tokenizer(const RunPaths& run, const LoadedModel& loaded);

// A model and its tokenizer from a run's folder or from a model file with tokenizer.txt beside it.
struct LoadedRun {
  Transformer model;
  Tokenizer tokenizer;
  Metadata metadata;
};
LoadedRun load_run(const std::filesystem::path& path, Device device = default_device());

}  // namespace headshare
