#include <algorithm>
#include <cmath>
#include <map>

#include "lesson.h"
#include "tensor/elementwise.h"
#include "tensor/embedding.h"
#include "tensor/reduce.h"
#include "tutorials/support/check.h"

// No trained model is needed here: tables of probabilities, random scores, and small random models.

using namespace headshare;
using namespace headshare::lesson;

namespace {

using Integers = std::vector<int>;
Integers integers(const TokenIds& tokens) { return {tokens.begin(), tokens.end()}; }

// Ids of the words in the tables below: 3, 4, 5 are words.
constexpr Size V = 6;

// What comes after a beginning (begin token left out), as probabilities of end, 3, 4, 5. Unknown beginnings end.
using Probabilities = std::map<TokenIds, std::vector<double>>;

NextScores table(const Probabilities& probabilities) {
  return [probabilities](const std::vector<TokenIds>& beginnings) {
    Tensor scores = full({static_cast<Size>(beginnings.size()), V}, -1e4);
    for (std::size_t row = 0; row < beginnings.size(); ++row) {
      const auto found = probabilities.find({beginnings[row].begin() + 1, beginnings[row].end()});
      const std::vector<double> p = found == probabilities.end() ? std::vector<double>{1, 0, 0, 0} : found->second;
      for (std::size_t i = 0; i < p.size(); ++i)
        if (p[i] > 0) scores.set({static_cast<Size>(row), static_cast<Size>(i) + end_id}, std::log(p[i]));
    }
    return scores;
  };
}

// The likeliest first word leads to nothing likely.
const Probabilities trap = {
    {{}, {0, 0.6, 0.4, 0}}, {{3}, {0.1, 0.3, 0.3, 0.3}}, {{4}, {0, 0, 0, 1}}, {{4, 5}, {0.9, 0.1, 0, 0}}};

// Normal numbers that depend on the row and all tokens before, and on nothing else.
NextScores random_scores(Size vocabulary, std::uint64_t seed) {
  return [=](const std::vector<TokenIds>& beginnings) {
    Tensor scores({static_cast<Size>(beginnings.size()), vocabulary}, {});
    for (std::size_t row = 0; row < beginnings.size(); ++row) {
      std::uint64_t mixed = seed;
      for (const std::int32_t token : beginnings[row]) mixed = mixed * 1000003 + static_cast<std::uint64_t>(token);
      scores.slice(0, static_cast<Size>(row), static_cast<Size>(row) + 1)
          .copy_from(random_tensor({1, vocabulary}, mixed + (row << 40)));
    }
    scores.slice(1, 0, 2).copy_from(full({scores.extent(0), 2}, -1e4));  // neither padding nor begin is ever said
    return scores;
  };
}

// A model whose scores differ clearly from token to token.
Transformer random_model(Size layers, std::uint64_t seed) {
  Transformer model({.vocabulary = 11, .d_model = 12, .d_ff = 20, .layers = layers, .attention = multi_head(3)}, seed);
  model.visit([&](const std::string&, const Parameter& parameter) {
    const Tensor noise = affine(random_tensor(parameter.shape(), ++seed), 0.35, 0);
    parameter.value().copy_from(add(parameter.value(), noise));
  });
  return model;
}

const std::vector<TokenIds> sources = {{5, 7, 4, 9, 3, end_id}, {6, end_id}, {10, 3, 8, end_id}};

NextScores cached(const Transformer& model, CachedState& state) {
  return [&](const std::vector<TokenIds>& beginnings) {
    std::vector<std::int32_t> newest;
    for (const TokenIds& beginning : beginnings) newest.push_back(beginning.back());
    return step(model, newest, state);
  };
}

const Reorder nothing_to_reorder = [](const std::vector<Size>&) {};

}  // namespace

TEST_CASE("7.1 the likeliest token is written, again and again, until the end token") {
  const Probabilities sentence = {{{}, {0.1, 0.2, 0.3, 0.4}},
                                  {{5}, {0.3, 0.5, 0.1, 0.1}},
                                  {{5, 3}, {0.2, 0.3, 0.5, 0}},
                                  {{5, 3, 4}, {0.7, 0.3, 0, 0}}};
  const std::vector<TokenIds> written = greedy(table(sentence), 1, 10);
  check_equal(static_cast<long long>(written.size()), 1, "sentences");
  check_equal(integers(written[0]), Integers{5, 3, 4}, "the sentence, without begin and end");
}

