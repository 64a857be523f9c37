#include <algorithm>
#include <cmath>
#include <iostream>

#include "autograd/check_gradient.h"
#include "autograd/functions.h"
#include "autograd/graph.h"
#include "core/random.h"
#include "core/report/canvas.h"
#include "core/report/line_chart.h"
#include "core/report/progress.h"
#include "core/report/table.h"
#include "lesson.h"
#include "tutorials/support/step.h"

namespace headshare::lesson {
namespace {

// [show example]
// The example of this lesson: f(a, b) = exp(a b) + a at a = 0.5, b = 2.
struct Example {
  Tape tape;
  Value a = tape.leaf({0.5}), b = tape.leaf({2});
  Value f = add(exp(multiply(a, b)), a);
};
// [end show]

std::string list(const Numbers& numbers) {
  std::string words;
  for (const double number : numbers) words += (words.empty() ? "" : " ") + with_decimals(number, 4);
  return words;
}

std::string list(const std::vector<int>& numbers) {
  std::string words;
  for (const int number : numbers) words += text(words.empty() ? "" : " ", number);
  return words;
}

Numbers random_numbers(Size count, std::uint64_t seed) {
  Generator generator(seed);
  Numbers numbers(count);
  for (double& number : numbers) number = generator.normal();
  return numbers;
}

// --- Step 1 ---

void step_1() {
  Example example;
  Table table({{"position", Alignment::right},
               {"operation"},
               {"made of"},
               {"value", Alignment::right},
               {"its rule turns dy = 1 into"}});
  for (int position = 0; position < example.tape.size(); ++position) {
    const Entry& entry = example.tape.entry(position);
    std::string gradients;
    if (entry.rule)
      for (const Numbers& gradient : entry.rule({1})) gradients += (gradients.empty() ? "" : " and ") + list(gradient);
    table.add_row({std::to_string(position), entry.operation, list(entry.inputs), list(entry.value), gradients});
  }
  std::cout << "f(a, b) = exp(a b) + a at a = 0.5, b = 2\n\n" << table.plain();
}

// --- Step 2 ---

void step_2() {
  Example example;
  const std::vector<Numbers> gradients = backward(example.f, {1});
  Table table({{"position", Alignment::right},
               {"operation"},
               {"value", Alignment::right},
               {"gradient of f", Alignment::right}});
  for (const int position : backward_order(example.f)) {
    const Entry& entry = example.tape.entry(position);
    table.add_row({std::to_string(position), entry.operation, list(entry.value), list(gradients[position])});
  }
  std::cout << table.plain() << '\n'
            << "by hand: df/da = b exp(a b) + 1 = " << with_decimals(2 * std::exp(1.0) + 1, 4)
            << ", df/db = a exp(a b) = " << with_decimals(0.5 * std::exp(1.0), 4) << "\n\n";

  Tape tape;
  const Value x = tape.leaf({1});
  Value doubled = x;
  for (int i = 0; i < 60; ++i) doubled = add(doubled, doubled);
  std::cout
      << "x doubled 60 times: there are 2^60 paths from the result to x; each rule was used once, and the gradient is "
      << with_thousands(static_cast<Size>(backward(doubled, {1})[x.position][0])) << '\n';
}

// --- Step 3 ---

template <class Number>
Number example_function(Number x) {
  return std::exp(x * x);
}

void step_3() {
  const double x = 0.7, truth = 2 * x * std::exp(x * x);  // of exp(x x)
  const Function f = [](const Numbers& at) { return Numbers{example_function(at[0])}; };
  const auto error_of = [&](double got) { return std::max(std::abs(got - truth) / truth, 1e-16); };
  const auto digits_of = [](double error) { return text('~', std::max(0L, std::lround(-std::log10(error)))); };

  LineChart chart{
      .title = "Numeric gradient of exp(x x) at 0.7",
      .x_label = "step",
      .y_label = "relative error",
      .series = {{.name = "central, float64"}, {.name = "one-sided, float64"}, {.name = "central, float32"}},
      .x_scale = AxisScale::logarithmic,
      .y_scale = AxisScale::logarithmic,
      .width = 900,
      .height = 520};
  Table table({{"step"},
               {"central, float64", Alignment::right},
               {"one-sided, float64", Alignment::right},
               {"central, float32", Alignment::right}});
  for (int exponent = 4; exponent <= 48; ++exponent) {
    const double step = std::pow(10.0, -exponent / 4.0);
    const float low = static_cast<float>(x - step), high = static_cast<float>(x + step);
    const double errors[] = {error_of(numeric_gradient(f, {x}, {1}, step)[0]),
                             error_of((example_function(x + step) - example_function(x)) / step),
                             error_of(static_cast<double>((example_function(high) - example_function(low)) /
                                                          (2 * static_cast<float>(step))))};
    std::vector<std::string> row = {text("1e-", exponent / 4)};
    for (std::size_t i = 0; i < 3; ++i) {
      chart.series[i].x.push_back(step);
      chart.series[i].y.push_back(errors[i]);
      row.push_back(digits_of(errors[i]));
    }
    if (exponent % 4 == 0) table.add_row(row);
  }
  std::cout << "the numeric gradient of exp(x x) at 0.7: how many digits are right?\n" << table.plain() << '\n';
  write_png(chart, "02_step.png");
  std::cout << "picture: 02_step.png\n\n";

  const auto function = [](const Value& input) { return add(exp(multiply(input, input)), input); };
  const Numbers at = random_numbers(5, 1), upstream = random_numbers(5, 2);
  const double error = gradient_error(function, at, upstream);
  std::cout << "your rules for exp(x x) + x, against central differences: "
            << (error < 1e-7 ? "they agree" : text("error ", error)) << '\n';
}

// --- Step 4 ---

// [show wrong]
// Rules that somebody might write for softmax. Only the first is right.
struct Candidate {
  std::string formula;
  Numbers (*rule)(const Numbers& y, const Numbers& dy);
};

double shared_by(const Numbers& y, const Numbers& dy) {
  double total = 0;
  for (std::size_t i = 0; i < y.size(); ++i) total += y[i] * dy[i];
  return total;
}

Numbers each(const Numbers& y, const Numbers& dy, double (*formula)(double y, double dy, double shared)) {
  Numbers dx = dy;
  for (std::size_t i = 0; i < y.size(); ++i) dx[i] = formula(y[i], dy[i], shared_by(y, dy));
  return dx;
}

const Candidate candidates[] = {
    {"y (dy - s)    yours", softmax_gradient},
    {"dy - s        lost the factor y",
     [](const Numbers& y, const Numbers& dy) { return each(y, dy, [](double, double d, double s) { return d - s; }); }},
    {"2 y (dy - s)  twice too large",
     [](const Numbers& y, const Numbers& dy) {
       return each(y, dy, [](double v, double d, double s) { return 2 * v * (d - s); });
     }},
    {"0             nothing at all",
     [](const Numbers& y, const Numbers& dy) { return each(y, dy, [](double, double, double) { return 0.0; }); }},
    {"y dy          forgot that all share one sum",
     [](const Numbers& y, const Numbers& dy) { return each(y, dy, [](double v, double d, double) { return v * d; }); }},
};
// [end show]

void step_4() {
  std::cout << "softmax of 1 2 3: " << list(softmax_values({1, 2, 3})) << '\n'
            << "softmax of 1001 1002 1003: " << list(softmax_values({1001, 1002, 1003})) << "\n\n";

  const Numbers x = random_numbers(7, 3), ones(7, 1.0), random = random_numbers(7, 4);
  Table table({{"rule, with s = sum_j y_j dy_j"}, {"upstream all ones"}, {"upstream random"}});
  const auto verdict = [](double error) { return error < 1e-7 ? "passes" : "error " + with_decimals(error, 3); };
  for (const Candidate& candidate : candidates) {
    const auto function = [&](const Value& input) {
      const Numbers y = softmax_values(input.numbers());
      const auto rule = candidate.rule;
      return input.tape->record("softmax", y, {input},
                                [y, rule](const Numbers& dy) { return std::vector<Numbers>{rule(y, dy)}; });
    };
    table.add_row(
        {candidate.formula, verdict(gradient_error(function, x, ones)), verdict(gradient_error(function, x, random))});
  }
  std::cout << table.plain();
}

// --- Step 5 ---

// Boxes with operation, value and gradient, an arrow from each input to what was made of it.
void draw_graph(const Value& root, const std::string& path) {
  constexpr double box_width = 190, box_height = 92, across = 250, down = 100, margin = 20;
  const std::vector<Numbers> gradients = backward(root, Numbers(root.numbers().size(), 1.0));
  const std::vector<int> column = columns(root);
  std::vector<int> order = backward_order(root);
  std::reverse(order.begin(), order.end());

  // Leaves stand below each other, an operation in the middle of its inputs.
  std::vector<double> row(root.tape->size(), 0.0);
  double leaves = 0;
  for (const int position : order) {
    const std::vector<int>& inputs = root.tape->entry(position).inputs;
    if (inputs.empty()) row[position] = 2 * leaves++;
    for (const int input : inputs) row[position] += row[input] / static_cast<double>(inputs.size());
  }

  Canvas canvas(static_cast<Size>(2 * margin + across * column[root.position] + box_width),
                static_cast<Size>(2 * margin + down * 2 * (leaves - 1) + box_height));
  const auto left = [&](int position) { return margin + across * column[position]; };
  const auto middle = [&](int position) { return margin + box_height / 2 + down * row[position]; };
  for (const int position : order)
    for (const int input : root.tape->entry(position).inputs) {
      const Point from{left(input) + box_width, middle(input)}, to{left(position), middle(position)};
      const Point line[] = {from, to};
      canvas.draw_line(line, 2, colors::frame);
      canvas.fill_circle(to, 5, colors::frame);
    }
  for (const int position : order) {
    const Entry& entry = root.tape->entry(position);
    const Size x = static_cast<Size>(left(position)), y = static_cast<Size>(middle(position) - box_height / 2);
    const Size width = static_cast<Size>(box_width), height = static_cast<Size>(box_height);
    canvas.fill_rectangle(x, y, width, height, entry.rule ? Color{244, 245, 247} : Color{220, 232, 245});
    canvas.draw_rectangle(x, y, width, height, colors::frame);
    const std::string lines[] = {text(position, " ", entry.operation), "value " + list(entry.value),
                                 "gradient " + list(gradients[position])};
    for (Size i = 0; i < 3; ++i)
      canvas.draw_text({left(position) + 10, static_cast<double>(y + 8 + 27 * i)}, lines[i],
                       {.color = i == 0 ? colors::ink : colors::pale});
  }
  write_png(canvas, path);
  std::cout << "picture: " << path << "\n\n";
}

void step_5() {
  Example example;
  std::cout << graph_dot(example.f) << "columns: " << list(columns(example.f)) << '\n';
  draw_graph(example.f, "02_graph.png");

  const TensorOptions float64{ElementType::float64, Device::cpu};
  const Variable a = headshare::leaf(full({}, 0.5, float64)), b = headshare::leaf(full({}, 2, float64));
  const Variable f = headshare::add(headshare::exp(headshare::multiply(a, b)), a);
  std::cout << "the same with the library:\n" << graph_table(f);
  headshare::backward(f);
  std::cout << "df/da = " << with_decimals(a.gradient().item(), 4)
            << ", df/db = " << with_decimals(b.gradient().item(), 4) << "\n\n";

  const Tensor x = from_values(random_numbers(33, 5), {33}, Device::cpu);
  const GradientCheck check = check_gradient([](const std::vector<Variable>& inputs) { return silu(inputs[0]); }, {x});
  std::cout << "your silu in the library: check_gradient " << (check.passed ? "passes" : check.message) << '\n';
}

}  // namespace
}  // namespace headshare::lesson

int main(int count, char** arguments) {
  using namespace headshare::lesson;
  return lesson_program(2, {step_1, step_2, step_3, step_4, step_5}, count, arguments);
}
