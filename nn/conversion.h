#pragma once

#include <array>
#include <map>
#include <string>

#include "nn/calibration.h"

namespace headshare {

// How the key/value heads of a group become one.
enum class Pooling {
  mean,      // the arithmetic mean: what Ainslie et al. 2023 found best
  first,     // the group's first head
  random,    // new random weights: the baseline that shows what the others keep
  aligned,   // similar heads are grouped and turned onto each other, then their mean; see alignment.h
  subspace,  // the directions that the group's queries and output need most; see subspace.h
};
inline constexpr std::array all_poolings{Pooling::mean, Pooling::first, Pooling::random, Pooling::aligned,
                                         Pooling::subspace};
std::string name(Pooling pooling);
Pooling parse_pooling(const std::string& name);
// Does it look at what the model computes on text, or at its weights alone?
constexpr bool needs_calibration(Pooling pooling) {
  return pooling == Pooling::aligned || pooling == Pooling::subspace;
}

// A model with fewer key/value heads: in each converted attention, each group of heads of W_K and of W_V (and their
// biases) becomes one (Ainslie et al. 2023, 2.1: consecutive heads, the mean); aligned and subspace change W_Q and W_O
// of these attentions too; everything else is copied. Only the number of key/value heads may change, and the new number
// must divide the old. `seed` is for Pooling::random; `calibration`, of this model, for those that need it.
Transformer convert_attention(const Transformer& model, const AttentionSites& attention,
                              Pooling pooling = Pooling::mean, std::uint64_t seed = 1,
                              const Calibration& calibration = {});

// The columns of a weight [C, from D], a bias [from D] or a moment of either, pooled to `to` heads. With `sum`, heads
// are added instead: what optimizer moments need, since the gradient of a shared head is the sum of its heads'
// gradients.
enum class HeadPooling { mean, first, sum };
Tensor pool_heads(const Tensor& columns, Size from, Size to, HeadPooling pooling);

// Optimizer moments by parameter name.
struct Moments {
  std::map<std::string, Tensor> means, variances;
};

// Moments that fit `converted`, from those of `model`: those of pooled heads are summed. Aligned and subspace heads
// live in other coordinates, in which the old moments of their attention mean nothing: there means start at 0 and every
// variance at the average of its tensor, so that updates have the usual size from the first step on.
Moments convert_moments(const Moments& moments, const Transformer& model, const Transformer& converted,
                        Pooling pooling);

}  // namespace headshare
