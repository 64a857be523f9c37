#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "nn/training.h"
#include "tensor/softmax.h"
#include "tests/decoding_helpers.h"

// Decoding: greedy is beam search with one hypothesis, neighbours in a batch
// do not matter, and beam search that keeps everything finds the best translation there is.

using namespace headshare;
using namespace headshare::test;

namespace {

// log p of each next token after begin and `beginning`.
std::vector<double> next_log_probabilities(const Transformer& model, const EncodedBatch& batch,
                                           const TokenIds& beginning) {
  TokenIds input = {begin_id};
  input.insert(input.end(), beginning.begin(), beginning.end());
  const Size T = static_cast<Size>(input.size());
  const Tensor logits = full_logits(model, from_values(input, {1, T}, model.options().device), batch);
  return log_softmax(logits.slice(1, T - 1, T).contiguous()).to(ElementType::float64).to_vector<double>();
}

double penalized(double log_probability, std::size_t tokens, double alpha) {
  return log_probability / std::pow((5.0 + static_cast<double>(tokens) + 1) / 6.0, alpha);
}

// The best of all translations of at most `limit` tokens; at the limit a translation may lack the end token.
struct Best {
  TokenIds tokens;
  double score = -infinity<double>;
  double second = -infinity<double>;
};
Best brute_force(const Transformer& model, const TokenIds& source, Size limit, double alpha) {
  const EncodedBatch batch = encoded(model, {source});
  Best best;
  const auto offer = [&](const TokenIds& tokens, double log_probability) {
    const double score = penalized(log_probability, tokens.size(), alpha);
    best.second = std::max(best.second, std::min(score, best.score));
    if (score > best.score) best = {tokens, score, best.second};
  };
  const std::function<void(const TokenIds&, double)> extend = [&](const TokenIds& tokens, double log_probability) {
    if (static_cast<Size>(tokens.size()) == limit) return offer(tokens, log_probability);
    const std::vector<double> next = next_log_probabilities(model, batch, tokens);
    for (std::size_t token = 0; token < next.size(); ++token) {
      if (token == static_cast<std::size_t>(end_id)) {
        offer(tokens, log_probability + next[token]);
        continue;
      }
      TokenIds longer = tokens;
      longer.push_back(static_cast<std::int32_t>(token));
      extend(longer, log_probability + next[token]);
    }
  };
  extend({}, 0);
  return best;
}

// Beam search as usually told: of the 2 beam likeliest continuations, ended ones among the first `beam` are finished,
// and the first `beam` others live on; it is over when `beam` are finished or the limit is reached.
TokenIds plain_beam(const Transformer& model, const TokenIds& source, Size beam, std::size_t limit, double alpha) {
  using Hypothesis = std::pair<double, TokenIds>;
  const EncodedBatch batch = encoded(model, {source});
  std::vector<Hypothesis> live = {{0, {}}}, finished;
  while (!live.empty()) {
    std::vector<Hypothesis> candidates;
    for (const auto& [log_probability, tokens] : live) {
      const std::vector<double> next = next_log_probabilities(model, batch, tokens);
      for (std::size_t token = 0; token < next.size(); ++token) {
        candidates.emplace_back(log_probability + next[token], tokens);
        candidates.back().second.push_back(static_cast<std::int32_t>(token));
      }
    }
    std::sort(candidates.begin(), candidates.end(), std::greater<>());
    live.clear();
    for (Size rank = 0; rank < 2 * beam && static_cast<Size>(live.size()) < beam; ++rank) {
      Hypothesis& candidate = candidates[static_cast<std::size_t>(rank)];
      const bool ended = candidate.second.back() == end_id;
      if (ended) candidate.second.pop_back();
      if (!ended) live.push_back(candidate);
      if (ended && rank < beam) finished.push_back(candidate);
    }
    const bool full = static_cast<Size>(finished.size()) >= beam, at_limit = live.at(0).second.size() == limit;
    if (at_limit && !full) finished.insert(finished.end(), live.begin(), live.end());
    if (at_limit || full) live.clear();
  }
  const auto score = [&](const Hypothesis& h) { return penalized(h.first, h.second.size(), alpha); };
  return std::ranges::max_element(finished, {}, score)->second;
}

}  // namespace

