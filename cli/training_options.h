#pragma once

#include "cli/command.h"
#include "core/text/corpus.h"
#include "nn/run.h"

namespace headshare::cli {

// Where the training and validation text of a run lies; kept in its checkpoints, so that resuming and uptraining find
// it.
struct DataPaths {
  std::string train;
  std::string valid;
  Languages languages;
};
Metadata to_metadata(const DataPaths& data);
DataPaths data_paths(const Metadata& metadata);

// What a run keeps and when it stops, as metadata and back.
Metadata to_metadata(const RunOptions& options);
RunOptions run_options(const Metadata& metadata);

// What the checkpoints of a new run say of its data and options; `train` is the encoded training text.
Metadata run_metadata(const DataPaths& data, const EncodedCorpus& train, const RunOptions& options);

// What a checkpoint says of itself, less what is written anew each time (the model, the recipe, the state, the
// options).
Metadata provenance(const Metadata& metadata);

// Corpora of a run, encoded; says how many pairs are too long for the model.
struct TrainingData {
  EncodedCorpus train;
  EncodedCorpus valid;
};
TrainingData load_data(const DataPaths& data, const Tokenizer& tokenizer, Size max_length);

// Fails when the training text is not the one that the checkpoint was trained on: the plan of the epoch would not fit.
void check_same_corpus(const TrainingData& data, const Metadata& metadata);

// Runs, then prints where the results are. Ctrl+C saves and stops.
void train_and_report(Trainer& trainer, const TrainingData& data, const Tokenizer& tokenizer, const RunPaths& run,
                      const RunOptions& options);

}  // namespace headshare::cli
