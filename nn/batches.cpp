#include "nn/batches.h"

#include <algorithm>
#include <numeric>

#include "core/random.h"

namespace headshare {
namespace {

std::size_t longer_side(const EncodedPair& pair) { return std::max(pair.source.size(), pair.target.size()); }

// Cuts a list of pairs, already in the wished order, into batches within the budget.
std::vector<std::vector<Size>> cut(const EncodedCorpus& corpus, const std::vector<Size>& order, Size tokens_per_batch) {
  std::vector<std::vector<Size>> batches;
  Size longest = 0;
  for (const Size index : order) {
    const Size length = static_cast<Size>(longer_side(corpus.pairs[static_cast<std::size_t>(index)]));
    const Size members = batches.empty() ? 0 : static_cast<Size>(batches.back().size());
    if (batches.empty() || std::max(longest, length) * (members + 1) > tokens_per_batch) {
      batches.emplace_back();
      longest = 0;
    }
    batches.back().push_back(index);
    longest = std::max(longest, length);
  }
  return batches;
}

void sort_by_length(const EncodedCorpus& corpus, std::vector<Size>& order) {
  std::stable_sort(order.begin(), order.end(), [&](Size a, Size b) {
    const EncodedPair& x = corpus.pairs[static_cast<std::size_t>(a)];
    const EncodedPair& y = corpus.pairs[static_cast<std::size_t>(b)];
    return std::make_pair(x.target.size(), x.source.size()) < std::make_pair(y.target.size(), y.source.size());
  });
}

std::vector<Size> all_indices(const EncodedCorpus& corpus) {
  std::vector<Size> order(corpus.pairs.size());
  std::iota(order.begin(), order.end(), Size{0});
  return order;
}

}  // namespace

EncodedCorpus encode(const Corpus& corpus, const Tokenizer& tokenizer, Size max_length) {
  std::vector<std::string> sources, targets;
  for (const SentencePair& pair : corpus.pairs) {
    sources.push_back(pair.source);
    targets.push_back(pair.target);
  }
  std::vector<std::vector<std::int32_t>> source_ids = tokenizer.encode(sources), target_ids = tokenizer.encode(targets);
  EncodedCorpus result;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    EncodedPair pair{std::move(source_ids[i]), {begin_id}};
    pair.source.push_back(end_id);
    pair.target.insert(pair.target.end(), target_ids[i].begin(), target_ids[i].end());
    pair.target.push_back(end_id);
    if (static_cast<Size>(longer_side(pair)) > max_length)
      ++result.too_long;
    else
      result.pairs.push_back(std::move(pair));
  }
  return result;
}

std::vector<std::int32_t> encode_source(const Tokenizer& tokenizer, const std::string& sentence) {
  std::vector<std::int32_t> ids = tokenizer.encode(sentence);
  ids.push_back(end_id);
  return ids;
}

PaddedTokens pad(std::span<const std::vector<std::int32_t>> sentences, Device device) {
  const Size count = static_cast<Size>(sentences.size());
  std::size_t longest = 0;
  std::vector<std::int32_t> lengths;
  for (const auto& sentence : sentences) {
    longest = std::max(longest, sentence.size());
    lengths.push_back(static_cast<std::int32_t>(sentence.size()));
  }
  std::vector<std::int32_t> tokens(sentences.size() * longest, padding_id);
  for (std::size_t i = 0; i < sentences.size(); ++i)
    std::copy(sentences[i].begin(), sentences[i].end(), tokens.begin() + static_cast<std::ptrdiff_t>(i * longest));
  return {from_values(tokens, {count, static_cast<Size>(longest)}, device), from_values(lengths, {count}, device)};
}

Batch make_batch(std::span<const EncodedPair> pairs, std::span<const Size> members, Device device) {
  std::vector<std::vector<std::int32_t>> sources, inputs;
  std::size_t longest = 0;
  for (const Size member : members) {
    const EncodedPair& pair = pairs[static_cast<std::size_t>(member)];
    sources.push_back(pair.source);
    inputs.emplace_back(pair.target.begin(), pair.target.end() - 1);
    longest = std::max(longest, inputs.back().size());
  }
  std::vector<std::int32_t> outputs;
  Size target_tokens = 0;
  for (const Size member : members) {
    const EncodedPair& pair = pairs[static_cast<std::size_t>(member)];
    outputs.insert(outputs.end(), pair.target.begin() + 1, pair.target.end());
    outputs.insert(outputs.end(), longest - (pair.target.size() - 1), -1);
    target_tokens += static_cast<Size>(pair.target.size()) - 1;
  }
  return {pad(sources, device), pad(inputs, device).tokens,
          from_values(outputs, {static_cast<Size>(outputs.size())}, device), target_tokens};
}

std::vector<std::vector<Size>> plan_epoch(const EncodedCorpus& corpus, Size tokens_per_batch, std::uint64_t seed,
                                          Size epoch) {
  Generator generator(seed, static_cast<std::uint64_t>(epoch));
  std::vector<Size> order = all_indices(corpus);
  generator.shuffle(order);  // so that pairs of equal length meet other ones each epoch
  sort_by_length(corpus, order);
  std::vector<std::vector<Size>> batches = cut(corpus, order, tokens_per_batch);
  generator.shuffle(batches);
  return batches;
}

std::vector<std::vector<Size>> plan_in_order(const EncodedCorpus& corpus, Size tokens_per_batch) {
  std::vector<Size> order = all_indices(corpus);
  sort_by_length(corpus, order);
  return cut(corpus, order, tokens_per_batch);
}

}  // namespace headshare
