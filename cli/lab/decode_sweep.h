#pragma once

#include <deque>
#include <string>
#include <vector>

#include "cli/lab/lab_result.h"
#include "nn/decoding_ceilings.h"
#include "nn/decoding_speed.h"

namespace headshare::cli {

// The lengths and numbers that are combined with each other.
struct DecodeSweep {
  std::vector<Size> batches, sources, targets, beams;
};

// Models of one size that differ in their key/value heads alone, the most heads first; random weights.
class ModelFamily {
 public:
  // config: with H query heads everywhere and H key/value heads
  ModelFamily(std::string name, const TransformerConfig& config, const std::vector<Size>& kv_heads,
              Precision precision = Precision::fp32);

  const std::string& name() const { return name_; }
  const TransformerConfig& config() const { return config_; }
  std::size_t size() const { return members_.size(); }
  const Decoder& decoder(std::size_t i) const { return members_[i].decoder; }
  Size kv_heads(std::size_t i) const { return members_[i].model.config().attention.cross.kv_heads; }

 private:
  struct Member {
    Member(const TransformerConfig& config, Precision precision)
        : model(config, 1), decoder((model.compute_in(precision), model)) {}
    Transformer model;
    Decoder decoder;
  };
  std::string name_;
  TransformerConfig config_;
  std::deque<Member> members_;  // which stay where they are: a decoder knows its model's address
};

// One decoding: counted, predicted, measured, in this order.
struct DecodeRow {
  const ModelFamily* family;
  std::size_t member;
  DecodingMeasurement measurement;
  DecodingCost cost;
  Prediction prediction;
  double seconds = 0;  // of a step, measured
  Verdict verdict{};
  // Against the family's first member in the same setting.
  double bytes_gain = 1;      // its bytes / these bytes
  double predicted_gain = 1;  // of time
  double gain = 1;            // of time, measured

  Size kv_heads() const { return family->kv_heads(member); }
  double bytes_per_second() const { return cost.bytes() / seconds; }
};

// Every combination, predicted; the members of a family beside each other. Leaves out settings whose caches, at the
// most key/value heads, are larger than `most_cache_bytes`.
struct SweepLimits {
  double most_cache_bytes;
  Size repetitions;
  std::optional<ElementType> cache_type{};
};
std::vector<DecodeRow> plan_rows(const ModelFamily& family, const DecodeSweep& sweep, const SweepLimits& limits);
void predict_rows(std::vector<DecodeRow>& rows, CeilingMeter& meter);

// Measures all rows. Members of a family take turns, so that what else the machine does meets all of them alike; of
// every step the fastest turn counts.
void measure_rows(std::vector<DecodeRow>& rows);

}  // namespace headshare::cli
