#pragma once

#include "nn/decoding.h"

namespace headshare {

struct EncodedSources {
  Variable memory;  // [sentences, S, C]
  Tensor lengths;   // int32 [sentences]
};
EncodedSources encode_sources(const Transformer& model, const std::vector<TokenIds>& sources);

// What greedy decoding and beam search begin with: the encoded sentences and empty self-attention caches.
struct DecodingStart {
  DecoderState state;
  Size limit;  // steps for the longest source
};
DecodingStart start_decoding(const Decoder& decoder, const std::vector<TokenIds>& sources,
                             const DecodingOptions& options);

// The most target tokens for a source of this many: 2 S + 10, or where the model's positions end.
Size step_limit(const Transformer& model, Size source_length);

}  // namespace headshare
