#include <algorithm>
#include <cmath>

#include "autograd/check_gradient.h"
#include "core/random.h"
#include "lesson.h"
#include "tutorials/support/check.h"

namespace headshare::lesson {
namespace {

Numbers random_numbers(Size count, std::uint64_t stream) {
  Generator generator(grading_seed() + 201, stream);
  Numbers numbers(count);
  for (double& number : numbers) number = generator.normal();
  return numbers;
}

Size random_size(std::uint64_t stream) { return 3 + Generator(grading_seed() + 202, stream).below(20); }

// A random graph of sums alone, so that its gradients can be counted: how many paths lead from the root to each entry.
struct RandomGraph {
  Tape tape;
  std::vector<double> paths;

  RandomGraph(int leaves, int operations, std::uint64_t stream) {
    Generator generator(grading_seed() + 203, stream);
    std::vector<Value> values;
    for (int i = 0; i < leaves; ++i) values.push_back(tape.leaf({generator.normal()}));
    for (int i = 0; i < operations; ++i) {
      const Size a = generator.below(static_cast<Size>(values.size()));
      const Size b = generator.below(static_cast<Size>(values.size()));
      values.push_back(add(values[a], values[b]));
    }
    paths.assign(values.size(), 0);
    paths.back() = 1;
    for (int position = tape.size() - 1; position >= 0; --position)
      for (const int input : tape.entry(position).inputs) paths[input] += paths[position];
  }
  Value root() { return {&tape, tape.size() - 1}; }
};

}  // namespace

TEST_CASE("2.1 hidden: rules with random numbers") {
  const Size n = random_size(1);
  const Numbers a = random_numbers(n, 1), b = random_numbers(n, 2), dy = random_numbers(n, 3);
  Tape tape;
  const Value va = tape.leaf(a), vb = tape.leaf(b), product = multiply(vb, va), power = exp(va), total = sum(vb);
  for (int i = 0; i < 100; ++i) tape.leaf({0});
  const std::vector<Numbers> of_product = apply_rule(tape, tape.entry(product.position), dy);
  const Numbers of_power = apply_rule(tape, tape.entry(power.position), dy)[0];
  check_close(apply_rule(tape, tape.entry(total.position), {dy[0]})[0], Numbers(n, dy[0]), "gradient of a sum");
  double expected_total = 0;
  for (Size i = 0; i < n; ++i) {
    check_close(product.numbers()[i], a[i] * b[i], "product of random numbers");
    check_close(of_product[0][i], dy[i] * a[i], "gradient of the left factor");
    check_close(of_product[1][i], dy[i] * b[i], "gradient of the right factor");
    check_close(power.numbers()[i], std::exp(a[i]), "exp of random numbers");
    check_close(of_power[i], dy[i] * std::exp(a[i]), "gradient of exp");
    expected_total += b[i];
  }
  check_close(total.numbers(), Numbers{expected_total}, "sum of random numbers");
}

TEST_CASE("2.2 hidden: the gradient of a graph of sums counts its paths") {
  for (std::uint64_t stream = 0; stream < 10; ++stream) {
    RandomGraph graph(3, 25, stream);
    const std::vector<Numbers> gradients = backward(graph.root(), {1});
    for (int position = 0; position < graph.tape.size(); ++position)
      check_close(gradients[position], Numbers{graph.paths[position]}, text("paths to entry ", position));
  }
}

TEST_CASE("2.2 hidden: an order in which gradients are complete") {
  for (std::uint64_t stream = 0; stream < 10; ++stream) {
    RandomGraph graph(4, 25, 100 + stream);
    const std::vector<int> order = backward_order(graph.root());
    std::vector<int> turn(graph.tape.size(), -1);
    for (std::size_t i = 0; i < order.size(); ++i) {
      check_equal(turn[order[i]], -1, text("entry ", order[i], ": its earlier turn"));
      turn[order[i]] = static_cast<int>(i);
    }
    for (int position = 0; position < graph.tape.size(); ++position) {
      check_equal(turn[position] >= 0, graph.paths[position] > 0, text("entry ", position, " is listed (1 is yes)"));
      if (turn[position] < 0) continue;
      for (const int input : graph.tape.entry(position).inputs)
        check_equal(turn[input] > turn[position], true,
                    text("entry ", input, " comes after ", position, ", which was made of it (1 is yes)"));
    }
  }
}

TEST_CASE("2.2 hidden: a very long chain") {
  Tape tape;
  const Value x = tape.leaf({1});
  Value y = x;
  for (int i = 0; i < 200000; ++i) y = add(y, x);
  check_close(backward(y, {2})[x.position], Numbers{400002}, "x + x + ..., 200000 times, seed 2: gradient of x");
}

TEST_CASE("2.3 hidden: numeric gradients of a random quadratic") {
  const Size n = random_size(4);
  const Numbers a = random_numbers(n * n, 5), x = random_numbers(n, 6), upstream = random_numbers(n, 7);
  const Function product = [&](const Numbers& at) {  // y_i = x_i sum_j a_ij x_j
    Numbers y(n);
    for (Size i = 0; i < n; ++i)
      for (Size j = 0; j < n; ++j) y[i] += at[i] * a[i * n + j] * at[j];
    return y;
  };
  Numbers expected(n);
  for (Size i = 0; i < n; ++i)
    for (Size j = 0; j < n; ++j) {
      expected[i] += upstream[i] * a[i * n + j] * x[j];
      expected[j] += upstream[i] * a[i * n + j] * x[i];
    }
  check_close(numeric_gradient(product, x, upstream, 1e-4), expected, "gradient of a random quadratic", 1e-6);
  Numbers moved = expected;
  const Size which = Generator(grading_seed() + 204).below(n);
  moved[which] += 3 + std::abs(expected[which]);
  const double wanted =
      (3 + std::abs(expected[which])) / std::max({1.0, std::abs(expected[which]), std::abs(moved[which])});
  check_close(largest_error(moved, expected), wanted, "one element moved: error", 1e-9);
  check_close(largest_error(expected, moved), wanted, "one element moved, the other way round: error", 1e-9);
  moved[(which + 1) % n] = std::nan("");
  check_equal(largest_error(moved, expected) > 1e300, true,
              "NaN behind or before another error is infinite (1 is yes)");
}

TEST_CASE("2.4 hidden: softmax and its gradient") {
  const Size n = random_size(8);
  Numbers x = random_numbers(n, 9);
  const Numbers dy = random_numbers(n, 10), y = softmax_values(x);
  double total = 0;
  for (const double number : x) total += std::exp(number);
  Numbers expected(n), gradient(n);
  for (Size i = 0; i < n; ++i) expected[i] = std::exp(x[i]) / total;
  for (Size j = 0; j < n; ++j)
    for (Size i = 0; i < n; ++i) gradient[j] += dy[i] * expected[i] * ((i == j ? 1 : 0) - expected[j]);
  check_close(y, expected, "softmax of random numbers");
  check_close(softmax_gradient(expected, dy), gradient, "its gradient, by the matrix of derivatives", 1e-9);
  for (double& number : x) number += 5000;
  check_close(softmax_values(x), expected, "softmax after adding 5000 to each", 1e-6);
}

TEST_CASE("2.5 hidden: columns are the longest ways from a leaf") {
  for (std::uint64_t stream = 0; stream < 10; ++stream) {
    RandomGraph graph(3, 20, 200 + stream);
    const std::vector<int> column = columns(graph.root());
    std::vector<int> longest(graph.tape.size(), 0);
    for (int position = 0; position < graph.tape.size(); ++position)
      for (const int input : graph.tape.entry(position).inputs)
        longest[position] = std::max(longest[position], longest[input] + 1);
    for (int position = 0; position < graph.tape.size(); ++position)
      check_equal(column[position], graph.paths[position] > 0 ? longest[position] : -1,
                  text("column of entry ", position));
  }
}

TEST_CASE("2.5 hidden: silu of other shapes and types") {
  const Size n = random_size(11);
  const Tensor x = random_tensor({2, n}, grading_seed() + 205, {ElementType::float64, Device::cpu});
  const GradientCheck check =
      check_gradient([](const std::vector<Variable>& v) { return silu(v[0]); }, {x.transpose(0, 1)});
  check_equal(check.passed ? "passed" : check.message, "passed", "check_gradient of silu");
  const Variable single = leaf(x.to(ElementType::float32)), y = silu(single);
  backward(y, full(y.shape(), 1));
  for (Size j = 0; j < n; ++j) {
    const double at = x.at({1, j}), s = 1 / (1 + std::exp(-at));
    check_close(y.value().at({1, j}), at * s, "silu in float32");
    check_close(single.gradient().at({1, j}), s + at * s * (1 - s), "gradient of silu in float32");
  }
}

}  // namespace headshare::lesson
