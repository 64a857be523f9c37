#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "core/report/heat_map.h"
#include "nn/attention_words.h"

namespace headshare::cli {

// A sentence and the translation that a model writes, or is made to write, for it.
struct TokenPair {
  TokenIds source;  // ends with the end token
  TokenIds target;  // neither begin nor end
};

// The greedy translation of each sentence, cut where it would not fit the model's positions.
std::vector<TokenPair> translate_tokens(const Transformer& model, const std::vector<TokenIds>& sources);

// What pictures of one site say of it.
struct PicturedSite {
  AttentionSite site;
  const char* name;                       // as options, files and titles say: "encoder", "decoder", "cross"
  const char* title;                      // for people
  const char* axes;                       // what rows and columns are
  TokenIds (*rows)(const TokenPair&);     // the tokens that look
  TokenIds (*columns)(const TokenPair&);  // the tokens that are looked at
};
std::span<const PicturedSite> pictured_sites();

// In which order to show the heads of a layer, by the site's name and the layer. None: in their own.
using HeadOrder = std::map<std::pair<std::string, Size>, std::vector<Size>>;

// What one model looks at; a label such as "before" where there are two.
struct AttentionView {
  std::string label;
  const Transformer& model;
  AttentionWeights weights;  // of the pair that is shown
  HeadOrder order = {};
};

// Query heads of a layer that belong together: those that read one key/value head. Where no heads share, all of them.
struct HeadGroup {
  Size first, end;
  bool shared;       // they read one key/value head
  std::string name;  // "key/value head 2: query heads 5–8"
};
std::vector<HeadGroup> head_groups(const AttentionMode& mode);

// Pictures of one layer, counted from 0: a frame for each group of heads in the last view; in it a panel for each head
// and view, those of one head one below the other. Words on both axes.
std::vector<HeatMapGroup> attention_frames(const PicturedSite& site, Size layer, std::span<const AttentionView> views,
                                           const Tokenizer& tokenizer, const TokenPair& pair);

// How many of them stand side by side so that lines are full and pictures not too wide.
Size frames_side_by_side(std::span<const HeatMapGroup> frames);

// Translates a sentence greedily and draws the cross-attention of the last decoder layer. Returns the translation.
std::string draw_cross_attention(const Transformer& model, const Tokenizer& tokenizer, const std::string& sentence,
                                 const std::filesystem::path& picture);

}  // namespace headshare::cli