TEST_CASE("7.1 sentences of a batch end one by one, and each is what it would be alone") {
  const Size sentences = 5;
  const NextScores scores = random_scores(V, 3);
  std::vector<TokenIds> expected;
  std::size_t longest = 0;
  for (Size row = 0; row < sentences; ++row) {
    TokenIds beginning = {begin_id};
    for (std::int32_t token = 0; token != end_id; beginning.push_back(token)) {
      const Tensor all = scores(std::vector<TokenIds>(static_cast<std::size_t>(row) + 1, beginning));
      token = argmax(all).to_vector<std::int32_t>().back();
    }
    expected.push_back({beginning.begin() + 1, beginning.end() - 1});
    longest = std::max(longest, expected.back().size());
  }
  std::size_t asked = 0;
  const NextScores watched = [&](const std::vector<TokenIds>& beginnings) {
    ++asked;
    for (std::size_t row = 0; row < beginnings.size(); ++row)
      check_equal(static_cast<long long>(beginnings[row].size()), static_cast<long long>(asked),
                  text("tokens in row ", row, " at question ", asked));
    return scores(beginnings);
  };
  const std::vector<TokenIds> written = greedy(watched, sentences, 30);
  check_equal(static_cast<long long>(written.size()), sentences, "sentences");
  for (std::size_t row = 0; row < written.size(); ++row)
    check_equal(integers(written[row]), integers(expected[row]), text("sentence ", row));
  check_equal(static_cast<long long>(asked), static_cast<long long>(longest) + 1,
              "how often the model is asked (once more than the longest sentence has tokens)");
}

TEST_CASE("7.1 at the limit a sentence is cut") {
  const NextScores endless =
      table({{{}, {0, 1, 0, 0}}, {{3}, {0, 0, 1, 0}}, {{3, 4}, {0, 0, 0, 1}}, {{3, 4, 5}, {0, 1, 0, 0}}});
  check_equal(integers(greedy(endless, 1, 3)[0]), Integers{3, 4, 5}, "three tokens");
  check_equal(integers(greedy(endless, 1, 1)[0]), Integers{3}, "one token");
}

TEST_CASE("7.1 the log-probability of a sentence counts every token and the end") {
  check_close(log_probability(table(trap), {4, 5}), std::log(0.4 * 1 * 0.9), "log p of a sentence of two words");
  check_close(log_probability(table(trap), {3}), std::log(0.6 * 0.1), "log p of a sentence of one word");
  // Scores need not be logarithms of probabilities: a model gives logits.
  const NextScores scores = random_scores(7, 5);
  const NextScores shifted = [&](const std::vector<TokenIds>& beginnings) {
    return affine(scores(beginnings), 1, 100.0 * static_cast<double>(beginnings[0].size()));
  };
  double expected = 0;
  TokenIds beginning = {begin_id};
  for (const std::int32_t token : {3, 6, 3, 4, end_id}) {
    const std::vector<float> all = scores({beginning}).to_vector<float>();
    double sum = 0;
    for (const float score : all) sum += std::exp(static_cast<double>(score));
    expected += static_cast<double>(all[static_cast<std::size_t>(token)]) - std::log(sum);
    beginning.push_back(token);
  }
  check_close(log_probability(shifted, {3, 6, 3, 4}), expected, "log p from logits", 1e-4);
}

TEST_CASE("7.2 new keys and values go behind those that are there") {
  const Size B = 2, H = 3, capacity = 7, D = 5;
  const Tensor key = random_tensor({B, capacity, H, D}, 1), value = random_tensor({B, capacity, H, D}, 2);
  Cache cache = make_cache(B, H, capacity, D);
  Size length = 0;
  for (const Size next : {1, 3, 1, 2}) {
    append(cache, key.slice(1, length, length + next), value.slice(1, length, length + next));
    length += next;
    check_equal(cache.length, length, "positions in the cache");
    for (Size b = 0; b < B; ++b)
      for (Size h = 0; h < H; ++h)
        for (Size s = 0; s < length; ++s)
          for (Size d = 0; d < D; ++d) {
            const std::string where = text(" of sentence ", b, ", head ", h, ", position ", s, ", number ", d);
            check_close(cache.key.at({b, h, s, d}), key.at({b, s, h, d}), "key" + where);
            check_close(cache.value.at({b, h, s, d}), value.at({b, s, h, d}), "value" + where);
          }
  }
  check_fails([&] { append(cache, key.slice(1, 0, 1), value.slice(1, 0, 1)); }, "cache: position 7 does not fit into 7",
              "an eighth position");
}

