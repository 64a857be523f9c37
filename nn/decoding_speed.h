#pragma once

#include "nn/decoder.h"

namespace headshare {

struct DecodingMeasurement {
  Size batch = 64;
  Size source_length = 32;
  Size target_length = 32;                  // steps; sentences never end early, so that every run does the same work
  Size repetitions = 3;                     // the median counts
  std::optional<ElementType> cache_type{};  // as DecoderSizes::cache_type
};

// Greedy decoding of random sentences, as far as the first step: the encoder is not part of what is measured.
class DecodingRun {
 public:
  DecodingRun(const Decoder& decoder, const DecodingMeasurement& measurement);
  void step();
  Size cache_bytes() const { return state_.bytes(); }

 private:
  const Decoder& decoder_;
  DecoderState state_;
  Tensor tokens_;  // int32 [batch], the last ones
};

struct DecodingSpeed {
  double tokens_per_second;  // over all sentences of the batch
  double seconds_per_step;
  Size cache_bytes;  // of the whole batch, self and cross
};
DecodingSpeed measure_decoding(const Decoder& decoder, const DecodingMeasurement& measurement);

// What a step costs at least, counted in the model: every weight is read once, every key and value that exists once
// (the target positions on average), and multiplied.
struct DecodingCost {
  double weight_bytes;
  double cache_bytes;
  double flops;
};
DecodingCost decoding_cost(const Decoder& decoder, const DecodingMeasurement& measurement);

}  // namespace headshare
