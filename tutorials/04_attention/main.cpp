#include <cmath>
#include <iomanip>
#include <iostream>
#include <string>
#include <vector>

#include "core/report/heat_map.h"
#include "core/report/table.h"
#include "lesson.h"
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

Table table_of(const std::string& first, const std::vector<std::string>& headers) {
  std::vector<TableColumn> columns = {{first}};
  for (const std::string& header : headers) columns.push_back({header, Alignment::right});
  return Table(columns);
}

// One row per word, one column per word.
void print_square(const std::string& corner, const std::vector<std::string>& rows,
                  const std::vector<std::string>& columns, const Tensor& values) {
  Table table = table_of(corner, columns);
  for (std::size_t t = 0; t < rows.size(); ++t) {
    std::vector<std::string> cells = {rows[t]};
    for (std::size_t s = 0; s < columns.size(); ++s)
      cells.push_back(shown(values.at({static_cast<Size>(t), static_cast<Size>(s)})));
    table.add_row(cells);
  }
  std::cout << table.plain();
}

// [show likeness]
// Five words by hand, each as four numbers: alive, animal, action, loud.
const std::vector<std::string> words = {"cat", "dog", "Anna", "sleeps", "barks"};
const std::initializer_list<float> word_numbers = {1, 1, 0, -0.5f,  // cat
                                                   1, 1, 0, 0.5f,   // dog
                                                   1, 0, 0, 0,      // Anna
                                                   0, 0, 1, -1,     // sleeps
                                                   0, 0, 1, 1};     // barks
// [end show]

void how_alike() {
  const Tensor vectors = from_values(word_numbers, {5, 4});
  print_square("q . k", words, words, dot_products(vectors, vectors));
}

// [show sentence]
// A sentence, each word as six numbers that a person chose: person, animal, noun, pronoun, verb, adjective.
const std::vector<std::string> sentence = {"Anna", "feeds", "the", "old", "dog", "because", "it", "barks", "at", "her"};
constexpr Size person = 0, animal = 1, noun = 2, pronoun = 3, verb = 4, adjective = 5, meanings = 6;
const std::initializer_list<float> sentence_numbers = {1, 0, 1, 0, 0, 0,   // Anna
                                                       0, 0, 0, 0, 1, 0,   // feeds
                                                       0, 0, 0, 0, 0, 0,   // the
                                                       0, 0, 0, 0, 0, 1,   // old
                                                       0, 1, 1, 0, 0, 0,   // dog
                                                       0, 0, 0, 0, 0, 0,   // because
                                                       0, 1, 0, 1, 0, 0,   // it
                                                       0, 0, 0, 0, 1, 0,   // barks
                                                       0, 0, 0, 0, 0, 0,   // at
                                                       1, 0, 0, 1, 0, 0};  // her
// [end show]

void what_it_means() {
  const Tensor numbers = from_values(sentence_numbers, {10, meanings});
  const Tensor offered = numbers.slice(1, person, pronoun);     // keys and values: person, animal, noun
  const Tensor wanted = from_values<float>({0, 2, 2}, {1, 3});  // the query of "it": an animal, a noun
  const Tensor scores = dot_products(wanted, offered);          // [1, 10]
  const Tensor weights = softmax_rows(scores);
  const Tensor mixture = zeros({1, 3});
  mix_into(weights, offered, mixture);

  Table table = table_of("key", {"score", "weight"});
  for (Size s = 0; s < 10; ++s) table.add_row({sentence[s], shown(scores.at({0, s}), 1), shown(weights.at({0, s}), 3)});
  std::cout << table.plain() << "\n\"it\" now knows: person " << shown(mixture.at({0, 0})) << ", animal "
            << shown(mixture.at({0, 1})) << ", noun " << shown(mixture.at({0, 2})) << '\n';
}

Tensor random_rows(Size rows, Size columns, Generator& generator) {
  return random_normal({rows, columns}, 1, generator, {});
}

std::vector<std::string> numbers_up_to(Size count) {
  std::vector<std::string> names;
  for (Size i = 1; i <= count; ++i) names.push_back(std::to_string(i));
  return names;
}

