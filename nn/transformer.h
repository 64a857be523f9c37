#pragma once

#include <vector>

#include "nn/attention.h"
#include "nn/precision.h"
#include "nn/transformer_config.h"

namespace headshare {

struct EncoderLayer {
  Attention self;
  FeedForward feed_forward;
  LayerNormalization self_norm;
  LayerNormalization feed_forward_norm;

  EncoderLayer(const TransformerConfig& config, Size layer, Generator& generator, TensorOptions options);
  void visit(const std::string& prefix, const ParameterVisitor& visitor) const;
};

struct DecoderLayer {
  Attention self;
  Attention cross;
  FeedForward feed_forward;
  LayerNormalization self_norm;
  LayerNormalization cross_norm;
  LayerNormalization feed_forward_norm;

  DecoderLayer(const TransformerConfig& config, Size layer, Generator& generator, TensorOptions options);
  void visit(const std::string& prefix, const ParameterVisitor& visitor) const;
};

// Encoder-decoder Transformer (Vaswani et al. 2017) whose embedding also serves as the output projection.
// Token ids: int32; sentences are padded at the right, their true lengths given as int32 [B].
class Transformer {
 public:
  Transformer(const TransformerConfig& config, std::uint64_t seed, TensorOptions options = {});

  const TransformerConfig& config() const { return config_; }
  TensorOptions options() const { return table_.value().options(); }  // of the parameters

  // What it computes in; fp32 unless said otherwise. Fails where the device cannot, and for float64 parameters.
  Precision precision() const { return precision_; }
  void compute_in(Precision precision);
  TensorOptions activations() const;  // of what encode, decode and logits give

  // source: [B, S]   lengths: [B]                                                                  result: [B, S, C]
  Variable encode(const Tensor& source, const Tensor& source_lengths, Dropout& dropout) const;
  // target: [B, T], each row starting with the begin token; row t sees positions 0 .. t.             result: [B, T, C]
  Variable decode(const Tensor& target, const Variable& memory, const Tensor& source_lengths, Dropout& dropout) const;
  // x: [..., C]                                                                                    result: [..., V]
  Variable logits(const Variable& x) const;

  const std::vector<EncoderLayer>& encoder() const { return encoder_; }
  const std::vector<DecoderLayer>& decoder() const { return decoder_; }
  void visit(const ParameterVisitor& visitor) const;

  // What a decoder of one position at a time needs besides the layers.
  const Tensor& embedding_table() const { return table_.value(); }               // [V, C], also the output projection
  const Tensor& positions() const;                                               // [max_length, C]
  const LayerNormalization& decoder_norm() const { return final_norms_.at(1); }  // pre-norm only

 private:
  Variable embed(const Tensor& tokens) const;
  Variable encoder_layer(const EncoderLayer& layer, const Variable& x, const Mask& mask, Dropout& dropout) const;
  Variable decoder_layer(const DecoderLayer& layer, const Variable& x, const KeysValues& cross, const Mask& cross_mask,
                         Dropout& dropout) const;
  template <class Function>
  Variable sublayer(const LayerNormalization& norm, const Variable& x, Dropout& dropout,
                    const Function& function) const;

  TransformerConfig config_;
  Precision precision_ = Precision::fp32;
  Parameter table_;              // [V, C], embedding and output projection
  Parameter learned_positions_;  // [max_length, C], only with Positions::learned
  Variable fixed_positions_;     // the same, a constant, with Positions::sinusoidal
  std::vector<EncoderLayer> encoder_;
  std::vector<DecoderLayer> decoder_;
  std::vector<LayerNormalization> final_norms_;  // pre-norm only: encoder's, decoder's
};

// Every attention of a model: "encoder.0.self", "decoder.0.self", "decoder.0.cross", "encoder.1.self" ... as the
// parameters' names begin.
struct NamedAttention {
  std::string name;
  AttentionSite site;
  const Attention* attention;
};
std::vector<NamedAttention> attentions_of(const Transformer& model);

Size count_parameters(const Transformer& model);
Transformer clone(const Transformer& model);
// Copies every parameter of the same name and shape from `source`; fails when one is missing or differs.
void copy_parameters(const Transformer& source, const Transformer& destination);

// Bytes that one decoded position adds to the self-attention caches plus those that one source position takes in the
// cross caches, all layers: 2 (key and value) * G * D * bytes an element. A window bounds how many decoded positions a
// layer keeps, not what one of them takes.
Size cache_bytes_per_token(const Transformer& model);

}  // namespace headshare
