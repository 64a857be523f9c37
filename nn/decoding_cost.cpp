#include "nn/decoding_cost.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/report/progress.h"
#include "kernels/parallel.h"

namespace headshare {
namespace {

double number(Size n) { return static_cast<double>(n); }

// How many operations of a step are worth a team of threads. Counted in element operations, as parallel.h does: a
// product needs that many multiply-adds for each of at least two threads.
class TeamCount {
 public:
  void product(Size rows, Size n, Size k) { add(rows * n * k >= 2 * kernels::parallel_threshold); }
  void attention(double multiply_adds) { add(multiply_adds >= number(kernels::parallel_threshold)); }
  void rows(Size rows, Size cost_of_row) { add(rows > 1 && rows * cost_of_row >= kernels::parallel_threshold); }

  Size operations() const { return operations_; }
  Size teams() const { return teams_; }

 private:
  void add(bool team) {
    ++operations_;
    teams_ += team ? 1 : 0;
  }
  Size operations_ = 0, teams_ = 0;
};

// How many positions a query of decoder self-attention sees, on average over a target of this length.
double positions_seen(Size target_length, Size window) {
  const Size T = target_length, w = window == 0 ? T : std::min(window, T);
  return number(w * (w + 1) / 2 + (T - w) * w) / number(T);
}

// Of D cached numbers; int8 ones have a float32 scale beside them.
double cached_head_bytes(Size head_size, ElementType type) {
  return number(head_size * bytes_of(type)) + (type == ElementType::int8 ? sizeof(float) : 0);
}

}  // namespace

// ---- Counting -------------------------------------------------------------------------------------------------------

DecodingCost decoding_cost(const Decoder& decoder, const DecodingMeasurement& measurement) {
  const Transformer& model = decoder.model();
  const TransformerConfig& config = model.config();
  const Size rows = measurement.rows(), C = config.d_model;
  const ElementType computed = model.activations().type;
  DecodingCost cost;
  TeamCount count;

  // Numbers cached for one position: of the G heads, keys and values. Operations with them: of all H heads.
  const auto attend = [&](const Attention& attention, double positions, Size caches, Work& work) {
    const double of_head = 2 * positions * number(attention.head_size());
    work.bytes += number(caches) * 2 * positions * number(attention.mode.kv_heads) *
                  cached_head_bytes(attention.head_size(), measurement.cache_type.value_or(computed));
    work.flops += 2 * number(rows) * of_head * number(attention.mode.heads);
    count.attention(number(rows) * of_head * number(attention.mode.heads));
  };
  const auto multiply = [&](const Linear& linear) {
    count.product(rows, linear.weight.extent(1), linear.weight.extent(0));
  };
  for (const DecoderLayer& layer : model.decoder()) {
    const Size heads_width = layer.self.key.weight.extent(1);
    count.product(rows, layer.self.query.weight.extent(1) + 2 * heads_width, C);
    count.rows(rows, 4 * heads_width);  // keys and values into the caches
    attend(layer.self, positions_seen(measurement.target_length, layer.self.mode.window), rows, cost.self_cache);
    multiply(layer.self.output);
    multiply(layer.cross.query);
    attend(layer.cross, number(measurement.source_length), measurement.batch, cost.cross_cache);
    multiply(layer.cross.output);
    multiply(layer.feed_forward.inner);
    multiply(layer.feed_forward.outer);
    for (int norm = 0; norm < 3; ++norm) count.rows(rows, 4 * C);
  }
  if (config.norm == NormPlacement::pre) count.rows(rows, 4 * C);
  count.product(rows, config.vocabulary, C);
  count.rows(rows, C);                                             // embedding
  for (int counts = 0; counts < 2; ++counts) count.rows(1, rows);  // the tokens' copy, the positions seen

  const double numbers = number(decoder.weight_bytes()) / number(bytes_of(computed));
  cost.weights = {number(decoder.weight_bytes(rows)), 2 * number(rows) * numbers};
  const double moving = number(measurement.beam - 1) / number(measurement.beam);
  cost.moved_bytes = 2 * moving * cost.self_cache.bytes;  // read and written
  cost.operations = count.operations();
  cost.teams = count.teams();
  return cost;
}

// ---- Predicting -----------------------------------------------------------------------------------------------------

double DecodingCeilings::bytes_per_second(double working_set) const {
  if (reading.empty()) fail("decoding ceilings: no reading speed was measured");
  if (working_set <= reading.front().bytes) return reading.front().bytes_per_second;
  for (std::size_t i = 1; i < reading.size(); ++i) {
    const ReadingSpeed &less = reading[i - 1], &more = reading[i];
    if (working_set > more.bytes) continue;
    const double part = std::log(working_set / less.bytes) / std::log(more.bytes / less.bytes);
    return less.bytes_per_second + part * (more.bytes_per_second - less.bytes_per_second);
  }
  return reading.back().bytes_per_second;
}

Prediction predict(const DecodingCost& cost, const DecodingCeilings& ceilings) {
  const double working_set = cost.weights.bytes + cost.self_cache.bytes + cost.cross_cache.bytes;
  const double bytes_per_second = ceilings.bytes_per_second(working_set);
  const auto part = [&](const Work& work, double flops_per_second) {
    const PredictedPart both{work.bytes / bytes_per_second, work.flops / flops_per_second};
    if (ceilings.overlap == Overlap::none) return both;
    return both.reading > both.computing ? PredictedPart{both.reading, 0} : PredictedPart{0, both.computing};
  };
  return {bytes_per_second,
          part(cost.weights, ceilings.product_flops),
          part(cost.self_cache, ceilings.self_attention_flops),
          part(cost.cross_cache, ceilings.cross_attention_flops),
          cost.moved_bytes / bytes_per_second,
          number(cost.operations) * ceilings.operation_seconds + number(cost.teams) * ceilings.team_seconds,
          ceilings.choosing_seconds};
}

double Prediction::seconds() const {
  return weights.seconds() + self_cache.seconds() + cross_cache.seconds() + moving + starting + choosing;
}

double Prediction::seconds(Bound bound) const {
  return bound == Bound::overhead  ? starting + choosing
         : bound == Bound::weights ? weights.reading
         : bound == Bound::cache   ? self_cache.reading + cross_cache.reading + moving
                                   : weights.computing + self_cache.computing + cross_cache.computing;
}

Bound Prediction::bound() const {
  constexpr std::array all{Bound::overhead, Bound::weights, Bound::cache, Bound::compute};
  return *std::max_element(all.begin(), all.end(), [&](Bound a, Bound b) { return seconds(a) < seconds(b); });
}

// ---- Judging --------------------------------------------------------------------------------------------------------

std::string name(Bound bound) {
  return bound == Bound::overhead  ? "overhead-bound"
         : bound == Bound::weights ? "weight-bound"
         : bound == Bound::cache   ? "cache-bound"
                                   : "compute-bound";
}

namespace {

std::string milliseconds(double seconds) { return with_decimals(1e3 * seconds, seconds < 1e-3 ? 3 : 2) + " ms"; }
std::string gigabytes(double bytes_per_second) { return with_decimals(bytes_per_second / 1e9, 1) + " GB/s"; }
std::string megabytes(double bytes) { return with_decimals(bytes / 1e6, 1) + " MB"; }

// Which part of the prediction stands for the bound, with its counts.
std::string explain(const DecodingCost& cost, const Prediction& prediction, Bound bound) {
  std::string parts;
  const auto add = [&](const std::string& what, double seconds) {
    parts += text(parts.empty() ? "" : ", ", what, ' ', milliseconds(seconds));
  };
  if (bound == Bound::overhead) {
    add(text("starting ", cost.operations, " operations"), prediction.starting);
    add("choosing tokens", prediction.choosing);
  }
  if (bound == Bound::weights)
    add(text("reading ", megabytes(cost.weights.bytes), " of weights"), prediction.weights.reading);
  if (bound == Bound::cache)
    add(text("reading ", megabytes(cost.cache_bytes()), " of caches"), prediction.seconds(bound));
  if (bound == Bound::compute) {
    add(text(with_decimals(cost.weights.flops / 1e9, 2), " GFLOP of products"), prediction.weights.computing);
    add("attention's arithmetic", prediction.self_cache.computing + prediction.cross_cache.computing);
  }
  const double share = prediction.seconds(bound) / prediction.seconds();
  return text(parts, ", ", with_decimals(100 * share, 0), " % of the predicted ", milliseconds(prediction.seconds()));
}

struct Difference {
  std::string what;
  double before, after;  // seconds
  double bytes;          // read meanwhile; 0: none
};

double attention_seconds(const Prediction& prediction) {
  return prediction.self_cache.seconds() + prediction.cross_cache.seconds();
}

// What took longest beyond its prediction.
std::string explain_gap(const DecodingCost& cost, const Prediction& prediction, const DecodingBreakdown& breakdown) {
  const std::array differences{
      Difference{"products", prediction.weights.seconds(), breakdown.products, cost.weights.bytes},
      Difference{"attention", attention_seconds(prediction), breakdown.attention,
                 cost.self_cache.bytes + cost.cross_cache.bytes},
      Difference{"moving rows of the caches", prediction.moving, breakdown.moving, cost.moved_bytes},
      Difference{"choosing tokens", prediction.choosing, breakdown.choosing, 0},
      Difference{text("everything else of ", cost.operations, " operations"), prediction.starting, breakdown.rest, 0}};
  const Difference& gap = *std::max_element(differences.begin(), differences.end(), [](const auto& a, const auto& b) {
    return a.after - a.before < b.after - b.before;
  });
  return text("mostly ", gap.what, ": ", milliseconds(gap.after), " where its bytes and operations take ",
              milliseconds(gap.before), gap.bytes > 0 ? ", " + gigabytes(gap.bytes / gap.after) : "");
}

// Reading and computing are added up, but may go on at the same time: where that is most of what was less than
// predicted, it is said.
std::string explain_haste(const Prediction& prediction, double measured_seconds, const DecodingBreakdown& breakdown) {
  const PredictedPart products = prediction.weights,
                      attention{prediction.self_cache.reading + prediction.cross_cache.reading,
                                prediction.self_cache.computing + prediction.cross_cache.computing};
  const auto explanation = [&](const char* what, const PredictedPart& part, double seconds) -> std::string {
    const double saved = part.seconds() - seconds, missed = prediction.seconds() - measured_seconds;
    if (2 * saved < missed || seconds < std::max(part.reading, part.computing)) return "";
    return text("; ", what, " took ", milliseconds(seconds), ", because reading, ", milliseconds(part.reading),
                ", and arithmetic, ", milliseconds(part.computing), ", went on at the same time");
  };
  return explanation("products", products, breakdown.products) +
         explanation("attention", attention, breakdown.attention);
}

// What the machine now does at another speed than before.
std::string explain_change(const Prediction& before, const Prediction& after) {
  const std::array differences{Difference{"products", before.weights.seconds(), after.weights.seconds(), 0},
                               Difference{"attention", attention_seconds(before), attention_seconds(after), 0},
                               Difference{"moving rows of the caches", before.moving, after.moving, 0},
                               Difference{"choosing tokens", before.choosing, after.choosing, 0},
                               Difference{"starting operations", before.starting, after.starting, 0}};
  const Difference& change = *std::max_element(
      differences.begin(), differences.end(),
      [](const auto& a, const auto& b) { return std::abs(a.after - a.before) < std::abs(b.after - b.before); });
  return text(milliseconds(after.seconds()), " are predicted from speeds measured again, ", change.what, " take ",
              milliseconds(change.after), " of it instead of ", milliseconds(change.before), " (reading at ",
              gigabytes(after.bytes_per_second), ", before at ", gigabytes(before.bytes_per_second), ")");
}

}  // namespace

bool is_predicted(const Prediction& prediction, double measured_seconds) {
  return std::abs(prediction.seconds() - measured_seconds) <= tolerated_error * measured_seconds;
}

Verdict judge(const DecodingCost& cost, const Prediction& prediction, double measured_seconds,
              const DecodingEvidence& evidence) {
  Verdict verdict{prediction.bound(), is_predicted(prediction, measured_seconds), {}};
  verdict.why = explain(cost, prediction, verdict.bound);
  if (verdict.predicted) return verdict;
  const Prediction& again = evidence.again;
  verdict.why += "; measured " + milliseconds(measured_seconds);
  verdict.bound = again.bound();
  if (is_predicted(again, measured_seconds)) {
    verdict.why += ", the machine has changed: " + explain_change(prediction, again);
    return verdict;
  }
  const double unexplained = measured_seconds - again.seconds();
  if (unexplained < 0) {
    verdict.why += text(", less than ", milliseconds(again.seconds()), ", predicted from speeds measured again",
                        explain_haste(again, measured_seconds, evidence.breakdown));
    return verdict;
  }
  if (again.seconds(Bound::overhead) + unexplained > again.seconds(verdict.bound)) verdict.bound = Bound::overhead;
  verdict.why += ", the difference is overhead, " + explain_gap(cost, again, evidence.breakdown);
  return verdict;
}

}  // namespace headshare
