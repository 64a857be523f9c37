#include <algorithm>
#include <cmath>
#include <iomanip>
#include <iostream>
#include <string>
#include <vector>

#include "core/report/heat_map.h"
#include "core/report/table.h"
#include "lesson.h"
#include "tensor/elementwise.h"
#include "tensor/reduce.h"
#include "tutorials/support/step.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

std::string shown(double number, int digits = 2) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << (std::abs(number) < 0.5 * std::pow(10, -digits) ? 0.0 : number);
  return out.str();
}

// 63082496 as 63,082,496.
std::string grouped(Size number) {
  std::string digits = std::to_string(number);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) digits.insert(static_cast<std::size_t>(at), ",");
  return digits;
}

Table table_of_numbers(const std::string& first, const std::vector<std::string>& headers) {
  std::vector<TableColumn> columns = {{first}};
  for (const std::string& header : headers) columns.push_back({header, Alignment::right});
  return Table(columns);
}

bool agree(const Tensor& a, const Tensor& b, double tolerance) {
  const std::vector<float> x = a.to_vector<float>(), y = b.to_vector<float>();
  for (std::size_t i = 0; i < x.size(); ++i)
    if (!(std::abs(x[i] - y[i]) <= tolerance)) return false;
  return x.size() == y.size();
}

Tensor tokens_of(const std::vector<std::int32_t>& ids) { return from_values(ids, {1, static_cast<Size>(ids.size())}); }

// --- Step 1 ---

void where_a_word_stands() {
  constexpr Size C = 32, picture = 32;
  const Tensor all = positions(48, C);
  const Tensor likeness = matmul(all, all.transpose(0, 1));  // [48, 48]
  Table table = table_of_numbers("distance from p", {"p = 3", "p = 10", "p = 30"});
  for (const Size distance : {0, 1, 2, 4, 8, 16}) {
    std::vector<std::string> cells = {std::to_string(distance)};
    for (const Size p : {3, 10, 30}) cells.push_back(shown(likeness.at({p, p + distance})));
    table.add_row(cells);
  }
  std::cout << table.plain();
  const Tensor moved = matmul(all.slice(0, 0, 40), shift_matrix(C, 8));
  std::cout << "\none matrix moves all positions on by 8: " << (agree(moved, all.slice(0, 8, 48), 1e-4) ? "yes" : "no")
            << '\n';

  HeatMap map;
  for (Size p = 0; p < picture; ++p) map.row_labels.push_back(std::to_string(p));
  for (Size c = 0; c < C; ++c) map.column_labels.push_back(std::to_string(c));
  map.values = all.slice(0, 0, picture).to_vector<float>();
  write_png(std::vector<HeatMap>{map}, "05_positions.png",
            {.title = "Positions", .note = "row: a position; column: a channel", .minimum = -1.0f, .maximum = 1.0f});
  std::cout << "\n05_positions.png\n";
}

// --- Step 2 ---

double size_of(const Tensor& x) { return std::sqrt(sum_of_squares(x) / static_cast<double>(x.count())); }

// [show stacks]
void why_the_frame() {
  constexpr Size C = 32;
  Generator generator(52);
  const LayerNormalization norm(C, {});
  std::vector<FeedForward> layers;
  for (int i = 0; i < 64; ++i) layers.emplace_back(C, 4 * C, Activation::relu, generator, TensorOptions{});
  const Tensor input = random_normal({1, 8, C}, 1, generator, {}), seed = random_normal({1, 8, C}, 1, generator, {});

  Table table = table_of_numbers("layers", {"f(x)", "gradient", "x + f(x)", "gradient", "norm(x + f(x))", "gradient"});
  for (const std::size_t depth : {1, 4, 16, 64}) {
    std::vector<std::string> cells = {std::to_string(depth)};
    for (const int frame : {0, 1, 2}) {
      const Variable x = leaf(input);
      Variable y = x;
      for (std::size_t i = 0; i < depth; ++i) {
        const Variable change = feed_forward(layers[i], y);
        y = frame == 0 ? change : frame == 1 ? add(y, change) : add_and_norm(norm, y, change);
      }
      backward(y, seed);
      cells.push_back(shown(size_of(y.value()), 3));
      cells.push_back(shown(size_of(x.gradient()), 3));
    }
    table.add_row(cells);
  }
  std::cout << table.plain();
}
// [end show]

