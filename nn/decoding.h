#pragma once

#include <string>
#include <vector>

#include "nn/batches.h"
#include "nn/decoder.h"

namespace headshare {

struct DecodingOptions {
  Size beam = 1;                // hypotheses kept per sentence; 1 is greedy decoding
  double length_penalty = 0.6;  // alpha: hypotheses compete by log p / ((5 + length) / 6)^alpha (Wu et al. 2016, 7)
  Size batch = 64;              // sentences decoded side by side
  std::optional<ElementType> cache_type{};  // as DecoderSizes::cache_type
};

using TokenIds = std::vector<std::int32_t>;

// The target tokens, without begin and end, of each source sentence (which end with the end token). A sentence stops
// after 2 S + 10 tokens at the latest, or where the model's positions end.
// Greedy: always the likeliest next token.
std::vector<TokenIds> decode_greedy(const Decoder& decoder, const std::vector<TokenIds>& sources,
                                    const DecodingOptions& options = {});
// Beam search: the `beam` likeliest beginnings are continued side by side. With beam 1 the same as greedy.
std::vector<TokenIds> decode_beam(const Decoder& decoder, const std::vector<TokenIds>& sources,
                                  const DecodingOptions& options);

// Sentences in, sentences out, in the same order. Fails on a sentence that is longer than the model's positions.
std::vector<std::string> translate(const Decoder& decoder, const Tokenizer& tokenizer,
                                   const std::vector<std::string>& sentences, const DecodingOptions& options = {});

}  // namespace headshare