// Random queries and keys, the numbers of variance 1: each row of the table is the mean of 50 times 16 queries.
void why_the_square_root() {
  constexpr Size draws = 50, keys = 16;
  Table table = table_of("D", {"variance of q.k", "largest weight", "entropy", "slope", "largest, scaled",
                               "entropy, scaled", "slope, scaled"});
  std::vector<HeatMap> panels = {{"softmax(q.k)", {}, numbers_up_to(keys), {}},
                                 {"softmax(q.k / sqrt(D))", {}, numbers_up_to(keys), {}}};
  Generator generator(4);
  for (const Size D : {1, 4, 16, 64, 256, 1024}) {
    double variance = 0;
    Sharpness sums[2] = {};
    for (Size draw = 0; draw < draws; ++draw) {
      const Tensor query = random_rows(keys, D, generator), key = random_rows(keys, D, generator);
      const Tensor scores = dot_products(query, key);
      variance += sum_of_squares(scores) / (draws * keys * keys);
      const Tensor weights[] = {softmax_rows(scores), softmax_rows(scaled_scores(query, key))};
      for (std::size_t i = 0; i < 2; ++i) {
        const Sharpness sharp = sharpness(weights[i]);
        sums[i].largest += sharp.largest / draws;
        sums[i].entropy += sharp.entropy / draws;
        sums[i].slope += sharp.slope / draws;
        if (draw > 0) continue;
        panels[i].row_labels.push_back(text("D = ", D));
        const std::vector<float> row = weights[i].slice(0, 0, 1).to_vector<float>();
        panels[i].values.insert(panels[i].values.end(), row.begin(), row.end());
      }
    }
    std::vector<std::string> cells = {std::to_string(D), shown(variance, 1)};
    for (const Sharpness& mean : sums)
      for (const double number : {mean.largest, mean.entropy, mean.slope}) cells.push_back(shown(number, 3));
    table.add_row(cells);
  }
  std::cout << table.plain();
  write_png(panels, "04_scaling.png",
            {.title = "One query, 16 keys, more and more numbers a word",
             .note = "row: the weights for this D; column: a key",
             .columns = 2,
             .maximum = 1.0f});
  std::cout << "\n04_scaling.png\n";
}

void who_sees_whom() {
  const std::vector<std::string> positions = {"1", "2", "3", "4"};
  const Tensor nothing_asked = zeros({4, 3});  // all scores 0: whoever is seen gets an equal share
  const Tensor keys = full({4, 3}, 1);
  std::cout << "causal\n";
  print_square("position", positions, positions, masked_weights(nothing_asked, keys, causal_mask(4)));
  std::cout << "\npadding, the sentence has 3 words\n";
  print_square("position", positions, positions, masked_weights(nothing_asked, keys, padding_mask(4, 4, 3)));

  Generator generator(41);
  const Tensor query = random_rows(8, 4, generator), key = random_rows(8, 4, generator);
  const Mask both{from_values<std::int32_t>({6}, {1}), causal};
  const std::vector<std::string> names = numbers_up_to(8);
  const std::vector<HeatMap> panels = {
      {"all", names, names, masked_weights(query, key, zeros({8, 8})).to_vector<float>()},
      {"causal", names, names, masked_weights(query, key, causal_mask(8)).to_vector<float>()},
      {"causal, 6 words", names, names, masked_weights(query, key, mask_of(both, 0, 8, 8)).to_vector<float>()}};
  write_png(panels, "04_masks.png",
            {.title = "The same scores under three masks",
             .note = "row: who looks; column: at whom",
             .columns = 3,
             .maximum = 1.0f});
  std::cout << "\n04_masks.png\n";
}

bool agree(const Tensor& a, const Tensor& b, double tolerance) {
  const std::vector<float> x = a.to_vector<float>(), y = b.to_vector<float>();
  for (std::size_t i = 0; i < x.size(); ++i)
    if (!(std::abs(x[i] - y[i]) <= tolerance)) return false;
  return x.size() == y.size();
}

void several_heads() {
  Generator generator(5);
  const Tensor joint = random_normal({2, 5, 12}, 1, generator, {});  // [B, T, C]: 2 sentences, 5 words, 12 numbers
  const Tensor query = joint.reshape({2, 5, 3, 4});                  // [B, T, H, D]: the same memory as 3 heads of 4
  Table table = table_of("head", {"begins at", "rows", "row stride", "columns", "column stride"});
  for (Size h = 0; h < 3; ++h) {
    const Matrix head = head_of(query, 1, h);
    table.add_row({text("sentence 1, head ", h), std::to_string(head.first - joint.data<float>()),
                   std::to_string(head.rows), std::to_string(head.row_stride), std::to_string(head.columns),
                   std::to_string(head.column_stride)});
  }
  std::cout << table.plain();

  const Tensor key = random_normal({2, 5, 3, 4}, 1, generator, {}),
               value = random_normal({2, 5, 3, 4}, 1, generator, {});
  const Mask mask{from_values<std::int32_t>({5, 3}, {2}), causal};
  std::cout << "\nlargest difference from tensor/attention.h below 1e-5: "
            << (agree(attend_heads(query, key, value, mask), attention(query, key, value, mask).output, 1e-5) ? "yes"
                                                                                                              : "no")
            << '\n';
}

// --- Step 6: a layer whose weights were chosen by hand ---

// [show positions]
// Where word t stands, as three pairs (sin w t, cos w t); a word's 12 numbers are its 6 meanings and these.
constexpr double speeds[] = {0.3, 1.2, 2.1};
Tensor sentence_with_positions() {
  const Tensor x = zeros({1, 10, 12});  // [B, T, C]
  x.reshape({10, 12}).slice(1, 0, meanings).copy_from(from_values(sentence_numbers, {10, meanings}));
  for (Size t = 0; t < 10; ++t)
    for (Size i = 0; i < 3; ++i) {
      x.set({0, t, meanings + 2 * i}, std::sin(speeds[i] * static_cast<double>(t)));
      x.set({0, t, meanings + 2 * i + 1}, std::cos(speeds[i] * static_cast<double>(t)));
    }
  return x;
}
// [end show]

