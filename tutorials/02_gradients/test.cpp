#include <cmath>
#include <limits>

#include "autograd/check_gradient.h"
#include "core/random.h"
#include "lesson.h"
#include "tutorials/support/check.h"

namespace headshare::lesson {
namespace {

Numbers random_numbers(Size count, std::uint64_t seed) {
  return random_tensor({count}, seed, {ElementType::float64, Device::cpu}).to_vector<double>();
}

void check_inputs(const Value& y, const std::vector<int>& expected, const std::string& what) {
  check_equal(y.tape->entry(y.position).inputs, expected, what + ": its inputs on the tape");
}

std::vector<Numbers> rule_of(const Value& y, const Numbers& dy, const std::string& what) {
  const Entry& entry = y.tape->entry(y.position);
  check_equal(entry.rule ? "a rule" : "no rule", "a rule", what + " has on the tape");
  return apply_rule(*y.tape, entry, dy);
}

}  // namespace

TEST_CASE("2.1 a product, and what each factor has to do with it") {
  Tape tape;
  const Value a = tape.leaf({3, -2, 0.5}), b = tape.leaf({4, 5, -6}), y = multiply(a, b);
  check_close(y.numbers(), Numbers{12, -10, -3}, "{3, -2, 0.5} times {4, 5, -6}");
  check_inputs(y, {0, 1}, "multiply(a, b)");
  const std::vector<Numbers> gradients = rule_of(y, {1, 10, 100}, "multiply");
  check_close(gradients[0], Numbers{4, 50, -600}, "a = {3, -2, 0.5}, b = {4, 5, -6}, dy = {1, 10, 100}: gradient of a");
  check_close(gradients[1], Numbers{3, -20, 50}, "a = {3, -2, 0.5}, b = {4, 5, -6}, dy = {1, 10, 100}: gradient of b");
  check_close(a.numbers(), Numbers{3, -2, 0.5}, "a afterwards");
  check_fails([&] { multiply(a, tape.leaf({1, 2})); }, "3 numbers and 2", "3 numbers times 2 numbers");
}

TEST_CASE("2.1 a rule keeps what it needs, even when the tape has grown") {
  Tape tape;
  const Value a = tape.leaf({3}), y = multiply(a, a), e = exp(tape.leaf({0})), s = sum(tape.leaf({1, 2, 3}));
  for (int i = 0; i < 1000; ++i) tape.leaf(random_numbers(7, i));
  const std::vector<Numbers> gradients = rule_of(y, {2}, "multiply");
  check_close(gradients[0], Numbers{6}, "3 times 3, dy = 2: gradient of the left factor");
  check_close(gradients[1], Numbers{6}, "3 times 3, dy = 2: gradient of the right factor");
  check_close(rule_of(e, {5}, "exp")[0], Numbers{5}, "exp of 0, dy = 5: gradient");
  check_close(rule_of(s, {-4}, "sum")[0], Numbers{-4, -4, -4}, "sum of {1, 2, 3}, dy = -4: gradient");
}

TEST_CASE("2.1 exp is its own derivative") {
  Tape tape;
  const Numbers x = random_numbers(7, 1), dy = random_numbers(7, 2);
  const Value y = exp(tape.leaf(x));
  Numbers expected, gradient;
  for (std::size_t i = 0; i < 7; ++i) {
    expected.push_back(std::exp(x[i]));
    gradient.push_back(std::exp(x[i]) * dy[i]);
  }
  check_close(y.numbers(), expected, "exp of 7 random numbers");
  check_inputs(y, {0}, "exp(x)");
  check_close(rule_of(y, dy, "exp")[0], gradient, "exp of 7 random numbers, random dy: gradient");
}

TEST_CASE("2.1 a sum hands the same gradient to all") {
  Tape tape;
  const Value y = sum(tape.leaf({1, 2, 4, 8, 16})), nothing = sum(tape.leaf({}));
  check_close(y.numbers(), Numbers{31}, "sum of {1, 2, 4, 8, 16}");
  check_inputs(y, {0}, "sum(x)");
  check_close(rule_of(y, {0.25}, "sum")[0], Numbers(5, 0.25), "sum of 5 numbers, dy = 0.25: gradient");
  check_close(nothing.numbers(), Numbers{0}, "sum of no numbers");
}

TEST_CASE("2.2 what was made of it comes before it") {
  Tape tape;
  const Value a = tape.leaf({0.5}), b = tape.leaf({2});
  tape.leaf({7});                     // position 2: has nothing to do with it
  const Value u = add(a, b);          // 3
  add(b, b);                          // 4: not part of what follows
  const Value v = add(u, a);          // 5
  const Value y = add(u, add(v, u));  // 6 and 7
  add(y, y);                          // 8: made of y, not the other way
  check_equal(backward_order(y), {7, 6, 5, 3, 1, 0}, "order for y = u + (v + u), u = a + b, v = u + a");
  check_equal(backward_order(a), {0}, "order for a leaf");
}

TEST_CASE("2.2 the gradient of the example") {
  Tape tape;
  const Value a = tape.leaf({0.5}), b = tape.leaf({2});
  const Value f = add(exp(multiply(a, b)), a);
  const std::vector<Numbers> gradients = backward(f, {1});
  check_equal(static_cast<Size>(gradients.size()), 5, "number of gradients, one for each entry of the tape");
  check_close(gradients[b.position], Numbers{0.5 * std::exp(1.0)}, "f = exp(a b) + a at a = 0.5, b = 2: df/db");
  check_close(gradients[a.position], Numbers{2 * std::exp(1.0) + 1}, "f = exp(a b) + a at a = 0.5, b = 2: df/da");
  check_close(backward(f, {10})[b.position], Numbers{5 * std::exp(1.0)}, "10 f at a = 0.5, b = 2: gradient of b");
}

TEST_CASE("2.2 what is used twice gets both gradients") {
  Tape tape;
  const Value a = tape.leaf({3, -1}), square = multiply(a, a);
  check_close(backward(square, {1, 1})[a.position], Numbers{6, -2}, "a a at a = {3, -1}: gradient of a");
  const Value cube = multiply(square, a);
  check_close(backward(cube, {1, 1})[a.position], Numbers{27, 3}, "(a a) a at a = {3, -1}: gradient of a");
  const Value other = tape.leaf({5, 5});
  check_close(backward(cube, {1, 1})[other.position], Numbers{0, 0}, "gradient of what has nothing to do with it");
  check_fails([&] { backward(cube, {1}); }, "1 seeds for 2 numbers", "a seed of the wrong size");
}

TEST_CASE("2.2 a rule is used once, when its gradient is complete") {
  int uses = 0;
  const auto counted = [&uses](const Value& x) {
    Numbers y = x.numbers();
    for (double& number : y) number *= 2;
    return x.tape->record("twice", y, {x}, [&uses](const Numbers& dy) {
      ++uses;
      Numbers dx = dy;
      for (double& number : dx) number *= 2;
      return std::vector<Numbers>{dx};
    });
  };
  Tape tape;
  const Value x = tape.leaf({1});
  Value y = x;
  for (int i = 0; i < 10; ++i) {
    const Value next = counted(y);
    y = add(next, next);
  }
  check_close(backward(y, {1})[x.position], Numbers{1048576}, "x multiplied by 4 ten times: gradient of x");
  check_equal(uses, 10, "uses of the ten rules");
}

TEST_CASE("2.2 a long chain needs no deep stack") {
  Tape tape;
  const Value x = tape.leaf({2}), one = tape.leaf({1});
  Value y = x;
  for (int i = 0; i < 200000; ++i) y = add(y, one);
  const std::vector<Numbers> gradients = backward(y, {1});
  check_close(gradients[x.position], Numbers{1}, "x + 1 + 1 + ..., 200000 times: gradient of x");
  check_close(gradients[one.position], Numbers{200000}, "x + 1 + 1 + ..., 200000 times: gradient of the one");
}

TEST_CASE("2.3 central differences find the slope") {
  const Function cubes = [](const Numbers& x) { return Numbers{x[0] * x[0] * x[0], x[0] * x[1]}; };
  check_close(numeric_gradient(cubes, {2, 5}, {1, 0}, 1e-4), Numbers{12, 0}, "x0 x0 x0 at {2, 5}: gradient", 1e-6);
  check_close(numeric_gradient(cubes, {2, 5}, {0, 1}, 1e-4), Numbers{5, 2}, "x0 x1 at {2, 5}: gradient", 1e-6);
  check_close(numeric_gradient(cubes, {2, 5}, {10, -3}, 1e-4), Numbers{105, -6}, "10 x0 x0 x0 - 3 x0 x1: gradient",
              1e-6);
  // The error of central differences falls with the square of the step, that of one-sided ones with the step alone.
  check_close(numeric_gradient(cubes, {2, 5}, {1, 0}, 0.1)[0], 12.01, "x0 x0 x0 at 2 with a step of 0.1", 1e-9);
}

TEST_CASE("2.3 one element moves at a time") {
  const Function sum_of_squares = [](const Numbers& x) {
    double total = 0;
    for (const double number : x) total += number * number;
    return Numbers{total};
  };
  const Numbers x = random_numbers(7, 3);
  Numbers expected = x;
  for (double& number : expected) number *= 2;
  check_close(numeric_gradient(sum_of_squares, x, {1}, 1e-5), expected, "sum of squares of 7 numbers: gradient", 1e-7);

  int far = 0;
  const Function watch = [&](const Numbers& moved) {
    int count = 0;
    for (std::size_t i = 0; i < x.size(); ++i) count += moved[i] != x[i];
    far += count > 1;
    return Numbers{0};
  };
  numeric_gradient(watch, x, {1}, 1e-3);
  check_equal(far, 0, "how often more than one element was away from x");
}

TEST_CASE("2.3 the error is relative for large numbers and absolute for small ones") {
  check_close(largest_error({1, 2}, {1, 2}), 0, "error of {1, 2} against itself");
  check_close(largest_error({0.001, 2}, {0.003, 2}), 0.002, "error of 0.001 against 0.003", 1e-9);
  check_close(largest_error({1000, 2}, {1100, 2}), 100.0 / 1100, "error of 1000 against 1100", 1e-9);
  check_close(largest_error({-50, 2}, {2, 2}), 52.0 / 50, "error of -50 against 2", 1e-9);
  check_close(largest_error({1, 5, 1}, {1, 1, 1.5}), 0.8, "error of {1, 5, 1} against {1, 1, 1.5}", 1e-9);
}

TEST_CASE("2.3 nothing wrong passes the check") {
  const double nan = std::nan("");
  const auto answer = [](const Numbers& got, const Numbers& expected) {
    return std::string(largest_error(got, expected) == std::numeric_limits<double>::infinity() ? "infinite" : "finite");
  };
  check_equal(answer({1, nan}, {1, 2}), "infinite", "error of {1, NaN} against {1, 2}");
  check_equal(answer({1, 2}, {nan, 2}), "infinite", "error of {1, 2} against {NaN, 2}");
  check_equal(answer({nan, 1}, {1, 3}), "infinite", "error of {NaN, 1} against {1, 3}");
  check_equal(answer({1}, {1, 2}), "infinite", "error of {1} against {1, 2}");
  check_equal(answer({1, 2}, {1}), "infinite", "error of {1, 2} against {1}");
  check_close(largest_error({}, {}), 0, "error of nothing against nothing");

  const auto wrong = [](const Value& x) {
    return x.tape->record("wrong", {x.numbers()[0] * x.numbers()[0]}, {x}, [x](const Numbers& dy) {
      return std::vector<Numbers>{{dy[0] * 3 * x.numbers()[0]}};  // 3 x instead of 2 x
    });
  };
  check_close(gradient_error(wrong, {0.5}, {2}), 1.0 / 3, "error of a rule that says 3 x for x x, at 0.5, upstream 2",
              1e-6);
}

TEST_CASE("2.3 the rules of step 1 are right") {
  const Numbers x = random_numbers(5, 4), upstream = random_numbers(5, 5);
  const auto function = [](const Value& v) { return multiply(exp(multiply(v, v)), add(v, v)); };
  check_close(gradient_error(function, x, upstream), 0, "exp(x x) (x + x): largest error of the gradient", 1e-6);
}

TEST_CASE("2.4 softmax is positive and sums to 1") {
  check_close(softmax_values({0, 0, 0, 0}), Numbers(4, 0.25), "softmax of four zeros");
  check_close(softmax_values({0, std::log(3)}), Numbers{0.25, 0.75}, "softmax of {0, log 3}");
  check_close(softmax_values({-7}), Numbers{1}, "softmax of a single number");
  const Numbers x = random_numbers(33, 6), y = softmax_values(x);
  check_equal(static_cast<Size>(y.size()), 33, "softmax of 33 numbers, its size");
  double total = 0;
  for (const double number : x) total += std::exp(number);
  for (std::size_t i = 0; i < x.size(); ++i) check_close(y[i], std::exp(x[i]) / total, "softmax of 33 numbers");
}

TEST_CASE("2.4 softmax of large numbers") {
  check_close(softmax_values({1000, 1000 + std::log(3)}), Numbers{0.25, 0.75}, "softmax of {1000, 1000 + log 3}");
  check_close(softmax_values({-1000, -1000}), Numbers{0.5, 0.5}, "softmax of {-1000, -1000}");
  check_close(softmax_values({0, 2000}), Numbers{0, 1}, "softmax of {0, 2000}");
}

TEST_CASE("2.4 the gradient of softmax, with a random upstream gradient") {
  for (const Size n : {1, 2, 7}) {
    const Numbers x = random_numbers(n, 7), upstream = random_numbers(n, 8);
    const Function forward = [](const Numbers& at) { return softmax_values(at); };
    check_close(softmax_gradient(softmax_values(x), upstream), numeric_gradient(forward, x, upstream, 1e-5),
                text("softmax of ", n, " numbers, random dy: gradient against central differences"), 1e-7);
  }
  const auto function = [](const Value& v) { return multiply(softmax(v), v); };
  check_close(gradient_error(function, random_numbers(5, 9), random_numbers(5, 10)), 0,
              "softmax(x) x: largest error of the gradient", 1e-7);
}

TEST_CASE("2.4 where all outputs are pulled alike, nothing moves") {
  const Numbers y = softmax_values({1, 2, 3, 5});
  check_close(softmax_gradient(y, {1, 1, 1, 1}), Numbers(4, 0.0), "softmax of {1, 2, 3, 5}, dy all ones: gradient");
  check_close(softmax_gradient(y, {0, 0, 0, 1})[3], y[3] * (1 - y[3]),
              "softmax of {1, 2, 3, 5}, dy {0, 0, 0, 1}: last element");
  check_close(softmax_gradient(y, {0, 0, 0, 1})[0], -y[0] * y[3],
              "softmax of {1, 2, 3, 5}, dy {0, 0, 0, 1}: first element");
}

TEST_CASE("2.5 every arrow points forwards") {
  Tape tape;
  const Value a = tape.leaf({1}), b = tape.leaf({2}), other = tape.leaf({3});
  const Value u = add(a, b), v = add(u, a), w = add(b, v), unused = add(other, b), y = add(add(w, u), a);
  const std::vector<int> column = columns(y);
  check_equal(static_cast<Size>(column.size()), tape.size(), "number of columns, one for each entry of the tape");
  check_equal(column[a.position], 0, "a leaf: column");
  check_equal(column[u.position], 1, "a + b: column");
  check_equal(column[v.position], 2, "(a + b) + a: column");
  check_equal(column[w.position], 3, "b + ((a + b) + a): column");
  check_equal(column[y.position], 5, "the root: column");
  check_equal(column[other.position], -1, "a leaf that is not part of it: column");
  check_equal(column[unused.position], -1, "an operation that is not part of it: column");
}

TEST_CASE("2.5 silu in the library") {
  const Tensor x = from_values<double>({-2, -0.5, 0, 1, 3}, {5}, Device::cpu);
  const Variable input = leaf(x), y = silu(input);
  for (Size i = 0; i < 5; ++i)
    check_close(y.value().at({i}), x.at({i}) / (1 + std::exp(-x.at({i}))), text("silu(", x.at({i}), ')'));
  check_equal(y.requires_gradient() ? "is recorded" : "is not recorded", "is recorded", "silu of a leaf");
  check_equal(y.node()->inputs.size() == 1 && y.node()->inputs[0] == input.node() ? "one operation on x" : "several",
              "one operation on x", "silu is recorded as");
  const GradientCheck check = check_gradient([](const std::vector<Variable>& v) { return silu(v[0]); },
                                             {random_tensor({3, 7}, 11, {ElementType::float64, Device::cpu})});
  check_equal(check.passed ? "passed" : check.message, "passed", "check_gradient of silu");
}

}  // namespace headshare::lesson
