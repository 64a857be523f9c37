#include "lesson.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "tutorials/support/step.h"

namespace headshare::lesson {

// --- Step 1: byte pairs ---

std::vector<TokenIds> words_as_bytes(const std::string& text) {
  std::vector<TokenIds> words;
  for (const std::string_view word : split_words(text)) {
    TokenIds& ids = words.emplace_back();
    for (const char letter : word) ids.push_back(first_byte_id + static_cast<unsigned char>(letter));
  }
  return words;
}

// [show most_frequent]
std::optional<PairCount> most_frequent_pair(const std::vector<TokenIds>& words) {
  std::map<std::pair<std::int32_t, std::int32_t>, Size> counts;  // {left, right} -> how often
  // [step 1] Count all pairs of neighbours inside the words, and return the most frequent.
  // Of equal counts, the smaller left id; then the smaller right id. Return std::nullopt where there is no pair.
  // [hint] ++counts[{word[i], word[i + 1]}] for every i that has a right neighbour. word.size() - 1 of an empty word?
  // [hint] A std::map is walked through in the order of its keys: which comparison keeps the first of equals?
  for (const TokenIds& word : words)
    for (std::size_t i = 0; i + 1 < word.size(); ++i) ++counts[{word[i], word[i + 1]}];
  std::optional<PairCount> best;
  for (const auto& [pair, count] : counts)
    if (!best || count > best->count) best = PairCount{{pair.first, pair.second}, count};
  return best;
  // [end]
}
// [end show]

// [show merged]
TokenIds merged(const TokenIds& word, Merge pair, std::int32_t id) {
  // [step 1] Copy the word, and write `id` where its next two tokens are the pair.
  // [hint] One index that moves on by two after a pair and by one after any other token.
  // [hint] The last token has no right neighbour.
  TokenIds result;
  for (std::size_t i = 0; i < word.size();) {
    const bool here = i + 1 < word.size() && word[i] == pair.left && word[i + 1] == pair.right;
    result.push_back(here ? id : word[i]);
    i += here ? 2 : 1;
  }
  return result;
  // [end]
}
// [end show]

// [show learn]
std::vector<Merge> learn_merges(const std::vector<std::string>& sentences, Size count) {
  std::vector<TokenIds> words;
  for (const std::string& sentence : sentences)
    for (const TokenIds& word : words_as_bytes(sentence)) words.push_back(word);
  std::vector<Merge> merges;
  while (static_cast<Size>(merges.size()) < count) {
    const std::optional<PairCount> best = most_frequent_pair(words);
    if (!best || best->count < minimum_pair_frequency) break;  // what was seen once teaches a model nothing
    const std::int32_t id = first_merge_id + static_cast<std::int32_t>(merges.size());
    for (TokenIds& word : words) word = merged(word, best->pair, id);
    merges.push_back(best->pair);
  }
  return merges;
}
// [end show]

// [show encode]
TokenIds encode_text(const std::string& text, const std::vector<Merge>& merges) {
  // [step 1] Return the tokens of all words, one after the other: bytes first, then every merge in its order.
  // [hint] For each word of words_as_bytes(text): merge 0 makes token first_merge_id, merge 1 the one after it, ...
  // [hint] Append: result.insert(result.end(), word.begin(), word.end()).
  TokenIds result;
  for (TokenIds word : words_as_bytes(text)) {
    std::int32_t id = first_merge_id;
    for (const Merge& merge : merges) word = merged(word, merge, id++);
    result.insert(result.end(), word.begin(), word.end());
  }
  return result;
  // [end]
}
// [end show]

// --- Step 2: batches ---

// [show cut]
std::vector<std::vector<Size>> cut_into_batches(const std::vector<Size>& lengths, const std::vector<Size>& order,
                                                Size tokens_per_batch) {
  std::vector<std::vector<Size>> batches;
  // [step 2] Take the sentences in their order, and begin a new batch where the box would become too large.
  // The box is what is computed: (sentences in it) * (the longest of them), not the sum of their lengths.
  // [hint] Remember the longest of the batch that is being filled. What would box and longest be with the next one?
  // [hint] batches.emplace_back() begins a new one, and its longest is 0 again.
  Size longest = 0;
  for (const Size sentence : order) {
    const Size length = lengths[static_cast<std::size_t>(sentence)];
    const Size members = batches.empty() ? 0 : static_cast<Size>(batches.back().size());
    if (members == 0 || (members + 1) * std::max(longest, length) > tokens_per_batch) {
      batches.emplace_back();
      longest = 0;
    }
    batches.back().push_back(sentence);
    longest = std::max(longest, length);
  }
  // [end]
  return batches;
}
// [end show]

// [show share]
double share_of_padding(const std::vector<Size>& lengths, const std::vector<std::vector<Size>>& batches) {
  // [step 2] Compare what the boxes hold with what they could hold: the share of places that are padding.
  // [hint] Two sums over all batches: places (sentences * longest) and tokens. Integers divide without a remainder.
  double places = 0, tokens = 0;
  for (const std::vector<Size>& batch : batches) {
    Size longest = 0;
    for (const Size sentence : batch) {
      const Size length = lengths[static_cast<std::size_t>(sentence)];
      longest = std::max(longest, length);
      tokens += static_cast<double>(length);
    }
    places += static_cast<double>(longest * static_cast<Size>(batch.size()));
  }
  return 1 - tokens / places;
  // [end]
}
// [end show]

// [show pad]
Padded pad_sentences(const std::vector<TokenIds>& sentences) {
  const Size B = static_cast<Size>(sentences.size());
  Size longest = 0;
  for (const TokenIds& sentence : sentences) longest = std::max(longest, static_cast<Size>(sentence.size()));
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(B * longest), padding_id);  // row after row
  std::vector<float> mask(static_cast<std::size_t>(B * longest), 0.0f);
  // [step 2] Write every sentence into its row from the left, and a 1 into the mask where there is a token.
  // [hint] Token t of sentence b lies at b * longest + t.
  for (std::size_t b = 0; b < sentences.size(); ++b)
    for (std::size_t t = 0; t < sentences[b].size(); ++t) {
      const std::size_t place = b * static_cast<std::size_t>(longest) + t;
      tokens[place] = sentences[b][t];
      mask[place] = 1;
    }
  // [end]
  return {from_values(tokens, {B, longest}), from_values(mask, {B, longest})};
}
// [end show]

