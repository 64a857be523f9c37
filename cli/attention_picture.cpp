#include "cli/attention_picture.h"

#include "nn/decoding.h"

namespace headshare::cli {

std::string draw_cross_attention(const Transformer& model, const Tokenizer& tokenizer, const std::string& sentence,
                                 const std::filesystem::path&) {
  const TokenIds source = encode_source(tokenizer, sentence);
  const TokenIds target = decode_greedy(model, {source})[0];
  return tokenizer.decode(target);
}

}  // namespace headshare::cli
