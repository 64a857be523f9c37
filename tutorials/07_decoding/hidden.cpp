#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "lesson.h"
#include "tensor/elementwise.h"
#include "tensor/embedding.h"
#include "tensor/reduce.h"
#include "tensor/softmax.h"
#include "tutorials/support/check.h"

// The same questions with numbers that are new in every grading.

using namespace headshare;
using namespace headshare::lesson;

namespace {

std::vector<int> integers(const TokenIds& tokens) { return {tokens.begin(), tokens.end()}; }

Generator dice(std::uint64_t stream) { return Generator(grading_seed(), stream); }

// Scores that depend on the row, on the tokens before and on the seed. Neither padding nor begin is ever said.
NextScores random_scores(Size vocabulary, std::uint64_t seed) {
  return [=](const std::vector<TokenIds>& beginnings) {
    Tensor scores({static_cast<Size>(beginnings.size()), vocabulary}, {});
    for (std::size_t row = 0; row < beginnings.size(); ++row) {
      std::uint64_t mixed = seed + grading_seed() * 77;
      for (const std::int32_t token : beginnings[row]) mixed = mixed * 69069 + static_cast<std::uint64_t>(token) + 1;
      scores.slice(0, static_cast<Size>(row), static_cast<Size>(row) + 1)
          .copy_from(affine(random_tensor({1, vocabulary}, mixed + (row << 44)), 1.5, 3));
    }
    scores.slice(1, 0, 2).copy_from(full({scores.extent(0), 2}, -1e4));
    return scores;
  };
}

Transformer random_model(Size heads, Size head_size, Size layers, std::uint64_t seed) {
  Transformer model({.vocabulary = 13,
                     .d_model = heads * head_size,
                     .d_ff = 18,
                     .layers = layers,
                     .attention = multi_head(heads),
                     .max_length = 32,
                     .dropout = 0},
                    seed);
  model.visit([&](const std::string&, const Parameter& parameter) {
    const Tensor noise = affine(random_tensor(parameter.shape(), ++seed), 0.35, 0);
    parameter.value().copy_from(add(parameter.value(), noise));
  });
  return model;
}

std::vector<TokenIds> random_sources(Generator& generator, Size sentences) {
  std::vector<TokenIds> sources;
  for (Size i = 0; i < sentences; ++i) {
    sources.emplace_back();
    for (Size length = 1 + generator.below(8); length > 0; --length)
      sources.back().push_back(static_cast<std::int32_t>(3 + generator.below(10)));
    sources.back().push_back(end_id);
  }
  return sources;
}

NextScores cached(const Transformer& model, CachedState& state) {
  return [&](const std::vector<TokenIds>& beginnings) {
    std::vector<std::int32_t> newest;
    for (const TokenIds& beginning : beginnings) newest.push_back(beginning.back());
    return step(model, newest, state);
  };
}

Tensor position(const Tensor& x, Size t) {  // [B, T, H, D] to [B, H, D]
  return x.slice(1, t, t + 1).contiguous().reshape({x.extent(0), x.extent(2), x.extent(3)});
}

}  // namespace

TEST_CASE("7.1 batches of any size end as their sentences would alone") {
  Generator generator = dice(71);
  for (int trial = 0; trial < 5; ++trial) {
    const Size sentences = 1 + generator.below(9), limit = 1 + generator.below(20), V = 4 + generator.below(5);
    const NextScores scores = random_scores(V, static_cast<std::uint64_t>(trial));
    Size asked = 0, longest = 0;
    const NextScores counted = [&](const std::vector<TokenIds>& beginnings) {
      ++asked;
      return scores(beginnings);
    };
    const std::vector<TokenIds> got = greedy(counted, sentences, limit);
    check_equal(static_cast<long long>(got.size()), sentences, "sentences");
    for (Size row = 0; row < sentences; ++row) {
      TokenIds beginning = {begin_id};
      Size steps = 0;
      for (bool ended = false; !ended && steps < limit; ++steps) {
        const std::vector<TokenIds> rows(static_cast<std::size_t>(row) + 1, beginning);
        const std::int32_t token = argmax(scores(rows)).to_vector<std::int32_t>().back();
        ended = token == end_id;
        if (!ended) beginning.push_back(token);
      }
      longest = std::max(longest, steps);
      check_equal(integers(got[static_cast<std::size_t>(row)]), integers({beginning.begin() + 1, beginning.end()}),
                  text("sentence ", row, " of ", sentences, ", limit ", limit));
    }
    check_equal(asked, longest, "how often the model is asked");
  }
}