TEST_CASE("7.2 one query looks at all positions so far, and at nothing behind them") {
  const Size B = 2, H = 3, capacity = 9, D = 5, length = 4;
  const Tensor query = random_tensor({B, H, D}, 3);
  // All of the capacity is filled: what lies behind `length` must not count.
  const Cache cache{random_tensor({B, H, capacity, D}, 4), random_tensor({B, H, capacity, D}, 5), length};
  Tensor expected = zeros({B, H, D});
  for (Size b = 0; b < B; ++b)
    for (Size h = 0; h < H; ++h) {
      std::vector<double> weights;
      double sum = 0;
      for (Size s = 0; s < length; ++s) {
        double dot = 0;
        for (Size d = 0; d < D; ++d) dot += query.at({b, h, d}) * cache.key.at({b, h, s, d});
        weights.push_back(std::exp(dot / std::sqrt(static_cast<double>(D))));
        sum += weights.back();
      }
      for (Size d = 0; d < D; ++d) {
        double mixed = 0;
        for (Size s = 0; s < length; ++s)
          mixed += weights[static_cast<std::size_t>(s)] / sum * cache.value.at({b, h, s, d});
        expected.set({b, h, d}, mixed);
      }
    }
  check_close(attend(query, cache), expected, "attention over the cache");
}

TEST_CASE("7.2 scores in the hundreds do not overflow") {
  const Cache cache{full({1, 1, 2, 4}, 30), random_tensor({1, 1, 2, 4}, 6), 2};
  const Tensor got = attend(full({1, 1, 4}, 30), cache);  // both scores are 1800
  for (Size d = 0; d < 4; ++d)
    check_close(got.at({0, 0, d}), (cache.value.at({0, 0, 0, d}) + cache.value.at({0, 0, 1, d})) / 2,
                "the mean of two values with equal scores");
}

TEST_CASE("7.2 position by position, the cache gives what causal attention gives at once") {
  const Size B = 3, T = 7, H = 2, D = 4;
  const Tensor query = random_tensor({B, T, H, D}, 7), key = random_tensor({B, T, H, D}, 8),
               value = random_tensor({B, T, H, D}, 9);
  const Tensor expected = attention(query, key, value, {{}, causal}).output;  // [B, T, H, D]
  Cache cache = make_cache(B, H, T, D);
  for (Size t = 0; t < T; ++t) {
    append(cache, key.slice(1, t, t + 1), value.slice(1, t, t + 1));
    const Tensor newest = query.slice(1, t, t + 1).contiguous().reshape({B, H, D});
    check_close(attend(newest, cache), expected.slice(1, t, t + 1).contiguous().reshape({B, H, D}),
                text("attention of position ", t));
  }
}

TEST_CASE("7.3 one layer, position by position, gives what it gives for all positions at once") {
  const Transformer model = random_model(1, 31);
  const NoGradient no_gradient;
  const DecoderLayer& layer = model.decoder()[0];
  const EncodedSources encoded = encode_sources(model, sources);
  const Mask mask{encoded.lengths, any_order};
  const KeysValues cross = layer.cross.keys_values(encoded.memory);
  const Size B = 3, T = 5, C = 12;
  const Variable x(random_tensor({B, T, C}, 32));
  const Variable y = layer.self_norm(layer.self(x, x, {{}, causal}), x);
  const Variable z = layer.cross_norm(layer.cross.attend(y, cross, mask), y);
  const Variable expected = layer.feed_forward_norm(layer.feed_forward(z), z);
  Cache cache = make_cache(B, 3, T, 4);
  for (Size t = 0; t < T; ++t) {
    const Variable got = layer_step(layer, slice(x, 1, t, t + 1), cache, cross, mask);
    check_close(got.value(), expected.value().slice(1, t, t + 1).contiguous(), text("position ", t), 1e-4);
    check_equal(cache.length, t + 1, "positions in the cache");
  }
}

TEST_CASE("7.3 with a cache the model says what it says without one") {
  for (const Size layers : {1, 3}) {
    const Transformer model = random_model(layers, 33);
    const EncodedSources encoded = encode_sources(model, sources);
    CachedState state = start(model, encoded, 8);
    std::vector<TokenIds> beginnings(sources.size());
    Generator generator(34);
    for (Size t = 0; t < 8; ++t) {
      std::vector<std::int32_t> newest;
      for (TokenIds& beginning : beginnings) {
        beginning.push_back(t == 0 ? begin_id : static_cast<std::int32_t>(3 + generator.below(8)));
        newest.push_back(beginning.back());
      }
      check_close(step(model, newest, state), scores_from_scratch(model, encoded, beginnings),
                  text("scores after ", t + 1, " tokens, ", layers, layers == 1 ? " layer" : " layers"), 1e-4);
      check_equal(state.length, t + 1, "state.length");
    }
    check_fails([&] { step(model, {3, 3, 3}, state); }, "position 8 does not fit into 8", "a step too many");
  }
}

