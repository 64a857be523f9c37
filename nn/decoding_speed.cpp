#include "nn/decoding_speed.h"

#include "core/measure.h"
#include "nn/batches.h"
#include "tensor/reduce.h"

namespace headshare {

DecodingRun::DecodingRun(const Decoder& decoder, const DecodingMeasurement& measurement) : decoder_(decoder) {
  const Transformer& model = decoder.model();
  // What the encoder would make of a sentence does not matter here, only how long it is.
  Generator generator(1);
  const Shape shape{measurement.batch, measurement.source_length, model.config().d_model};
  const Variable memory(random_normal(shape, 1, generator, model.options()));
  const TensorOptions integers{ElementType::int32, model.options().device};
  const Tensor lengths = full({measurement.batch}, static_cast<double>(measurement.source_length), integers);
  state_ = decoder.start(memory, lengths, {measurement.target_length, 1, measurement.cache_type});
  tokens_ = full({measurement.batch}, begin_id, integers);
}

void DecodingRun::step() { argmax_into(decoder_.step(tokens_, state_), tokens_); }

DecodingSpeed measure_decoding(const Decoder& decoder, const DecodingMeasurement& measurement) {
  DecodingSpeed speed{};
  std::vector<double> seconds;
  for (Size repetition = -1; repetition < measurement.repetitions; ++repetition) {  // the first warms up
    DecodingRun run(decoder, measurement);
    speed.cache_bytes = run.cache_bytes();
    const double time = seconds_of([&] {
      for (Size step = 0; step < measurement.target_length; ++step) run.step();
      wait_for(decoder.model().options().device);
    });
    if (repetition >= 0) seconds.push_back(time);
  }
  speed.seconds_per_step = median(seconds) / static_cast<double>(measurement.target_length);
  speed.tokens_per_second = static_cast<double>(measurement.batch) / speed.seconds_per_step;
  return speed;
}

DecodingCost decoding_cost(const Decoder& decoder, const DecodingMeasurement& measurement) {
  const Transformer& model = decoder.model();
  const double batch = static_cast<double>(measurement.batch);
  const double element_bytes = static_cast<double>(bytes_of(model.options().type));
  double cached = 0, scored = 0;  // numbers read from the caches, multiply-adds of attention, per sentence
  for (const DecoderLayer& layer : model.decoder())
    for (const auto& [attention, positions] :
         {std::pair{&layer.self, (static_cast<double>(measurement.target_length) + 1) / 2},
          std::pair{&layer.cross, static_cast<double>(measurement.source_length)}}) {
      const double numbers = 2 * positions * static_cast<double>(attention->head_size());  // of one head
      cached += numbers * static_cast<double>(attention->mode.kv_heads);
      scored += numbers * static_cast<double>(attention->mode.heads);
    }
  const double weights = static_cast<double>(decoder.weight_bytes());
  return {weights,
          batch * cached * static_cast<double>(bytes_of(measurement.cache_type.value_or(model.options().type))),
          2 * batch * (weights / element_bytes + scored)};
}

}  // namespace headshare
