#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "nn/batches.h"
#include "tests/model_helpers.h"

// From sentence pairs to padded batches: nothing lost, nothing twice, the budget kept, the same again after a restart.

using namespace headshare;
using namespace headshare::test;

namespace {

using Ids = std::vector<std::int32_t>;
using Plan = std::vector<std::vector<Size>>;

// 300 pairs of 0 to 19 words, the two sides of different lengths.
EncodedCorpus uneven_corpus() {
  Generator generator(1);
  std::vector<Size> source_lengths, target_lengths;
  for (int i = 0; i < 300; ++i) {
    source_lengths.push_back(generator.below(20));
    target_lengths.push_back(generator.below(20));
  }
  EncodedCorpus corpus = random_pairs(source_lengths, 50, 2);
  const EncodedCorpus targets = random_pairs(target_lengths, 50, 3);
  for (std::size_t i = 0; i < corpus.pairs.size(); ++i) corpus.pairs[i].target = targets.pairs[i].target;
  return corpus;
}

Size longer_side(const EncodedPair& pair) {
  return static_cast<Size>(std::max(pair.source.size(), pair.target.size()));
}

Size padded_tokens(const EncodedCorpus& corpus, const std::vector<Size>& members) {
  Size longest = 0;
  for (const Size member : members)
    longest = std::max(longest, longer_side(corpus.pairs[static_cast<std::size_t>(member)]));
  return longest * static_cast<Size>(members.size());
}

// Every pair's index once, whatever the order.
bool is_complete(const Plan& plan, Size pairs) {
  std::multiset<Size> seen;
  for (const auto& members : plan) seen.insert(members.begin(), members.end());
  if (static_cast<Size>(seen.size()) != pairs) return false;
  return pairs == 0 || (*seen.begin() == 0 && *seen.rbegin() == pairs - 1 &&
                        std::set<Size>(seen.begin(), seen.end()).size() == seen.size());
}

std::set<std::set<Size>> as_sets(const Plan& plan) {
  std::set<std::set<Size>> sets;
  for (const auto& members : plan) sets.emplace(members.begin(), members.end());
  return sets;
}

}  // namespace

TEST_CASE("an epoch holds every pair exactly once, in batches within the budget") {
  const EncodedCorpus corpus = uneven_corpus();
  for (const Size budget : {1, 20, 21, 100, 1000, 1'000'000})
    for (const Size epoch : {0, 1, 7}) {
      CAPTURE(budget);
      const Plan plan = plan_epoch(corpus, budget, 5, epoch);
      CHECK(is_complete(plan, 300));
      CHECK(is_complete(plan_in_order(corpus, budget), 300));
      for (const auto& members : plan) {
        REQUIRE(!members.empty());
        CHECK((padded_tokens(corpus, members) <= budget || members.size() == 1));
      }
      if (budget == 1) CHECK(plan.size() == 300);
      if (budget == 1'000'000) CHECK(plan.size() == 1);
    }
  // Sorted by length, little is padding: compare with the tokens of the sentences alone.
  Size tokens = 0, padded = 0;
  for (const EncodedPair& pair : corpus.pairs) tokens += longer_side(pair);
  for (const auto& members : plan_epoch(corpus, 200, 5, 0)) padded += padded_tokens(corpus, members);
  CHECK(static_cast<double>(tokens) / static_cast<double>(padded) > 0.7);
  CHECK(plan_epoch({}, 100, 1, 0).empty());
  CHECK(plan_in_order({}, 100).empty());
}

