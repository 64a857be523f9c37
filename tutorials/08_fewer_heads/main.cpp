#include <cmath>
#include <iostream>

#include "core/report/line_chart.h"
#include "core/report/progress.h"
#include "core/report/table.h"
#include "lesson.h"
#include "nn/decoding_speed.h"
#include "tutorials/support/step.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

double number(Size n) { return static_cast<double>(n); }

std::string gigabytes(Size bytes) { return with_decimals(number(bytes) / 1e9, 2); }

// Numbers with their headers to the right, words to the left.
Table table_of(const std::vector<std::string>& words, const std::vector<std::string>& numbers) {
  std::vector<TableColumn> columns;
  for (const std::string& word : words) columns.push_back({word});
  for (const std::string& header : numbers) columns.push_back({header, Alignment::right});
  return Table(columns);
}

// Every head of x [B, S, G, D] as often as query heads read it.                                    result: [B, S, H, D]
Tensor repeated_heads(const Tensor& x, Size heads) {
  const Tensor result = zeros({x.extent(0), x.extent(1), heads, x.extent(3)});
  for (Size h = 0; h < heads; ++h) {
    const Size g = kv_head(h, heads, x.extent(2));
    result.slice(2, h, h + 1).copy_from(x.slice(2, g, g + 1));
  }
  return result;
}

double largest_difference(const Tensor& a, const Tensor& b) {
  const std::vector<float> x = a.to_vector<float>(), y = b.to_vector<float>();
  double largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) largest = std::max(largest, static_cast<double>(std::abs(x[i] - y[i])));
  return largest;
}

void one_formula() {
  const Size H = 8, D = 16;
  Generator generator(1);
  const auto random = [&](const Shape& shape) { return random_normal(shape, 1, generator, {}); };
  const Tensor query = random({2, 5, H, D});
  Table table = table_of({"mode", "key/value head of query heads 0 1 2 3 4 5 6 7", "same as repeated heads"}, {});
  for (const AttentionMode& mode : {multi_head(8), grouped_query(8, 4), grouped_query(8, 2), multi_query(8)}) {
    std::string heads;
    for (Size h = 0; h < H; ++h) heads += text(h == 0 ? "" : " ", kv_head(h, H, mode.kv_heads));
    const Tensor key = random({2, 9, mode.kv_heads, D}), value = random({2, 9, mode.kv_heads, D});
    const double difference =
        largest_difference(shared_attention(query, key, value),
                           attention(query, repeated_heads(key, H), repeated_heads(value, H), {}).output);
    table.add_row({name(mode), heads, difference < 1e-5 ? "yes" : text("no, differs by ", difference)});
  }
  std::cout << table.plain();
}

void parameters() {
  Generator generator(1);
  std::cout << "One attention, d_model 128, 8 query heads:\n\n";
  Table sizes = table_of({"mode"}, {"weights", "biases", "together", "of the library's", "share"});
  for (const AttentionMode& mode : {multi_head(8), grouped_query(8, 4), grouped_query(8, 2), multi_query(8)}) {
    Size counted = 0;
    Attention(128, mode, generator, {}).visit("", [&](const std::string&, const Parameter& parameter) {
      counted += parameter.value().count();
    });
    const auto [weights, biases] = projection_sizes(mode, 128);
    const double share = number(weights) / number(projection_sizes(multi_head(8), 128).weights);
    sizes.add_row({name(mode), with_thousands(weights), with_thousands(biases), with_thousands(weights + biases),
                   with_thousands(counted), with_decimals(100 * share, 1) + " %"});
  }
  // Shazeer 2019: d_model 1024; every model of a table has the same number of weights.
  struct Row {
    const char* words;
    AttentionMode mode;
    Size translation, language;  // d_ff in the paper
  };
  const std::vector<Row> rows = {{"multi-head, 8 heads of 128", multi_head(8), 4096, 8192},
                                 {"multi-query, 8 heads of 128", multi_query(8), 5440, 9088},
                                 {"1 head of 128", with_head_size(multi_head(1), 128), 6784, 9984},
                                 {"2 heads of 64", with_head_size(multi_head(2), 64), 6784, 9984},
                                 {"4 heads of 32", with_head_size(multi_head(4), 32), 6784, 9984},
                                 {"8 heads of 16", with_head_size(multi_head(8), 16), 6784, 9984}};
  const LayerCounts translation{.attentions = 18, .feed_forwards = 12};  // 6 encoder, 6 decoder layers
  const LayerCounts language{.attentions = 6, .feed_forwards = 6};       // a decoder alone
  std::cout << sizes.plain() << "\nd_ff for the same number of weights, and in Shazeer 2019:\n\n";
  Table widths = table_of({"attention"}, {"translation", "paper", "language model", "paper"});
  for (const Row& row : rows)
    widths.add_row({row.words, with_thousands(equal_d_ff(row.mode, multi_head(8), 4096, 1024, translation)),
                    with_thousands(row.translation),
                    with_thousands(equal_d_ff(row.mode, multi_head(8), 8192, 1024, language)),
                    with_thousands(row.language)});
  std::cout << widths.plain();
}

