#pragma once

#include <string>
#include <vector>

#include "core/text/tokenizer.h"
#include "nn/attention_weights.h"

namespace headshare {

// Attention is between tokens, but people read words.
//
// The words that some tokens are pieces of, in order. The special tokens are words of their own, such as "<end>".
struct TokenWords {
  std::vector<std::string> words;
  std::vector<std::size_t> word_of_token;  // index into words
};
TokenWords words_of(const Tokenizer& tokenizer, const TokenIds& tokens);

// Weights between tokens as weights between words: the attention that a word gets is the sum over its pieces, the
// attention that it pays their mean, so that rows still sum to 1.
//                                                        weights: [T, S]   result: [rows.words, columns.words], by rows
std::vector<float> between_words(const Tensor& weights, const TokenWords& rows, const TokenWords& columns);

// How differently two heads look: the total variation distance of their rows, 1/2 sum_s |a_ts - b_ts|, mean over t: 0
// where they are the same, 1 where they never look at the same token.                                     a, b: [T, S]
double total_variation(const Tensor& a, const Tensor& b);

}  // namespace headshare
