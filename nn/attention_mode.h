#pragma once

#include <string>

#include "core/error.h"
#include "core/size.h"

namespace headshare {

// How many key/value heads the query heads share. One formula covers all three:
// query head h reads key/value head h / (heads / kv_heads).
struct AttentionMode {
  Size heads;          // H, query heads
  Size kv_heads;       // G, key/value heads; divides H
  Size head_size = 0;  // D, numbers of a head; 0: d_model / heads
  Size window = 0;     // decoder self-attention: positions seen, its own and those before it; 0: all of them
  friend bool operator==(const AttentionMode&, const AttentionMode&) = default;
};
constexpr AttentionMode multi_head(Size heads) { return {heads, heads}; }                   // Vaswani 2017
constexpr AttentionMode multi_query(Size heads) { return {heads, 1}; }                      // Shazeer 2019
constexpr AttentionMode grouped_query(Size heads, Size groups) { return {heads, groups}; }  // Ainslie 2023

// The same mode but for one number. Local attention and heads of any size: Shazeer 2019, table 1.
constexpr AttentionMode local_window(AttentionMode mode, Size window) {
  mode.window = window;
  return mode;
}
constexpr AttentionMode with_head_size(AttentionMode mode, Size head_size) {
  mode.head_size = head_size;
  return mode;
}
constexpr AttentionMode with_kv_heads(AttentionMode mode, Size kv_heads) {
  mode.kv_heads = kv_heads;
  return mode;
}

// D of a mode in a model of this width.
constexpr Size head_size(const AttentionMode& mode, Size d_model) {
  return mode.head_size != 0 ? mode.head_size : d_model / mode.heads;
}

// Such as "grouped-query(8, 2) of 16, window 32".
inline std::string name(const AttentionMode& mode) {
  const std::string sharing = mode.kv_heads == mode.heads ? text("multi-head(", mode.heads, ")")
                              : mode.kv_heads == 1        ? text("multi-query(", mode.heads, ")")
                                                   : text("grouped-query(", mode.heads, ", ", mode.kv_heads, ")");
  return sharing + (mode.head_size != 0 ? text(" of ", mode.head_size) : "") +
         (mode.window != 0 ? text(", window ", mode.window) : "");
}

// Fails unless the heads can be shared evenly, and d_model splits into them where they have no size of their own.
inline void check(const AttentionMode& mode, Size d_model) {
  constexpr Size widest = 1'000'000;  // all heads together
  if (mode.heads < 1 || (mode.head_size == 0 && d_model % mode.heads != 0))
    fail("attention: d_model ", d_model, " does not split into ", mode.heads, " heads evenly");
  if (mode.kv_heads < 1 || mode.heads % mode.kv_heads != 0)
    fail("attention: ", mode.heads, " query heads cannot share ", mode.kv_heads, " key/value heads evenly");
  if (mode.head_size < 0 || mode.head_size > widest / mode.heads)
    fail("attention: ", mode.heads, " heads of ", mode.head_size, " numbers cannot be built");
  if (mode.window < 0) fail("attention: a window of ", mode.window, " positions, needed 1 or more, or 0 for all");
}

// The three places where an encoder-decoder attends. Shazeer shares heads at all three, Ainslie leaves the encoder
// alone.
enum class AttentionSite { encoder_self, decoder_self, cross };

struct AttentionSites {
  AttentionMode encoder_self;
  AttentionMode decoder_self;
  AttentionMode cross;

  AttentionSites(AttentionMode everywhere)
      : AttentionSites(everywhere, everywhere, everywhere) {}  // NOLINT: meant to convert
  AttentionSites(AttentionMode encoder_self_, AttentionMode decoder_self_, AttentionMode cross_)
      : encoder_self(encoder_self_), decoder_self(decoder_self_), cross(cross_) {}

  const AttentionMode& at(AttentionSite site) const {
    return site == AttentionSite::encoder_self   ? encoder_self
           : site == AttentionSite::decoder_self ? decoder_self
                                                 : cross;
  }
  friend bool operator==(const AttentionSites&, const AttentionSites&) = default;
};

// Such as "encoder multi-head(8); decoder multi-head(8), window 32; cross multi-query(8)".
inline std::string name(const AttentionSites& sites) {
  return text("encoder ", name(sites.encoder_self), "; decoder ", name(sites.decoder_self), "; cross ",
              name(sites.cross));
}

// Fails unless all three can be built. A query that looks back needs a position among the keys: only those of decoder
// self-attention have one and may not look ahead.
inline void check(const AttentionSites& sites, Size d_model) {
  for (const AttentionMode& mode : {sites.encoder_self, sites.decoder_self, sites.cross}) check(mode, d_model);
  const auto no_window = [](const char* site, const AttentionMode& mode) {
    if (mode.window != 0)
      fail("attention: a window of ", mode.window, " positions in ", site, ", needed in decoder self-attention only");
  };
  no_window("encoder self-attention", sites.encoder_self);
  no_window("cross-attention", sites.cross);
}

}  // namespace headshare