// --- Step 3 ---

TransformerConfig small(Size vocabulary, Size layers) {
  return {.vocabulary = vocabulary, .d_model = 32, .d_ff = 64, .layers = layers, .attention = multi_head(4)};
}

void what_the_encoder_knows() {
  const Transformer model(small(20, 1), 53);
  const std::vector<std::string> words = {"dog", "bites", "man"};
  Generator generator(531);
  const Tensor numbers = random_normal({3, 32}, 1, generator, {});  // one row a word
  Table table = table_of_numbers("the word dog in", {"", "", "", "", ""});
  for (const bool with_positions : {false, true})
    for (const std::vector<std::int32_t>& order : {std::vector<std::int32_t>{0, 1, 2}, {2, 1, 0}}) {
      Tensor x = gather_rows(numbers, from_values(order, {3}));  // [S, C]
      if (with_positions) x = add(x, positions(3, 32));
      const Variable y = encoder_layer(model.encoder()[0], Variable(x.reshape({1, 3, 32})), {});
      const Size dog = order[0] == 0 ? 0 : 2;
      std::string sentence;
      for (const std::int32_t word : order) sentence += words[static_cast<std::size_t>(word)] + " ";
      std::vector<std::string> cells = {sentence + (with_positions ? "with positions" : "without positions")};
      for (Size c = 0; c < 5; ++c) cells.push_back(shown(y.value().at({0, dog, c})));
      table.add_row(cells);
    }
  std::cout << table.plain();
}

// --- Step 4 ---

void what_the_decoder_knows() {
  const Transformer model(small(20, 1), 54);
  const DecoderLayer& layer = model.decoder()[0];
  Generator generator(541);
  const Tensor target = random_normal({1, 5, 32}, 1, generator, {}),
               source = random_normal({1, 6, 32}, 1, generator, {});
  const Tensor lengths = from_values<std::int32_t>({4}, {1});  // two of the six are padding
  const auto run = [&](const Tensor& x, const Tensor& memory) {
    return decoder_layer(layer, Variable(x), Variable(memory), lengths).value();
  };
  const Tensor before = run(target, source);
  Table table = table_of_numbers("what changes", {"row 0", "1", "2", "3", "4"});
  const auto add_row = [&](const std::string& what, const Tensor& after) {
    std::vector<std::string> cells = {what};
    for (Size t = 0; t < 5; ++t)
      cells.push_back(agree(after.slice(1, t, t + 1), before.slice(1, t, t + 1), 1e-6) ? "." : "moves");
    table.add_row(cells);
  };
  const auto changed = [](const Tensor& x, Size position) {
    const Tensor copy = x.clone();
    copy.slice(1, position, position + 1).copy_from(full({1, 1, 32}, 0.5));
    return copy;
  };
  for (const Size t : {0, 2, 4}) add_row(text("target position ", t), run(changed(target, t), source));
  add_row("source position 3", run(target, changed(source, 3)));
  add_row("source position 4, padding", run(target, changed(source, 4)));
  std::cout << table.plain();
}

// --- Step 5 ---

