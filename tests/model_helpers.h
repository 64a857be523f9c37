#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "nn/batches.h"
#include "nn/training.h"
#include "tensor/elementwise.h"
#include "tests/tensor_helpers.h"
#include "tests/test_tools.h"

// What the tests of whole models need: tiny models and corpora, comparison of all parameters, a folder that goes away.
namespace headshare::test {

// 16 wide, one layer, without dropout.
inline TransformerConfig tiny_config(Size vocabulary = 11, AttentionSites attention = multi_head(4)) {
  return {.vocabulary = vocabulary,
          .d_model = 16,
          .d_ff = 24,
          .layers = 1,
          .attention = attention,
          .max_length = 24,
          .dropout = 0};
}

// Gives every parameter random values around its initial ones, biases and gains too, as if it were trained.
inline void disturb(const Transformer& model, std::uint64_t seed, double scale = 0.3) {
  model.visit([&](const std::string&, const Parameter& parameter) {
    const Tensor noise = random_tensor(parameter.shape(), ++seed, scale).to(parameter.value().type());
    parameter.value().copy_from(add(parameter.value(), noise));
  });
}

inline std::vector<std::pair<std::string, Tensor>> parameters_of(const Transformer& model) {
  std::vector<std::pair<std::string, Tensor>> all;
  model.visit([&](const std::string& name, const Parameter& parameter) { all.emplace_back(name, parameter.value()); });
  return all;
}

inline Tensor parameter_of(const Transformer& model, const std::string& wanted) {
  for (const auto& [name, value] : parameters_of(model))
    if (name == wanted) return value;
  fail("test: there is no parameter ", wanted);
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  if (!(a.shape() == b.shape()) || a.type() != b.type()) return false;
  if (a.type() == ElementType::float64) return same_bits(a.to_vector<double>(), b.to_vector<double>());
  return same_bits(a.to_vector<float>(), b.to_vector<float>());
}

// The name of the first parameter that differs in a bit, or nothing.
inline std::string first_difference(const Transformer& a, const Transformer& b) {
  const auto x = parameters_of(a), y = parameters_of(b);
  if (x.size() != y.size()) return "the number of parameters";
  for (std::size_t i = 0; i < x.size(); ++i)
    if (x[i].first != y[i].first || !same_bits(x[i].second, y[i].second)) return x[i].first;
  return "";
}

inline std::string first_difference(const Adam& a, const Adam& b) {
  if (a.slots().size() != b.slots().size()) return "the number of moments";
  for (std::size_t i = 0; i < a.slots().size(); ++i) {
    const Adam::Slot &x = a.slots()[i], &y = b.slots()[i];
    if (x.name != y.name || !same_bits(x.mean, y.mean) || !same_bits(x.variance, y.variance)) return x.name;
  }
  return "";
}

// Largest difference of any parameter; infinity when names or shapes differ.
inline double parameter_distance(const Transformer& a, const Transformer& b) {
  const auto x = parameters_of(a), y = parameters_of(b);
  if (x.size() != y.size()) return infinity<double>;
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    worst = std::max(worst, x[i].first == y[i].first ? difference(x[i].second, y[i].second) : infinity<double>);
  return worst;
}

// Random sentence pairs of ids above the special ones; lengths[i] words on both sides of pair i.
inline EncodedCorpus random_pairs(const std::vector<Size>& lengths, Size vocabulary, std::uint64_t seed) {
  Generator generator(seed);
  const auto word = [&] { return static_cast<std::int32_t>(3 + generator.below(vocabulary - 3)); };
  EncodedCorpus corpus;
  for (const Size length : lengths) {
    EncodedPair pair{{}, {begin_id}};
    for (Size i = 0; i < length; ++i) {
      pair.source.push_back(word());
      pair.target.push_back(word());
    }
    pair.source.push_back(end_id);
    pair.target.push_back(end_id);
    corpus.pairs.push_back(pair);
  }
  return corpus;
}

// Sentences like "the red dog sees a cat" and their word-by-word "translation".
inline Corpus small_corpus(Size size, std::uint64_t seed = 1) {
  const std::vector<std::pair<std::string, std::string>> adjectives = {
      {"red", "rote"}, {"big", "grosse"}, {"old", "alte"}};
  const std::vector<std::pair<std::string, std::string>> nouns = {{"dog", "Hund"}, {"cat", "Katze"}, {"tree", "Baum"}};
  const std::vector<std::pair<std::string, std::string>> verbs = {{"sees", "sieht"}, {"likes", "mag"}};
  Generator generator(seed);
  const auto one_of = [&](const auto& words) {
    return words[static_cast<std::size_t>(generator.below(static_cast<Size>(words.size())))];
  };
  Corpus corpus;
  for (Size i = 0; i < size; ++i) {
    const auto a = one_of(adjectives), n = one_of(nouns), v = one_of(verbs), m = one_of(nouns);
    corpus.pairs.push_back({"the " + a.first + " " + n.first + " " + v.first + " the " + m.first,
                            "das " + n.second + " " + a.second + " " + m.second + " " + v.second});
  }
  return corpus;
}

// What a model of at least 11 tokens says of three short sentences of different lengths.                   [3, T, V]
inline Tensor logits_of(const Transformer& model) {
  const EncodedCorpus corpus = random_pairs({5, 3, 7}, 11, 1);
  const std::vector<Size> members = {0, 1, 2};
  const Batch batch = make_batch(corpus.pairs, members, default_device());
  const NoGradient no_gradient;
  Dropout none = Dropout::none();
  const Variable memory = model.encode(batch.source.tokens, batch.source.lengths, none);
  return model.logits(model.decode(batch.target_input, memory, batch.source.lengths, none)).value();
}

}  // namespace headshare::test
