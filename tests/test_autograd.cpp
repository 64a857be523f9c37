#include <doctest/doctest.h>

#include <algorithm>

#include "autograd/functions.h"
#include "autograd/graph.h"
#include "tensor/elementwise.h"
#include "tests/tensor_helpers.h"

// The engine: who gets which gradient, when memory is shared, and what is refused. The mathematics of each function is
// in test_gradients.cpp.

using namespace headshare;
using namespace headshare::test;

namespace {

Tensor numbers(std::initializer_list<double> values) {
  return from_values<double>(values, {static_cast<Size>(values.size())});
}

std::vector<double> gradient_of(const Variable& x) { return x.gradient().to_vector<double>(); }

// An operation with one input whose backward returns whatever it is told to.
Variable operation(const Variable& x, const std::function<Gradients(const Tensor&)>& backward) {
  return record("my operation", x.value().clone(), {x}, backward);
}

using Values = std::vector<double>;

}  // namespace

TEST_CASE("a leaf gets the derivative of a formula") {
  const Variable x = leaf(numbers({2, 3})), y = leaf(numbers({5, 7}));
  backward(sum(add(multiply(x, y), square(x))));  // sum of xy + x^2
  CHECK(gradient_of(x) == Values{5 + 2 * 2, 7 + 2 * 3});
  CHECK(gradient_of(y) == Values{2, 3});
}

TEST_CASE("a shared subexpression passes on the sum of all that comes back, and runs its backward once") {
  const Variable x = leaf(numbers({1, 2}));
  int runs = 0;
  const Variable shared = operation(x, [&](const Tensor& dy) -> Gradients {
    ++runs;
    return {affine(dy, 10, 0)};
  });
  // The deep path is longer than the direct one: taking nodes in the order they are found would run `shared` too early.
  const Variable deep = affine(affine(affine(shared, 2, 0), 2, 0), 2, 0);
  backward(sum(add(add(shared, deep), multiply(shared, shared))));
  CHECK(runs == 1);
  CHECK(gradient_of(x) == Values{10 * (1 + 8 + 2 * 1), 10 * (1 + 8 + 2 * 2)});
}

TEST_CASE("gradients of several backward passes add up until they are cleared") {
  const Variable x = leaf(numbers({2, 3}));
  CHECK_FALSE(x.gradient().defined());
  backward(sum(square(x)));
  const Tensor first = x.gradient();  // kept by the reader: must not change any more
  backward(sum(square(x)));
  backward(sum(square(x)));
  CHECK(first.to_vector<double>() == Values{4, 6});
  CHECK(gradient_of(x) == Values{12, 18});
  x.clear_gradient();
  CHECK_FALSE(x.gradient().defined());
  backward(sum(x));
  CHECK(gradient_of(x) == Values{1, 1});
}

TEST_CASE("an operand used twice in one operation gets both gradients") {
  const Variable x = leaf(numbers({2, 3}));
  backward(sum(add(x, x)));
  CHECK(gradient_of(x) == Values{2, 2});
  x.clear_gradient();
  backward(sum(multiply(x, x)));
  CHECK(gradient_of(x) == Values{4, 6});
  x.clear_gradient();
  backward(sum(concatenate({x, x, x}, 0)));
  CHECK(gradient_of(x) == Values{3, 3});
}

TEST_CASE("leaves whose gradients share memory stay apart when more is added to one of them") {
  const Variable a = leaf(numbers({1, 2})), b = leaf(numbers({3, 4}));
  const Tensor seed = numbers({10, 20});
  backward(add(a, b), seed);  // both gradients are the seed itself
  backward(affine(a, 5, 0), numbers({1, 1}));
  backward(affine(a, 5, 0), numbers({1, 1}));
  CHECK(gradient_of(a) == Values{20, 30});
  CHECK(gradient_of(b) == Values{10, 20});
  CHECK(seed.to_vector<double>() == Values{10, 20});
}

