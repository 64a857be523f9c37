#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "tensor/elementwise.h"
#include "tensor/embedding.h"
#include "tensor/layer_norm.h"
#include "tensor/matmul.h"
#include "tensor/reduce.h"
#include "tensor/softmax.h"
#include "tests/tensor_helpers.h"

// What tensor/ adds to the kernels: broadcasting, views as operands, shapes of results, and what is refused. Everything
// is compared with loops that read one element after the other through at().

using namespace headshare;
using namespace headshare::test;

namespace {

using Position = std::vector<Size>;

// Calls body for every position of a shape, in order.
void for_each_position(const Shape& shape, const std::function<void(const Position&)>& body) {
  if (shape.count() == 0) return;
  Position position(static_cast<std::size_t>(shape.rank()), 0);
  for (Size i = 0; i < shape.count(); ++i) {
    body(position);
    for (int d = shape.rank() - 1; d >= 0 && ++position[static_cast<std::size_t>(d)] == shape[d]; --d)
      position[static_cast<std::size_t>(d)] = 0;
  }
}

// The element of x that stands at a position of a larger shape to which x is broadcast.
double element(const Tensor& x, const Position& position) {
  Tensor rest = x;
  for (int d = 0; d < x.rank(); ++d) {
    const Size at = position[position.size() - static_cast<std::size_t>(x.rank() - d)];
    rest = rest.slice(d, x.extent(d) == 1 ? 0 : at, (x.extent(d) == 1 ? 0 : at) + 1);
  }
  return rest.item();
}

// A tensor filled by asking for each element.
Tensor build(const Shape& shape, const std::function<double(const Position&)>& value) {
  std::vector<double> values;
  for_each_position(shape, [&](const Position& position) { values.push_back(value(position)); });
  return from_values(values, shape);
}

Tensor plain_matmul(const Tensor& a, const Tensor& b) {
  Shape shape = a.rank() >= b.rank() ? a.shape() : b.shape();
  shape[-2] = a.extent(-2);
  shape[-1] = b.extent(-1);
  return build(shape, [&](const Position& position) {
    double sum = 0;
    Position left = position, right = position;
    for (Size k = 0; k < a.extent(-1); ++k) {
      left.back() = k;
      right[right.size() - 2] = k;
      sum += element(a, left) * element(b, right);
    }
    return sum;
  });
}

constexpr double tolerance64 = 1e-13;

}  // namespace

TEST_CASE("broadcasting two operands repeats extents of 1 and missing dimensions, in both orders") {
  using Operation = Tensor (*)(const Tensor&, const Tensor&);
  struct Case {
    Operation operation;
    std::function<double(double, double)> plain;
  };
  const std::vector<Case> cases = {
      {add, std::plus<>()}, {subtract, std::minus<>()}, {multiply, std::multiplies<>()}, {divide, std::divides<>()}};
  const std::vector<std::pair<Shape, Shape>> shapes = {{{7}, {7}},       {{3, 33}, {33}},           {{3, 33}, {3, 1}},
                                                       {{3, 1}, {1, 7}}, {{2, 1, 5}, {2, 3, 1}},    {{}, {3, 5}},
                                                       {{1}, {97}},      {{5, 1, 3, 1}, {7, 1, 2}}, {{3, 0}, {1}}};
  for (const Case& c : cases)
    for (const auto& [first, second] : shapes)
      for (const bool exchanged : {false, true}) {
        const Tensor a = random_tensor(exchanged ? second : first, 1),
                     b = positive_tensor(exchanged ? first : second, 2);
        const Tensor expected = build(broadcast_shape(a.shape(), b.shape(), "test"), [&](const Position& position) {
          return c.plain(element(a, position), element(b, position));
        });
        CHECK_MESSAGE(same_values(c.operation(a, b), expected), a.shape(), " and ", b.shape());
      }
}

