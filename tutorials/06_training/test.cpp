#include <cmath>
#include <limits>
#include <numeric>

#include "lesson.h"
#include "tutorials/support/check.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

std::vector<int> integers(const TokenIds& tokens) { return {tokens.begin(), tokens.end()}; }

std::vector<int> integers(const std::vector<Size>& numbers) { return {numbers.begin(), numbers.end()}; }

std::vector<int> integers(const Tensor& tokens) { return integers(tokens.to_vector<std::int32_t>()); }

constexpr std::int32_t byte(char letter) { return first_byte_id + static_cast<unsigned char>(letter); }

void check_pair(const std::vector<TokenIds>& words, Merge expected, Size count, const std::string& what) {
  const std::optional<PairCount> got = most_frequent_pair(words);
  if (!got) FAIL(what << ": expected a pair, got none");
  check_equal(integers(TokenIds{got->pair.left, got->pair.right}), {expected.left, expected.right}, what);
  check_equal(got->count, count, what + ", how often");
}

Tensor random_logits(const Shape& shape, std::uint64_t seed) {
  return random_tensor(shape, seed, {ElementType::float64});
}

// (loss(x + h) - loss(x - h)) / (2 h) for every logit.
Tensor central_differences(const Tensor& logits, const std::vector<int>& targets, double eps) {
  const Tensor result = zeros(logits.shape(), {ElementType::float64});
  const Tensor moved = logits.clone();
  constexpr double h = 1e-5;
  for (Size i = 0; i < logits.count(); ++i) {
    const double old = moved.data<double>()[i];
    moved.data<double>()[i] = old + h;
    const double above = smoothed_loss(moved, targets, eps);
    moved.data<double>()[i] = old - h;
    const double below = smoothed_loss(moved, targets, eps);
    moved.data<double>()[i] = old;
    result.data<double>()[i] = (above - below) / (2 * h);
  }
  return result;
}

}  // namespace

TEST_CASE("6.1 the most frequent neighbours, counted over all words") {
  check_pair({{7, 8, 9}, {5, 7, 8}, {8, 9}, {7, 8}}, {7, 8}, 3, "the most frequent pair");
  check_pair({{4, 4, 4}, {9, 3}}, {4, 4}, 2, "the most frequent pair of 4 4 4");
}

TEST_CASE("6.1 no pair reaches from one word into the next, and none is no pair") {
  check_pair({{1, 2}, {3, 9}, {3, 9}, {1, 2}, {3}, {1}, {3}, {1}, {3}}, {1, 2}, 2, "the pair inside words");
  CHECK_MESSAGE(!most_frequent_pair({{5}, {}, {6}}), "words of one token or none: expected no pair, got one");
}

TEST_CASE("6.1 of equally frequent pairs the smaller left id wins, then the smaller right id") {
  check_pair({{9, 1}, {2, 8}, {2, 7}, {2, 7}, {2, 8}, {9, 1}}, {2, 7}, 2, "the smallest of three equal pairs");
}

TEST_CASE("6.1 a pair becomes one token, from left to right, each token used once") {
  check_equal(integers(merged({1, 2, 3, 1, 2}, {1, 2}, 50)), {50, 3, 50}, "1 2 3 1 2 with 1 2 merged");
  check_equal(integers(merged({4, 4, 4}, {4, 4}, 50)), {50, 4}, "4 4 4 with 4 4 merged");
  check_equal(integers(merged({1, 2, 1}, {2, 3}, 50)), {1, 2, 1}, "a word without the pair");
}

TEST_CASE("6.1 a text becomes bytes where nothing is known, and the merges are replayed in their order") {
  check_equal(integers(encode_text("ab b", {})), {byte('a'), byte('b'), byte(' '), byte('b')}, "ab b without merges");
  // Merge 0 takes the b away, so that merge 1 finds its pair in the second word only.
  const std::vector<Merge> merges = {{byte('a'), byte('b')}, {byte('b'), byte('c')}};
  check_equal(integers(encode_text("abc bc", merges)), {first_merge_id, byte('c'), byte(' '), first_merge_id + 1},
              "abc bc with ab, then bc");
}

TEST_CASE("6.1 learned and encoded as the library does") {
  const std::vector<std::string> sentences = {"the old dog sleeps", "the older dogs sleep, the oldest sleeps"};
  Corpus corpus;
  for (const std::string& sentence : sentences) corpus.pairs.push_back({sentence, ""});
  const Tokenizer expected = learn_byte_pairs(corpus, {.merges = 12});
  const std::vector<Merge> merges = learn_merges(sentences, 12);
  check_equal(static_cast<long long>(merges.size()), static_cast<long long>(expected.merges().size()), "merges");
  for (const std::string sentence : {"the coldest dog", "sleepless"})
    check_equal(integers(encode_text(sentence, merges)), integers(expected.encode(sentence)), sentence);
}

