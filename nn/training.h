#pragma once

#include <limits>
#include <map>
#include <string>

#include "nn/batches.h"
#include "nn/optimizer.h"
#include "nn/schedule.h"
#include "nn/transformer.h"

namespace headshare {

// Everything that decides the numbers of a training run, apart from the model and the data.
struct Recipe {
  Size steps = 2000;             // updates
  Size tokens_per_batch = 4096;  // padded tokens of the longer side; see plan_epoch
  Size accumulate = 1;           // batches whose gradients make one update
  double label_smoothing = 0.1;
  double clip = 1.0;  // largest global gradient norm (of the mean loss per token); 0: no limit
  Schedule schedule = {};
  AdamOptions adam = {};
  std::uint64_t seed = 1;  // order of batches and dropout masks
};
std::map<std::string, std::string> to_metadata(const Recipe& recipe);
Recipe recipe(const std::map<std::string, std::string>& metadata);

// Where a run stands. With the weights and the optimizer's moments this is all that is needed to go on as if never
// stopped.
struct TrainingState {
  Size step = 0;  // updates done
  Size epoch = 0;
  Size batch = 0;                                             // next batch of the epoch
  Size target_tokens = 0;                                     // seen so far, padding not counted
  double seconds = 0;                                         // spent training
  double best_nll = std::numeric_limits<double>::infinity();  // of the validations so far
  Size validations_without_gain = 0;
};
std::map<std::string, std::string> to_metadata(const TrainingState& state);
TrainingState training_state(const std::map<std::string, std::string>& metadata);

// What happened since the last report: in one update, or in several.
struct StepReport {
  double loss;           // label-smoothed, mean per target token
  double nll;            // unsmoothed, mean per target token
  double gradient_norm;  // of the last update, before clipping
  double learning_rate;
  Size target_tokens;
};

// Runs one update after another. The model and the corpus must outlive it. `const` says that the model's tensors stay
// where they are, as handles do; the numbers in them are what training changes.
class Trainer {
 public:
  // Fails when the corpus is empty.
  Trainer(const Transformer& model, const EncodedCorpus& corpus, const Recipe& recipe);

  // One update: forward, backward, clipping, Adam. Queues the work and waits for nothing, so that a GPU is never idle
  // between updates. Where loss or gradient are not finite no weight changes, and the next report fails.
  void update();
  // Waits for the device. Fails when an update since the last report met a loss or gradient that is not finite; `state`
  // is then what it was before the first of them.
  StepReport report();
  StepReport step() {
    update();
    return report();
  }

  const Recipe& recipe() const { return recipe_; }
  const Transformer& model() const { return model_; }
  const Adam& optimizer() const { return optimizer_; }
  TrainingState state;

 private:
  const std::vector<Size>& next_batch();

  const Transformer& model_;
  const EncodedCorpus& corpus_;
  Recipe recipe_;
  Adam optimizer_;
  struct {
    Tensor loss, nll;  // sums, float64
    Tensor
        squared_norm;  // of the last update's gradients, before the mean over its tokens; of a failed one: not finite
    Size updates = 0, tokens = 0, tokens_of_last = 0;
    TrainingState before;  // the first of them
    double learning_rate = 0;
  } unreported_;
  Size planned_epoch_ = -1;
  std::vector<std::vector<Size>> plan_;
};

// Forward pass and loss of one batch: the sum over its target tokens.
struct BatchLoss {
  Variable loss;  // smoothed, rank 0
  Tensor nll;     // unsmoothed, rank 0
};
BatchLoss batch_loss(const Transformer& model, const Batch& batch, double label_smoothing, Dropout& dropout);

// Mean negative log-likelihood per target token, natural logarithm, no smoothing, no dropout.
double validation_nll(const Transformer& model, const EncodedCorpus& corpus, Size tokens_per_batch = 4096);

// The short form: trains for recipe.steps updates with a progress line, keeps nothing on disk.
void train(const Transformer& model, const Corpus& corpus, const Tokenizer& tokenizer, const Recipe& recipe);

}  // namespace headshare
