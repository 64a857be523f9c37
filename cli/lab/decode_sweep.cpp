#include "cli/lab/decode_sweep.h"

#include <algorithm>
#include <numeric>

#include "core/report/progress.h"
#include "tensor/storage.h"

namespace headshare::cli {

ModelFamily::ModelFamily(std::string name, const TransformerConfig& config, const std::vector<Size>& kv_heads,
                         Precision precision)
    : name_(std::move(name)), config_(checked(config)) {
  for (const Size G : kv_heads) {
    TransformerConfig member = config_;
    member.attention = with_kv_heads(config_.attention.cross, G);
    members_.emplace_back(checked(member), precision);
  }
}

std::vector<DecodeRow> plan_rows(const ModelFamily& family, const DecodeSweep& sweep, const SweepLimits& limits) {
  std::vector<DecodeRow> rows;
  for (const Size batch : sweep.batches)
    for (const Size source : sweep.sources)
      for (const Size target : sweep.targets)
        for (const Size beam : sweep.beams) {
          const DecodingMeasurement measurement{batch, source, target, limits.repetitions, limits.cache_type, beam};
          if (decoding_cost(family.decoder(0), measurement).cache_bytes() > limits.most_cache_bytes) continue;
          const std::size_t first = rows.size();
          for (std::size_t member = 0; member < family.size(); ++member) {
            rows.push_back({&family, member, measurement, decoding_cost(family.decoder(member), measurement), {}});
            rows.back().bytes_gain = rows[first].cost.bytes() / rows.back().cost.bytes();
          }
        }
  return rows;
}

void predict_rows(std::vector<DecodeRow>& rows, CeilingMeter& meter) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    DecodeRow& row = rows[i];
    row.prediction = predict(row.cost, meter.ceilings(row.family->decoder(row.member), row.measurement));
    row.predicted_gain = rows[i - row.member].prediction.seconds() / row.prediction.seconds();
  }
}

void measure_rows(std::vector<DecodeRow>& rows) {
  Progress progress("decode", static_cast<Size>(rows.size()), {.unit = "rows"});
  for (std::size_t first = 0; first < rows.size();) {
    const std::size_t members = rows[first].family->size();
    std::vector<std::vector<double>> best(members);  // seconds of each step, in its fastest turn
    for (Size repetition = 0; repetition < rows[first].measurement.repetitions; ++repetition)
      for (std::size_t i = 0; i < members; ++i) {
        const DecodeRow& row = rows[first + i];
        const std::vector<double> seconds = seconds_of_steps(row.family->decoder(row.member), row.measurement);
        if (repetition == 0) best[i] = seconds;
        for (std::size_t step = 0; step < seconds.size(); ++step)
          best[i][step] = std::min(best[i][step], seconds[step]);
      }
    for (std::size_t i = 0; i < members; ++i) {
      DecodeRow& row = rows[first + i];
      const Decoder& decoder = row.family->decoder(row.member);
      row.seconds = std::reduce(best[i].begin(), best[i].end()) / static_cast<double>(best[i].size());
      row.gain = rows[first].seconds / row.seconds;
      row.verdict = judge(row.cost, row.prediction, row.seconds,
                          gather_evidence(decoder, row.measurement, row.cost, row.prediction, row.seconds));
      progress.update(static_cast<Size>(first + i) + 1,
                      text(row.family->name(), ", batch ", row.measurement.batch, ", source ",
                           row.measurement.source_length, ", beam ", row.measurement.beam));
    }
    release_cached_memory(rows[first].family->decoder(0).model().options().device);
    first += members;
  }
  progress.finish();
}

}  // namespace headshare::cli