TEST_CASE("7.3 greedy decoding writes the same words with and without a cache") {
  for (const std::uint64_t seed : {35, 36, 37}) {
    const Transformer model = random_model(2, seed);
    const EncodedSources encoded = encode_sources(model, sources);
    CachedState state = start(model, encoded, 12);
    const NextScores from_scratch = [&](const auto& beginnings) {
      return scores_from_scratch(model, encoded, beginnings);
    };
    const std::vector<TokenIds> expected = greedy(from_scratch, 3, 12);
    const std::vector<TokenIds> got = greedy(cached(model, state), 3, 12);
    for (std::size_t i = 0; i < 3; ++i)
      check_equal(integers(got[i]), integers(expected[i]), text("sentence ", i, " with a cache"));
  }
}

TEST_CASE("7.3 a step costs t positions and t (t + 1) / 2 pairs without a cache, 1 and t with it") {
  for (const Size t : {1, 2, 7, 33}) {
    Size pairs = 0;
    for (Size query = 1; query <= t; ++query) pairs += query;  // a causal mask: query i sees keys 1 .. i
    check_equal(work_of_step(t, Caching::off).positions, t, text("positions of step ", t, " without a cache"));
    check_equal(work_of_step(t, Caching::off).pairs, pairs, text("pairs of step ", t, " without a cache"));
    check_equal(work_of_step(t, Caching::on).positions, 1, text("positions of step ", t, " with a cache"));
    check_equal(work_of_step(t, Caching::on).pairs, t, text("pairs of step ", t, " with a cache"));
  }
}

TEST_CASE("7.4 candidates of all hypotheses compete with each other") {
  const std::vector<Hypothesis> live = {{{3}, -1.0}, {{4}, -2.5}};
  const Tensor next = from_values<float>({-2, -1, -3, -0.25f,  //
                                          -0.5f, -4, -0.125f, -9},
                                         {2, 4});
  const std::vector<Candidate> best = best_candidates(live, next, 5);
  check_equal(static_cast<long long>(best.size()), 5, "candidates");
  const std::vector<double> log_probabilities = {-1.25, -2, -2.625, -3, -3};
  const Integers parents = {0, 0, 1, 0, 1}, tokens = {3, 1, 2, 0, 0};
  for (std::size_t i = 0; i < 5; ++i) {
    check_close(best[i].log_probability, log_probabilities[i], text("log-probability of candidate ", i));
    check_equal(best[i].parent, parents[i], text("parent of candidate ", i));
    check_equal(best[i].token, tokens[i], text("token of candidate ", i));
  }
  check_equal(static_cast<long long>(best_candidates(live, next, 100).size()), 8, "candidates, when all are wanted");
}

TEST_CASE("7.4 the length penalty is that of Wu et al. 2016") {
  check_close(penalized(-6, 7, 0), -6, "alpha 0");
  check_close(penalized(-6, 1, 0.6), -6, "a length of 1");
  check_close(penalized(-6, 7, 1), -3, "length 7, alpha 1: divided by 12 / 6");
  check_close(penalized(-6, 3, 1), -4.5, "length 3, alpha 1: divided by 8 / 6");
  check_close(penalized(-6, 19, 0.5), -3, "length 19, alpha 1/2: divided by the root of 24 / 6");
}

TEST_CASE("7.4 an end token finishes a hypothesis at rank < beam only; others live on with their parent's words") {
  Search search;
  search.live = {{{3}, -1}, {{4, 5}, -2}};
  search.finished = {{{5}, -9}};
  // beam 2: ranks 0 and 1 may finish; rank 2 ends too late; ranks 3 and 4 would live on, rank 1 does already.
  const std::vector<Size> parents =
      advance(search, {{-1.5, 1, end_id}, {-1.75, 0, 6}, {-2, 0, end_id}, {-3, 1, 7}, {-4, 1, 8}}, 2);
  check_equal(Integers(parents.begin(), parents.end()), Integers{0, 1}, "parents of the live hypotheses");
  check_equal(static_cast<long long>(search.live.size()), 2, "live hypotheses");
  check_equal(integers(search.live[0].tokens), Integers{3, 6}, "the first live hypothesis");
  check_equal(integers(search.live[1].tokens), Integers{4, 5, 7}, "the second live hypothesis");
  check_close(search.live[1].log_probability, -3, "its log-probability");
  check_equal(static_cast<long long>(search.finished.size()), 2, "finished hypotheses");
  check_equal(integers(search.finished[1].tokens), Integers{4, 5}, "the one that has just finished");
  check_close(search.finished[1].log_probability, -1.5, "its log-probability");
}

