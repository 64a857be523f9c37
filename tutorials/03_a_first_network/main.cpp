#include <cmath>
#include <iostream>

#include "autograd/functions.h"
#include "core/report/heat_map.h"
#include "core/report/line_chart.h"
#include "core/report/progress.h"
#include "core/report/table.h"
#include "lesson.h"
#include "tutorials/support/step.h"

namespace headshare::lesson {
namespace {

const std::vector<int> examples = {342, 313, 40, 7, 999};

std::string quoted(int id) { return '"' + piece(id) + '"'; }

std::string three_pieces(const std::vector<int>& pieces) {
  return quoted(pieces[0]) + ' ' + quoted(pieces[1]) + ' ' + quoted(pieces[2]);
}

// --- Step 1 ---

void step_1() {
  const Tensor x = one_hot({342});
  std::cout << "342 as 30 numbers: ";
  for (Size i = 0; i < x.count(); ++i) std::cout << (i > 0 && i % 10 == 0 ? " " : "") << x.at({0, i});
  const Network network = make_network({30, piece_slots * vocabulary}, 1);
  std::cout << "\nscores for one number: " << scores(network, Variable(x)).shape() << "\n\n";
  const std::vector<int> said = read_aloud(network, one_hot, examples), right = pieces_of(examples);
  Table table({{"number", Alignment::right}, {"a network of random weights says"}, {"right"}});
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const auto three = [i](const std::vector<int>& all) {
      return std::vector<int>{all.begin() + 3 * i, all.begin() + 3 * i + 3};
    };
    table.add_row({std::to_string(examples[i]), three_pieces(three(said)), three_pieces(three(right))});
  }
  std::cout << table.plain();
}

// --- Step 2 ---

void step_2() {
  const Tensor row = from_values<float>({2, 1, 0}, {1, 3});
  const Tensor gradient = cross_entropy_gradient(row, {0});
  const Tensor probabilities = softmax(Variable(row)).value();
  Table table(
      {{"score", Alignment::right}, {"probability", Alignment::right}, {"gradient, target 0", Alignment::right}});
  for (Size v = 0; v < 3; ++v)
    table.add_row({with_decimals(row.at({0, v}), 0), with_decimals(probabilities.at({0, v}), 4),
                   with_decimals(gradient.at({0, v}), 4)});
  std::cout << table.plain() << "loss: " << with_decimals(cross_entropy_loss(row, {0}), 4) << "\n\n";

  const std::vector<float> large = {1000, 990, 0};
  float sum = 0;
  for (const float score : large) sum += std::exp(score);
  const float plain = -std::log(std::exp(large[1]) / sum);
  std::cout << "scores 1000, 990, 0, target 1\n  straight from the formula: "
            << (std::isnan(plain) ? "not a number" : std::to_string(plain))
            << "\n  yours: " << with_decimals(cross_entropy_loss(from_values(large, {1, 3}), {1}), 4) << "\n\n";

  const Network network = make_network({30, piece_slots * vocabulary}, 1);
  const std::vector<int> numbers = split_numbers(300).seen;
  const Tensor logits = scores(network, Variable(one_hot(numbers))).value();
  std::cout << "loss of a network of random weights: "
            << with_decimals(cross_entropy_loss(logits, pieces_of(numbers)), 2)
            << "\nall 29 pieces equally likely, ln 29:  " << with_decimals(std::log(29.0), 2) << '\n';
}

// --- Step 3 ---

// [show valley]
// A valley, a hundred times as steep across as along: f = 50 a^2 + 0.5 b^2.
double height(const Tensor& at) { return 50 * at.at({0}) * at.at({0}) + 0.5 * at.at({1}) * at.at({1}); }
Tensor slope(const Tensor& at) { return from_values<float>({100.0f * at.data<float>()[0], at.data<float>()[1]}, {2}); }
// [end show]

void step_3() {
  const AdamSettings settings{.learning_rate = 0.1};
  constexpr float plain_rate = 0.0195f;  // from 0.02 on the plain rule climbs the steep side
  const Tensor plain = from_values<float>({1, 1}, {2}), adam = plain.clone();
  const Moments moments{zeros({2}), zeros({2})};
  LineChart chart{.title = "A valley, 100 times as steep across as along",
                  .x_label = "step",
                  .y_label = "height",
                  .series = {{.name = "gradient descent, rate 0.0195"}, {.name = "Adam, rate 0.1"}},
                  .y_scale = AxisScale::logarithmic,
                  .width = 900,
                  .height = 540};
  const auto note = [&](Size step) {
    for (const auto& [series, at] : {std::pair{0, plain}, std::pair{1, adam}}) {
      chart.series[series].x.push_back(static_cast<double>(step));
      chart.series[series].y.push_back(height(at));
    }
  };
  note(0);
  Table table({{"step", Alignment::right},
               {"gradient descent: a", Alignment::right},
               {"b", Alignment::right},
               {"Adam: a", Alignment::right},
               {"b", Alignment::right}});
  for (Size step = 1; step <= 100; ++step) {
    const Tensor gradient = slope(plain);
    for (Size i = 0; i < 2; ++i) plain.data<float>()[i] -= plain_rate * gradient.data<float>()[i];
    adam_step(adam, slope(adam), moments, step, settings);
    note(step);
    if (step == 1 || step == 5 || step == 10 || step == 40)
      table.add_row({std::to_string(step), with_decimals(plain.at({0}), 3), with_decimals(plain.at({1}), 3),
                     with_decimals(adam.at({0}), 3), with_decimals(adam.at({1}), 3)});
  }
  write_png(chart, "03_adam.png");
  std::cout << table.plain() << "03_adam.png: the height at every step\n";
}

// --- Step 4 ---

// The weights from each digit to each piece of the tens: a row for a digit, a column for a piece.
void draw_weights(const Network& network) {
  const Tensor weight = network.weights[0].value().slice(1, vocabulary, 2 * vocabulary);  // [30, V]
  HeatMap map;
  for (int id = 0; id < vocabulary; ++id) map.column_labels.push_back(id == 0 ? "(silent)" : piece(id));
  for (const std::string place : {"hundreds ", "tens ", "ones "})
    for (int digit = 0; digit < 10; ++digit) map.row_labels.push_back(place + std::to_string(digit));
  map.values = weight.to_vector<float>();
  write_png({&map, 1}, "03_weights.png",
            {.title = "What each digit adds to the score of each piece of the tens", .minimum = -2, .maximum = 2});
}

void step_4() {
  const Numbers numbers = split_numbers(300);
  const Network network = make_network({30, piece_slots * vocabulary}, 1);
  const std::vector<double> losses = train(network, one_hot, numbers.seen, {});
  LineChart chart{.title = "Learning to say numbers",
                  .x_label = "step",
                  .y_label = "loss of the step's 50 numbers",
                  .series = {{.name = ""}},
                  .width = 900,
                  .height = 540};
  Table table({{"step", Alignment::right}, {"loss", Alignment::right}});
  for (std::size_t i = 0; i < losses.size(); ++i) {
    chart.series[0].x.push_back(static_cast<double>(i + 1));
    chart.series[0].y.push_back(losses[i]);
    if (i == 0 || (i + 1) % 100 == 0) table.add_row({std::to_string(i + 1), with_decimals(losses[i], 3)});
  }
  write_png(chart, "03_loss.png");
  draw_weights(network);
  std::cout << table.plain() << "numbers said without a mistake\n  of the 300 it learned from: "
            << with_decimals(100 * accuracy(network, one_hot, numbers.seen), 1) << " %\n  of the 700 it never saw:    "
            << with_decimals(100 * accuracy(network, one_hot, numbers.unseen), 1) << " %\n";
  Size wrong = 0;
  for (const int number : numbers.seen) {
    const std::string said = say(read_aloud(network, one_hot, {number})), right = say(pieces_of({number}));
    if (said != right && ++wrong <= 5)
      std::cout << "learned from, and still wrong: " << number << " is \"" << said << "\"\n";
  }
  if (wrong > 5) std::cout << "and " << wrong - 5 << " more\n";
  std::cout << "numbers it never saw:\n";
  for (std::size_t i = 0; i < 5; ++i)
    std::cout << "  " << numbers.unseen[i] << ": " << say(read_aloud(network, one_hot, {numbers.unseen[i]})) << '\n';
}

// --- Step 5 ---

void step_5() {
  const Numbers numbers = split_numbers(300);
  Table table({{"digits as"},
               {"layers"},
               {"weights", Alignment::right},
               {"learned %", Alignment::right},
               {"never seen %", Alignment::right}});
  for (const auto& [name, encode, inputs] : {std::tuple{"one-hot", Encoding(one_hot), Size{30}},
                                             std::tuple{"plain numbers", Encoding(plain_digits), Size{3}}})
    for (const Size hidden : {0, 64}) {
      std::vector<Size> widths = {inputs, piece_slots * vocabulary};
      if (hidden > 0) widths.insert(widths.begin() + 1, hidden);
      const Network network = make_network(widths, 1);
      train(network, encode, numbers.seen, {.steps = 2000});
      Size weights = 0;
      for (const Variable& parameter : network.parameters()) weights += parameter.value().count();
      const std::string about =
          inputs == 3 ? "~" : "";  // not learned to the end: differs a little from machine to machine
      table.add_row({name, hidden > 0 ? "64 hidden units" : "one layer", with_thousands(weights),
                     about + with_decimals(100 * accuracy(network, encode, numbers.seen), 1),
                     about + with_decimals(100 * accuracy(network, encode, numbers.unseen), 1)});
    }
  std::cout << table.plain();
}

}  // namespace
}  // namespace headshare::lesson

int main(int count, char** arguments) {
  using namespace headshare::lesson;
  return lesson_program(3, {step_1, step_2, step_3, step_4, step_5}, count, arguments);
}
