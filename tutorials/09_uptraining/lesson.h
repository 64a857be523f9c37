#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nn/training.h"

// Lesson 9: uptraining. Letters: C d_model, H query heads, G key/value heads, D numbers of a head.
// All tensors of this lesson are float32 on the processor.
namespace headshare::lesson {

// ---- Step 1: many heads become few ----------------------------------------------------------------------------------

// A weight of a key or value projection holds one block of D columns for each head: head h owns the columns h D to
// h D + D - 1. A group is `from / to` consecutive heads; `to` divides `from`. A bias has the same layout, without rows.
//                                                       columns: [C, from D] or [from D]   result: [C, to D] or [to D]
Tensor mean_of_heads(const Tensor& columns, Size from, Size to);   // head g: the mean of group g
Tensor first_of_heads(const Tensor& columns, Size from, Size to);  // head g: the first head of group g

// ---- Step 2: a model with fewer key/value heads ---------------------------------------------------------------------

// What the shared head of a group is.
enum class Pooling {
  mean,    // the mean of the group's heads (Ainslie et al. 2023)
  first,   // the first of them
  random,  // new random weights: the baseline. What the other two are worth shows against it
};
std::string name_of(Pooling pooling);

// Fills `to` from a trained attention: W_Q and W_O and their biases are copied, W_K and W_V and theirs pooled. With
// Pooling::random, the W_K and W_V that are in `to` stay. `to` has fewer key/value heads; all else is alike.
void convert_attention_into(const Attention& from, const Attention& to, Pooling pooling);

// Who shares: decoder self-attention and cross-attention, as Ainslie et al. do; or all three, as Shazeer does.
AttentionSites decoder_sites(const AttentionSites& before, Size kv_heads);
AttentionSites all_sites(const AttentionSites& before, Size kv_heads);

// A new model with these attentions: those with fewer key/value heads than before are converted, every other parameter
// is copied. The old model stays as it is. `seed` draws the new model's first weights; only Pooling::random keeps any.
Transformer convert_model(const Transformer& model, const AttentionSites& sites, Pooling pooling, std::uint64_t seed);

// ---- Step 3: what the mean keeps ------------------------------------------------------------------------------------

// The share of the heads' squared length that is left when every head is replaced by the mean of its group:
//   sum over heads of |mean of its group|^2  /  sum over heads of |head|^2
// 1 when the heads of a group are equal, 0 when they cancel, about to / from when they have nothing to do with each
// other.                                                                               columns: as above, not all zero
double kept_by_mean(const Tensor& columns, Size from, Size to);

// Turns the coordinates of one head in place: its columns of W_Q and of W_K, and its parts of their biases, are each
// multiplied by `rotation` from the right. No score changes. The attention is multi-head.
//                                                                                        rotation: [D, D], orthogonal
void turn_head(const Attention& attention, Size head, const Tensor& rotation);

// An orthogonal matrix: its rows have length 1 and stand at right angles.                                       [D, D]
Tensor random_rotation(Size D, std::uint64_t seed);

// |got - expected| / |expected|, over all numbers together.
double relative_error(const Tensor& got, const Tensor& expected);

// ---- Step 4: alpha --------------------------------------------------------------------------------------------------

// How many updates are a share alpha of the original training: the nearest whole number, at least 1.
// Fails unless alpha lies above 0 and at most 1.
Size uptraining_steps(Size original_steps, double alpha);

// The learning rate of update 1, 2, ... steps: from `start` at "update 0" along a straight line to 0, which the last
// update has.
double uptraining_rate(double start, Size step, Size steps);

// How a model is trained on. With the same numbers, every model sees the same batches in the same order.
struct Uptraining {
  Size steps;
  double start_rate;             // where the line begins
  Size tokens_per_batch = 768;   // as in the original training
  double label_smoothing = 0.1;  // as in the original training
  std::uint64_t seed = 1;        // order of batches
};

// Trains a model in place with Adam, whose moments start at zero.
void uptrain(const Transformer& model, const EncodedCorpus& corpus, const Uptraining& uptraining);

// ---- Step 5: the control --------------------------------------------------------------------------------------------

// One way to make fewer heads.
struct Candidate {
  AttentionSites sites;
  Pooling pooling;
};

// Validation losses of one candidate (NLL per target token).
struct Outcome {
  double converted;        // right after the conversion
  double uptrained;        // after the extra updates
  double against_before;   // uptrained, less the loss of the multi-head model as it was: the comparison that lies
  double against_control;  // uptrained, less the loss of the control: what sharing heads costs
};

struct Comparison {
  double before;                  // the multi-head model, as it was trained
  double control;                 // the multi-head model after the same extra updates
  std::vector<Outcome> outcomes;  // one for each candidate, in order
};

// Trains the control on, converts and trains every candidate in the same way, and measures. The given model stays as it
// is.
Comparison compare_with_control(const Transformer& model, const std::vector<Candidate>& candidates,
                                const EncodedCorpus& train, const EncodedCorpus& valid, const Uptraining& uptraining);

}  // namespace headshare::lesson