void cache_arithmetic() {
  // [show models]
  struct Model {
    const char* words;
    CacheShape shape;  // layers, G, D, bytes
    Size targets, sources, weights;
  };
  const std::vector<Model> models = {
      {"Shazeer 2019, multi-head", {6, 8, 128, 2}, 128, 128, 2 * 211'000'000LL},
      {"Shazeer 2019, multi-query", {6, 1, 128, 2}, 128, 128, 2 * 211'000'000LL},
      {"T5-XXL, multi-head", {24, 64, 64, 2}, 512, 2048, 2 * 11'000'000'000LL},
      {"T5-XXL, 8 groups", {24, 8, 64, 2}, 512, 2048, 2 * 11'000'000'000LL},
      {"T5-XXL, multi-query", {24, 1, 64, 2}, 512, 2048, 2 * 11'000'000'000LL},
      {"7B decoder, multi-head", {32, 32, 128, 2}, 4096, 0, 2 * 7'000'000'000LL},
      {"7B decoder, 8 groups", {32, 8, 128, 2}, 4096, 0, 2 * 7'000'000'000LL},
      {"7B decoder, multi-query", {32, 1, 128, 2}, 4096, 0, 2 * 7'000'000'000LL},
  };
  const Size memory = 80'000'000'000LL;  // of one large GPU
  // [end show]
  Table table = table_of({"model, 2 bytes a number"},
                         {"bytes a token", "tokens in + out", "GB a sentence", "GB of weights", "batch in 80 GB"});
  for (const auto& [words, shape, targets, sources, weights] : models)
    table.add_row({words, with_thousands(token_bytes(shape)),
                   text(with_thousands(sources), " + ", with_thousands(targets)),
                   with_decimals(number(sentence_bytes(shape, targets, sources)) / 1e9, 3), gigabytes(weights),
                   with_thousands(largest_batch(shape, targets, sources, memory, weights))});
  std::cout << table.plain();

  LineChart chart{.title = "Keys and values of 16 texts side by side",
                  .x_label = "tokens of each text",
                  .y_label = "GB",
                  .x_scale = AxisScale::logarithmic,
                  .y_scale = AxisScale::logarithmic,
                  .width = 900,
                  .height = 540};
  for (const Size G : {32, 8, 1}) {
    Series series{.name = text("cache, ", G, G == 1 ? " key/value head" : " key/value heads")};
    for (Size tokens = 256; tokens <= 65536; tokens *= 2) {
      series.x.push_back(number(tokens));
      series.y.push_back(number(16 * sentence_bytes({32, G, 128, 2}, tokens, 0)) / 1e9);
    }
    chart.series.push_back(series);
  }
  chart.series.push_back({.name = "weights, 7 billion", .x = {256, 65536}, .y = {14, 14}});
  chart.series.push_back({.name = "80 GB", .x = {256, 65536}, .y = {80, 80}});
  write_png(chart, "08_cache.png");
  std::cout << "08_cache.png\n";
}

void read_once() {
  const Size B = 4, H = 8, S = 256, D = 64;
  Generator generator(1);
  std::cout << "One decoding step of attention: " << B << " sentences, " << H << " query heads of " << D << ", " << S
            << " keys and values\n\n";
  Table table = table_of({}, {"G", "cache, bytes", "read per head", "times", "read per group", "times"});
  for (const Size G : {8, 4, 2, 1}) {
    const Tensor query = random_normal({B, H, D}, 1, generator, {}),
                 key = random_normal({B, G, S, D}, 1, generator, {}),
                 value = random_normal({B, G, S, D}, 1, generator, {});
    const CountedCache head(key, value), group(key, value);
    attend_per_head(query, head);
    attend_per_group(query, group);
    const Size held = key.bytes() + value.bytes();
    table.add_row({text(G), with_thousands(held), with_thousands(head.bytes_read()), text(head.bytes_read() / held),
                   with_thousands(group.bytes_read()), text(group.bytes_read() / held)});
  }
  std::cout << table.plain();
}

void constructor_argument() {
  // [show build]
  const auto build = [](AttentionMode mode) {
    return Transformer({.vocabulary = 1000, .d_model = 256, .layers = 2, .attention = mode, .max_length = 512}, 1);
  };
  // [end show]
  const Transformer baseline = build(multi_head(8));
  struct Conditions {
    Size batch, source;
  };
  Table sizes = table_of({"attention"}, {"parameters", "cache bytes a position", "cache, batch 32, source 512"});
  std::vector<std::string> headers;
  const std::vector<Conditions> all = {{1, 32}, {32, 32}, {32, 512}};
  for (const auto& [batch, source] : all) headers.push_back(text(batch, " x ", source, ": limit"));
  for (const auto& [batch, source] : all) headers.push_back(text(batch, " x ", source, ": tokens/s"));
  Table speeds = table_of({"attention"}, headers);
  constexpr Size targets = 32;
  for (const AttentionMode& mode : {multi_head(8), grouped_query(8, 2), multi_query(8)}) {
    const Transformer model = build(mode);
    sizes.add_row({name(mode), with_thousands(count_parameters(model)), with_thousands(cache_bytes(model, 1, 1, 0)),
                   with_decimals(number(cache_bytes(model, 32, targets, 512)) / 1e6, 1) + " MB"});
    std::vector<std::string> row = {name(mode)};
    for (const auto& [batch, source] : all)
      row.push_back(with_decimals(speed_limit(model, baseline, batch, targets / 2, source), 2) + " x");
    for (const auto& [batch, source] : all)
      row.push_back("~" +
                    with_thousands(static_cast<Size>(
                        measure_decoding(model, {.batch = batch, .source_length = source, .target_length = targets})
                            .tokens_per_second)));
    speeds.add_row(row);
  }
  std::cout << sizes.plain() << "\nbatch x source length, " << targets
            << " tokens written. limit: how many times faster than multi-head if bytes were all\n\n"
            << speeds.plain();
}

}  // namespace

int main(int count, char** arguments) {
  return lesson_program(8, {one_formula, parameters, cache_arithmetic, read_once, constructor_argument}, count,
                        arguments);
}
