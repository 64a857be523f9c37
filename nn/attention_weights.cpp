#include "nn/attention_weights.h"

#include <unordered_map>

#include "nn/decoding_start.h"

namespace headshare {

AttentionWeights attention_weights(const Transformer& model, const TokenIds& source, const TokenIds& target) {
  TokenIds input = {begin_id};
  input.insert(input.end(), target.begin(), target.end());
  const auto check_length = [&](const char* side, const TokenIds& tokens) {
    if (static_cast<Size>(tokens.size()) > model.config().max_length)
      fail("attention: the ", side, " has ", tokens.size(), " tokens, the model has ", model.config().max_length,
           " positions");
  };
  check_length("source", source);
  check_length("target", input);

  AttentionWeights weights;
  std::unordered_map<const Attention*, std::vector<Tensor>*> site;  // where the weights of each attention belong
  for (const EncoderLayer& layer : model.encoder()) site[&layer.self] = &weights.encoder_self;
  for (const DecoderLayer& layer : model.decoder()) {
    site[&layer.self] = &weights.decoder_self;
    site[&layer.cross] = &weights.cross;
  }
  // One sentence, so no padding and no batch to keep apart; layers come in order.
  const AttentionObserver observer(
      [&](const Attention& attention, const Variable& queries, const KeysValues& keys_values, const Mask& mask) {
        const Tensor all = attention_weights(queries.value(), keys_values.key.value(), mask);  // [1, H, T, S]
        site.at(&attention)->push_back(all.reshape(all.shape().without(0)));
      });
  const EncodedSources encoded = encode_sources(model, {source});
  const NoGradient no_gradient;
  Dropout dropout = Dropout::none();
  const std::vector<TokenIds> inputs = {input};
  model.decode(pad(inputs, model.options().device).tokens, encoded.memory, encoded.lengths, dropout);
  return weights;
}

}  // namespace headshare
