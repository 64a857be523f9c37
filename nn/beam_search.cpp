#include "nn/beam_search.h"

#include <algorithm>
#include <cmath>

#include "nn/decoding_start.h"
#include "tensor/reduce.h"
#include "tensor/softmax.h"

namespace headshare {
namespace {

double score(double log_probability, Size length, double alpha) {
  return log_probability / std::pow((5.0 + static_cast<double>(length)) / 6.0, alpha);
}

}  // namespace

BeamSearch::BeamSearch(const Decoder& decoder, DecoderState state, const std::vector<Size>& limits,
                       const DecodingOptions& options, SentenceEnd end)
    : decoder_(decoder), state_(std::move(state)), options_(options), end_(end), targets_(limits.size()) {
  for (std::size_t i = 0; i < limits.size(); ++i) searches_.push_back({i, limits[i]});
}

// The `count` likeliest continuations of all live hypotheses, the best first; of equal ones, the smaller row and token.
// Each row's own `count` likeliest tokens are enough to choose from.
std::vector<BeamSearch::Candidate> BeamSearch::best_candidates(const Search& search, const NextTokens& next,
                                                               std::size_t first_row, std::size_t count) {
  const auto better = [](const Candidate& a, const Candidate& b) {
    if (a.log_probability != b.log_probability) return a.log_probability > b.log_probability;
    return std::make_pair(a.parent, a.token) < std::make_pair(b.parent, b.token);
  };
  std::vector<Candidate> candidates;
  for (std::size_t parent = 0; parent < search.live.size(); ++parent)
    for (std::size_t i = 0; i < next.n; ++i) {
      const std::size_t at = (first_row + parent) * next.n + i;
      const double log_probability = search.live[parent].log_probability + next.log_probabilities[at];
      candidates.push_back({log_probability, parent, next.tokens[at]});
    }
  const std::size_t kept = std::min(count, candidates.size());
  std::partial_sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(kept), candidates.end(),
                    better);
  candidates.resize(kept);
  return candidates;
}

void BeamSearch::finish(Search& search, Hypothesis hypothesis) const {
  const Size length = static_cast<Size>(hypothesis.tokens.size()) + 1;
  const double value = score(hypothesis.log_probability, length, options_.length_penalty);
  ++search.finished;
  if (value > search.best_score) {
    search.best_score = value;
    search.best = std::move(hypothesis);
  }
}

// Replaces the live hypotheses by their best continuations; returns the row within the sentence each one came from.
// Ends the search (no live hypotheses left) when `beam` hypotheses are finished or there is no room for another token.
std::vector<std::size_t> BeamSearch::advance(Search& search, const NextTokens& tokens, std::size_t first_row) const {
  const auto beam = static_cast<std::size_t>(options_.beam);
  std::vector<Hypothesis> next;
  std::vector<std::size_t> parents;
  const std::vector<Candidate> candidates = best_candidates(search, tokens, first_row, 2 * beam);
  for (std::size_t rank = 0; rank < candidates.size() && next.size() < beam; ++rank) {
    const Candidate& candidate = candidates[rank];
    Hypothesis hypothesis{search.live[candidate.parent].tokens, candidate.log_probability};
    if (candidate.token == end_id && end_ == SentenceEnd::token_or_limit) {
      if (rank < beam) finish(search, std::move(hypothesis));
      continue;
    }
    hypothesis.tokens.push_back(candidate.token);
    next.push_back(std::move(hypothesis));
    parents.push_back(candidate.parent);
  }
  const Size length = static_cast<Size>(next.empty() ? 0 : next.front().tokens.size());
  const bool full = search.finished >= options_.beam;
  if (!full && length >= search.limit)  // no room to end properly: take what there is
    for (Hypothesis& hypothesis : next) finish(search, std::move(hypothesis));
  if (full || length >= search.limit) {
    next.clear();
    parents.clear();
  }
  search.live = std::move(next);
  return parents;
}

Tensor BeamSearch::next_logits() {
  std::vector<std::int32_t> tokens;
  for (const Search& search : searches_)
    for (std::size_t i = 0; i < static_cast<std::size_t>(options_.beam); ++i) {
      const TokenIds& beginning = search.live[i < search.live.size() ? i : 0].tokens;
      tokens.push_back(beginning.empty() ? begin_id : beginning.back());
    }
  return decoder_.step(from_values(tokens, {static_cast<Size>(tokens.size())}, decoder_.model().options().device),
                       state_);
}

void BeamSearch::advance(const Tensor& logits) {
  const Size beam = options_.beam, choices = std::min(2 * beam, logits.extent(1));
  const Largest best = top_k(log_softmax(logits), choices);  // [rows, choices]
  const NextTokens next{best.value.to(ElementType::float32).to_vector<float>(), best.index.to_vector<std::int32_t>(),
                        static_cast<std::size_t>(choices)};
  std::vector<std::int32_t> parents;  // rows of the caches, in the order of the new hypotheses
  Size first = 0;                     // row of the sentence
  for (Search& search : searches_) {
    const std::vector<std::size_t> from = advance(search, next, static_cast<std::size_t>(first));
    if (search.live.empty()) targets_[search.sentence] = std::move(search.best.tokens);
    for (std::size_t i = 0; !from.empty() && i < static_cast<std::size_t>(beam); ++i)
      parents.push_back(static_cast<std::int32_t>(first + static_cast<Size>(from[i < from.size() ? i : 0])));
    first += beam;
  }
  std::erase_if(searches_, [](const Search& search) { return search.live.empty(); });
  if (!parents.empty()) state_.select(parents);
}

std::vector<TokenIds> decode_beam(const Decoder& decoder, const std::vector<TokenIds>& sources,
                                  const DecodingOptions& options) {
  if (sources.empty()) return {};
  std::vector<Size> limits;
  for (const TokenIds& source : sources)
    limits.push_back(step_limit(decoder.model(), static_cast<Size>(source.size())));
  BeamSearch search(decoder, start_decoding(decoder, sources, options).state, limits, options);
  while (!search.done()) search.step();
  return search.targets();
}

}  // namespace headshare
