#include <omp.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "core/measure.h"
#include "core/report/line_chart.h"
#include "core/report/progress.h"
#include "core/report/table.h"
#include "kernels/machine_limits.h"
#include "lesson.h"
#include "nn/decoding_speed.h"
#include "tensor/attention.h"
#include "tutorials/support/step.h"

namespace headshare::lesson {
namespace {

constexpr Alignment right = Alignment::right;
const char* yes_or_no(bool answer) { return answer ? "yes" : "no"; }

// What a clock says differs from run to run.
std::string milliseconds(double seconds) { return "~" + with_decimals(1e3 * seconds, 2); }
std::string megabytes(double bytes) { return with_decimals(bytes / 1e6, 1); }

// A model that translates long texts, with narrow layers and many keys: here the caches can matter.
constexpr DecodingSizes large{.d_model = 256,
                              .d_ff = 1024,
                              .layers = 2,
                              .vocabulary = 1000,
                              .heads = 16,
                              .kv_heads = 16,
                              .head_size = 16,
                              .batch = 32,
                              .source = 512,
                              .target = 8};
// The translator of lessons 6 to 9 and its short sentences.
constexpr DecodingSizes toy{.d_model = 128,
                            .d_ff = 256,
                            .layers = 2,
                            .vocabulary = 1000,
                            .heads = 8,
                            .kv_heads = 8,
                            .head_size = 16,
                            .batch = 32,
                            .source = 12,
                            .target = 8};

DecodingSizes with_kv_heads(DecodingSizes sizes, Size kv_heads) {
  sizes.kv_heads = kv_heads;
  return sizes;
}
DecodingSizes with_batch(DecodingSizes sizes, Size batch) {
  sizes.batch = batch;
  return sizes;
}
Cost step_cost(const DecodingSizes& sizes) { return weights_cost(sizes) + caches_cost(sizes); }

// Round numbers, for predictions that are the same on every machine.
constexpr Machine paper_machine{.bytes_per_second = 20e9, .flops_per_second = 200e9};

// ---- Step 1 ---------------------------------------------------------------------------------------------------------

void step_1() {
  Table table({{"size"},
               {"batch", right},
               {"KV heads", right},
               {"weights MB", right},
               {"caches MB", right},
               {"MFLOP", right},
               {"FLOP/byte", right}});
  const auto add = [&](const char* name, const DecodingSizes& sizes) {
    const Cost cost = step_cost(sizes);
    table.add_row({name, text(sizes.batch), text(sizes.kv_heads), megabytes(weights_cost(sizes).bytes),
                   megabytes(caches_cost(sizes).bytes), with_decimals(cost.flops / 1e6, 1),
                   with_decimals(cost.flops / cost.bytes, 2)});
  };
  for (const Size batch : {1, 32})
    for (const Size kv_heads : {16, 1}) add("large", with_kv_heads(with_batch(large, batch), kv_heads));
  for (const Size kv_heads : {8, 1}) add("toy", with_kv_heads(toy, kv_heads));
  std::cout << table.plain();
}

// ---- Step 2 ---------------------------------------------------------------------------------------------------------

void step_2() {
  Table table({{"size"},
               {"batch", right},
               {"KV heads", right},
               {"reading ms", right},
               {"computing ms", right},
               {"roofline ms", right},
               {"waits for"}});
  LineChart chart{.title = "The roofline: 20 GB/s and 200 GFLOP/s",
                  .x_label = "operations for each byte",
                  .y_label = "GFLOP/s at most",
                  .x_scale = AxisScale::logarithmic,
                  .y_scale = AxisScale::logarithmic,
                  .width = 900,
                  .height = 540};
  Series roof{.name = "the roof"};
  for (double x = 0.25; x < 70; x *= 1.1) {
    roof.x.push_back(x);
    roof.y.push_back(x / roofline_seconds({.bytes = 1, .flops = x}, paper_machine) / 1e9);
  }
  chart.series.push_back(roof);
  const auto add = [&](const char* name, const DecodingSizes& sizes) {
    const Cost weights = weights_cost(sizes), caches = caches_cost(sizes), all = weights + caches;
    const double seconds = roofline_seconds(all, paper_machine);
    table.add_row({name, text(sizes.batch), text(sizes.kv_heads),
                   with_decimals(1e3 * all.bytes / paper_machine.bytes_per_second, 3),
                   with_decimals(1e3 * all.flops / paper_machine.flops_per_second, 3), with_decimals(1e3 * seconds, 3),
                   name_of(bound_of(weights, caches, paper_machine))});
    chart.series.push_back(
        {.name = text(name, ", batch ", sizes.batch, ", ", sizes.kv_heads, " KV head", sizes.kv_heads == 1 ? "" : "s"),
         .x = {all.flops / all.bytes},
         .y = {all.flops / seconds / 1e9}});
  };
  for (const Size batch : {1, 32})
    for (const Size kv_heads : {16, 1}) add("large", with_kv_heads(with_batch(large, batch), kv_heads));
  for (const Size kv_heads : {8, 1}) add("toy", with_kv_heads(toy, kv_heads));
  write_png(chart, "13_roofline.png");
  omp_set_num_threads(1);
  std::cout << table.plain() << "13_roofline.png\n\nOne core of this machine reads ~"
            << with_decimals(kernels::measure_reading(Size{128} << 20) / 1e9, 1) << " GB/s and computes ~"
            << with_decimals(kernels::measure_arithmetic() / 1e9, 0) << " GFLOP/s\n";
}

// ---- Step 3 ---------------------------------------------------------------------------------------------------------

void step_3() {
  constexpr Size B = 32, H = 8, S = 4096, D = 64;
  Generator generator(1);
  const Tensor query = random_normal({B, H, D}, 1, generator, {}), output = empty_like(query);
  Table table({{"KV heads", right},
               {"MiB stored", right},
               {"MiB per head", right},
               {"MiB per group", right},
               {"ms per head", right},
               {"ms per group", right},
               {"ms of the library", right},
               {"times as fast", right}});
  double gain = 0;
  for (const Size G : {8, 2, 1}) {
    const Tensor keys = random_normal({B, G, 1, D}, 1, generator, {}).broadcast_to({B, G, S, D}).contiguous(),
                 values = keys.clone();
    std::atomic<Size> fetched = 0;
    Cache cache{B, G, S, D, keys.data<float>(), values.data<float>(), &fetched};
    const auto mebibytes = [&](auto decode) {
      fetched = 0;
      decode(cache, H, query.data<float>(), output.data<float>());
      return text(fetched * D * 4 >> 20);
    };
    std::vector<std::string> row = {text(G), text(2 * keys.bytes() >> 20), mebibytes(decode_per_head),
                                    mebibytes(decode_per_group)};
    cache.fetched = nullptr;
    std::vector<double> per_head, per_group, library;
    for (int turn = 0; turn < 5; ++turn) {
      per_head.push_back(seconds_of([&] { decode_per_head(cache, H, query.data<float>(), output.data<float>()); }));
      per_group.push_back(seconds_of([&] { decode_per_group(cache, H, query.data<float>(), output.data<float>()); }));
      library.push_back(seconds_of([&] {
        attention_into(query.reshape({B, 1, H, D}), keys.transpose(1, 2), values.transpose(1, 2), {},
                       output.reshape({B, 1, H, D}));
      }));
    }
    gain = median(per_head) / median(per_group);
    for (const std::vector<double>& all : {per_head, per_group, library}) row.push_back(milliseconds(median(all)));
    row.push_back("~" + with_decimals(gain, 1));
    table.add_row(row);
  }
  std::cout << table.plain()
            << "With one key/value head, per group is at least 1.2 times as fast: " << yes_or_no(gain > 1.2) << '\n';
}

// ---- Step 4 ---------------------------------------------------------------------------------------------------------

// A decoder of the library with random weights. What the numbers are does not matter for the time.
struct Measured {
  DecodingSizes sizes;
  Size beam, window;
  Transformer model;
  Decoder decoder;