// [show shift]
Taught shifted(const std::vector<TokenIds>& targets) {
  // [step 2] Make input and output of the decoder: the same words, begin in front of the one, end behind the other.
  // [hint] Two lists of sentences, then pad_sentences() of each. The end belongs behind the last word, not the padding.
  std::vector<TokenIds> inputs, outputs;
  for (const TokenIds& target : targets) {
    inputs.push_back({begin_id});
    inputs.back().insert(inputs.back().end(), target.begin(), target.end());
    outputs.push_back(target);
    outputs.back().push_back(end_id);
  }
  return {pad_sentences(inputs), pad_sentences(outputs)};
  // [end]
}
// [end show]

// --- Step 3: label smoothing ---

namespace {

// log(sum over v of exp(row[v])), given: the largest is taken out first, so that nothing overflows. With it
// log p[v] = row[v] - log_of_sum(row, V).
double log_of_sum(const double* row, Size V) {
  const double largest = *std::max_element(row, row + V);
  double sum = 0;
  for (Size v = 0; v < V; ++v) sum += std::exp(row[v] - largest);
  return largest + std::log(sum);
}

}  // namespace

// [show loss]
double smoothed_loss(const Tensor& logits, const std::vector<int>& targets, double eps) {
  const Size N = logits.extent(0), V = logits.extent(1);
  const double* numbers = logits.data<double>();  // row n begins at numbers + n * V
  double loss = 0;
  // [step 3] Add up, over the rows that count: (1 - eps) times -log p[target], and eps times the mean of all -log p.
  // log_of_sum(row, V) above gives log p[v] = row[v] - log_of_sum(row, V) without overflow.
  // [hint] Skip rows with a target below 0 (padding).
  // [hint] -log p[v] = log_of_sum(row, V) - row[v]; the mean over v is their sum, divided by V.
  for (Size n = 0; n < N; ++n) {
    const int target = targets[static_cast<std::size_t>(n)];
    if (target < 0) continue;
    const double* row = numbers + n * V;
    const double normalizer = log_of_sum(row, V);
    double all = 0;
    for (Size v = 0; v < V; ++v) all += normalizer - row[v];
    loss += (1 - eps) * (normalizer - row[target]) + eps * all / static_cast<double>(V);
  }
  // [end]
  return loss;
}
// [end show]