TEST_CASE("beam search with one hypothesis is greedy decoding, and neighbours in a batch change nothing") {
  const std::vector<TokenIds> sources = random_sources({1, 9, 4, 4, 2, 6, 3, 7}, 7);
  Size ended_early = 0, different_lengths = 0;
  for (const std::uint64_t seed : fewer(std::vector<std::uint64_t>{8, 9, 10}, {10})) {
    CAPTURE(seed);
    const Transformer model = lively_model(tiny_config(11, grouped_query(4, 2)), seed);
    if (seed == 10) {  // a model that has learned something
      const EncodedCorpus corpus = random_pairs({1, 2, 3, 4, 5, 6}, 11, 11);
      Trainer trainer(model, corpus, {.tokens_per_batch = 1000, .schedule = {.peak = 1e-2, .warmup = 1}});
      for (int step = 0; step < 15; ++step) trainer.step();
    }
    const Transformer reference = copy_on(Device::cpu, model);
    const std::vector<TokenIds> together = decode_greedy(model, sources);
    CHECK(decode_beam(model, sources, {.beam = 1}) == together);
    const std::vector<TokenIds> beams = decode_beam(model, sources, {.beam = 3});
    for (std::size_t i = 0; i < sources.size(); ++i) {
      CAPTURE(i);
      CHECK(decode_greedy(model, {sources[i]})[0] == together[i]);
      CHECK(decode_beam(model, {sources[i]}, {.beam = 3})[0] == beams[i]);
      const std::size_t limit = std::min<std::size_t>(2 * sources[i].size() + 10, 24);
      CHECK(together[i].size() <= limit);
      CHECK(beams[i].size() <= limit);
      CHECK(std::count(together[i].begin(), together[i].end(), end_id) == 0);
      if (together[i].size() < limit) ++ended_early;
      if (together[i].size() != together[0].size()) ++different_lengths;

      // Greedy by definition: each token, and the end, is the likeliest after those before it.
      const EncodedBatch alone = encoded(reference, {sources[i]});
      for (std::size_t t = 0; t <= together[i].size() && t < limit; ++t) {
        const TokenIds beginning(together[i].begin(), together[i].begin() + static_cast<std::ptrdiff_t>(t));
        const std::vector<double> next = next_log_probabilities(reference, alone, beginning);
        const auto likeliest = std::max_element(next.begin(), next.end()) - next.begin();
        CHECK(likeliest == (t < together[i].size() ? together[i][t] : end_id));
      }
    }
  }
  CHECK(ended_early > 0);  // so that sentences left the batch while others stayed
  CHECK(different_lengths > 0);
  const Transformer model = lively_model(tiny_config(), 12);
  CHECK(decode_greedy(model, {}).empty());
  CHECK(decode_beam(model, {}, {.beam = 4}).empty());
}

TEST_CASE("a sentence that never ends stops after 2 S + 10 tokens, or where the positions end") {
  for (const Size max_length : {16, 40}) {
    TransformerConfig config = tiny_config();
    config.max_length = max_length;
    config.norm = NormPlacement::pre;
    const Transformer model = lively_model(config, 13);
    // The last normalization puts out only its bias: the embedding of token 5, which the table makes the likeliest.
    const Tensor gain = parameter_of(model, "decoder.norm.gain"), bias = parameter_of(model, "decoder.norm.bias");
    gain.copy_from(zeros(gain.shape()));
    bias.copy_from(affine(parameter_of(model, "embedding").slice(0, 5, 6).contiguous().reshape({16}), 10, 0));
    const std::vector<TokenIds> sources = random_sources({1, 4}, 14);  // 2 and 5 tokens with the end
    for (const Size beam : {1, 3}) {
      const std::vector<TokenIds> targets =
          beam == 1 ? decode_greedy(model, sources) : decode_beam(model, sources, {.beam = beam});
      CHECK(targets[0] == TokenIds(static_cast<std::size_t>(std::min(Size{14}, max_length)), 5));
      CHECK(targets[1] == TokenIds(static_cast<std::size_t>(std::min(Size{20}, max_length)), 5));
    }
  }
}

