#pragma once

#include <filesystem>
#include <string>

#include "core/text/tokenizer.h"
#include "nn/transformer.h"

namespace headshare::cli {

// Translates a sentence greedily and draws the cross-attention of the last decoder layer, a panel for each head: rows
// are the words of the translation, columns those of the sentence. Returns the translation.
std::string draw_cross_attention(const Transformer& model, const Tokenizer& tokenizer, const std::string& sentence,
                                 const std::filesystem::path& picture);

}  // namespace headshare::cli