// [show gradient]
Tensor smoothed_gradient(const Tensor& logits, const std::vector<int>& targets, double eps, double upstream) {
  const Size N = logits.extent(0), V = logits.extent(1);
  const Tensor result = zeros(logits.shape(), {ElementType::float64});
  const double* numbers = logits.data<double>();
  double* gradient = result.data<double>();  // the same place for the same logit
  // [step 3] Fill in, for every row that counts, upstream times (softmax - smoothed target).
  // [hint] The smoothed target is eps / V everywhere, and 1 - eps more at the target.
  // [hint] p[v] = exp(row[v] - log_of_sum(row, V)).
  for (Size n = 0; n < N; ++n) {
    const int target = targets[static_cast<std::size_t>(n)];
    if (target < 0) continue;
    const double* row = numbers + n * V;
    const double normalizer = log_of_sum(row, V);
    for (Size v = 0; v < V; ++v) {
      const double wanted = eps / static_cast<double>(V) + (v == target ? 1 - eps : 0);
      gradient[n * V + v] = upstream * (std::exp(row[v] - normalizer) - wanted);
    }
  }
  // [end]
  return result;
}
// [end show]

// [show smallest]
double smallest_loss(Size vocabulary, double eps) {
  // [step 3] Return the loss of a model whose softmax is exactly the smoothed target: the entropy of that target.
  // [hint] - sum over v of q[v] log q[v], where one q is 1 - eps + eps / V and V - 1 of them are eps / V.
  // [hint] 0 log 0 is 0 here, but not in C++: eps = 0 needs care.
  const double V = static_cast<double>(vocabulary), other = eps / V, right = 1 - eps + other;
  double entropy = 0;
  entropy -= right * std::log(right);
  if (eps > 0) entropy -= (V - 1) * other * std::log(other);
  return entropy;
  // [end]
}
// [end show]

// --- Step 4: the learning rate ---

// [show rate]
double rate_at(const RatePlan& plan, Size step) {
  // [step 4] Return the rate of this step: straight up, then 1 / sqrt(step), then, if there is a decay, straight down.
  // [hint] Until `warmup`: peak step / warmup. After it: peak sqrt(warmup / step). Both are `peak` at step = warmup.
  // [hint] In the decay: the rate of step decay_after, times the share of decay_steps that is left, never below 0.
  const auto without_decay = [&](Size at) {
    const double s = static_cast<double>(at), w = static_cast<double>(plan.warmup);
    return plan.peak * std::min(s / w, std::sqrt(w / s));
  };
  if (plan.decay_steps == 0 || step <= plan.decay_after) return without_decay(step);
  const double left = static_cast<double>(plan.decay_after + plan.decay_steps - step);
  return without_decay(plan.decay_after) * std::max(0.0, left / static_cast<double>(plan.decay_steps));
  // [end]
}
// [end show]

// [show vaswani]
double vaswani_peak(Size d_model, Size warmup) {
  // [step 4] Return the highest rate of the formula in lesson.h.
  // [hint] The first part of the min falls with the step, the second rises. At which step are they equal?
  // [hint] At step = warmup: d_model^(-1/2) warmup^(-1/2).
  return 1 / std::sqrt(static_cast<double>(d_model) * static_cast<double>(warmup));
  // [end]
}
// [end show]

// --- Step 5: a loss curve ---

// [show running_mean]
std::vector<double> running_mean(const std::vector<double>& values, Size window) {
  // [step 5] Return, for each place, the mean of its value and those before it, `window` values at most.
  // [hint] Place i has i + 1 values up to itself: at the beginning there are fewer than `window`.
  // [hint] Add each window anew. A sum that is carried along never gets rid of a value that is not a number.
  std::vector<double> result;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t count = std::min(i + 1, static_cast<std::size_t>(window));
    double sum = 0;
    for (std::size_t j = i + 1 - count; j <= i; ++j) sum += values[j];
    result.push_back(sum / static_cast<double>(count));
  }
  return result;
  // [end]
}
// [end show]

// [show perplexity]
double perplexity(const std::vector<CountedLoss>& batches) {
  // [step 5] Return exp of the mean of -log p per token, where every token counts the same, whatever its batch.
  // [hint] Sum of all sums, divided by the number of all tokens; exp comes last.
  double sum = 0;
  Size tokens = 0;
  for (const CountedLoss& batch : batches) {
    sum += batch.nll_sum;
    tokens += batch.tokens;
  }
  return std::exp(sum / static_cast<double>(tokens));
  // [end]
}
// [end show]

// [show down_to_stay]
std::optional<Size> down_to_stay(const std::vector<double>& curve, double level) {
  // [step 5] Return the first step from which on no value is above the level any more.
  // The first dip below the level is not enough: a noisy curve comes up again.
  // [hint] Walk backward from the end while values are at or below the level. Steps count from 1.
  // [hint] A comparison with a value that is not a number is false: ask for `curve[i] <= level`.
  std::size_t i = curve.size();
  while (i > 0 && curve[i - 1] <= level) --i;
  if (i == curve.size()) return std::nullopt;
  return static_cast<Size>(i) + 1;
  // [end]
}
// [end show]

}  // namespace headshare::lesson
