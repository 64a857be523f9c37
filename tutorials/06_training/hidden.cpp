#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/random.h"
#include "lesson.h"
#include "nn/schedule.h"
#include "tutorials/support/check.h"

// The same questions with numbers that are new in every grading.

using namespace headshare;
using namespace headshare::lesson;

namespace {

std::vector<int> integers(const TokenIds& tokens) { return {tokens.begin(), tokens.end()}; }

Generator dice(std::uint64_t stream) { return Generator(grading_seed(), stream); }

std::string random_sentence(Generator& generator, Size letters) {
  const std::string alphabet = "abc a";
  std::string sentence;
  for (Size i = 0; i < letters; ++i) sentence += alphabet[static_cast<std::size_t>(generator.below(5))];
  return sentence;
}

}  // namespace

TEST_CASE("6.1 hidden: merges and tokens of random text are the library's") {
  Generator generator = dice(1);
  std::vector<std::string> sentences;
  Corpus corpus;
  for (Size i = 0; i < 12; ++i) {
    sentences.push_back(random_sentence(generator, 30));
    corpus.pairs.push_back({sentences.back(), ""});
  }
  const Tokenizer expected = learn_byte_pairs(corpus, {.merges = 25});
  const std::vector<Merge> got = learn_merges(sentences, 25);
  check_equal(static_cast<long long>(got.size()), static_cast<long long>(expected.merges().size()), "merges");
  for (std::size_t i = 0; i < got.size(); ++i)
    check_equal(integers(TokenIds{got[i].left, got[i].right}), {expected.merges()[i].left, expected.merges()[i].right},
                text("merge ", i));
  for (Size i = 0; i < 5; ++i) {
    const std::string sentence = random_sentence(generator, 40);
    check_equal(integers(encode_text(sentence, got)), integers(expected.encode(sentence)), sentence);
  }
}

TEST_CASE("6.2 hidden: no box is too large, none could take the next sentence, none is lost") {
  Generator generator = dice(2);
  std::vector<Size> lengths, order(101);
  for (std::size_t i = 0; i < order.size(); ++i) lengths.push_back(1 + static_cast<Size>(generator.below(30)));
  std::iota(order.begin(), order.end(), Size{0});
  generator.shuffle(order);
  const auto batches = cut_into_batches(lengths, order, 64);
  std::vector<Size> seen;
  double places = 0, tokens = 0;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    Size longest = 0;
    for (const Size member : batches[i]) longest = std::max(longest, lengths[static_cast<std::size_t>(member)]);
    for (const Size member : batches[i]) tokens += static_cast<double>(lengths[static_cast<std::size_t>(member)]);
    const Size box = longest * static_cast<Size>(batches[i].size());
    places += static_cast<double>(box);
    if (box > 64) check_equal(box, 64, text("places of batch ", i, ", at most"));
    seen.insert(seen.end(), batches[i].begin(), batches[i].end());
    if (i + 1 == batches.size()) break;
    const Size next = lengths[static_cast<std::size_t>(order.at(seen.size()))];
    const Size with_next = std::max(longest, next) * (static_cast<Size>(batches[i].size()) + 1);
    CHECK_MESSAGE(with_next > 64, "batch " << i << " could have taken one more sentence");
  }
  check_equal(std::vector<int>(seen.begin(), seen.end()), std::vector<int>(order.begin(), order.end()), "sentences");
  check_close(share_of_padding(lengths, batches), 1 - tokens / places, "the share of padding");
}

TEST_CASE("6.2 hidden: input and output of random sentences") {
  Generator generator = dice(3);
  std::vector<TokenIds> targets;
  std::size_t longest = 0;
  for (Size b = 0; b < 5; ++b) {
    targets.emplace_back();
    for (Size t = static_cast<Size>(generator.below(9)); t >= 0; --t)
      targets.back().push_back(3 + static_cast<std::int32_t>(generator.below(500)));
    longest = std::max(longest, targets.back().size());
  }
  const Taught got = shifted(targets);
  const Size T = static_cast<Size>(longest) + 1;
  check_equal(got.input.tokens.shape(), Shape{5, T}, "the input");
  check_equal(got.output.tokens.shape(), Shape{5, T}, "the output");
  for (Size b = 0; b < 5; ++b)
    for (Size t = 0; t < T; ++t) {
      const TokenIds& target = targets[static_cast<std::size_t>(b)];
      const Size length = static_cast<Size>(target.size());
      const auto word = [&](Size i) { return static_cast<double>(target[static_cast<std::size_t>(i)]); };
      const double input = t == 0 ? begin_id : t <= length ? word(t - 1) : padding_id;
      const double output = t < length ? word(t) : t == length ? end_id : padding_id;
      check_close(got.input.tokens.at({b, t}), input, text("the input at [", b, ", ", t, "]"), 0);
      check_close(got.output.tokens.at({b, t}), output, text("the output at [", b, ", ", t, "]"), 0);
      check_close(got.input.mask.at({b, t}), t <= length ? 1 : 0, text("the mask at [", b, ", ", t, "]"), 0);
    }
}

