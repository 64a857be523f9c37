#pragma once

#include <map>
#include <string>

#include "nn/transformer.h"

namespace headshare {

// How the key/value heads of a group become one.
enum class Pooling {
  mean,    // the arithmetic mean: what Ainslie et al. 2023 found best
  first,   // the group's first head
  random,  // new random weights: the baseline that shows what the others keep
};
std::string name(Pooling pooling);
Pooling parse_pooling(const std::string& name);

// A model with fewer key/value heads: in each converted attention, each group of consecutive heads of W_K and of W_V
// (and their biases) is pooled into one (Ainslie et al. 2023, 2.1); everything else is copied. Only the number of
// key/value heads may change, and the new number must divide the old. `seed` is for Pooling::random.
Transformer convert_attention(const Transformer& model, const AttentionSites& attention,
                              Pooling pooling = Pooling::mean, std::uint64_t seed = 1);

// The columns of a weight [C, from D], a bias [from D] or a moment of either, pooled to `to` heads. With `sum`, heads
// are added instead: what optimizer moments need, since the gradient of a shared head is the sum of its heads'
// gradients.
enum class HeadPooling { mean, first, sum };
Tensor pool_heads(const Tensor& columns, Size from, Size to, HeadPooling pooling);

// Optimizer moments by parameter name, from those of `model` to those that fit `converted`: moments of pooled heads are
// summed.
std::map<std::string, Tensor> convert_moments(const std::map<std::string, Tensor>& moments, const Transformer& model,
                                              const Transformer& converted);

}  // namespace headshare