TEST_CASE("a plan depends on seed and epoch only, and every epoch has another one") {
  const EncodedCorpus corpus = uneven_corpus();
  const Plan plan = plan_epoch(corpus, 200, 5, 3);
  CHECK(plan_epoch(corpus, 200, 5, 3) == plan);
  CHECK(plan_epoch(corpus, 200, 5, 4) != plan);
  CHECK(plan_epoch(corpus, 200, 6, 3) != plan);
  CHECK(as_sets(plan_epoch(corpus, 200, 5, 4)) != as_sets(plan));  // not only the order: other neighbours, too
  // The batches do not come from short to long, as those for validation do.
  const auto longest_targets = [&](const Plan& batches) {
    std::vector<std::size_t> longest(batches.size(), 0);
    for (std::size_t i = 0; i < batches.size(); ++i)
      for (const Size member : batches[i])
        longest[i] = std::max(longest[i], corpus.pairs[static_cast<std::size_t>(member)].target.size());
    return longest;
  };
  CHECK(!std::ranges::is_sorted(longest_targets(plan)));
  CHECK(std::ranges::is_sorted(longest_targets(plan_in_order(corpus, 200))));
  CHECK(plan_in_order(corpus, 200) == plan_in_order(corpus, 200));
}

TEST_CASE("a batch is padded at the right, its target shifted by one, and padding does not count") {
  EncodedCorpus corpus;
  corpus.pairs = {{{7, 8, end_id}, {begin_id, 5, end_id}},
                  {{9, end_id}, {begin_id, 6, 4, 3, end_id}},
                  {{end_id}, {begin_id, end_id}}};
  const std::vector<Size> members = {1, 0, 2};
  const Batch batch = make_batch(corpus.pairs, members, default_device());
  CHECK(batch.source.tokens.shape() == Shape{3, 3});
  CHECK(batch.source.tokens.to_vector<std::int32_t>() == Ids{9, 2, 0, 7, 8, 2, 2, 0, 0});
  CHECK(batch.source.lengths.to_vector<std::int32_t>() == Ids{2, 3, 1});
  CHECK(batch.target_input.shape() == Shape{3, 4});
  CHECK(batch.target_input.to_vector<std::int32_t>() == Ids{1, 6, 4, 3, 1, 5, 0, 0, 1, 0, 0, 0});
  CHECK(batch.target_output.shape() == Shape{12});
  CHECK(batch.target_output.to_vector<std::int32_t>() == Ids{6, 4, 3, 2, 5, 2, -1, -1, 2, -1, -1, -1});
  CHECK(batch.target_tokens == 4 + 2 + 1);
}

TEST_CASE("a corpus is encoded with begin and end, and pairs that are too long are counted") {
  const Tokenizer tokenizer;  // a token for each byte
  const Corpus corpus{{{"ab", "c"}, {"", ""}, {"abcd", "x"}, {"x", "abc"}, {"abcde", "x"}, {"x", "abcd"}}};
  const EncodedCorpus encoded = encode(corpus, tokenizer, 5);
  // At most 5 tokens: 4 bytes and the end in a source, 3 bytes between begin and end in a target.
  REQUIRE(encoded.pairs.size() == 4);
  CHECK(encoded.too_long == 2);
  const auto id = [](char letter) { return static_cast<std::int32_t>(first_byte_id + letter); };
  CHECK(encoded.pairs[0].source == Ids{id('a'), id('b'), end_id});
  CHECK(encoded.pairs[0].target == Ids{begin_id, id('c'), end_id});
  CHECK(encoded.pairs[1].source == Ids{end_id});
  CHECK(encoded.pairs[1].target == Ids{begin_id, end_id});
  CHECK(encoded.pairs[2].source.size() == 5);
  CHECK(encoded.pairs[3].target.size() == 5);
  CHECK(encode_source(tokenizer, "ab") == encoded.pairs[0].source);
  CHECK(encode_source(tokenizer, "") == Ids{end_id});
  CHECK(encode(corpus, tokenizer, 1).pairs.empty());
  CHECK(encode(corpus, tokenizer, 1).too_long == 6);
}

TEST_CASE("padding changes no sentence's loss") {
  const EncodedCorpus corpus = random_pairs({9, 1, 4}, 11, 4);
  const Transformer model(tiny_config(11, grouped_query(4, 2)), 5, float64);
  disturb(model, 6);
  const auto loss = [&](const std::vector<Size>& members) {
    Dropout none = Dropout::none();
    return batch_loss(model, make_batch(corpus.pairs, members, default_device()), 0.1, none).loss.value().item();
  };
  CHECK(loss({0, 1, 2}) == doctest::Approx(loss({0}) + loss({1}) + loss({2})).epsilon(1e-12));
}
