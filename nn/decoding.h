#pragma once

#include <string>
#include <vector>

#include "nn/batches.h"
#include "nn/transformer.h"

namespace headshare {

struct DecodingOptions {
  Size beam = 1;                // hypotheses kept per sentence; 1 is greedy decoding
  double length_penalty = 0.6;  // alpha: hypotheses compete by log p / ((5 + length) / 6)^alpha (Wu et al. 2016, 7)
  Size batch = 64;              // sentences decoded side by side
};

using TokenIds = std::vector<std::int32_t>;

// The target tokens, without begin and end, of each source sentence (which end with the end token). A sentence stops
// after 2 S + 10 tokens at the latest, or where the model's positions end.
// Greedy: always the likeliest next token.
std::vector<TokenIds> decode_greedy(const Transformer& model, const std::vector<TokenIds>& sources);
// Beam search: the `beam` likeliest beginnings are continued side by side. With beam 1 the same as greedy.
std::vector<TokenIds> decode_beam(const Transformer& model, const std::vector<TokenIds>& sources,
                                  const DecodingOptions& options);

// Sentences in, sentences out, in the same order. Fails on a sentence that is longer than the model's positions.
std::vector<std::string> translate(const Transformer& model, const Tokenizer& tokenizer,
                                   const std::vector<std::string>& sentences, const DecodingOptions& options = {});

// Cross-attention of one sentence and its translation, for heat maps: weights[layer] is [H, T, S], rows the target
// tokens as they are produced (the last row produces the end token).
std::vector<Tensor> cross_attention_weights(const Transformer& model, const TokenIds& source, const TokenIds& target);

struct DecodingSpeed {
  double tokens_per_second;  // over all sentences of the batch
  double seconds_per_step;
  Size cache_bytes;  // of the whole batch, self and cross
};
struct DecodingMeasurement {
  Size batch = 64;
  Size source_length = 32;
  Size target_length = 32;  // steps; sentences never end early, so that every run does the same work
  Size repetitions = 3;     // the median counts
};
// Greedy decoding of random sentences; the encoder is not part of the time.
DecodingSpeed measure_decoding(const Transformer& model, const DecodingMeasurement& measurement);

}  // namespace headshare