TEST_CASE("7.1 the log-probabilities of all sentences sum to one") {
  const NextScores scores = random_scores(6, 5);
  double sum = std::exp(log_probability(scores, {}));
  for (std::int32_t a = 3; a < 6; ++a) {
    double all = 0;  // of the sentences that begin with a and end after one more word at most, given a and no third
    for (std::int32_t b = 3; b < 6; ++b) all += std::exp(log_probability(scores, {a, b}));
    sum += std::exp(log_probability(scores, {a})) + all;
  }
  double rest = 0;  // what three words or more have
  const Tensor first = softmax(scores({{begin_id}}));
  for (std::int32_t a = 3; a < 6; ++a) {
    const Tensor second = softmax(scores({{begin_id, a}}));
    for (std::int32_t b = 3; b < 6; ++b) {
      const Tensor third = softmax(scores({{begin_id, a, b}}));
      rest += first.at({0, a}) * second.at({0, b}) * (1 - third.at({0, end_id}));
    }
  }
  check_close(sum + rest, 1, "the sum of all probabilities", 1e-4);
}

TEST_CASE("7.2 append and attend are causal attention for any sizes, in pieces of any length") {
  Generator generator = dice(72);
  for (int trial = 0; trial < 6; ++trial) {
    const Size B = 1 + generator.below(4), H = 1 + generator.below(5), D = 1 + generator.below(9),
               T = 2 + generator.below(9), capacity = T + generator.below(4);
    const std::uint64_t seed = grading_seed() + 100 * static_cast<std::uint64_t>(trial);
    const Tensor query = random_tensor({B, T, H, D}, seed), key = random_tensor({B, T, H, D}, seed + 1),
                 value = random_tensor({B, T, H, D}, seed + 2);
    const Tensor expected = attention(query, key, value, {{}, causal}).output;
    Cache cache = make_cache(B, H, capacity, D);
    cache.key.copy_from(random_tensor(cache.key.shape(), seed + 3));  // what an earlier sentence left there
    cache.value.copy_from(random_tensor(cache.key.shape(), seed + 4));
    for (Size done = 0; done < T;) {
      const Size next = 1 + generator.below(std::min(T - done, Size{3}));
      append(cache, key.slice(1, done, done + next), value.slice(1, done, done + next));
      done += next;
      check_equal(cache.length, done, "positions in the cache");
      check_close(attend(position(query, done - 1), cache), position(expected, done - 1),
                  text("B ", B, ", H ", H, ", D ", D, ", position ", done - 1), 1e-4);
    }
  }
}

TEST_CASE("7.3 any model says the same with and without a cache") {
  Generator generator = dice(73);
  for (const auto& [heads, head_size, layers] : {std::array<Size, 3>{1, 6, 2}, {5, 4, 1}, {2, 8, 3}}) {
    const Transformer model =
        random_model(heads, head_size, layers, grading_seed() + static_cast<std::uint64_t>(heads));
    const Size sentences = 1 + generator.below(5), steps = 3 + generator.below(8);
    const EncodedSources encoded = encode_sources(model, random_sources(generator, sentences));
    CachedState state = start(model, encoded, steps);
    std::vector<TokenIds> beginnings(static_cast<std::size_t>(sentences), TokenIds{begin_id});
    for (Size t = 0; t < steps; ++t) {
      std::vector<std::int32_t> newest;
      for (TokenIds& beginning : beginnings) {
        if (t > 0) beginning.push_back(static_cast<std::int32_t>(generator.below(13)));
        newest.push_back(beginning.back());
      }
      check_close(step(model, newest, state), scores_from_scratch(model, encoded, beginnings),
                  text("scores after ", t + 1, " tokens"), 2e-4);
    }
  }
}