TEST_CASE("strided views are operands like any other") {
  const Tensor x = random_tensor({5, 7, 3}, 1), y = random_tensor({3, 7, 5}, 2);
  const Tensor views[] = {x.transpose(0, 2), x.transpose(0, 2).slice(1, 2, 6),
                          x.slice(2, 1, 2).broadcast_to({5, 7, 3})};
  for (const Tensor& view : views) {
    const Tensor plain = view.clone(), other = y.slice(0, 0, 1).slice(1, 0, 1).slice(2, 0, 1);
    CHECK(same_values(add(view, other), add(plain, other)));
    CHECK(same_values(exp(view), exp(plain)));
    CHECK(same_values(affine(view, 2, 1), affine(plain, 2, 1)));
    CHECK(same_values(softmax(view), softmax(plain)));
    CHECK(same_values(log_softmax(view), log_softmax(plain)));
    CHECK(same_values(sum(view, 1), sum(plain, 1)));
    CHECK(same_values(max(view, 0).value, max(plain, 0).value));
    CHECK(same_values(sum(view), sum(plain)));
    CHECK(same_values(argmax(view), argmax(plain)));
    CHECK(sum_of_squares(view) == sum_of_squares(plain));
    const Tensor gain = random_tensor({view.extent(-1)}, 3);
    CHECK(same_values(layer_norm(view, view, gain, gain, 1e-5).y, layer_norm(plain, plain, gain, gain, 1e-5).y));
  }
  CHECK(same_values(add(x.transpose(0, 2), y), build({3, 7, 5}, [&](const Position& p) {
                      return x.at({p[2], p[1], p[0]}) + y.at({p[0], p[1], p[2]});
                    })));
}

TEST_CASE("sum, mean and maximum over any dimension are loops over it") {
  const Tensor x = random_tensor({3, 7, 33}, 1);
  for (const int dimension : {0, 1, 2, -1, -2}) {
    CAPTURE(dimension);
    const Shape rest = x.shape().without(dimension);
    const int front = x.shape().index(dimension);
    const auto line = [&](Position position) {  // the numbers along the dimension
      std::vector<double> numbers;
      position.insert(position.begin() + front, 0);
      for (Size i = 0; i < x.extent(dimension); ++i) {
        position[static_cast<std::size_t>(front)] = i;
        numbers.push_back(element(x, position));
      }
      return numbers;
    };
    const auto total = [&](const Position& position) {
      double result = 0;
      for (const double number : line(position)) result += number;
      return result;
    };
    CHECK(difference(sum(x, dimension), build(rest, total)) < tolerance64);
    const double n = static_cast<double>(x.extent(dimension));
    CHECK(difference(mean(x, dimension), build(rest, [&](const Position& p) { return total(p) / n; })) < tolerance64);
    const Maximum maximum = max(x, dimension);
    CHECK(maximum.index.type() == ElementType::int32);
    for_each_position(rest, [&](const Position& position) {
      const std::vector<double> numbers = line(position);
      const auto largest = std::max_element(numbers.begin(), numbers.end());
      CHECK(element(maximum.value, position) == *largest);
      CHECK(element(maximum.index, position) == static_cast<double>(largest - numbers.begin()));
    });
  }
  CHECK(same_values(argmax(x), max(x, -1).index));
  CHECK(sum(x).shape() == Shape{});
  CHECK(mean(x).item() == doctest::Approx(sum(x).item() / 693));
  CHECK(sum(zeros({3, 0}, float64), 1).to_vector<double>() == std::vector<double>{0, 0, 0});
}

TEST_CASE("the first of equal maxima counts, and its gradient goes there alone") {
  const Tensor x = from_values<double>({1, 5, 5, 2, 2, 2}, {2, 3});
  const Maximum maximum = max(x, 1);
  CHECK(maximum.index.to_vector<std::int32_t>() == std::vector<std::int32_t>{1, 0});
  const Tensor dx = max_backward(maximum.index, from_values<double>({10, 20}, {2}), 1, x.shape());
  CHECK(dx.to_vector<double>() == std::vector<double>{0, 10, 0, 20, 0, 0});
}

TEST_CASE("sum_to undoes every broadcast") {
  for (const auto& [from, to] : std::vector<std::pair<Shape, Shape>>{
           {{}, {2, 3}}, {{3}, {2, 3}}, {{3, 1}, {2, 3, 5}}, {{1, 1}, {4, 7}}, {{2, 3}, {2, 3}}, {{1}, {5, 1}}}) {
    const Tensor repeated = random_tensor(to, 1);
    const Tensor result = sum_to(repeated, from);
    CHECK(result.shape() == from);
    // The sum of products is the same on both sides of the broadcast.
    const Tensor other = random_tensor(from, 2);
    CHECK(sum(multiply(result, other)).item() ==
          doctest::Approx(sum(multiply(repeated, other.broadcast_to(to))).item()).epsilon(1e-12));
  }
  CHECK_THROWS_WITH_AS(sum_to(zeros({2, 3}), {2, 2}), "sum_to: [2, 3] is not a broadcast of [2, 2]", Error);
}

