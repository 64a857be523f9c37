#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/text/corpus.h"
#include "core/text/tokenizer.h"
#include "tensor/tensor.h"

namespace headshare {

// A sentence pair as token ids, ready to be put into a batch.
struct EncodedPair {
  std::vector<std::int32_t> source;  // ... end
  std::vector<std::int32_t> target;  // begin ... end
};

// Encodes all pairs; pairs longer than max_length tokens on either side are left out, and counted.
struct EncodedCorpus {
  std::vector<EncodedPair> pairs;
  Size too_long = 0;
};
EncodedCorpus encode(const Corpus& corpus, const Tokenizer& tokenizer, Size max_length);

// Token ids with an end token, as the encoder reads them.
std::vector<std::int32_t> encode_source(const Tokenizer& tokenizer, const std::string& sentence);

// Sentences side by side, padded at the right.
struct PaddedTokens {
  Tensor tokens;   // int32 [B, longest]
  Tensor lengths;  // int32 [B]
};
PaddedTokens pad(std::span<const std::vector<std::int32_t>> sentences, Device device);

// One batch for teacher forcing: from target_input, position t, the model must say target_output, position t.
struct Batch {
  PaddedTokens source;   // [B, S]
  Tensor target_input;   // int32 [B, T], begin ...
  Tensor target_output;  // int32 [B * T], ... end; -1 where there is padding, which does not count
  Size target_tokens;    // positions that count
};
Batch make_batch(std::span<const EncodedPair> pairs, std::span<const Size> members, Device device);

// How an epoch is cut into batches: pairs of similar length together, as many as fit into tokens_per_batch when padded
// (sentences times the longest side), in random order. Depends on nothing but the corpus and these numbers, so that a
// resumed run sees the same batches. A pair that alone exceeds the limit gets a batch of its own.
std::vector<std::vector<Size>> plan_epoch(const EncodedCorpus& corpus, Size tokens_per_batch, std::uint64_t seed,
                                          Size epoch);

// The same by length only, in order: for validation.
std::vector<std::vector<Size>> plan_in_order(const EncodedCorpus& corpus, Size tokens_per_batch);

}  // namespace headshare