TEST_CASE("7.4 where greedy decoding walks into a trap, two hypotheses do not") {
  check_equal(integers(greedy(table(trap), 1, 5)[0]), Integers{3, 3}, "greedy");
  const Hypothesis found = beam_search(table(trap), nothing_to_reorder, {.beam = 2, .alpha = 0, .limit = 5});
  check_equal(integers(found.tokens), Integers{4, 5}, "beam 2");
  check_close(found.log_probability, std::log(0.4 * 1 * 0.9), "its log-probability");
}

TEST_CASE("7.5 row r of the new cache is what row rows[r] of the old one was") {
  const Size B = 4, H = 2, capacity = 6, D = 3, length = 5;
  const Cache cache{random_tensor({B, H, capacity, D}, 61), random_tensor({B, H, capacity, D}, 62), length};
  const Tensor key_before = cache.key.clone();
  for (const std::vector<Size>& rows :
       std::vector<std::vector<Size>>{{1, 0, 3, 2}, {2, 2, 0, 2}, {3}, {0, 1, 2, 3, 0, 1}}) {
    const Cache got = select(cache, rows);
    check_equal(got.length, length, "positions");
    check_equal(got.key.shape(), Shape{static_cast<Size>(rows.size()), H, capacity, D}, "shape of the keys");
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const auto held = [&](const Tensor& x, Size row) {
        return x.slice(0, row, row + 1).slice(2, 0, length).contiguous();
      };
      check_close(held(got.key, static_cast<Size>(r)), held(cache.key, rows[r]), text("keys of row ", r));
      check_close(held(got.value, static_cast<Size>(r)), held(cache.value, rows[r]), text("values of row ", r));
    }
  }
  check_close(cache.key, key_before, "the old cache afterwards");
}

TEST_CASE("7.5 two rows with the same parent go different ways") {
  Cache cache = make_cache(1, 1, 4, 2);
  append(cache, random_tensor({1, 2, 1, 2}, 63), random_tensor({1, 2, 1, 2}, 64));
  Cache both = select(cache, {0, 0});
  const Tensor next = from_values<float>({1, 2, 3, 4}, {2, 1, 1, 2});
  append(both, next, next);
  check_close(both.key.at({0, 0, 2, 0}), 1, "the third key of row 0");
  check_close(both.key.at({1, 0, 2, 0}), 3, "the third key of row 1");
  check_equal(cache.length, 2, "positions in the old cache");
}

TEST_CASE("7.5 after a reordering the model goes on as if the rows had always stood there") {
  const Transformer model = random_model(2, 65);
  const EncodedSources encoded = encode_sources(model, sources);
  CachedState state = start(model, encoded, 6);
  std::vector<TokenIds> beginnings = {{begin_id, 4, 9}, {begin_id, 6, 3}, {begin_id, 8, 8}};
  for (std::size_t t = 0; t < 3; ++t) step(model, {beginnings[0][t], beginnings[1][t], beginnings[2][t]}, state);
  const std::vector<Size> rows = {2, 0, 2, 1};
  select(state, rows);
  // What the encoder said, in the new order.
  const Tensor index = from_values<std::int32_t>({2, 0, 2, 1}, {4});
  const EncodedSources again{Variable(gather_rows(encoded.memory.value(), index)), gather_rows(encoded.lengths, index)};
  std::vector<TokenIds> new_beginnings;
  const std::vector<std::int32_t> newest = {3, 5, 7, 9};
  for (std::size_t r = 0; r < rows.size(); ++r) {
    new_beginnings.push_back(beginnings[static_cast<std::size_t>(rows[r])]);
    new_beginnings.back().push_back(newest[r]);
  }
  check_close(step(model, newest, state), scores_from_scratch(model, again, new_beginnings), "scores", 1e-4);
}

TEST_CASE("7.5 beam search with caches that follow finds what the library finds") {
  for (const std::uint64_t seed : {66, 67, 68, 69}) {
    const Transformer model = random_model(2, seed);
    for (const Size beam : {2, 5}) {
      const Size limit = step_limit(model, static_cast<Size>(sources[0].size()));
      CachedState state = start(model, encode_sources(model, {sources[0]}), limit);
      const Reorder follow = [&](const std::vector<Size>& rows) { select(state, rows); };
      const Hypothesis found = beam_search(cached(model, state), follow, {.beam = beam, .alpha = 0.6, .limit = limit});
      check_equal(integers(found.tokens),
                  integers(decode_beam(model, {sources[0]}, {.beam = beam, .length_penalty = 0.6})[0]),
                  text("beam ", beam, ", seed ", seed));
    }
  }
}
