#include "cli/attention_picture.h"

#include "core/report/heat_map.h"
#include "nn/decoding.h"

namespace headshare::cli {
namespace {

std::vector<std::string> pieces(const Tokenizer& tokenizer, const TokenIds& ids) {
  std::vector<std::string> words;
  for (const std::int32_t id : ids) words.push_back(tokenizer.piece(id));
  return words;
}

}  // namespace

std::string draw_cross_attention(const Transformer& model, const Tokenizer& tokenizer, const std::string& sentence,
                                 const std::filesystem::path& picture) {
  const TokenIds source = encode_source(tokenizer, sentence);
  TokenIds target = decode_greedy(model, {source})[0];
  const std::string translation = tokenizer.decode(target);
  const Tensor weights = cross_attention_weights(model, source, target).back();  // [H, T, S]
  target.push_back(end_id);  // the last row of the weights produces it

  const AttentionMode& mode = model.decoder().back().cross.mode;
  std::vector<HeatMap> panels;
  for (Size head = 0; head < mode.heads; ++head)
    panels.push_back({.title = text("head ", head, ", keys ", head / (mode.heads / mode.kv_heads)),
                      .row_labels = pieces(tokenizer, target),
                      .column_labels = pieces(tokenizer, source),
                      .values = weights.slice(0, head, head + 1).to(ElementType::float32).to_vector<float>()});
  write_png(panels, picture, {.title = text("Cross-attention of the last layer, ", name(mode)), .maximum = 1.0f});
  return translation;
}

}  // namespace headshare::cli
