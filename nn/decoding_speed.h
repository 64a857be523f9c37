#pragma once

#include "nn/beam_search.h"
#include "nn/decoding_cost.h"

namespace headshare {

// Decoding of random sentences, greedily or with a beam, as far as the first step: the encoder is not part of what is
// measured.
class DecodingRun {
 public:
  DecodingRun(const Decoder& decoder, const DecodingMeasurement& measurement);
  void step();
  Size cache_bytes() const { return search_ ? search_->state().bytes() : state_.bytes(); }

 private:
  const Decoder& decoder_;
  DecoderState state_;                // of greedy decoding
  Tensor tokens_;                     // int32 [batch], the last ones; greedy
  std::optional<BeamSearch> search_;  // with a beam
};

// Seconds of every step of one run. On a GPU steps are queued behind each other and cannot be told apart: all get the
// mean.
std::vector<double> seconds_of_steps(const Decoder& decoder, const DecodingMeasurement& measurement);

struct DecodingSpeed {
  double tokens_per_second;  // over all sentences of the batch, the best hypothesis of each
  double seconds_per_step;
  Size cache_bytes;  // of the whole batch, self and cross
};
DecodingSpeed measure_decoding(const Decoder& decoder, const DecodingMeasurement& measurement);

// Where the time of a step goes, in a run that times every operation.
DecodingBreakdown measure_breakdown(const Decoder& decoder, const DecodingMeasurement& measurement);

// What judging a row takes: the breakdown and a new prediction where `prediction` missed, otherwise nothing.
DecodingEvidence gather_evidence(const Decoder& decoder, const DecodingMeasurement& measurement,
                                 const DecodingCost& cost, const Prediction& prediction, double measured_seconds);

}  // namespace headshare