TEST_CASE("7.3 the work of a whole sentence") {
  const Size T = 50 + dice(730).below(100);
  Work off{0, 0}, on{0, 0};
  for (Size t = 1; t <= T; ++t) {
    const Work a = work_of_step(t, Caching::off), b = work_of_step(t, Caching::on);
    off = {off.positions + a.positions, off.pairs + a.pairs};
    on = {on.positions + b.positions, on.pairs + b.pairs};
  }
  check_equal(off.positions, T * (T + 1) / 2, text("positions for ", T, " tokens without a cache"));
  check_equal(off.pairs, T * (T + 1) * (T + 2) / 6, text("pairs for ", T, " tokens without a cache"));
  check_equal(on.positions, T, text("positions for ", T, " tokens with a cache"));
  check_equal(on.pairs, T * (T + 1) / 2, text("pairs for ", T, " tokens with a cache"));
}

TEST_CASE("7.4 the best candidates are the beginning of the list of all, sorted") {
  Generator generator = dice(74);
  for (int trial = 0; trial < 5; ++trial) {
    const Size rows = 1 + generator.below(6), V = 2 + generator.below(30), count = 1 + generator.below(rows * V);
    const Tensor next = log_softmax(random_tensor({rows, V}, grading_seed() + 740));
    std::vector<Hypothesis> live;
    for (Size row = 0; row < rows; ++row) live.push_back({{}, -3 * generator.uniform()});
    std::vector<std::pair<double, Size>> all;
    for (Size row = 0; row < rows; ++row)
      for (Size token = 0; token < V; ++token)
        all.emplace_back(-(live[static_cast<std::size_t>(row)].log_probability + next.at({row, token})),
                         row * V + token);
    std::sort(all.begin(), all.end());
    const std::vector<Candidate> got = best_candidates(live, next, count);
    check_equal(static_cast<long long>(got.size()), count, "candidates");
    for (std::size_t i = 0; i < got.size(); ++i) {
      check_equal(got[i].parent * V + got[i].token, all[i].second, text("parent * V + token of candidate ", i));
      check_close(got[i].log_probability, -all[i].first, text("log-probability of candidate ", i));
    }
  }
}

TEST_CASE("7.4 the length penalty for any length") {
  Generator generator = dice(75);
  for (int trial = 0; trial < 20; ++trial) {
    const double log_p = -50 * generator.uniform(), alpha = 2 * generator.uniform();
    const Size length = 1 + generator.below(100);
    check_close(penalized(log_p, length, alpha),
                log_p * std::exp(-alpha * std::log((5 + static_cast<double>(length)) / 6)),
                text("log p ", log_p, ", length ", length, ", alpha ", alpha));
  }
}

TEST_CASE("7.4 beam search over a random model is the library's") {
  Generator generator = dice(76);
  for (std::uint64_t trial = 0; trial < 6; ++trial) {
    const Transformer model = random_model(2, 6, 1, grading_seed() + 760 + trial);
    const Size beam = 1 + generator.below(6);
    const double alpha = 1.5 * generator.uniform();
    const TokenIds source = random_sources(generator, 1)[0];
    const EncodedSources all = encode_sources(model, std::vector<TokenIds>(static_cast<std::size_t>(beam), source));
    const NextScores next = [&](const std::vector<TokenIds>& beginnings) {
      const Size rows = static_cast<Size>(beginnings.size());
      return scores_from_scratch(model, {slice(all.memory, 0, 0, rows), all.lengths.slice(0, 0, rows).contiguous()},
                                 beginnings);
    };
    const Hypothesis found =
        beam_search(next, [](const std::vector<Size>&) {},
                    {.beam = beam, .alpha = alpha, .limit = step_limit(model, static_cast<Size>(source.size()))});
    check_equal(integers(found.tokens),
                integers(decode_beam(model, {source}, {.beam = beam, .length_penalty = alpha})[0]),
                text("beam ", beam, ", alpha ", alpha));
  }
}