// [show projections]
// Three heads of D = 4. A weight (input, 4 h + d) says how much of that input goes to number d of head h.
void set_by_hand(const Attention& layer) {
  for (const Linear* part : {&layer.query, &layer.key, &layer.value, &layer.output})
    for (const Parameter* numbers : {&part->weight, &part->bias}) numbers->value().copy_from(zeros(numbers->shape()));
  const auto set = [](const Linear& part, Size input, Size head, Size d, double weight) {
    part.weight.value().set({input, 4 * head + d}, weight);
  };
  // Head 0. A pronoun looks for a noun of its own kind: a person for "her", an animal for "it".
  for (const Size kind : {person, animal}) {
    set(layer.query, kind, 0, kind, 8);
    set(layer.key, kind, 0, kind, 1);
  }
  set(layer.query, pronoun, 0, 2, 8);
  set(layer.key, noun, 0, 2, 1);
  for (Size d = 0; d < 4; ++d) set(layer.value, d, 0, d, 1);  // what it takes home: person, animal, noun, pronoun
  // Head 1. Every word looks at the one before it: its own position turned back by one step.
  for (Size i = 0; i < 2; ++i) {
    const Size sine = meanings + 2 * i, cosine = sine + 1;
    set(layer.query, sine, 1, 2 * i, 16 * std::cos(speeds[i]));  // sin(w (t - 1)) = sin wt cos w - cos wt sin w
    set(layer.query, cosine, 1, 2 * i, -16 * std::sin(speeds[i]));
    set(layer.query, sine, 1, 2 * i + 1, 16 * std::sin(speeds[i]));  // cos(w (t - 1)) = cos wt cos w + sin wt sin w
    set(layer.query, cosine, 1, 2 * i + 1, 16 * std::cos(speeds[i]));
    set(layer.key, sine, 1, 2 * i, 1);
    set(layer.key, cosine, 1, 2 * i + 1, 1);
  }
  // Head 2. A verb looks for those who can act, the nearer the better.
  set(layer.query, verb, 2, 0, 12);
  for (const Size kind : {person, animal}) set(layer.key, kind, 2, 0, 1);
  set(layer.query, meanings, 2, 1, 4);
  set(layer.query, meanings + 1, 2, 2, 4);
  set(layer.key, meanings, 2, 1, 1);
  set(layer.key, meanings + 1, 2, 2, 1);
  for (Size c = 0; c < 12; ++c) layer.output.weight.value().set({c, c}, 1);  // heads side by side, as they come
}
// [end show]

void the_layer() {
  Generator generator(6);
  const Attention layer(12, multi_head(3), generator, {});
  set_by_hand(layer);
  const Tensor x = sentence_with_positions();
  const Mask mask{{}, any_order};
  const Tensor result = attention_layer(x, x, layer, mask);  // [1, 10, 12]

  Table table = table_of("word", {"person", "animal", "noun", "pronoun"});
  const auto add = [&](const std::string& name, const Tensor& from, Size t) {
    std::vector<std::string> cells = {name};
    for (Size c = 0; c < 4; ++c) cells.push_back(shown(from.at({0, t, c})));
    table.add_row(cells);
  };
  for (const Size t : {6, 9}) {
    add(sentence[t], x, t);
    add(sentence[t] + ", what head 0 brings", result, t);
  }
  std::cout << table.plain();
  std::cout << "\nlargest difference from nn/attention.h below 1e-5: "
            << (agree(result, layer(Variable(x), Variable(x), mask).value(), 1e-5) ? "yes" : "no") << '\n';

  const Tensor query = layer.queries(Variable(x)).value(), key = layer.keys_values(Variable(x)).key.value();
  const char* titles[] = {"head 0: pronouns", "head 1: word before", "head 2: verbs"};
  std::vector<HeatMap> panels;
  for (Size h = 0; h < 3; ++h) {
    const Tensor weights = masked_weights(head_of(query, 0, h), head_of(key, 0, h), mask_of(mask, 0, 10, 10));
    panels.push_back({titles[h], sentence, sentence, weights.to_vector<float>()});
  }
  write_png(panels, "04_heads.png",
            {.title = "Three heads read one sentence",
             .note = "row: the word that looks; column: the word it looks at",
             .columns = 3,
             .maximum = 1.0f});
  std::cout << "\n04_heads.png\n";
}

}  // namespace

int main(int count, char** arguments) {
  return lesson_program(4, {how_alike, what_it_means, why_the_square_root, who_sees_whom, several_heads, the_layer},
                        count, arguments);
}