TEST_CASE("a gradient that is a repeated or a partial view is added to without writing through it") {
  const Variable a = leaf(numbers({1, 2})), b = leaf(numbers({3, 4, 5}));
  backward(sum(a));  // one number, seen twice
  backward(sum(multiply(a, a)));
  CHECK(gradient_of(a) == Values{3, 5});

  const Tensor seed = numbers({1, 2, 3, 4, 5});
  a.clear_gradient();
  backward(concatenate({a, b}, 0), seed);  // two windows on the seed
  backward(sum(a));
  backward(sum(b));
  CHECK(gradient_of(a) == Values{2, 3});
  CHECK(gradient_of(b) == Values{4, 5, 6});
  CHECK(seed.to_vector<double>() == Values{1, 2, 3, 4, 5});
}

TEST_CASE("a backward function's captured tensors are not written to") {
  const Variable a = leaf(numbers({1, 2}));
  const Tensor constant = numbers({7, 8});
  const auto returns_constant = [&] {
    return operation(a, [constant](const Tensor&) -> Gradients { return {constant}; });
  };
  backward(sum(add(returns_constant(), returns_constant())));
  CHECK(gradient_of(a) == Values{14, 16});
  CHECK(constant.to_vector<double>() == Values{7, 8});
}

TEST_CASE("a constant and an input without influence get no gradient") {
  const Variable x = leaf(numbers({2, 3})), constant(numbers({5, 7}));
  backward(sum(multiply(x, constant)));
  CHECK(gradient_of(x) == Values{5, 7});
  CHECK_FALSE(constant.gradient().defined());
  CHECK_FALSE(constant.requires_gradient());
  x.clear_gradient();
  backward(operation(x, [](const Tensor&) -> Gradients { return {Tensor()}; }), numbers({1, 1}));
  CHECK_FALSE(x.gradient().defined());
  CHECK_FALSE(multiply(constant, constant).requires_gradient());
}

TEST_CASE("a second backward through a freed graph says what to do") {
  const Variable x = leaf(numbers({2, 3}));
  const Variable hidden = square(x), loss = sum(hidden);
  backward(loss);
  CHECK_THROWS_WITH_AS(
      backward(loss),
      "backward: the graph behind 'sum' was freed by an earlier backward(); compute the forward pass again", Error);
  CHECK_THROWS_WITH_AS(
      backward(sum(hidden)),  // a new root on the old part
      "backward: the graph behind 'square' was freed by an earlier backward(); compute the forward pass again", Error);
  CHECK(gradient_of(x) == Values{4, 6});
}

TEST_CASE("backward frees what the graph kept") {
  const Variable x = leaf(numbers({2, 3}));
  const Tensor kept = numbers({5, 7});
  const Variable y = operation(x, [kept](const Tensor& dy) -> Gradients { return {dy}; });
  CHECK(kept.shares_storage());
  backward(sum(y));
  CHECK_FALSE(kept.shares_storage());
}

TEST_CASE("nothing is recorded inside NoGradient, also when scopes are nested") {
  const Variable x = leaf(numbers({2, 3}));
  CHECK(is_recording());
  {
    const NoGradient outer;
    { const NoGradient inner; }
    CHECK_FALSE(is_recording());
    const Variable y = square(x);
    CHECK(y.value().to_vector<double>() == Values{4, 9});
    CHECK_FALSE(y.requires_gradient());
    CHECK_THROWS_WITH_AS(backward(sum(y)), "backward: nothing that this was made of needs a gradient", Error);
  }
  CHECK(is_recording());
  CHECK(square(x).requires_gradient());
}

TEST_CASE("recording goes on after a backward that failed") {
  const Variable x = leaf(numbers({2, 3}));
  CHECK_THROWS_AS(backward(operation(x, [](const Tensor&) -> Gradients { return {}; }), numbers({1, 1})), Error);
  CHECK(is_recording());
}

