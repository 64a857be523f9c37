#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "nn/decoding_start.h"
#include "tensor/tensor.h"

// Lesson 7: a model only says how likely each next token is. Here is what turns that into sentences: greedy decoding,
// the key/value cache, and beam search. Everything is float32 on the processor. Token ids 0, 1, 2 are padding, begin
// and end (padding_id, begin_id, end_id of core/text/tokenizer.h).
namespace headshare::lesson {

// ---- Step 1: greedy -------------------------------------------------------------------------------------------------

// [show NextScores]
// Whatever can be asked what comes next. `beginnings`: the tokens so far, one row for each sentence, all of the same
// length, each with the begin token in front. The answer is a score for every token of the vocabulary, the larger the
// likelier (logits, or log-probabilities).                                                      result: [rows, V]
using NextScores = std::function<Tensor(const std::vector<TokenIds>& beginnings)>;
// [end show]

// Writes `sentences` sentences side by side, always the token with the highest score (of equal ones, the smallest). A
// sentence is finished when it says the end token, or after `limit` tokens. The rows of finished sentences stay in the
// batch and get the padding token, so that all rows keep the same length; nobody looks at their scores any more.
// `next` is not asked again when all are finished.
// Result: the tokens of each sentence, without begin, end and padding.
std::vector<TokenIds> greedy(const NextScores& next, Size sentences, Size limit);

// log p(sentence) = sum over t of log p(token t | tokens before it), the end token included: what the model thinks of a
// sentence that somebody else wrote. `next` is asked with one row. tokens: without begin and end.
double log_probability(const NextScores& next, const TokenIds& tokens);

// ---- Step 2: the cache ----------------------------------------------------------------------------------------------

// Keys and values of the positions so far, of one attention. There is room for `capacity` positions from the start, so
// that nothing is copied when a new one comes.
struct Cache {
  Tensor key;       // [B, H, capacity, D]
  Tensor value;     // [B, H, capacity, D]
  Size length = 0;  // positions so far
};
Cache make_cache(Size batch, Size heads, Size capacity, Size head_size);

// Adds the keys and values of the next N positions behind those that are there.             key, value: [B, N, H, D]
// Fails, and changes nothing, when they do not fit: "cache: position 5 does not fit into 5".
void append(Cache& cache, const Tensor& key, const Tensor& value);

// Attention of one new position over everything in the cache: for each sentence b and head h
//   weights = softmax over s of (query . key_s / sqrt(D)),   result = sum over s of weights_s value_s
// Nothing needs a mask: what comes later is not in the cache yet. Fails on an empty cache.
//                 query: [B, H, D]   result: [B, H, D]
Tensor attend(const Tensor& query, const Cache& cache);

// ---- Step 3: a decoder with caches ----------------------------------------------------------------------------------

// What a decoder remembers between two tokens.
struct CachedState {
  std::vector<Cache> self;        // of each layer: grows by one position a step
  std::vector<KeysValues> cross;  // of each layer: of the source sentence, projected once       [B, S, H, D] each
  Tensor source_lengths;          // int32 [B]
  Size length = 0;                // target positions so far
};
CachedState start(const Transformer& model, const EncodedSources& sources, Size capacity);

// One layer of a post-norm decoder, for one new position of each sentence:
//   x = norm(x + self-attention), x = norm(x + cross-attention), x = norm(x + feed-forward)       x, result: [B, 1, C]
Variable layer_step(const DecoderLayer& layer, const Variable& x, Cache& self, const KeysValues& cross,
                    const Mask& cross_mask);

// The newest token of each sentence in, the scores of the one after it out.     tokens: B of them      result: [B, V]
Tensor step(const Transformer& model, const std::vector<std::int32_t>& tokens, CachedState& state);

// The same without a cache: everything is computed again, and all but the last row thrown away.       result: [B, V]
Tensor scores_from_scratch(const Transformer& model, const EncodedSources& sources,
                           const std::vector<TokenIds>& beginnings);

// What step number t = 1, 2, ... costs one sentence: the begin token and t - 1 others are there.
struct Work {
  Size positions;  // how many positions go through the layers
  Size pairs;      // how many products of a query with a key, in one head of one decoder self-attention
};
enum class Caching { off, on };
Work work_of_step(Size t, Caching caching);

// ---- Step 4: beam search --------------------------------------------------------------------------------------------

// The beginning of a sentence, or all of it.
struct Hypothesis {
  TokenIds tokens;             // without begin and end
  double log_probability = 0;  // sum over its tokens, the end token included where it has said it
};

// One way to go on with one hypothesis.
struct Candidate {
  double log_probability;  // of the hypothesis with this token
  Size parent;             // which hypothesis: a row
  std::int32_t token;
};

// The `count` likeliest continuations of all hypotheses together, the likeliest first; of equal ones, the smaller
// parent, then the smaller token. Fewer where there are not that many.
//                                                          log_probabilities of the next token: [live.size(), V]
std::vector<Candidate> best_candidates(const std::vector<Hypothesis>& live, const Tensor& log_probabilities,
                                       Size count);

// What finished hypotheses compete by: log p / ((5 + length) / 6)^alpha (Wu et al. 2016, section 7). length counts the
// end token. alpha = 0: the log-probability itself.
double penalized(double log_probability, Size length, double alpha);

struct Search {
  std::vector<Hypothesis> live = {Hypothesis{}};  // those that go on; one empty beginning to start with
  std::vector<Hypothesis> finished = {};
};

// One step. candidates: 2 * beam of them, the best first. Going through them until `beam` hypotheses live on:
//   one that ends is finished, but counts only where it is among the first `beam`; otherwise it is dropped
//   any other becomes a live hypothesis
// Replaces search.live. Result: of each new live hypothesis, which old one it continues.
std::vector<Size> advance(Search& search, const std::vector<Candidate>& candidates, Size beam);

// Tells whoever keeps something per row that row r now continues what was row rows[r].
using Reorder = std::function<void(const std::vector<Size>& rows)>;

struct BeamOptions {
  Size beam = 4;
  double alpha = 0.6;
  Size limit = 64;  // tokens of a sentence
};
// One sentence. Stops when `beam` hypotheses are finished, or at the limit, where those still alive count as finished.
// Result: the finished one with the best penalized score.
Hypothesis beam_search(const NextScores& next, const Reorder& reorder, const BeamOptions& options);

// ---- Step 5: caches that follow their hypotheses --------------------------------------------------------------------

// The cache for other rows: row r of the result is row rows[r] of this one. Rows may come twice or not at all, and
// their number may change. Only positions that are in use are copied; the capacity stays.
Cache select(const Cache& cache, const std::vector<Size>& rows);

// The same for everything that a decoder remembers.
void select(CachedState& state, const std::vector<Size>& rows);

}  // namespace headshare::lesson
