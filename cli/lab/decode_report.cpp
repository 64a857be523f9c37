#include "cli/lab/decode_report.h"

#include <algorithm>
#include <limits>

#include "core/report/line_chart.h"
#include "core/report/progress.h"

namespace headshare::cli {
namespace {

std::string percent(double part) { return with_decimals(100 * part, 0) + " %"; }
std::string number(Size n) { return std::to_string(n); }

std::string setting_of(const DecodeRow& row) {
  const DecodingMeasurement& m = row.measurement;
  return text(row.family->name(), ", batch ", m.batch, ", source ", m.source_length, ", target ", m.target_length,
              ", beam ", m.beam);
}

// "2.7 to 6.1", or one number where they are alike.
std::string range_of(const std::vector<double>& values, int decimals) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  const std::string from = with_decimals(*least, decimals), to = with_decimals(*most, decimals);
  return from == to ? from : from + " to " + to;
}

template <class Condition>
std::vector<const DecodeRow*> rows_where(const std::vector<DecodeRow>& rows, Condition condition) {
  std::vector<const DecodeRow*> found;
  for (const DecodeRow& row : rows)
    if (condition(row)) found.push_back(&row);
  return found;
}

template <class Value>
std::vector<double> each(const std::vector<const DecodeRow*>& rows, Value value) {
  std::vector<double> values;
  for (const DecodeRow* row : rows) values.push_back(value(*row));
  return values;
}

// The member with the fewest key/value heads, where there is another to compare it with.
bool is_fewest(const DecodeRow& row) { return row.member > 0 && row.member + 1 == row.family->size(); }

std::string heads_of(const DecodeRow& row) {
  return text("from ", row.family->kv_heads(0), " to ", row.kv_heads(), " KV head", row.kv_heads() == 1 ? "" : "s");
}

}  // namespace

// ---- Findings -------------------------------------------------------------------------------------------------------

std::vector<std::string> decode_findings(const std::vector<DecodeRow>& rows) {
  std::vector<std::string> findings;
  const auto missed = rows_where(rows, [](const DecodeRow& row) { return !row.verdict.predicted; });
  const auto whole = static_cast<Size>(rows.size()), within = whole - static_cast<Size>(missed.size());
  findings.push_back(text("Predicted from speeds measured before, within ", percent(tolerated_error),
                          " of what was then measured: ", within, " of ", whole, " rows (",
                          percent(static_cast<double>(within) / static_cast<double>(whole)), ").",
                          missed.empty() ? "" : " What took longer in the others is listed with them."));

  // The bytes' time is at the reading speeds measured before; the operations are the same for any number of KV heads.
  const auto gains = [](const DecodeRow& row) { return row.gain; };
  const auto reached = [](const DecodeRow& row) { return row.gain / row.predicted_gain; };
  const auto multi_head = [](const DecodeRow& row) -> const DecodeRow& { return *(&row - row.member); };
  const auto bounded = rows_where(
      rows, [&](const DecodeRow& row) { return is_fewest(row) && multi_head(row).verdict.bound == Bound::cache; });
  if (!bounded.empty()) {
    const auto enough =
        std::count_if(bounded.begin(), bounded.end(), [&](const DecodeRow* row) { return reached(*row) >= 0.8; });
    findings.push_back(text("Where reading the cache takes most of a multi-head step (", bounded.size(), " settings), ",
                            heads_of(*bounded[0]), " is ", range_of(each(bounded, gains), 1),
                            " times faster: ", range_of(each(bounded, reached), 2),
                            " of what the bytes predict when the arithmetic stays, at least 0.80 in ", enough, " of ",
                            bounded.size(), ". The bytes alone shrink ",
                            range_of(each(bounded, [](const DecodeRow& row) { return row.bytes_gain; }), 1),
                            " times."));
  }
  const auto decided =
      rows_where(rows, [&](const DecodeRow& row) { return is_fewest(row) && row.verdict.bound == Bound::cache; });
  if (!decided.empty())
    findings.push_back(text("Where the cache takes most of the step with the fewest heads, too (", decided.size(),
                            " settings), the gain is ", range_of(each(decided, gains), 1), ", ",
                            range_of(each(decided, reached), 2), " of what was predicted and ",
                            range_of(each(decided, [](const DecodeRow& row) { return row.gain / row.bytes_gain; }), 2),
                            " of what the bytes alone shrink."));

  // Where sharing does not help: never bound by the cache in the first place.
  for (const std::string& family : {std::string("full"), std::string("toy")})
    for (const Bound bound : {Bound::overhead, Bound::weights, Bound::compute}) {
      const auto never = rows_where(rows, [&](const DecodeRow& row) {
        return row.family->name() == family && is_fewest(row) && multi_head(row).verdict.bound == bound;
      });
      if (never.empty()) continue;
      const DecodeRow& example = *never.front();
      findings.push_back(text("Where multi-head attention is ", name(bound), " already (", family, " size, ",
                              never.size(), " settings), ", heads_of(example), " is ", range_of(each(never, gains), 2),
                              " times faster. Of ", setting_of(example), ": ", multi_head(example).verdict.why, "."));
    }
  return findings;
}

