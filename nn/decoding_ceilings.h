#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "nn/decoding_cost.h"

namespace headshare {

// 1 MiB, 2 MiB and so on, until it is no less than `largest`; 512 MiB at most.
std::vector<Size> reading_amounts(Device device, Size largest);

// Floating-point operations per second: on the CPU multiply-adds in registers or, where it has one, products in its
// matrix unit, elsewhere a large matrix product in this precision; and what describes them, for a heading.
double measure_peak(Device device, Precision precision = Precision::fp32);
std::string peak_is_of(Device device);

// Bytes per second from the memory behind all caches, when the same are read again and again.
double measure_memory(Device device);

// Measures what decoding runs into on one device, now: shared machines drift. Every figure is the best of nine
// samples, with the threads in use now, and comes from the kernels that decoding uses, on numbers of its own: nothing
// is known here of how long a decoding takes.
class CeilingMeter {
 public:
  // Measures reading so many bytes (a quarter of a second for each amount) and what starting costs.
  CeilingMeter(Device device, const std::vector<Size>& amounts);

  // Also products and attention with as many rows as this decoding has: a tenth of a second each, the first time.
  DecodingCeilings ceilings(const Decoder& decoder, const DecodingMeasurement& measurement);

  const std::vector<ReadingSpeed>& reading() const { return reading_; }
  double peak_flops();  // of float32
  double operation_seconds() const { return operation_seconds_; }
  double team_seconds() const { return team_seconds_; }

 private:
  double product_flops(const Transformer& model, Size rows);
  double attention_flops(const Attention& attention, const DecodingMeasurement& measurement, TensorOptions options,
                         Size sentences, Size targets, Size positions, KeyOrder order);
  double choosing_seconds(const Decoder& decoder, const DecodingMeasurement& measurement);
  double seconds_of_call(const std::function<void()>& call, bool team) const;

  Device device_;
  std::vector<ReadingSpeed> reading_;
  double operation_seconds_;
  double team_seconds_;
  std::map<std::string, double> measured_;  // by what was measured, so that no figure is measured twice
};

}  // namespace headshare
