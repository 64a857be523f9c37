#include "nn/decoding_speed.h"

#include <algorithm>
#include <string_view>

#include "core/measure.h"
#include "nn/batches.h"
#include "nn/decoding_ceilings.h"
#include "tensor/profile.h"
#include "tensor/reduce.h"

namespace headshare {
namespace {

constexpr Size different_numbers = Size{1} << 22;

// What the encoder would make of a sentence does not matter here, only how long it is. Sentences repeat where there are
// many: drawing gigabytes of random numbers would take longer than what is measured.
Tensor random_memory(const Shape& shape, TensorOptions options) {
  Generator generator(1);
  const Size B = shape[0], S = shape[1], C = shape[2];
  const Size different = std::clamp(different_numbers / std::max(S * C, Size{1}), Size{1}, B);
  const Tensor some = random_normal({different, S, C}, 1, generator, options);
  if (different == B) return some;
  const Tensor all(shape, options);
  for (Size b = 0; b < B; b += different) {
    const Size count = std::min(different, B - b);
    all.slice(0, b, b + count).copy_from(some.slice(0, 0, count));
  }
  return all;
}

}  // namespace

DecodingRun::DecodingRun(const Decoder& decoder, const DecodingMeasurement& measurement) : decoder_(decoder) {
  const Transformer& model = decoder.model();
  const Shape shape{measurement.batch, measurement.source_length, model.config().d_model};
  const Variable memory(random_memory(shape, model.activations()));
  const TensorOptions integers{ElementType::int32, model.options().device};
  const Tensor lengths = full({measurement.batch}, static_cast<double>(measurement.source_length), integers);
  state_ = decoder.start(memory, lengths, {measurement.target_length, measurement.beam, measurement.cache_type});
  tokens_ = full({measurement.batch}, begin_id, integers);
  if (measurement.beam == 1) return;
  const std::vector<Size> limits(static_cast<std::size_t>(measurement.batch), measurement.target_length);
  search_.emplace(decoder, std::move(state_), limits, DecodingOptions{.beam = measurement.beam}, SentenceEnd::limit);
}

void DecodingRun::step() {
  if (search_)
    search_->step();
  else
    argmax_into(decoder_.step(tokens_, state_), tokens_);
}

namespace {

double seconds_per_step(const Decoder& decoder, const DecodingMeasurement& measurement, DecodingRun& run) {
  const double seconds = seconds_of([&] {
    for (Size step = 0; step < measurement.target_length; ++step) run.step();
    wait_for(decoder.model().options().device);
  });
  return seconds / static_cast<double>(measurement.target_length);
}

}  // namespace

std::vector<double> seconds_of_steps(const Decoder& decoder, const DecodingMeasurement& measurement) {
  DecodingRun run(decoder, measurement);
  std::vector<double> seconds(static_cast<std::size_t>(measurement.target_length));
  if (decoder.model().options().device == Device::cpu)
    for (double& step : seconds) step = seconds_of([&] { run.step(); });
  else
    std::fill(seconds.begin(), seconds.end(), seconds_per_step(decoder, measurement, run));
  return seconds;
}

DecodingSpeed measure_decoding(const Decoder& decoder, const DecodingMeasurement& measurement) {
  DecodingSpeed speed{};
  std::vector<double> seconds;
  for (Size repetition = -1; repetition < measurement.repetitions; ++repetition) {  // the first warms up
    DecodingRun run(decoder, measurement);
    speed.cache_bytes = run.cache_bytes();
    const double time = seconds_per_step(decoder, measurement, run);
    if (repetition >= 0) seconds.push_back(time);
  }
  speed.seconds_per_step = median(seconds);
  speed.tokens_per_second = static_cast<double>(measurement.batch) / speed.seconds_per_step;
  return speed;
}

DecodingBreakdown measure_breakdown(const Decoder& decoder, const DecodingMeasurement& measurement) {
  DecodingRun run(decoder, measurement);
  const Profile profile;
  const double step = seconds_per_step(decoder, measurement, run);
  DecodingBreakdown breakdown;
  double other = 0;
  for (const OperationRecord& record : profile.records()) {
    const std::string_view name = record.name;
    double& part = name == "linear"                            ? breakdown.products
                   : name == "attention"                       ? breakdown.attention
                   : name == "move_rows"                       ? breakdown.moving
                   : name == "argmax" || name == "log_softmax" ? breakdown.choosing
                                                               : other;
    part += record.seconds / static_cast<double>(measurement.target_length);
  }
  const double between =
      step - breakdown.products - breakdown.attention - breakdown.moving - breakdown.choosing - other;
  // A beam's choice is made by the host, between operations.
  (measurement.beam > 1 ? breakdown.choosing : breakdown.rest) += between;
  breakdown.rest += other;
  return breakdown;
}

DecodingEvidence gather_evidence(const Decoder& decoder, const DecodingMeasurement& measurement,
                                 const DecodingCost& cost, const Prediction& prediction, double measured_seconds) {
  if (is_predicted(prediction, measured_seconds)) return {};
  const Size largest = reading_amounts(decoder.model().options().device, Size{1} << 40).back();
  const Size amount = std::min(largest, static_cast<Size>(cost.bytes()));
  CeilingMeter meter(decoder.model().options().device, {amount});
  return {measure_breakdown(decoder, measurement), predict(cost, meter.ceilings(decoder, measurement))};
}

}  // namespace headshare