// ---- Tables ---------------------------------------------------------------------------------------------------------

LabResult::Table decode_table(const std::vector<DecodeRow>& rows) {
  const auto right = Alignment::right;
  LabResult::Table table{
      "Decoding steps",
      "A step is one token of every sentence. MB: read in a step. x bytes, x predicted, x measured: against the most "
      "KV "
      "heads of the same setting, by the bytes alone, by predicted and by measured time. Verdicts with * miss the "
      "measurement by more than 35 %: see below.",
      {{"size"},
       {"batch", right},
       {"source", right},
       {"target", right},
       {"beam", right},
       {"KV heads", right},
       {"weights MB", right},
       {"caches MB", right},
       {"predicted ms", right},
       {"measured ms", right},
       {"GB/s", right},
       {"x bytes", right},
       {"x predicted", right},
       {"x measured", right},
       {"verdict"}},
      {}};
  for (const DecodeRow& row : rows) {
    const DecodingMeasurement& m = row.measurement;
    table.rows.push_back({row.family->name(), number(m.batch), number(m.source_length), number(m.target_length),
                          number(m.beam), number(row.kv_heads()), with_decimals(row.cost.weights.bytes / 1e6, 1),
                          with_decimals(row.cost.cache_bytes() / 1e6, 1),
                          with_decimals(1e3 * row.prediction.seconds(), 3), with_decimals(1e3 * row.seconds, 3),
                          with_decimals(row.bytes_per_second() / 1e9, 1), with_decimals(row.bytes_gain, 2),
                          with_decimals(row.predicted_gain, 2), with_decimals(row.gain, 2),
                          name(row.verdict.bound) + (row.verdict.predicted ? "" : " *")});
  }
  return table;
}

LabResult::Table unpredicted_table(const std::vector<DecodeRow>& rows) {
  LabResult::Table table{"Rows whose prediction misses by more than 35 %", "", {{"setting"}, {"verdict"}, {"why"}}, {}};
  for (const DecodeRow& row : rows)
    if (!row.verdict.predicted)
      table.rows.push_back(
          {text(setting_of(row), ", ", row.kv_heads(), " KV heads"), name(row.verdict.bound), row.verdict.why});
  return table;
}

LabResult::Table ceilings_table(CeilingMeter& meter, Device device) {
  LabResult::Table table{"What this machine can do, measured before the first row",
                         "Products and attention are measured beside these for every number of rows.",
                         {{"ceiling"}, {"value", Alignment::right}, {"unit"}},
                         {}};
  for (const ReadingSpeed& speed : meter.reading())
    table.rows.push_back({text(device == Device::cpu ? "reading " : "copying ", static_cast<Size>(speed.bytes) >> 20,
                               " MiB again and again"),
                          with_decimals(speed.bytes_per_second / 1e9, 1), "GB/s"});
  table.rows.push_back({device == Device::cpu ? "multiply-adds in registers" : "a large matrix product",
                        with_decimals(meter.peak_flops() / 1e9, 0), "GFLOP/s"});
  table.rows.push_back({"the smallest operation", with_decimals(1e6 * meter.operation_seconds(), 2), "us"});
  if (device == Device::cpu)
    table.rows.push_back({"starting the threads", with_decimals(1e6 * meter.team_seconds(), 2), "us"});
  return table;
}

nlohmann::ordered_json decode_row_objects(const std::vector<DecodeRow>& rows) {
  nlohmann::ordered_json objects = nlohmann::ordered_json::array();
  for (const DecodeRow& row : rows) {
    const DecodingMeasurement& m = row.measurement;
    const TransformerConfig& config = row.family->config();
    const Prediction& p = row.prediction;
    objects.push_back(
        {{"size", row.family->name()},
         {"d_model", config.d_model},
         {"d_ff", config.d_ff},
         {"layers", config.layers},
         {"heads", config.attention.cross.heads},
         {"vocabulary", config.vocabulary},
         {"batch", m.batch},
         {"source", m.source_length},
         {"target", m.target_length},
         {"kv_heads", row.kv_heads()},
         {"beam", m.beam},
         {"cache", name(m.cache_type.value_or(row.family->decoder(row.member).model().activations().type))},
         {"weight_bytes", row.cost.weights.bytes},
         {"cache_bytes", row.cost.cache_bytes()},
         {"flops", row.cost.flops()},
         {"operations", row.cost.operations},
         {"predicted_seconds", p.seconds()},
         {"predicted_overhead_seconds", p.seconds(Bound::overhead)},
         {"predicted_weight_seconds", p.seconds(Bound::weights)},
         {"predicted_cache_seconds", p.seconds(Bound::cache)},
         {"predicted_compute_seconds", p.seconds(Bound::compute)},
         {"seconds", row.seconds},
         {"tokens_per_second", static_cast<double>(m.batch) / row.seconds},
         {"bytes_per_second", row.bytes_per_second()},
         {"flops_per_second", row.cost.flops() / row.seconds},
         {"bytes_gain", row.bytes_gain},
         {"predicted_gain", row.predicted_gain},
         {"gain", row.gain},
         {"bound", name(row.verdict.bound)},
         {"predicted", row.verdict.predicted},
         {"why", row.verdict.why}});
  }
  return objects;
}