TEST_CASE("a backward function that returns a wrong count, shape or type is named") {
  const Variable x = leaf(numbers({2, 3}));
  const auto returning = [&](const Gradients& gradients) {
    backward(operation(x, [=](const Tensor&) { return gradients; }), numbers({1, 1}));
  };
  CHECK_THROWS_WITH_AS(returning({}), "backward of my operation: returned 0 gradients for 1 inputs", Error);
  CHECK_THROWS_WITH_AS(returning({numbers({1, 2}), numbers({1, 2})}),
                       "backward of my operation: returned 2 gradients for 1 inputs", Error);
  CHECK_THROWS_WITH_AS(returning({numbers({1, 2, 3})}),
                       "backward of my operation: returned a gradient [3] float64 for an input [2] float64", Error);
  CHECK_THROWS_WITH_AS(returning({zeros({2})}),
                       "backward of my operation: returned a gradient [2] float32 for an input [2] float64", Error);
  CHECK_FALSE(x.gradient().defined());
}

TEST_CASE("backward starts from one number, or from a seed of the right shape and type") {
  const Variable x = leaf(numbers({2, 3}));
  CHECK_THROWS_WITH_AS(backward(square(x)),
                       "backward: starts from a single number, not from shape [2]; sum it, or give the seed gradient",
                       Error);
  CHECK_THROWS_WITH_AS(backward(square(x), numbers({1, 2, 3})), "backward: seed [3] for a root [2]", Error);
  CHECK_THROWS_AS(backward(square(x), zeros({2})), Error);
  backward(reshape(slice(x, 0, 1, 2), {1, 1}));  // one element, rank 2
  CHECK(gradient_of(x) == Values{0, 1});
}

TEST_CASE("a leaf is its own root") {
  const Variable x = leaf(numbers({2}));
  backward(x);
  backward(x, numbers({5}));
  CHECK(gradient_of(x) == Values{6});
}

TEST_CASE("a chain of 200,000 operations overflows the stack neither going back nor being freed") {
  const Variable x = leaf(numbers({1}));
  const int operations = fewer(200'000, 50'000);
  const auto chain = [&] {
    Variable y = x;
    for (int i = 0; i < operations; ++i) y = affine(y, 1, 1);
    return y;
  };
  {
    const Variable y = chain();
    CHECK(y.value().item() == operations + 1);
    backward(y);
    CHECK(gradient_of(x) == Values{1});
  }
  { const Variable never_used = chain(); }  // freed as a whole
  {
    Variable y = x;  // each node twice an input: two paths at every step, 2^100 in all
    for (int i = 0; i < 100; ++i) y = affine(add(y, y), 0.5, 0);
    x.clear_gradient();
    backward(y);
    CHECK(gradient_of(x) == Values{1});
  }
}

TEST_CASE("graph_table lists the operations, oldest first, with shapes and inputs") {
  const Variable x = leaf(numbers({2, 3})), constant(numbers({5, 7}));
  const Variable loss = sum(multiply(square(x), constant));
  CHECK(graph_table(loss) ==
        "  node  operation              shape                 made of\n"
        "     0  leaf                   [2]                   \n"
        "     1  square                 [2]                   0 \n"
        "     2  multiply               [2]                   1 constant \n"
        "     3  sum                    []                    2 \n");
}

TEST_CASE("graph_dot draws a node per operation and an edge per input that was recorded") {
  const Variable x = leaf(numbers({2, 3})), constant(numbers({5, 7}));
  const std::string dot = graph_dot(sum(multiply(square(x), constant)));
  CHECK(dot.starts_with("digraph headshare {\n"));
  CHECK(dot.ends_with("}\n"));
  for (const std::string line : {"  n0 [label=\"leaf\\n[2]\", style=filled, fillcolor=\"#dce8f5\"];\n",
                                 "  n1 [label=\"square\\n[2]\"];\n", "  n2 [label=\"multiply\\n[2]\"];\n",
                                 "  n3 [label=\"sum\\n[]\"];\n", "  n0 -> n1;\n", "  n1 -> n2;\n", "  n2 -> n3;\n"})
    CHECK_MESSAGE(dot.find(line) != std::string::npos, line);
  CHECK(std::count(dot.begin(), dot.end(), '>') == 3);
}

TEST_CASE("a graph of nothing recorded says so") {
  CHECK_THROWS_WITH_AS(graph_table(Variable(numbers({1}))),
                       "graph: nothing was recorded; is a NoGradient scope open, or no parameter involved?", Error);
}
