#include "core/error.h"
#include "nn/decoding_speed.h"
#include "nn/training_speed.h"
#include "tests/benchmarks/benchmark.h"

// The model of docs/results.md: 7.58M parameters, 8 query heads.
namespace headshare::benchmarks {
namespace {

TransformerConfig model_config(Size kv_heads, Size max_length) {
  return checked({.vocabulary = 8000, .attention = grouped_query(8, kv_heads), .max_length = max_length, .dropout = 0});
}

}  // namespace

std::vector<Row> benchmark_training_step() {
  std::vector<Row> rows;
  for (const TrainingMeasurement measurement : {TrainingMeasurement{64, 32}, TrainingMeasurement{16, 128}}) {
    const Transformer model(model_config(8, measurement.length + 2), 1);
    const TrainingSpeed speed = measure_training(model, measurement, 9);
    const double bytes = static_cast<double>(count_parameters(model)) * 4 * 7;  // Adam's pass; activations not counted
    rows.push_back({"training step, 7.58M parameters",
                    text(measurement.sentences, " x ", measurement.length, " + ", measurement.length),
                    speed.seconds_per_step, training_flops(model.config(), measurement), bytes});
  }
  return rows;
}

std::vector<Row> benchmark_decoding() {
  std::vector<Row> rows;
  for (const Size kv_heads : {8, 4, 2, 1}) {
    const Transformer model(model_config(kv_heads, 512), 1);
    const Decoder decoder(model);
    for (const auto& [batch, source] : {std::pair<Size, Size>{1, 128}, {32, 128}, {128, 512}})
      for (const ElementType type : {ElementType::float32, ElementType::bfloat16}) {
        const DecodingMeasurement measurement{batch, source, 64, batch == 1 ? 15 : 3, type};
        const DecodingCost cost = decoding_cost(decoder, measurement);
        rows.push_back({text("decoding step, cache ", name(type)), text("B ", batch, " S ", source, " G ", kv_heads),
                        measure_decoding(decoder, measurement).seconds_per_step, cost.flops(), cost.bytes()});
      }
  }
  return rows;
}

}  // namespace headshare::benchmarks
