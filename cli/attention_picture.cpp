#include "cli/attention_picture.h"

#include <algorithm>
#include <limits>

namespace headshare::cli {
namespace {

TokenIds source_tokens(const TokenPair& pair) { return pair.source; }

// Row t of the weights is where token t of the target is chosen; the last row chooses the end.
TokenIds chosen_tokens(const TokenPair& pair) {
  TokenIds tokens = pair.target;
  tokens.push_back(end_id);
  return tokens;
}

// What stands before each of them.
TokenIds written_tokens(const TokenPair& pair) {
  TokenIds tokens = {begin_id};
  tokens.insert(tokens.end(), pair.target.begin(), pair.target.end());
  return tokens;
}

// Panels side by side for so many heads, so that lines are full and not too wide: all that fit into one of at most
// five, or the largest divisor up to five.
Size panels_side_by_side(Size heads) {
  for (Size columns = 5; columns > 1; --columns)
    if (heads % columns == 0) return columns;
  return heads;
}

// What a word could not see because it was written later is no number: grey, not a dark zero.
void hide_later_words(std::vector<float>& values, const TokenWords& rows, const TokenWords& columns) {
  const std::size_t S = columns.words.size();
  std::vector<bool> seen(values.size(), false);
  for (std::size_t t = 0; t < rows.word_of_token.size(); ++t)
    for (std::size_t s = 0; s <= t; ++s) seen[rows.word_of_token[t] * S + columns.word_of_token[s]] = true;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!seen[i]) values[i] = std::numeric_limits<float>::quiet_NaN();
}

}  // namespace

std::vector<TokenPair> translate_tokens(const Transformer& model, const std::vector<TokenIds>& sources) {
  std::vector<TokenIds> targets = decode_greedy(model, sources);
  const auto most = static_cast<std::size_t>(model.config().max_length - 1);  // the begin token takes a position too
  std::vector<TokenPair> pairs;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    targets[i].resize(std::min(targets[i].size(), most));
    pairs.push_back({sources[i], targets[i]});
  }
  return pairs;
}

std::span<const PicturedSite> pictured_sites() {
  static const PicturedSite sites[] = {
      {AttentionSite::encoder_self, "encoder", "Encoder self-attention",
       "each row: where that word of the sentence looks among its words", source_tokens, source_tokens},
      {AttentionSite::decoder_self, "decoder", "Decoder self-attention",
       "each row: where the model looks in what it has written, to write that word (grey: written later)",
       chosen_tokens, written_tokens},
      {AttentionSite::cross, "cross", "Cross-attention",
       "each row: where the model looks in the sentence, to write that word", chosen_tokens, source_tokens}};
  return sites;
}

std::vector<HeadGroup> head_groups(const AttentionMode& mode) {
  const Size size = mode.heads / mode.kv_heads;
  if (size == 1) return {{0, mode.heads, false, "each head has its own keys and values"}};
  std::vector<HeadGroup> groups;
  for (Size g = 0; g < mode.kv_heads; ++g)
    groups.push_back({g * size, (g + 1) * size, true,
                      text("key/value head ", g + 1, ": query heads ", g * size + 1, "–", (g + 1) * size)});
  return groups;
}

std::vector<HeatMapGroup> attention_frames(const PicturedSite& site, Size layer, std::span<const AttentionView> views,
                                           const Tokenizer& tokenizer, const TokenPair& pair) {
  const TokenWords rows = words_of(tokenizer, site.rows(pair)), columns = words_of(tokenizer, site.columns(pair));
  const auto panel = [&](const AttentionView& view, Size place) {
    const auto order = view.order.find({site.name, layer});
    const Size head = order == view.order.end() ? place : order->second[static_cast<std::size_t>(place)];
    const Tensor& weights = view.weights.at(site.site)[static_cast<std::size_t>(layer)];  // [H, T, S]
    HeatMap map{
        .title = text("head ", head + 1, view.label.empty() ? "" : ", ", view.label),
        .row_labels = rows.words,
        .column_labels = columns.words,
        .values = between_words(weights.slice(0, head, head + 1).reshape(weights.shape().without(0)), rows, columns)};
    if (site.site == AttentionSite::decoder_self) hide_later_words(map.values, rows, columns);
    return map;
  };
  std::vector<HeatMapGroup> frames;
  for (const HeadGroup& group : head_groups(views.back().model.config().sites(layer).at(site.site))) {
    HeatMapGroup frame{.title = text(site.name, ", layer ", layer + 1, ", ", group.name),
                       .columns = panels_side_by_side(group.end - group.first)};
    for (Size line = group.first; line < group.end; line += frame.columns)
      for (const AttentionView& view : views)
        for (Size place = line; place < line + frame.columns; ++place) frame.panels.push_back(panel(view, place));
    frames.push_back(std::move(frame));
  }
  return frames;
}

Size frames_side_by_side(std::span<const HeatMapGroup> frames) {
  Size widest = 1;
  for (const HeatMapGroup& frame : frames) widest = std::max(widest, frame.columns);
  const bool pairs_fit = 2 * widest <= 4 && frames.size() % 2 == 0;
  return pairs_fit ? 2 : 1;
}

std::string draw_cross_attention(const Transformer& model, const Tokenizer& tokenizer, const std::string& sentence,
                                 const std::filesystem::path& picture) {
  const TokenPair pair = translate_tokens(model, {encode_source(tokenizer, sentence)})[0];
  const AttentionView view{"", model, attention_weights(model, pair.source, pair.target)};
  const PicturedSite& cross = pictured_sites()[2];
  const Size last = model.config().layers - 1;
  const std::vector<HeatMapGroup> frames = attention_frames(cross, last, {&view, 1}, tokenizer, pair);
  write_png(frames, picture,
            {.title = text("Cross-attention of the last layer, ", name(model.config().sites(last).cross)),
             .note = cross.axes,
             .columns = frames_side_by_side(frames),
             .maximum = 1.0f});
  return tokenizer.decode(pair.target);
}

}  // namespace headshare::cli