TEST_CASE("6.2 a batch is full when its box is, not when its tokens are") {
  // Three sentences of 2 and one of 5: 4 sentences of 5 would be a box of 20.
  const auto got = cut_into_batches({2, 2, 2, 5, 1}, {0, 1, 2, 3, 4}, 11);
  check_equal(static_cast<long long>(got.size()), 2, "batches of at most 11 places");
  check_equal(integers(got[0]), {0, 1, 2}, "batch 0");
  check_equal(integers(got[1]), {3, 4}, "batch 1");
}

TEST_CASE("6.2 sentences come in the wished order, fill the box to the last place, and one too long comes alone") {
  const auto got = cut_into_batches({3, 9, 3, 3}, {2, 0, 1, 3}, 6);
  check_equal(static_cast<long long>(got.size()), 3, "batches of at most 6 places");
  check_equal(integers(got[0]), {2, 0}, "batch 0");
  check_equal(integers(got[1]), {1}, "batch 1, of a sentence of 9");
  check_equal(integers(got[2]), {3}, "batch 2");
  check_equal(static_cast<long long>(cut_into_batches({9, 9}, {0, 1}, 4).size()), 2, "batches of two sentences of 9");
  check_equal(static_cast<long long>(cut_into_batches({5, 1, 1, 1}, {0, 1, 2, 3}, 5).size()), 2,
              "batches of at most 5 places");
  // The longest comes second: with a third sentence the box would be 3 * 4.
  check_equal(static_cast<long long>(cut_into_batches({2, 4, 1, 1}, {0, 1, 2, 3}, 8).size()), 2,
              "batches of at most 8 places");
}

TEST_CASE("6.2 the share of padding is that of all boxes together") {
  check_close(share_of_padding({4, 4}, {{0, 1}}), 0, "two sentences of 4");
  check_close(share_of_padding({1, 3, 2}, {{0, 1}, {2}}), 0.25, "a box of 2 * 3 and one of 1 * 2, 6 tokens");
}

TEST_CASE("6.2 short sentences are filled up at the right, and the mask says where") {
  const Padded got = pad_sentences({{5, 6, 7}, {8}, {9, 4}});
  check_equal(got.tokens.shape(), Shape{3, 3}, "the box");
  check_equal(integers(got.tokens), {5, 6, 7, 8, padding_id, padding_id, 9, 4, padding_id}, "the tokens");
  check_close(got.mask, from_values<float>({1, 1, 1, 1, 0, 0, 1, 1, 0}, {3, 3}), "the mask", 0);
}

TEST_CASE("6.2 what the decoder reads is what it must say, one place later") {
  const Taught got = shifted({{5, 6}, {7}});
  check_equal(integers(got.input.tokens), {begin_id, 5, 6, begin_id, 7, padding_id}, "the input");
  check_equal(integers(got.output.tokens), {5, 6, end_id, 7, end_id, padding_id}, "the output");
  check_close(got.output.mask, from_values<float>({1, 1, 1, 1, 1, 0}, {2, 3}), "the mask", 0);
}

TEST_CASE("6.3 four equal logits cost log 4, smoothed or not") {
  const Tensor logits = full({1, 4}, 3, {ElementType::float64});
  check_close(smoothed_loss(logits, {2}, 0), std::log(4.0), "the loss, eps 0");
  check_close(smoothed_loss(logits, {2}, 0.3), std::log(4.0), "the loss, eps 0.3");
}

TEST_CASE("6.3 the loss by hand: probabilities 1/4 and 3/4, eps 0.2") {
  const Tensor logits = from_values<double>({0, std::log(3.0)}, {1, 2});
  check_close(smoothed_loss(logits, {1}, 0.2), -0.9 * std::log(0.75) - 0.1 * std::log(0.25), "the loss");
  check_close(smoothed_loss(logits, {0}, 0), std::log(4.0), "the loss of the other, eps 0");
}

TEST_CASE("6.3 rows are added up, padding does not count, and logits of a thousand are no trouble") {
  const Tensor logits = from_values<double>({0, 0, 7, 7, 1000, 0, 3, 1}, {4, 2});
  check_close(smoothed_loss(logits, {0, 1, 0, -1}, 0), 2 * std::log(2.0), "the loss of rows 0, 1 and 2");
  check_close(smoothed_gradient(logits, {0, 1, 0, -1}, 0, 1).slice(0, 3, 4), zeros({1, 2}, {ElementType::float64}),
              "the gradient of a row that does not count", 0);
}

TEST_CASE("6.3 the gradient is what central differences say") {
  const Tensor logits = random_logits({3, 5}, 1);
  for (const double eps : {0.0, 0.1}) {
    const Tensor expected = central_differences(logits, {4, -1, 0}, eps);
    check_close(smoothed_gradient(logits, {4, -1, 0}, eps, 1), expected, text("the gradient, eps ", eps), 1e-7);
  }
}

