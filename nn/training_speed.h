#pragma once

#include "nn/training.h"

namespace headshare {

struct TrainingMeasurement {
  Size sentences = 64;
  Size length = 32;  // of source and target alike, in tokens
};

// Sentences of one length and random tokens: one batch.
EncodedCorpus random_corpus(const TrainingMeasurement& measurement, Size vocabulary);
// The recipe that makes one step of all of it.
Recipe one_batch_recipe(const TrainingMeasurement& measurement);

// Multiply-adds of the weight products of a step, two operations each: forward, and twice that backward. Attention and
// the rest are small beside them.
double training_flops(const TransformerConfig& config, const TrainingMeasurement& measurement);

struct TrainingSpeed {
  double seconds_per_step;  // median
  Size peak_bytes;          // the most that tensors held at a time
  Size new_allocations;     // how often the system was asked for memory after the second step
};
TrainingSpeed measure_training(const Transformer& model, const TrainingMeasurement& measurement, Size steps);

}  // namespace headshare
