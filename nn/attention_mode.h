#pragma once

#include <string>

#include "core/error.h"
#include "core/size.h"

namespace headshare {

// How many key/value heads the query heads share. One formula covers all three:
// query head h reads key/value head h / (heads / kv_heads).
struct AttentionMode {
  Size heads;     // H, query heads
  Size kv_heads;  // G, key/value heads; divides H
  friend bool operator==(const AttentionMode&, const AttentionMode&) = default;
};
constexpr AttentionMode multi_head(Size heads) { return {heads, heads}; }                   // Vaswani 2017
constexpr AttentionMode multi_query(Size heads) { return {heads, 1}; }                      // Shazeer 2019
constexpr AttentionMode grouped_query(Size heads, Size groups) { return {heads, groups}; }  // Ainslie 2023

inline std::string name(const AttentionMode& mode) {
  if (mode.kv_heads == mode.heads) return text("multi-head(", mode.heads, ")");
  if (mode.kv_heads == 1) return text("multi-query(", mode.heads, ")");
  return text("grouped-query(", mode.heads, ", ", mode.kv_heads, ")");
}

// Fails unless the heads can be shared evenly and d_model splits into them.
inline void check(const AttentionMode& mode, Size d_model) {
  if (mode.heads < 1 || d_model % mode.heads != 0)
    fail("attention: d_model ", d_model, " does not split into ", mode.heads, " heads evenly");
  if (mode.kv_heads < 1 || mode.heads % mode.kv_heads != 0)
    fail("attention: ", mode.heads, " query heads cannot share ", mode.kv_heads, " key/value heads evenly");
}

// The three places where an encoder-decoder attends. Shazeer shares heads at all three, Ainslie leaves the encoder
// alone.
struct AttentionSites {
  AttentionMode encoder_self;
  AttentionMode decoder_self;
  AttentionMode cross;

  AttentionSites(AttentionMode everywhere)
      : AttentionSites(everywhere, everywhere, everywhere) {}  // NOLINT: meant to convert
  AttentionSites(AttentionMode encoder_self_, AttentionMode decoder_self_, AttentionMode cross_)
      : encoder_self(encoder_self_), decoder_self(decoder_self_), cross(cross_) {}
  friend bool operator==(const AttentionSites&, const AttentionSites&) = default;
};

}  // namespace headshare
