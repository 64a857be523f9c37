#pragma once

#include <functional>

#include "nn/attention_mode.h"
#include "nn/layers.h"

namespace headshare {

// Keys and values of one attention, as the kernel reads them.                                  key, value: [B, S, G, D]
struct KeysValues {
  Variable key;
  Variable value;
};

// Attention with H query heads and G key/value heads. The mode is a constructor argument; nothing below asks which it
// is: only the width of the key and value projections, and the index g = h / (H / G) in the kernel, depend on it.
struct Attention {
  AttentionMode mode;
  Linear query;   // [C, H D]
  Linear key;     // [C, G D]
  Linear value;   // [C, G D]
  Linear output;  // [H D, C]

  Attention(Size d_model, AttentionMode mode, Generator& generator, TensorOptions options);

  Size head_size() const { return output.weight.extent(0) / mode.heads; }  // D

  // x: [B, T, C] asks, source: [B, S, C] answers; self-attention passes the same variable twice. Where the mask is
  // causal, the mode's window counts too.                                                             result: [B, T, C]
  Variable operator()(const Variable& x, const Variable& source, const Mask& mask) const;

  // The two halves of it, for decoding: keys and values are projected once and kept.
  KeysValues keys_values(const Variable& source) const;                                       // [B, S, G, D]
  Variable attend(const Variable& x, const KeysValues& keys_values, const Mask& mask) const;  // [B, T, C]

  Variable queries(const Variable& x) const;  // [B, T, H, D]
  void visit(const std::string& prefix, const ParameterVisitor& visitor) const;
};

// While one lives, it is told what every Attention of this thread computes with. Whoever wants to see attention weights
// takes them from here: from the model's own forward pass, not from a second version of it. (A Decoder is not heard.)
class AttentionObserver {
 public:
  // queries: [B, T, H, D]
  using Tell = std::function<void(const Attention& attention, const Variable& queries, const KeysValues& keys_values,
                                  const Mask& mask)>;
  explicit AttentionObserver(Tell tell);
  ~AttentionObserver();
  AttentionObserver(const AttentionObserver&) = delete;
  AttentionObserver& operator=(const AttentionObserver&) = delete;

 private:
  friend struct Attention;
  Tell tell_;
};

}  // namespace headshare