  explicit Measured(const DecodingSizes& wanted, Size beam_ = 1, Size window_ = 0)
      : sizes(wanted), beam(beam_), window(window_), model(config(wanted, window_), 1), decoder(model) {}
  Measured(const Measured&) = delete;

  static TransformerConfig config(const DecodingSizes& sizes, Size window) {
    const AttentionMode mode{sizes.heads, sizes.kv_heads, sizes.head_size};
    return {.vocabulary = sizes.vocabulary,
            .d_model = sizes.d_model,
            .d_ff = sizes.d_ff,
            .layers = sizes.layers,
            .attention = {mode, local_window(mode, window), mode},
            .max_length = sizes.source + sizes.target,
            .dropout = 0};
  }
  // Writes one text of each sentence. Seconds of the step in the middle of all, by length: of many steps, hardly any
  // accident is long enough to reach it.
  double seconds() const {
    return median(seconds_of_steps(
        decoder, {.batch = sizes.batch, .source_length = sizes.source, .target_length = sizes.target, .beam = beam}));
  }
  Cost caches() const { return beam_caches_cost(sizes, beam, window); }
};

// On one core: threads that wait for each other would show what else the machine is doing.
std::vector<double> measure(const std::vector<std::unique_ptr<Measured>>& all, Size turns) {
  omp_set_num_threads(1);
  std::vector<std::function<double()>> candidates;
  for (const auto& one : all) candidates.push_back([&one] { return one->seconds(); });
  return medians_in_turns(candidates, turns);
}

void step_4() {
  Table table({{"size"},
               {"KV heads", right},
               {"MB a step", right},
               {"measured ms", right},
               {"by the bytes", right},
               {"measured", right}});
  LineChart chart{.title = "Time of a decoding step against key/value heads",
                  .x_label = "key/value heads",
                  .y_label = "time of the multi-head model: 1",
                  .x_scale = AxisScale::logarithmic,
                  .width = 900,
                  .height = 540};
  std::vector<double> gains;
  double saved_by_four = 0;  // of what multi-query saves at the large size
  for (const DecodingSizes& family : {large, toy}) {
    const char* name = family.heads == large.heads ? "large" : "toy";
    std::vector<std::unique_ptr<Measured>> models;
    for (Size kv_heads = family.heads; kv_heads >= 1; kv_heads /= 2)
      models.push_back(std::make_unique<Measured>(with_kv_heads(family, kv_heads)));
    const std::vector<double> seconds = measure(models, 3);
    Series measured{.name = text(name, ", measured")}, bytes{.name = text(name, ", bytes alone")};
    const double all_bytes = step_cost(models[0]->sizes).bytes;
    for (std::size_t i = 0; i < models.size(); ++i) {
      const DecodingSizes& sizes = models[i]->sizes;
      const double cost = step_cost(sizes).bytes;
      table.add_row({name, text(sizes.kv_heads), megabytes(cost), milliseconds(seconds[i]),
                     with_decimals(all_bytes / cost, 2), "~" + with_decimals(seconds[0] / seconds[i], 2)});
      for (Series* series : {&measured, &bytes}) series->x.push_back(static_cast<double>(sizes.kv_heads));
      measured.y.push_back(seconds[i] / seconds[0]);
      bytes.y.push_back(cost / all_bytes);
    }
    gains.push_back(seconds.front() / seconds.back());
    if (gains.size() == 1) saved_by_four = (seconds[0] - seconds[2]) / (seconds.front() - seconds.back());
    chart.series.insert(chart.series.end(), {bytes, measured});
  }
  write_png(chart, "13_groups.png");
  std::cout << table.plain() << "13_groups.png\nlarge: multi-query is at least 1.5 times as fast as multi-head: "
            << yes_or_no(gains[0] > 1.5)
            << "\nlarge: 4 KV heads save more than half of the time that 1 saves: " << yes_or_no(saved_by_four > 0.5)
            << "\ntoy: sharing gains less than at the large size: " << yes_or_no(gains[1] < gains[0]) << '\n';
}

// ---- Step 5 ---------------------------------------------------------------------------------------------------------

void step_5() {
  // As many source as target positions, as in Shazeer's table; a quarter of them in the window, as there.
  constexpr DecodingSizes sizes{.d_model = 128,
                                .d_ff = 512,
                                .layers = 2,
                                .vocabulary = 1000,
                                .heads = 8,
                                .kv_heads = 8,
                                .head_size = 64,
                                .batch = 16,
                                .source = 128,
                                .target = 128};
  constexpr Size window = 32;
  Table table({{"attention"},
               {"beam", right},
               {"caches MB", right},
               {"measured ms", right},
               {"by the bytes", right},
               {"measured", right},
               {"Shazeer, TPU", right}});
  struct Row {
    const char* name;
    Size kv_heads, window;
    double greedy, beam;  // Shazeer 2019, table 3: microseconds of the decoder per output token
  };
  constexpr Row rows[] = {{"multi-head", 8, 0, 46, 203},
                          {"multi-query", 1, 0, 3.8, 32},
                          {"multi-head, local", 8, window, 23, 47},
                          {"multi-query, local", 1, window, 3.3, 16}};
  std::vector<double> gains;
  for (const Size beam : {1, 4}) {
    std::vector<std::unique_ptr<Measured>> models;
    for (const Row& row : rows)
      models.push_back(std::make_unique<Measured>(with_kv_heads(sizes, row.kv_heads), beam, row.window));
    const std::vector<double> seconds = measure(models, 2);
    const auto bytes = [&](std::size_t i) { return weights_cost(models[i]->sizes).bytes + models[i]->caches().bytes; };
    for (std::size_t i = 0; i < models.size(); ++i) {
      const auto his = [&](const Row& row) { return beam == 1 ? row.greedy : row.beam; };
      table.add_row({rows[i].name, text(beam), megabytes(models[i]->caches().bytes), milliseconds(seconds[i]),
                     with_decimals(bytes(0) / bytes(i), 2), "~" + with_decimals(seconds[0] / seconds[i], 2),
                     with_decimals(his(rows[0]) / his(rows[i]), 1)});
    }
    gains.push_back(seconds[0] / seconds[1]);
  }
  std::cout << table.plain() << "multi-query is at least 1.2 times as fast, greedy: " << yes_or_no(gains[0] > 1.2)
            << ", beam 4: " << yes_or_no(gains[1] > 1.2) << '\n';
}

}  // namespace
}  // namespace headshare::lesson

int main(int count, char** arguments) {
  using namespace headshare::lesson;
  return lesson_program(13, {step_1, step_2, step_3, step_4, step_5}, count, arguments);
}