TEST_CASE("6.3 a factor that comes from above goes into every number of the gradient") {
  const Tensor logits = random_logits({2, 4}, 2), once = central_differences(logits, {1, 3}, 0.1);
  const Tensor got = smoothed_gradient(logits, {1, 3}, 0.1, -2.5);
  for (Size i = 0; i < once.count(); ++i)
    check_close(got.data<double>()[i], -2.5 * once.data<double>()[i], text("number ", i, ", upstream -2.5"), 1e-7);
}

TEST_CASE("6.3 the smallest loss is the entropy of the smoothed target") {
  check_close(smallest_loss(10, 0), 0, "without smoothing");
  check_close(smallest_loss(2, 0.5), -0.75 * std::log(0.75) - 0.25 * std::log(0.25), "two tokens, eps 0.5");
  check_close(smallest_loss(1000, 0.1), 1.0148480, "1000 tokens, eps 0.1", 1e-6);
}

TEST_CASE("6.4 the rate climbs in a straight line and falls with the square root") {
  const RatePlan plan = {.peak = 0.8, .warmup = 40};
  const std::vector<double> got = {rate_at(plan, 1), rate_at(plan, 20), rate_at(plan, 40), rate_at(plan, 160)};
  check_close(got, std::vector<double>{0.02, 0.4, 0.8, 0.4}, "the rates of steps 1, 20, 40, 160");
}

TEST_CASE("6.4 the decay begins where the curve is, and ends at 0") {
  const RatePlan plan = {.peak = 0.8, .warmup = 10, .decay_after = 40, .decay_steps = 20};
  const std::vector<double> got = {rate_at(plan, 40), rate_at(plan, 45), rate_at(plan, 55), rate_at(plan, 60),
                                   rate_at(plan, 70)};
  check_close(got, std::vector<double>{0.4, 0.3, 0.1, 0, 0}, "the rates of steps 40, 45, 55, 60, 70");
}

TEST_CASE("6.4 without a warm-up the first step has the highest rate") {
  check_close(rate_at({.peak = 0.5, .warmup = 1}, 1), 0.5, "the rate of step 1");
  check_close(rate_at({.peak = 0.5, .warmup = 1}, 4), 0.25, "the rate of step 4");
}

TEST_CASE("6.4 the paper's formula has its peak at the end of the warm-up") {
  check_close(vaswani_peak(512, 4000), 6.98771e-4, "d_model 512, warm-up 4000", 1e-9);
  check_close(vaswani_peak(4, 25), 0.1, "d_model 4, warm-up 25");
}

TEST_CASE("6.5 a running mean looks back, never forward") {
  check_close(running_mean({4, 0, 2, 6, 1}, 3), std::vector<double>{4, 2, 2, 8.0 / 3, 3}, "means of 3");
  check_close(running_mean({4, 0, 2}, 1), std::vector<double>{4, 0, 2}, "means of 1");
  check_close(running_mean({4, 0}, 9), std::vector<double>{4, 2}, "means of 9, of 2 values");
}

TEST_CASE("6.5 what is not a number spoils its windows, and no others") {
  const double bad = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> got = running_mean({1, bad, 3, 5}, 2);
  check_equal(static_cast<long long>(got.size()), 4, "values");
  CHECK_MESSAGE((std::isnan(got[1]) && std::isnan(got[2])), "means 1 and 2: expected not a number");
  check_close(std::vector<double>{got[0], got[3]}, std::vector<double>{1, 4}, "means 0 and 3");
}

TEST_CASE("6.5 every token counts the same, whatever its batch") {
  check_close(perplexity({{3 * std::log(8.0), 3}}), 8, "three tokens of 1/8");
  // One token of 1/2, three of 1/32: the mean is log 16, not log 8.
  check_close(perplexity({{std::log(2.0), 1}, {3 * std::log(32.0), 3}}), 16, "a small and a large batch");
}

TEST_CASE("6.5 down is when the curve does not come up again") {
  const auto step = [](const std::vector<double>& curve, double level) {
    const std::optional<Size> got = down_to_stay(curve, level);
    return got ? static_cast<long long>(*got) : 0;  // 0: never
  };
  check_equal(step({5, 1, 4, 2, 1}, 2), 4, "5 1 4 2 1 at or below 2, the step");
  check_equal(step({1, 1}, 2), 1, "1 1 at or below 2, the step");
  check_equal(step({1, 3}, 2), 0, "1 3 at or below 2, never (0)");
  check_equal(step({1, std::numeric_limits<double>::quiet_NaN()}, 2), 0, "ends with no number, never (0)");
}