// ---- Charts ---------------------------------------------------------------------------------------------------------

namespace {

constexpr double gap = std::numeric_limits<double>::quiet_NaN();  // makes every point stand alone

LineChart roofline(const std::vector<DecodeRow>& rows, CeilingMeter& meter) {
  const auto intensity = [](const DecodeRow& row) { return row.cost.flops() / row.cost.bytes(); };
  double low = std::numeric_limits<double>::infinity(), high = 0;
  for (const DecodeRow& row : rows) {
    low = std::min(low, intensity(row));
    high = std::max(high, intensity(row));
  }
  LineChart chart{.title = "Roofline of decoding steps",
                  .x_label = "arithmetic intensity, operations a byte",
                  .y_label = "GFLOP/s",
                  .x_scale = AxisScale::logarithmic,
                  .y_scale = AxisScale::logarithmic};
  const auto roof = [&](const ReadingSpeed& speed, Color color) {
    Series series{
        .name = text(static_cast<Size>(speed.bytes) >> 20, " MiB: ", with_decimals(speed.bytes_per_second / 1e9, 0),
                     " GB/s, then ", with_decimals(meter.peak_flops() / 1e9, 0), " GFLOP/s"),
        .color = color};
    for (double x = low / 1.5; x < 2 * high; x *= 1.05) {
      series.x.push_back(x);
      series.y.push_back(std::min(meter.peak_flops(), x * speed.bytes_per_second) / 1e9);
    }
    chart.series.push_back(series);
  };
  roof(meter.reading().front(), {150, 156, 165});
  roof(meter.reading().back(), colors::ink);
  const std::vector<std::pair<Bound, Color>> verdicts = {{Bound::cache, {0, 114, 178}},
                                                         {Bound::compute, {213, 94, 0}},
                                                         {Bound::weights, {0, 158, 115}},
                                                         {Bound::overhead, {204, 121, 167}}};
  for (const auto& [bound, color] : verdicts) {
    Series series{.name = name(bound), .color = color};
    for (const DecodeRow& row : rows) {
      if (row.verdict.bound != bound) continue;
      series.x.insert(series.x.end(), {intensity(row), gap});
      series.y.insert(series.y.end(), {row.cost.flops() / row.seconds / 1e9, gap});
    }
    if (!series.x.empty()) chart.series.push_back(series);
  }
  return chart;
}

// Up to three settings: where sharing gains most, least, and one from the middle.
std::vector<const DecodeRow*> telling_settings(const std::vector<DecodeRow>& rows) {
  std::vector<const DecodeRow*> fewest = rows_where(rows, is_fewest);
  std::sort(fewest.begin(), fewest.end(), [](const DecodeRow* a, const DecodeRow* b) { return a->gain > b->gain; });
  if (fewest.size() <= 3) return fewest;
  return {fewest.front(), fewest[fewest.size() / 3], fewest.back()};
}

LineChart gains_by_heads(const std::vector<DecodeRow>& rows) {
  LineChart chart{.title = "How much faster fewer key/value heads are",
                  .x_label = "key/value heads",
                  .y_label = "times as fast as with the most heads",
                  .x_scale = AxisScale::logarithmic};
  // Predicted in a light tone of the colour in which the same setting's measurement stands.
  const std::vector<std::pair<Color, Color>> tones = {
      {{128, 184, 216}, {0, 114, 178}}, {{234, 174, 128}, {213, 94, 0}}, {{128, 206, 185}, {0, 158, 115}}};
  const std::vector<const DecodeRow*> settings = telling_settings(rows);
  for (std::size_t i = 0; i < settings.size(); ++i) {
    const DecodeRow* last = settings[i];
    Series predicted{.name = setting_of(*last) + ": predicted", .color = tones[i].first};
    Series measured{.name = "measured", .color = tones[i].second};
    for (const DecodeRow* row = last - last->member; row <= last; ++row) {
      for (Series* series : {&predicted, &measured}) series->x.push_back(static_cast<double>(row->kv_heads()));
      predicted.y.push_back(row->predicted_gain);
      measured.y.push_back(row->gain);
    }
    chart.series.insert(chart.series.end(), {predicted, measured});
  }
  return chart;
}

}  // namespace

std::vector<LabResult::Chart> draw_decode_charts(const std::vector<DecodeRow>& rows, CeilingMeter& meter,
                                                 const std::filesystem::path& folder) {
  const LineChart roof = roofline(rows, meter), gains = gains_by_heads(rows);
  write_png(roof, folder / "roofline.png");
  write_png(gains, folder / "kv-heads.png");
  return {{roof.title, "roofline.png"}, {gains.title, "kv-heads.png"}};
}

}  // namespace headshare::cli
