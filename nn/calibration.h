#pragma once

#include <map>
#include <string>

#include "nn/batches.h"
#include "nn/transformer.h"

namespace headshare {

// What one attention of a trained model computes with on real text, as second moments (sums of products over all
// positions): all that a conversion of its heads needs to know. On the processor, float64.
// H query heads, G key/value heads of D numbers; "side by side" is one vector of G D numbers.
struct HeadStatistics {
  Tensor queries;        // [H, D, D]      of each head's queries
  Tensor keys;           // [G D, G D]     of all heads' keys side by side, less their mean over the sentence: a number
                         //                added to all scores of a query changes none of its weights
  Tensor attended;       // [H, G D, G D]  of all heads' values side by side, averaged with the weights of head h, less
                         //                their mean
  Tensor attended_mean;  // [H, G D]       that mean: what head h sees on average
};

// By the attention's name: "encoder.0.self", "decoder.0.self", "decoder.0.cross".
using Calibration = std::map<std::string, HeadStatistics>;

// Runs the model over this many sentence pairs, taken evenly from the corpus (all of a smaller one). A few hundred are
// enough: on Multi30k 100, 300 and 1000 give converted models within 0.03 NLL of each other.
Calibration calibrate(const Transformer& model, const EncodedCorpus& text, Size sentences = 300);

}  // namespace headshare
