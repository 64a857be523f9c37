#include "nn/transformer.h"

#include <cmath>
#include <unordered_map>

namespace headshare {

EncoderLayer::EncoderLayer(const TransformerConfig& config, Size layer, Generator& generator, TensorOptions options)
    : self(config.d_model, config.sites(layer).encoder_self, generator, options),
      feed_forward(config.d_model, config.d_ff, config.activation, generator, options),
      self_norm(config.d_model, options),
      feed_forward_norm(config.d_model, options) {}

void EncoderLayer::visit(const std::string& prefix, const ParameterVisitor& visitor) const {
  self.visit(prefix + ".self", visitor);
  feed_forward.visit(prefix + ".feed_forward", visitor);
  self_norm.visit(prefix + ".self_norm", visitor);
  feed_forward_norm.visit(prefix + ".feed_forward_norm", visitor);
}

DecoderLayer::DecoderLayer(const TransformerConfig& config, Size layer, Generator& generator, TensorOptions options)
    : self(config.d_model, config.sites(layer).decoder_self, generator, options),
      cross(config.d_model, config.sites(layer).cross, generator, options),
      feed_forward(config.d_model, config.d_ff, config.activation, generator, options),
      self_norm(config.d_model, options),
      cross_norm(config.d_model, options),
      feed_forward_norm(config.d_model, options) {}

void DecoderLayer::visit(const std::string& prefix, const ParameterVisitor& visitor) const {
  self.visit(prefix + ".self", visitor);
  cross.visit(prefix + ".cross", visitor);
  feed_forward.visit(prefix + ".feed_forward", visitor);
  self_norm.visit(prefix + ".self_norm", visitor);
  cross_norm.visit(prefix + ".cross_norm", visitor);
  feed_forward_norm.visit(prefix + ".feed_forward_norm", visitor);
}

Transformer::Transformer(const TransformerConfig& config, std::uint64_t seed, TensorOptions options)
    : config_(checked(config)) {
  Generator generator(seed);
  const Size C = config_.d_model;
  const double deviation = 1 / std::sqrt(static_cast<double>(C));  // so that the logits, products with it, start near 1
  table_ = Parameter(random_normal({config_.vocabulary, C}, deviation, generator, options));
  if (config_.positions == Positions::learned)
    learned_positions_ = Parameter(random_normal({config_.max_length, C}, deviation, generator, options));
  else
    fixed_positions_ = Variable(sinusoidal_positions(config_.max_length, C, options));
  for (Size i = 0; i < config_.layers; ++i) {
    encoder_.emplace_back(config_, i, generator, options);
    decoder_.emplace_back(config_, i, generator, options);
  }
  if (config_.norm == NormPlacement::pre)
    for (int i = 0; i < 2; ++i) final_norms_.emplace_back(C, options);
}

void Transformer::compute_in(Precision precision) {
  check(precision, options().device);
  if (precision != Precision::fp32 && options().type != ElementType::float32)
    fail("precision ", name(precision), ": a model of ", name(options().type), " is computed with as it is");
  precision_ = precision;
}

TensorOptions Transformer::activations() const {
  return {precision_ == Precision::bf16 ? ElementType::bfloat16 : options().type, options().device};
}

// --- Forward ---

// Embeddings times sqrt(C), so that the positions, of size 1, do not drown them (Vaswani et al. 2017, 3.4).
Variable Transformer::embed(const Tensor& tokens) const {
  const Variable& positions = config_.positions == Positions::learned ? learned_positions_ : fixed_positions_;
  return embedding(tokens, table_, std::sqrt(static_cast<double>(config_.d_model)), positions, 0, activations().type);
}

const Tensor& Transformer::positions() const {
  return config_.positions == Positions::learned ? learned_positions_.value() : fixed_positions_.value();
}

// One residual block around an attention or feed-forward layer; the norm stands before or after.
template <class Function>
Variable Transformer::sublayer(const LayerNormalization& norm, const Variable& x, Dropout& dropout,
                               const Function& function) const {
  if (config_.norm == NormPlacement::pre) return add(x, dropout(function(norm(x))));
  return norm(dropout(function(x)), x);
}

Variable Transformer::encoder_layer(const EncoderLayer& layer, const Variable& x, const Mask& mask,
                                    Dropout& dropout) const {
  const Variable y =
      sublayer(layer.self_norm, x, dropout, [&](const Variable& in) { return layer.self(in, in, mask); });
  return sublayer(layer.feed_forward_norm, y, dropout, layer.feed_forward);
}

Variable Transformer::decoder_layer(const DecoderLayer& layer, const Variable& x, const KeysValues& cross,
                                    const Mask& cross_mask, Dropout& dropout) const {
  const Variable y = sublayer(layer.self_norm, x, dropout, [&](const Variable& in) {
    return layer.self(in, in, {{}, causal});
  });
  const Variable z = sublayer(layer.cross_norm, y, dropout,
                              [&](const Variable& in) { return layer.cross.attend(in, cross, cross_mask); });
  return sublayer(layer.feed_forward_norm, z, dropout, layer.feed_forward);
}

Variable Transformer::encode(const Tensor& source, const Tensor& source_lengths, Dropout& dropout) const {
  const Tf32Products tf32(precision_ == Precision::tf32);
  const Mask mask{source_lengths, any_order};
  Variable x = dropout(embed(source));  // [B, S, C]
  for (const EncoderLayer& layer : encoder_) x = encoder_layer(layer, x, mask, dropout);
  return final_norms_.empty() ? x : final_norms_[0](x);
}

Variable Transformer::decode(const Tensor& target, const Variable& memory, const Tensor& source_lengths,
                             Dropout& dropout) const {
  const Tf32Products tf32(precision_ == Precision::tf32);
  const Mask cross_mask{source_lengths, any_order};
  Variable x = dropout(embed(target));  // [B, T, C]
  for (const DecoderLayer& layer : decoder_)
    x = decoder_layer(layer, x, layer.cross.keys_values(memory), cross_mask, dropout);
  return final_norms_.empty() ? x : final_norms_[1](x);
}

Variable Transformer::logits(const Variable& x) const {
  const Tf32Products tf32(precision_ == Precision::tf32);
  return matmul(x, transpose(table_, 0, 1));
}

// --- Parameters ---

void Transformer::visit(const ParameterVisitor& visitor) const {
  visitor("embedding", table_);
  if (learned_positions_.defined()) visitor("positions", learned_positions_);
  for (std::size_t i = 0; i < encoder_.size(); ++i) encoder_[i].visit(text("encoder.", i), visitor);
  for (std::size_t i = 0; i < decoder_.size(); ++i) decoder_[i].visit(text("decoder.", i), visitor);
  if (!final_norms_.empty()) {
    final_norms_[0].visit("encoder.norm", visitor);
    final_norms_[1].visit("decoder.norm", visitor);
  }
}

std::vector<NamedAttention> attentions_of(const Transformer& model) {
  std::vector<NamedAttention> all;
  for (std::size_t i = 0; i < model.encoder().size(); ++i) {
    all.push_back({text("encoder.", i, ".self"), AttentionSite::encoder_self, &model.encoder()[i].self});
    all.push_back({text("decoder.", i, ".self"), AttentionSite::decoder_self, &model.decoder()[i].self});
    all.push_back({text("decoder.", i, ".cross"), AttentionSite::cross, &model.decoder()[i].cross});
  }
  return all;
}

Size count_parameters(const Transformer& model) {
  Size count = 0;
  model.visit([&](const std::string&, const Parameter& parameter) { count += parameter.value().count(); });
  return count;
}

void copy_parameters(const Transformer& source, const Transformer& destination) {
  std::unordered_map<std::string, Tensor> values;
  source.visit([&](const std::string& name, const Parameter& parameter) { values[name] = parameter.value(); });
  destination.visit([&](const std::string& name, const Parameter& parameter) {
    const auto found = values.find(name);
    if (found == values.end()) fail("copy_parameters: the source model has no ", name);
    parameter.value().copy_from(found->second);
  });
}

Transformer clone(const Transformer& model) {
  Transformer copy(model.config(), 0, model.options());
  copy.compute_in(model.precision());
  copy_parameters(model, copy);
  return copy;
}

Size cache_bytes_per_token(const Transformer& model) {
  Size elements = 0;
  for (const DecoderLayer& layer : model.decoder())
    for (const Attention* attention : {&layer.self, &layer.cross})
      elements += 2 * attention->mode.kv_heads * attention->head_size();
  return elements * bytes_of(model.options().type);
}

}  // namespace headshare