TEST_CASE("6.3 hidden: loss and gradient of random rows, a random factor from above") {
  Generator generator = dice(4);
  const Size N = 4, V = 3 + static_cast<Size>(generator.below(5));
  const Tensor logits = random_tensor({N, V}, grading_seed() + 4, {ElementType::float64});
  std::vector<int> targets = {static_cast<int>(generator.below(3)), -1, static_cast<int>(generator.below(3)), 0};
  const double eps = 0.05 + 0.4 * generator.uniform(), upstream = 0.5 + 3 * generator.uniform();
  const Tensor gradient = smoothed_gradient(logits, targets, eps, upstream);
  double loss = 0;
  for (Size n = 0; n < N; ++n) {
    const int target = targets[static_cast<std::size_t>(n)];
    double sum = 0;
    for (Size v = 0; v < V; ++v) sum += std::exp(logits.at({n, v}));
    for (Size v = 0; v < V; ++v) {
      const double p = std::exp(logits.at({n, v})) / sum;
      const double q = target < 0 ? 0 : eps / static_cast<double>(V) + (v == target ? 1 - eps : 0);
      loss -= q * std::log(p);
      check_close(gradient.at({n, v}), target < 0 ? 0 : upstream * (p - q), text("the gradient at [", n, ", ", v, "]"),
                  1e-9);
    }
  }
  check_close(smoothed_loss(logits, targets, eps), loss, "the loss", 1e-9);
}

TEST_CASE("6.3 hidden: a model that says the smoothed target gets the smallest loss") {
  Generator generator = dice(5);
  const Size V = 5 + static_cast<Size>(generator.below(50));
  const double eps = 0.05 + 0.5 * generator.uniform(), other = eps / static_cast<double>(V), right = 1 - eps + other;
  const double expected = -right * std::log(right) - static_cast<double>(V - 1) * other * std::log(other);
  check_close(smallest_loss(V, eps), expected, text("the smallest loss, V ", V, ", eps ", eps), 1e-9);
}

TEST_CASE("6.4 hidden: every step of a random plan") {
  Generator generator = dice(6);
  const Size warmup = 2 + static_cast<Size>(generator.below(40)),
             after = warmup + static_cast<Size>(generator.below(50));
  const Size decay = 1 + static_cast<Size>(generator.below(30));
  const double peak = 0.1 + generator.uniform();
  const Schedule with{.peak = peak, .warmup = warmup, .decay_after = after, .decay_steps = decay},
      without{.peak = peak, .warmup = warmup};
  for (Size step = 1; step < after + decay + 5; ++step) {
    check_close(rate_at({peak, warmup, after, decay}, step), with.learning_rate(step), text("decay, step ", step));
    check_close(rate_at({peak, warmup, 0, 0}, step), without.learning_rate(step), text("no decay, step ", step));
  }
  check_close(vaswani_peak(warmup, after), std::pow(static_cast<double>(warmup * after), -0.5), "the paper's peak");
}

TEST_CASE("6.5 hidden: means, perplexity and the way down of a random curve") {
  Generator generator = dice(7);
  std::vector<double> curve;
  std::vector<CountedLoss> batches;
  double sum = 0;
  Size tokens = 0, last_above = 0;
  const double level = 0.9;
  for (Size i = 0; i < 60; ++i) {
    curve.push_back(i < 50 ? generator.uniform() : 0.5 * generator.uniform());
    if (curve.back() > level) last_above = i + 1;
    batches.push_back({generator.uniform() * 10, 1 + static_cast<Size>(generator.below(9))});
    sum += batches.back().nll_sum;
    tokens += batches.back().tokens;
  }
  const Size window = 2 + static_cast<Size>(generator.below(9));
  const std::vector<double> got = running_mean(curve, window);
  check_equal(static_cast<long long>(got.size()), 60, "means");
  for (Size i = 0; i < 60; ++i) {
    double mean = 0;
    const Size begin = std::max(Size{0}, i + 1 - window);
    for (Size j = begin; j <= i; ++j) mean += curve[static_cast<std::size_t>(j)] / static_cast<double>(i + 1 - begin);
    check_close(got[static_cast<std::size_t>(i)], mean, text("mean ", i, ", window ", window), 1e-9);
  }
  check_close(perplexity(batches), std::exp(sum / static_cast<double>(tokens)), "perplexity", 1e-9);
  const std::optional<Size> down = down_to_stay(curve, level);
  check_equal(down ? static_cast<long long>(*down) : 0, last_above + 1, "the step from which it stays down");
}