TEST_CASE("matrix products of odd sizes, plain, transposed, and cut out of larger tensors, are the triple loop") {
  for (const Size m : {1, 7, 33})
    for (const Size n : {1, 5, 97})
      for (const Size k : {1, 3, 33}) {
        CAPTURE(m);
        CAPTURE(n);
        CAPTURE(k);
        const Tensor a = random_tensor({m, k}, 1), b = random_tensor({k, n}, 2), expected = plain_matmul(a, b);
        const Tensor a_transposed = a.transpose(0, 1).clone().transpose(0, 1);
        const Tensor b_transposed = b.transpose(0, 1).clone().transpose(0, 1);
        CHECK(difference(matmul(a, b), expected) < tolerance64);
        CHECK(difference(matmul(a_transposed, b), expected) < tolerance64);
        CHECK(difference(matmul(a, b_transposed), expected) < tolerance64);
        CHECK(difference(matmul(a_transposed, b_transposed), expected) < tolerance64);
        const Tensor wide = zeros({m + 2, k + 3}, float64), window = wide.slice(0, 1, m + 1).slice(1, 2, k + 2);
        window.copy_from(a);
        CHECK(difference(matmul(window, b), expected) < tolerance64);
        CHECK(difference(matmul(a.to(ElementType::float32), b.to(ElementType::float32)), expected) < 1e-4);
      }
}

TEST_CASE("batched matrix products take views of every kind") {
  const Tensor a = random_tensor({2, 3, 5, 7}, 1), b = random_tensor({2, 3, 7, 4}, 2),
               matrix = random_tensor({7, 4}, 3);
  const Tensor number = random_tensor({1, 1}, 4), column = random_tensor({7, 1}, 5), row = random_tensor({1, 4}, 6);
  const std::vector<std::pair<Tensor, Tensor>> operands = {
      {a, b},
      {a, matrix},
      {a.transpose(0, 1), b.transpose(0, 1)},  // batch dimensions exchanged
      {a.transpose(1, 2), matrix},             // [2, 5, 3, 7]
      {a.transpose(1, 2), b.slice(2, 0, 1).broadcast_to({2, 3, 7, 4}).slice(1, 0, 1).broadcast_to({2, 5, 7, 4})},
      {a.slice(1, 0, 1).broadcast_to({2, 3, 5, 7}), b},  // one left matrix for three right ones
      {a.slice(0, 1, 2).broadcast_to({2, 3, 5, 7}), b},
      {a.slice(2, 1, 4), b.slice(3, 1, 3)},
      {matrix.transpose(0, 1), b.transpose(0, 1)},  // one left matrix for the whole batch
      {a, column.broadcast_to({7, 4})},             // stride 0 in one dimension of a matrix
      {a, row.broadcast_to({7, 4})},
      {a, number.broadcast_to({7, 4})},
      {a.slice(3, 2, 3).broadcast_to({2, 3, 5, 7}), b},
      {a.transpose(0, 3), random_tensor({7, 3, 2, 1}, 7)},  // the batch is the fastest dimension
      {a.transpose(-1, -2), a},
  };
  for (std::size_t i = 0; i < operands.size(); ++i) {
    CAPTURE(i);
    const auto& [left, right] = operands[i];
    CHECK(difference(matmul(left, right), plain_matmul(left, right)) < tolerance64);
  }
}

TEST_CASE("products with an empty extent are empty, or 0 where nothing is summed") {
  CHECK(matmul(zeros({0, 3}), zeros({3, 5})).shape() == Shape{0, 5});
  CHECK(matmul(zeros({2, 3}), zeros({3, 0})).shape() == Shape{2, 0});
  CHECK(matmul(zeros({2, 0}), zeros({0, 3})).to_vector<float>() == std::vector<float>(6, 0.0F));
  CHECK(matmul(zeros({0, 2, 3}), zeros({3, 5})).shape() == Shape{0, 2, 5});
}