void what_it_weighs() {
  const TransformerConfig toy = checked({.vocabulary = 1500, .d_model = 128, .layers = 2});
  const TransformerConfig base = checked({.vocabulary = 37000, .d_model = 512, .layers = 6});
  Table table = table_of_numbers("part", {"toy: C = 128, 2 + 2 layers", "Vaswani's base: C = 512, 6 + 6 layers"});
  const PartCounts counts[] = {count_parts(toy), count_parts(base)};
  Size sums[] = {0, 0};
  const auto add_part = [&](const std::string& name, Size PartCounts::*part) {
    table.add_row({name, grouped(counts[0].*part), grouped(counts[1].*part)});
    for (std::size_t i = 0; i < 2; ++i) sums[i] += counts[i].*part;
  };
  add_part("embedding and output", &PartCounts::embedding);
  add_part("encoder self-attention", &PartCounts::encoder_attention);
  add_part("encoder feed-forward", &PartCounts::encoder_feed_forward);
  add_part("encoder norms", &PartCounts::encoder_norms);
  add_part("decoder self-attention", &PartCounts::decoder_self_attention);
  add_part("decoder cross-attention", &PartCounts::decoder_cross_attention);
  add_part("decoder feed-forward", &PartCounts::decoder_feed_forward);
  add_part("decoder norms", &PartCounts::decoder_norms);
  table.add_row({"together", grouped(sums[0]), grouped(sums[1])});
  std::cout << table.plain();

  const Transformer model(toy, 55);
  std::cout << "\nthe library's toy model has " << grouped(count_parameters(model)) << '\n';
  const Tensor source = from_values<std::int32_t>({5, 900, 17, 2, 0, 30, 31, 32, 33, 2}, {2, 5});
  const Tensor lengths = from_values<std::int32_t>({4, 5}, {2});
  const Tensor target = from_values<std::int32_t>({1, 40, 41, 42, 1, 1400, 50, 51}, {2, 4});
  Dropout dropout = Dropout::none();
  const Tensor expected =
      model.logits(model.decode(target, model.encode(source, lengths, dropout), lengths, dropout)).value();
  std::cout << "largest difference of " << grouped(expected.count()) << " logits from its own below 1e-4: "
            << (agree(model_logits(model, source, lengths, target).value(), expected, 1e-4) ? "yes" : "no") << '\n';
}

// --- Step 6 ---

// The logarithm of the influence: 0 for none, 1 for the largest; each factor of ten is a quarter.
std::vector<float> shades(const Tensor& moved) {
  std::vector<float> values = moved.to_vector<float>();
  const float largest = *std::max_element(values.begin(), values.end());
  for (float& value : values) value = value > 0 ? std::max(0.15f, 1 + 0.25f * std::log10(value / largest)) : 0;
  return values;
}

// [show map]
void who_depends_on_whom() {
  const Transformer model(small(20, 2), 56);
  const Tensor source = tokens_of({3, 4, 5, 6, 7, 8, 0, 0}), lengths = from_values<std::int32_t>({6}, {1});
  const Tensor target = tokens_of({1, 9, 10, 11, 12, 13, 14});
  Dropout dropout = Dropout::none();
  const Tensor encoder =
      influence([&](const Tensor& tokens) { return model.encode(tokens, lengths, dropout).value(); }, source, 19);
  const Tensor decoder =
      influence([&](const Tensor& tokens) { return model_logits(model, source, lengths, tokens).value(); }, target, 19);
  const Tensor across =
      influence([&](const Tensor& tokens) { return model_logits(model, tokens, lengths, target).value(); }, source, 19);
  // [end show]

  const std::vector<std::string> source_words = {"s0", "s1", "s2", "s3", "s4", "s5", "pad", "pad"};
  const std::vector<std::string> target_words = {"t0", "t1", "t2", "t3", "t4", "t5", "t6"};
  const std::vector<HeatMap> panels = {{"memory on source", source_words, source_words, shades(encoder)},
                                       {"logits on target", target_words, target_words, shades(decoder)},
                                       {"logits on source", target_words, source_words, shades(across)}};
  Table table = table_of_numbers("", {"pairs", "that depend"});
  const Tensor* all[] = {&encoder, &decoder, &across};
  for (std::size_t i = 0; i < 3; ++i) {
    const std::vector<float> moved = all[i]->to_vector<float>();
    table.add_row({panels[i].title, std::to_string(moved.size()),
                   std::to_string(std::count_if(moved.begin(), moved.end(), [](float by) { return by > 1e-6f; }))});
  }
  std::cout << table.plain();
  write_png(panels, "05_who_depends_on_whom.png",
            {.title = "Who depends on whom",
             .note = "row: what moves; column: the token that changes; dark: not at all; logarithmic",
             .columns = 3,
             .maximum = 1.0f});
  std::cout << "\n05_who_depends_on_whom.png\n";
}

}  // namespace

int main(int count, char** arguments) {
  return lesson_program(5,
                        {where_a_word_stands, why_the_frame, what_the_encoder_knows, what_the_decoder_knows,
                         what_it_weighs, who_depends_on_whom},
                        count, arguments);
}
