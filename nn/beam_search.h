#pragma once

#include <limits>
#include <vector>

#include "nn/decoding.h"

namespace headshare {

// What ends a sentence. `limit` alone is for measurements: then every run does the same work.
enum class SentenceEnd { token_or_limit, limit };

// Beam search, a step at a time. Every sentence has `beam` rows of the batch, one for each live hypothesis; where it
// has fewer, as in the beginning, the rows left over repeat the first and nobody looks at them.
class BeamSearch {
 public:
  // state: from Decoder::start with options.beam   limits: of each sentence, how many target tokens it may have
  BeamSearch(const Decoder& decoder, DecoderState state, const std::vector<Size>& limits,
             const DecodingOptions& options, SentenceEnd end = SentenceEnd::token_or_limit);

  bool done() const { return searches_.empty(); }
  void step() { advance(next_logits()); }

  // The two halves of a step: what the model says comes next, and the choice among it, with everything that has to
  // move.
  Tensor next_logits();                // [rows, V]
  void advance(const Tensor& logits);  // the same shape

  const std::vector<TokenIds>& targets() const { return targets_; }  // of the sentences that are done
  const DecoderState& state() const { return state_; }

 private:
  struct Hypothesis {
    TokenIds tokens;
    double log_probability = 0;
  };

  struct Candidate {
    double log_probability;  // of the whole hypothesis with this token
    std::size_t parent;      // which live hypothesis of the sentence it continues
    std::int32_t token;
  };

  // One source sentence during the search.
  struct Search {
    std::size_t sentence;
    Size limit;
    std::vector<Hypothesis> live = {Hypothesis{}};
    Hypothesis best = {};  // finished
    double best_score = -std::numeric_limits<double>::infinity();
    Size finished = 0;
  };

  // The likeliest next tokens of each row, in order.                               log_probabilities, tokens: [rows, n]
  struct NextTokens {
    std::vector<float> log_probabilities;
    std::vector<std::int32_t> tokens;
    std::size_t n;
  };

  static std::vector<Candidate> best_candidates(const Search& search, const NextTokens& next, std::size_t first_row,
                                                std::size_t count);
  void finish(Search& search, Hypothesis hypothesis) const;
  std::vector<std::size_t> advance(Search& search, const NextTokens& next, std::size_t first_row) const;

  const Decoder& decoder_;
  DecoderState state_;
  DecodingOptions options_;
  SentenceEnd end_;
  std::vector<Search> searches_;  // of the sentences that are not done
  std::vector<TokenIds> targets_;
};

}  // namespace headshare
