#include "nn/attention_words.h"

#include <cmath>

#include "tensor/dispatch.h"

namespace headshare {
namespace {

std::vector<double> values_of(const Tensor& x) { return x.to(ElementType::float64).to_vector<double>(); }

}  // namespace

TokenWords words_of(const Tokenizer& tokenizer, const TokenIds& tokens) {
  const std::string sentence = tokenizer.decode(tokens);
  const std::vector<std::string_view> words = split_words(sentence);
  TokenWords result;
  std::size_t position = 0;  // bytes of the sentence before this token
  std::size_t next_word = 0,
              next_end = 0;  // the first word that no token has reached yet; where the one before it ends
  std::size_t word = 0;      // index of the current one in the result
  for (const std::int32_t token : tokens) {
    const std::size_t bytes = tokenizer.decode(std::span(&token, 1)).size();
    if (bytes == 0) {  // begin, end, padding: no part of the sentence
      result.word_of_token.push_back(result.words.size());
      result.words.push_back(tokenizer.piece(token));
      continue;
    }
    if (position >= next_end) {  // The first piece of a word. (A model may write a token that reaches into the next.)
      std::string_view spelled;
      for (; position >= next_end; ++next_word) {
        spelled = words[next_word];
        next_end += spelled.size();
      }
      word = result.words.size();
      result.words.emplace_back(spelled.starts_with(' ') ? spelled.substr(1) : spelled);
    }
    result.word_of_token.push_back(word);
    position += bytes;
  }
  return result;
}

std::vector<float> between_words(const Tensor& weights, const TokenWords& rows, const TokenWords& columns) {
  const std::size_t T = rows.word_of_token.size(), S = columns.word_of_token.size();
  check_shape("between_words", "weights", weights, {static_cast<Size>(T), static_cast<Size>(S)});
  const std::vector<double> tokens = values_of(weights);
  std::vector<double> pieces(rows.words.size(), 0.0);
  for (const std::size_t word : rows.word_of_token) pieces[word] += 1;
  std::vector<float> result(rows.words.size() * columns.words.size(), 0.0f);
  for (std::size_t t = 0; t < T; ++t)
    for (std::size_t s = 0; s < S; ++s) {
      const std::size_t row = rows.word_of_token[t], column = columns.word_of_token[s];
      result[row * columns.words.size() + column] += static_cast<float>(tokens[t * S + s] / pieces[row]);
    }
  return result;
}

double total_variation(const Tensor& a, const Tensor& b) {
  check_shape("total_variation", "b", b, a.shape());
  const std::vector<double> x = values_of(a), y = values_of(b);
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += std::abs(x[i] - y[i]);
  return sum / 2 / static_cast<double>(a.extent(0));
}

}  // namespace headshare
