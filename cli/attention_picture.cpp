#include "cli/attention_picture.h"

#include "core/report/heat_map.h"
#include "nn/decoding.h"

namespace headshare::cli {
namespace {

// The words of a sentence, and for each of its tokens the word it is a piece of. Tokens never cross a word's end.
struct Words {
  std::vector<std::string> labels;
  std::vector<std::size_t> word_of_token;
};

Words words_of(const Tokenizer& tokenizer, const std::string& sentence, const TokenIds& ids) {
  Words words;
  std::vector<std::size_t> ends;  // where each word ends in the sentence
  for (const std::string_view word : split_words(sentence)) {
    ends.push_back((ends.empty() ? 0 : ends.back()) + word.size());
    words.labels.emplace_back(word.starts_with(' ') ? word.substr(1) : word);
  }
  std::size_t position = 0, word = 0;
  for (const std::int32_t id : ids) {
    const std::size_t bytes = tokenizer.decode(std::span(&id, 1)).size();
    if (bytes == 0) {  // begin, end, padding: no part of the sentence
      words.labels.push_back(tokenizer.piece(id));
      words.word_of_token.push_back(words.labels.size() - 1);
      continue;
    }
    while (position >= ends[word]) ++word;
    words.word_of_token.push_back(word);
    position += bytes;
  }
  return words;
}

// Weights [T, S] between tokens as weights between words: the attention that a word gets is the sum over its pieces,
// the attention that it pays their mean, so that rows still sum to 1.
std::vector<float> between_words(const std::vector<float>& weights, const Words& target, const Words& source) {
  std::vector<float> result(target.labels.size() * source.labels.size(), 0.0f);
  std::vector<float> pieces(target.labels.size(), 0.0f);
  for (const std::size_t word : target.word_of_token) pieces[word] += 1.0f;
  const std::size_t S = source.word_of_token.size();
  for (std::size_t t = 0; t < target.word_of_token.size(); ++t)
    for (std::size_t s = 0; s < S; ++s) {
      const std::size_t row = target.word_of_token[t];
      result[row * source.labels.size() + source.word_of_token[s]] += weights[t * S + s] / pieces[row];
    }
  return result;
}

}  // namespace

std::string draw_cross_attention(const Transformer& model, const Tokenizer& tokenizer, const std::string& sentence,
                                 const std::filesystem::path& picture) {
  const TokenIds source = encode_source(tokenizer, sentence);
  TokenIds target = decode_greedy(model, {source})[0];
  const std::string translation = tokenizer.decode(target);
  const Tensor weights = cross_attention_weights(model, source, target).back();  // [H, T, S]
  target.push_back(end_id);  // the last row of the weights produces it

  const Words rows = words_of(tokenizer, translation, target), columns = words_of(tokenizer, sentence, source);
  const AttentionMode& mode = model.decoder().back().cross.mode;
  std::vector<HeatMap> panels;
  for (Size head = 0; head < mode.heads; ++head) {
    const std::vector<float> tokens = weights.slice(0, head, head + 1).to(ElementType::float32).to_vector<float>();
    panels.push_back({.title = text("head ", head, ", keys ", head / (mode.heads / mode.kv_heads)),
                      .row_labels = rows.labels,
                      .column_labels = columns.labels,
                      .values = between_words(tokens, rows, columns)});
  }
  write_png(panels, picture, {.title = text("Cross-attention of the last layer, ", name(mode)), .maximum = 1.0f});
  return translation;
}

}  // namespace headshare::cli