TEST_CASE("a beam that keeps everything finds the best of all translations") {
  TransformerConfig config = tiny_config(5);
  config.max_length = 3;
  const std::vector<TokenIds> sources = {{3, 4, end_id}, {4, end_id}, {end_id}};
  Size better_than_greedy = 0, changed_by_penalty = 0;
  for (std::uint64_t seed = 1; seed <= fewer(24u, 3u); ++seed) {
    const Transformer model = lively_model(config, 20 + seed), reference = copy_on(Device::cpu, model);
    const std::vector<TokenIds> greedy = decode_greedy(model, sources);
    std::vector<TokenIds> without_penalty;
    for (const double alpha : {0.0, 0.6, 4.0}) {
      const std::vector<TokenIds> found = decode_beam(model, sources, {.beam = 125, .length_penalty = alpha});
      for (std::size_t i = 0; i < sources.size(); ++i) {
        CAPTURE(seed);
        CAPTURE(i);
        const Best best = brute_force(reference, sources[i], 3, alpha);
        if (best.score - best.second > 1e-5) CHECK(found[i] == best.tokens);
        if (alpha == 0.6 && greedy[i] != found[i]) ++better_than_greedy;
        if (alpha == 0) without_penalty.push_back(found[i]);
        if (alpha == 4 && found[i] != without_penalty[i]) {
          ++changed_by_penalty;
          CHECK(found[i].size() > without_penalty[i].size());  // it divides a negative number: longer ones gain
        }
      }
    }
  }
  CHECK(better_than_greedy > 0);
  CHECK(changed_by_penalty > 0);
}

TEST_CASE("a narrow beam keeps what beam search without cache and batches keeps") {
  const std::vector<TokenIds> sources = random_sources({1, 3, 2, 4}, 40);
  Size wider_is_other = 0;
  for (std::uint64_t seed = 41; seed <= fewer(46u, 42u); ++seed) {
    // With a window the caches are rings, which these sentences go around several times.
    TransformerConfig config = tiny_config(11, with_decoder_window(grouped_query(4, 2), seed % 2 == 0 ? 3 : 0));
    config.max_length = 8;
    const Transformer model = lively_model(config, seed), reference = copy_on(Device::cpu, model);
    for (std::size_t i = 0; i < sources.size(); ++i)
      CHECK(decode_greedy(model, sources)[i] == plain_beam(reference, sources[i], 1, 8, 0));
    for (const Size beam : {2, 3, 5})
      for (const double alpha : {0.6, 3.0}) {
        CAPTURE(seed);
        CAPTURE(beam);
        const std::vector<TokenIds> found = decode_beam(model, sources, {.beam = beam, .length_penalty = alpha});
        for (std::size_t i = 0; i < sources.size(); ++i)
          CHECK(found[i] == plain_beam(reference, sources[i], beam, 8, alpha));
        if (found != decode_greedy(model, sources)) ++wider_is_other;
      }
  }
  CHECK(wider_is_other > 0);
}

TEST_CASE("translate keeps the order of its sentences, takes empty ones, and refuses those that are too long") {
  const Corpus corpus = small_corpus(20);
  const Tokenizer tokenizer = learn_byte_pairs(corpus, {.merges = 60});
  TransformerConfig config = tiny_config(tokenizer.size());
  const Transformer model = lively_model(config, 31);
  std::vector<std::string> sentences = {"the big dog sees the old cat", "", "tree", "the dog", "",
                                        "red cat likes the tree"};
  std::vector<std::string> alone;
  for (const std::string& sentence : sentences) alone.push_back(translate(model, tokenizer, {sentence}).at(0));
  CHECK(alone[0] != alone[2]);
  for (const Size batch : {1, 2, 4, 64}) CHECK(translate(model, tokenizer, sentences, {.batch = batch}) == alone);
  const std::vector<std::string> beams = translate(model, tokenizer, sentences, {.beam = 3, .batch = 64});
  CHECK(translate(model, tokenizer, sentences, {.beam = 3, .batch = 1}) == beams);
  CHECK(translate(model, tokenizer, {}).empty());

  sentences[3] = std::string(24, 'x');
  CHECK_THROWS_WITH_AS(translate(model, tokenizer, sentences),
                       "translate: sentence 4 has 25 tokens, the model reads at most 24; split it", Error);
  sentences[3] = std::string(23, 'x');  // with its end token just as many as the model has positions
  CHECK(translate(model, tokenizer, sentences).size() == 6);
  CHECK_THROWS_WITH_AS(translate(model, tokenizer, sentences, {.beam = 0}),
                       "translate: beam and batch must be at least 1", Error);
  CHECK_THROWS_WITH_AS(translate(model, tokenizer, sentences, {.batch = 0}),
                       "translate: beam and batch must be at least 1", Error);
}