TEST_CASE("7.4 a beam of one is greedy decoding, and a beam of everything finds the most probable sentence") {
  const Size limit = 4, V = 6;
  for (const std::uint64_t seed : {41, 42, 43, 44}) {
    const NextScores scores = random_scores(V, seed);
    const Hypothesis one =
        beam_search(scores, [](const std::vector<Size>&) {}, {.beam = 1, .alpha = 0, .limit = limit});
    check_equal(integers(one.tokens), integers(greedy(scores, 1, limit)[0]), "beam 1");
    // In the loops below row 0 is asked, as in the first step; the scores of other rows are made equal to it.
    const NextScores same_rows = [&](const std::vector<TokenIds>& beginnings) {
      Tensor all({static_cast<Size>(beginnings.size()), V}, {});
      for (std::size_t row = 0; row < beginnings.size(); ++row)
        all.slice(0, static_cast<Size>(row), static_cast<Size>(row) + 1).copy_from(scores({beginnings[row]}));
      return all;
    };
    double best = -std::numeric_limits<double>::infinity();
    const std::function<void(TokenIds, double)> try_all = [&](const TokenIds& beginning, double so_far) {
      if (static_cast<Size>(beginning.size()) == limit + 1) {
        best = std::max(best, so_far);
        return;
      }
      const Tensor next = log_softmax(scores({beginning}));
      for (std::int32_t token = 0; token < V; ++token) {
        TokenIds longer = beginning;
        longer.push_back(token);
        const double sum = so_far + next.at({0, token});
        if (token == end_id)
          best = std::max(best, sum);
        else
          try_all(longer, sum);
      }
    };
    try_all({begin_id}, 0);
    const Hypothesis widest =
        beam_search(same_rows, [](const std::vector<Size>&) {}, {.beam = 2000, .alpha = 0, .limit = limit});
    check_close(widest.log_probability, best, "log p of the most probable sentence");
  }
}

TEST_CASE("7.4 a larger alpha never gives a shorter sentence") {
  const Size V = 6;
  Size longer = 0;
  for (std::uint64_t seed = 50; seed < 60; ++seed) {
    const NextScores scores = random_scores(V, seed);
    const auto length = [&](double alpha) {
      return beam_search(scores, [](const std::vector<Size>&) {}, {.beam = 4, .alpha = alpha, .limit = 9})
          .tokens.size();
    };
    const auto none = length(0), some = length(1), much = length(3);
    CHECK(none <= some);
    CHECK(some <= much);
    longer += none < much ? 1 : 0;
  }
  CHECK(longer > 0);
}

TEST_CASE("7.5 any selection of rows is what gathering them gives") {
  Generator generator = dice(77);
  for (int trial = 0; trial < 10; ++trial) {
    const Size B = 1 + generator.below(6), H = 1 + generator.below(3), D = 1 + generator.below(5),
               capacity = 2 + generator.below(5), length = 1 + generator.below(capacity);
    const std::uint64_t seed = grading_seed() + 770 + static_cast<std::uint64_t>(trial);
    const Cache cache{random_tensor({B, H, capacity, D}, seed), random_tensor({B, H, capacity, D}, seed + 50), length};
    std::vector<Size> rows(static_cast<std::size_t>(1 + generator.below(8)));
    for (Size& row : rows) row = generator.below(B);
    const Tensor index =
        from_values(std::vector<std::int32_t>(rows.begin(), rows.end()), {static_cast<Size>(rows.size())});
    const Cache got = select(cache, rows);
    check_equal(got.length, length, "positions");
    check_close(got.key.slice(2, 0, length).contiguous(),
                gather_rows(cache.key, index).slice(2, 0, length).contiguous(), "keys");
    check_close(got.value.slice(2, 0, length).contiguous(),
                gather_rows(cache.value, index).slice(2, 0, length).contiguous(), "values");
  }
}

TEST_CASE("7.5 beam search with caches is the library's") {
  Generator generator = dice(78);
  for (std::uint64_t trial = 0; trial < 6; ++trial) {
    const Transformer model = random_model(3, 4, 2, grading_seed() + 780 + trial);
    const Size beam = 2 + generator.below(5);
    const TokenIds source = random_sources(generator, 1)[0];
    const Size limit = step_limit(model, static_cast<Size>(source.size()));
    CachedState state = start(model, encode_sources(model, {source}), limit);
    const Hypothesis found =
        beam_search(cached(model, state), [&](const std::vector<Size>& rows) { select(state, rows); },
                    {.beam = beam, .alpha = 0.6, .limit = limit});
    check_equal(integers(found.tokens),
                integers(decode_beam(model, {source}, {.beam = beam, .length_penalty = 0.6})[0]), text("beam ", beam));
  }
}
