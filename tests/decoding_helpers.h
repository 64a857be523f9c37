#pragma once

#include <vector>

#include "nn/decoding.h"
#include "nn/training.h"
#include "tests/model_helpers.h"

// What the tests of decoding share: models, sources, and logits computed without a cache.
namespace headshare::test {

// A model whose outputs differ clearly from token to token and from sentence to sentence.
inline Transformer lively_model(TransformerConfig config, std::uint64_t seed, TensorOptions options = {}) {
  Transformer model(config, seed, options);
  disturb(model, 100 * seed, 0.35);
  return model;
}

// The same mode at all three sites, local in the one place where that can be.
inline AttentionSites with_decoder_window(AttentionMode mode, Size window) {
  return {mode, local_window(mode, window), mode};
}

inline std::vector<TokenIds> random_sources(const std::vector<Size>& lengths, std::uint64_t seed) {
  std::vector<TokenIds> sources;
  for (const EncodedPair& pair : random_pairs(lengths, 11, seed).pairs) sources.push_back(pair.source);
  return sources;
}

// The same weights on another device. On the CPU: for expected values that take many forward passes.
inline Transformer copy_on(Device device, const Transformer& model) {
  Transformer copy(model.config(), 0, {model.options().type, device});
  copy.visit([&](const std::string& name, const Parameter& parameter) {
    parameter.value().copy_from(parameter_of(model, name).to(device));
  });
  return copy;
}

struct EncodedBatch {
  Variable memory;
  Tensor lengths;
};
inline EncodedBatch encoded(const Transformer& model, const std::vector<TokenIds>& sources) {
  const NoGradient no_gradient;
  const PaddedTokens padded = pad(sources, model.options().device);
  Dropout none = Dropout::none();
  return {model.encode(padded.tokens, padded.lengths, none), padded.lengths};
}

// The logits after each position of `target` [B, T], without a cache.                                 result: [B, T, V]
inline Tensor full_logits(const Transformer& model, const Tensor& target, const EncodedBatch& batch) {
  const NoGradient no_gradient;
  Dropout none = Dropout::none();
  return model.logits(model.decode(target, batch.memory, batch.lengths, none)).value();
}

inline Tensor column(const Tensor& tokens, Size t) {
  return tokens.slice(1, t, t + 1).contiguous().reshape({tokens.extent(0)});
}

}  // namespace headshare::test