TEST_CASE("gather_rows takes rows of any type in any order") {
  const Tensor x = random_tensor({5, 2, 3}, 1);
  const Tensor y = gather_rows(x.transpose(1, 2), from_values<std::int32_t>({4, 0, 4}, {3}));
  CHECK(y.shape() == Shape{3, 3, 2});
  CHECK(same_values(y.slice(0, 2, 3), x.slice(0, 4, 5).transpose(1, 2)));
  const Tensor numbers = from_values<std::int32_t>({10, 20, 30}, {3});
  CHECK(gather_rows(numbers, from_values<std::int32_t>({2, 1}, {2})).to_vector<std::int32_t>() ==
        std::vector<std::int32_t>{30, 20});
}

TEST_CASE("operands that do not fit are refused with what came and what was needed") {
  const Tensor x = zeros({2, 3}), y = zeros({2, 3}, float64), whole = zeros({2, 3}, {ElementType::int32});
  const Tensor tokens = from_values<std::int32_t>({1, 5}, {1, 2});
  CHECK_THROWS_WITH_AS(add(x, y), "add: element types differ: float32 and float64", Error);
  CHECK_THROWS_WITH_AS(multiply(x, zeros({2})),
                       "multiply: shapes [2, 3] and [2] do not fit: an extent must be equal or 1", Error);
  CHECK_THROWS_WITH_AS(exp(whole), "exp: needs float32 or float64, not int32", Error);
  CHECK_THROWS_WITH_AS(matmul(x, x), "matmul: [2, 3] times [2, 3]: the inner extents must be equal", Error);
  CHECK_THROWS_WITH_AS(matmul(x, zeros({3})), "matmul: [2, 3] times [3]: the inner extents must be equal", Error);
  CHECK_THROWS_WITH_AS(
      matmul(zeros({2, 3, 5}), zeros({3, 5, 7})),
      "matmul: [2, 3, 5] times [3, 5, 7]: the batch dimensions must be equal, or absent in one of them", Error);
  CHECK_THROWS_WITH_AS(linear(x, zeros({3, 5}), zeros({3}), Activation::none), "linear: bias has shape [3], needed [5]",
                       Error);
  CHECK_THROWS_WITH_AS(linear(x, zeros({5, 3}), {}, Activation::none),
                       "linear: [2, 3] times weight [5, 3]: the inner extents must be equal", Error);
  CHECK_THROWS_WITH_AS(layer_norm(x, {}, zeros({2}), zeros({3}), 1e-5), "layer_norm: gain has shape [2], needed [3]",
                       Error);
  CHECK_THROWS_WITH_AS(layer_norm(x, zeros({3}), zeros({3}), zeros({3}), 1e-5),
                       "layer_norm: residual has shape [3], needed [2, 3]", Error);
  CHECK_THROWS_WITH_AS(max(zeros({2, 0}), 1), "max: dimension 1 of [2, 0] is empty", Error);
  CHECK_THROWS_WITH_AS(argmax(zeros({2, 0})), "argmax: a row of [2, 0] is empty", Error);
  CHECK_THROWS_WITH_AS(sum(x, 2), "shape: [2, 3] has no dimension 2", Error);
  CHECK_THROWS_WITH_AS(embedding(tokens, zeros({5, 3}), 1, {}, 0), "embedding: token 5 at position 1 is outside 0 .. 4",
                       Error);
  CHECK_THROWS_WITH_AS(
      embedding(tokens, zeros({6, 3}), 1, zeros({4, 3}), 3),
      "embedding: position 4 is outside the model's 4 positions; use shorter sentences or a model with "
      "more positions",
      Error);
  CHECK_THROWS_WITH_AS(embedding(x, zeros({6, 3}), 1, {}, 0), "tensor: holds float32, asked for int32", Error);
  CHECK_THROWS_WITH_AS(cross_entropy(zeros({2, 3, 5}), tokens, 0),
                       "cross_entropy: logits of shape [2, 3, 5], needed [N, V]", Error);
  CHECK_THROWS_WITH_AS(cross_entropy(x, tokens, 0), "cross_entropy: targets has shape [1, 2], needed [2]", Error);
  CHECK_THROWS_WITH_AS(dropout(x, {.probability = 1.5, .seed = 1, .site = 1}),
                       "dropout: probability 1.5 must be at least 0 and below 1", Error);
  CHECK_THROWS_WITH_AS(accumulate(zeros({3}), x), "accumulate: x has shape [3], needed [2, 3]", Error);
}
