#pragma once

#include <map>
#include <string>
#include <vector>

#include "nn/attention_mode.h"
#include "tensor/matmul.h"

namespace headshare {

enum class NormPlacement { post, pre };  // post: norm(x + f(x)), Vaswani 2017; pre: x + f(norm(x)), Xiong 2020
enum class Positions { sinusoidal, learned };

// Everything that decides a model's shape.
struct TransformerConfig {
  Size vocabulary = 0;  // V
  Size d_model = 256;   // C
  Size d_ff = 0;        // F; 0 means 4 d_model
  Size layers = 3;      // encoder layers, and as many decoder layers
  AttentionSites attention = multi_head(8);
  std::vector<AttentionSites> attention_per_layer = {};  // empty: `attention` in every layer; else one entry a layer
  NormPlacement norm = NormPlacement::post;
  Activation activation = Activation::relu;
  Positions positions = Positions::sinusoidal;
  Size max_length = 512;  // positions the model knows, source and target alike
  double dropout = 0.1;

  const AttentionSites& sites(Size layer) const {
    return attention_per_layer.empty() ? attention : attention_per_layer[static_cast<std::size_t>(layer)];
  }
};

// Fails, naming the field, unless a model can be built of it. Fills in d_ff.
TransformerConfig checked(TransformerConfig config);

// The configuration as checkpoint metadata and back. Unknown or missing fields fail.
std::map<std::string, std::string> to_metadata(const TransformerConfig& config);
TransformerConfig transformer_config(const std::map<std::string, std::string>& metadata);

}  // namespace headshare
