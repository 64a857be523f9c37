#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/text/tokenizer.h"
#include "tensor/tensor.h"

// Lesson 6: from sentences to a trained translator: byte pairs, batches, label smoothing, the learning rate, and how to
// read a loss curve. Everything is on the processor. Token ids are those of core/text/tokenizer.h: 0 padding, 1 begin,
// 2 end, then the 256 bytes from first_byte_id on, then the merges from first_merge_id on.
namespace headshare::lesson {

// [show ids]
using TokenIds = std::vector<std::int32_t>;
// [end show]

// --- Step 1: byte pairs ---

// The words of a text as bytes, given: byte b is token first_byte_id + b. A word keeps the space before it; tokens
// never reach from one word into the next.            "so, so" -> three words: "so" "," " so"
std::vector<TokenIds> words_as_bytes(const std::string& text);

// [show pair]
// Two neighbours, and how often they stand side by side. Merge is {left, right}, of core/text/tokenizer.h.
struct PairCount {
  Merge pair;
  Size count;
};
// [end show]
// The pair of neighbours that occurs most often, inside words only. Every place counts: "aaa" holds "a" "a" twice. Of
// equally frequent pairs the one with the smaller left id; of those, the one with the smaller right id. Nothing where
// no word has two tokens.
std::optional<PairCount> most_frequent_pair(const std::vector<TokenIds>& words);

// The word in which each `pair`, read from left to right, is one token `id`. A token is used once: with "a" "a" as the
// pair, "aaa" becomes two tokens, the new one and "a".
TokenIds merged(const TokenIds& word, Merge pair, std::int32_t id);

// Learns at most `count` merges from sentences: again and again the most frequent pair becomes a token, number
// first_merge_id, first_merge_id + 1, ... Stops where no pair occurs twice.
std::vector<Merge> learn_merges(const std::vector<std::string>& sentences, Size count);

// The tokens of a text: each word as bytes, then the merges replayed in the order in which they were learned.
TokenIds encode_text(const std::string& text, const std::vector<Merge>& merges);

// --- Step 2: batches ---

// Cuts a list of sentences into batches. `lengths`: tokens of each sentence; `order`: the sentences one after the other
// as they shall be taken. A batch takes the next sentence where the box still fits: sentences times the longest of them
// is at most `tokens_per_batch`. A sentence that is too long by itself gets a batch of its own. No batch is empty.
std::vector<std::vector<Size>> cut_into_batches(const std::vector<Size>& lengths, const std::vector<Size>& order,
                                                Size tokens_per_batch);

// How much of all boxes together is padding, 0 to 1. At least one sentence, all lengths above 0.
double share_of_padding(const std::vector<Size>& lengths, const std::vector<std::vector<Size>>& batches);

// Sentences side by side in one box, filled up at the right.
struct Padded {
  Tensor tokens;  // int32 [B, longest], padding_id where there is no token
  Tensor mask;    // float32 [B, longest], 1 for a token, 0 for padding
};
Padded pad_sentences(const std::vector<TokenIds>& sentences);

// What a decoder reads and what it must say, for teacher forcing. `targets`: the words' tokens, no begin, no end.
struct Taught {
  Padded input;   // begin, then the words      [B, longest + 1]
  Padded output;  // the words, then end        [B, longest + 1]
};
Taught shifted(const std::vector<TokenIds>& targets);

// --- Step 3: label smoothing ---

// The sum over the rows of (1 - eps) (-log p[target]) + eps / V sum over v of (-log p[v]), where p = softmax(row). Rows
// with a target below 0 do not count. Right for logits of any size.
//                                                             logits: float64 [N, V]   targets: N, each below V
double smoothed_loss(const Tensor& logits, const std::vector<int>& targets, double eps);

// The derivative of `upstream` times that sum by every logit; rows that do not count get zeros.        result: [N, V]
Tensor smoothed_gradient(const Tensor& logits, const std::vector<int>& targets, double eps, double upstream);

// The smallest value that the smoothed loss of one token can have: what a perfect model gets. 0 where eps is 0.
// 0 <= eps < 1, vocabulary at least 2.
double smallest_loss(Size vocabulary, double eps);

// --- Step 4: the learning rate ---

// [show plan]
struct RatePlan {
  double peak = 1e-3;    // the highest rate, at the end of the warm-up
  Size warmup = 1000;    // steps, at least 1
  Size decay_after = 0;  // the last step before the decay, at least `warmup` where there is one
  Size decay_steps = 0;  // how long it takes to come down to 0; 0: no decay
};
// [end show]
// The learning rate of step 1, 2, 3, ...: from 0 up to `peak` in a straight line, which step `warmup` reaches; then
// proportional to 1 / sqrt(step); and, where there is a decay, from its value at step decay_after in a straight line
// down to 0 at step decay_after + decay_steps. 0 from there on.
double rate_at(const RatePlan& plan, Size step);

// The highest rate of the formula in Vaswani et al. 2017, section 5.3:
//   rate(step) = d_model^(-1/2) min(step^(-1/2), step warmup^(-3/2))
double vaswani_peak(Size d_model, Size warmup);

// --- Step 5: a loss curve ---

// result[i] is the mean of values[i] and the window - 1 values before it, or of as many as there are. A value that is
// not a number spoils the windows that hold it and no others. window >= 1.
std::vector<double> running_mean(const std::vector<double>& values, Size window);

// [show counted]
// One batch of a training run: the sum of -log p over its target tokens, and how many those are.
struct CountedLoss {
  double nll_sum;
  Size tokens;
};
// [end show]
// exp of the mean of -log p per token, over all batches: among how many equally likely tokens the model still
// hesitates.
double perplexity(const std::vector<CountedLoss>& batches);

// The first step, counted from 1, from which on the curve stays at or below `level` to its end. Nothing where the last
// value is above it. A value that is not a number is above every level.
std::optional<Size> down_to_stay(const std::vector<double>& curve, double level);

}  // namespace headshare::lesson
