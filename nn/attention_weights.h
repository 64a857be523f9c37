#pragma once

#include <vector>

#include "nn/decoding.h"

namespace headshare {

// What every head of a model looks at while it reads a sentence and writes its translation, for pictures: per layer,
// row t is the distribution of position t over what it may see. S counts the source's tokens; T those of the target and
// the begin token: row t is where token t is chosen, by what stands before it, and the last row chooses the end.
struct AttentionWeights {
  std::vector<Tensor> encoder_self;  // each [H, S, S]
  std::vector<Tensor> decoder_self;  // each [H, T, T], 0 right of the diagonal
  std::vector<Tensor> cross;         // each [H, T, S]

  const std::vector<Tensor>& at(AttentionSite site) const {
    return site == AttentionSite::encoder_self   ? encoder_self
           : site == AttentionSite::decoder_self ? decoder_self
                                                 : cross;
  }
};

// source ends with the end token; target has neither begin nor end. Fails when one is longer than the model's
// positions.
AttentionWeights attention_weights(const Transformer& model, const TokenIds& source, const TokenIds& target);

}  // namespace headshare
