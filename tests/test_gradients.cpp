#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <string>

#include "autograd/check_gradient.h"
#include "autograd/functions.h"
#include "core/file.h"
#include "tensor/elementwise.h"
#include "tensor/reduce.h"
#include "tensor/softmax.h"
#include "tests/tensor_helpers.h"

// Every differentiable function against central differences, and proof that the comparison notices wrong backwards.

using namespace headshare;
using namespace headshare::test;

namespace {

using Variables = std::vector<Variable>;

struct GradientCase {
  std::string function;  // as declared in autograd/functions.h, without types
  std::string what;
  Function call;
  std::vector<Tensor> inputs;
};

void add_elementwise(std::vector<GradientCase>& cases) {
  using Binary = Variable (*)(const Variable&, const Variable&);
  const std::vector<std::pair<std::string, Binary>> binary = {
      {"add(a, b)", add}, {"subtract(a, b)", subtract}, {"multiply(a, b)", multiply}, {"divide(a, b)", divide}};
  const std::vector<std::pair<Shape, Shape>> shapes = {
      {{7}, {7}}, {{3, 5}, {5}}, {{5}, {3, 5}}, {{3, 1, 5}, {2, 1}}, {{1, 1}, {3, 7}}, {{}, {2, 3}}, {{2, 3}, {}}};
  for (const auto& [name, function] : binary)
    for (const auto& [a, b] : shapes)
      cases.push_back({name,
                       text(a, " and ", b),
                       [f = function](const Variables& x) { return f(x[0], x[1]); },
                       {random_tensor(a, 1), positive_tensor(b, 2)}});

  using Unary = Variable (*)(const Variable&);
  const std::vector<std::pair<std::string, Unary>> unary = {
      {"negate(x)", negate}, {"exp(x)", exp},   {"log(x)", log},         {"sqrt(x)", sqrt}, {"square(x)", square},
      {"tanh(x)", tanh},     {"relu(x)", relu}, {"sigmoid(x)", sigmoid}, {"gelu(x)", gelu}};
  for (const auto& [name, function] : unary)
    for (const Shape& shape : {Shape{}, Shape{1}, Shape{33}, Shape{3, 7}}) {
      const bool positive = name == "log(x)" || name == "sqrt(x)";
      const auto call = [f = function](const Variables& x) { return f(x[0]); };
      cases.push_back({name, text(shape), call, {positive ? positive_tensor(shape, 3) : random_tensor(shape, 3, 2)}});
    }
  cases.push_back({"affine(x, scale, shift)",
                   "[3, 5]",
                   [](const Variables& x) { return affine(x[0], -2.5, 3); },
                   {random_tensor({3, 5}, 4)}});
  cases.push_back({"dropout(x, mask)",
                   "several rows",
                   [](const Variables& x) { return dropout(x[0], {.probability = 0.3, .seed = 5, .site = 6}); },
                   {random_tensor({fewer(7, 2), 33}, 4)}});
  cases.push_back({"dropout(x, mask)",
                   "probability 0",
                   [](const Variables& x) { return dropout(square(x[0]), {.probability = 0, .seed = 5, .site = 6}); },
                   {random_tensor({7}, 4)}});
}

void add_shapes(std::vector<GradientCase>& cases) {
  const auto one = [&](const std::string& function, const std::string& what, const Shape& shape, const auto& call) {
    cases.push_back({function, what, [call](const Variables& x) { return call(x[0]); }, {random_tensor(shape, 11)}});
  };
  one("reshape(x, shape)", "[2, 6]", {2, 6}, [](const Variable& x) { return reshape(x, {3, 4}); });
  one("reshape(x, shape)", "of a transposed view", {3, 5},
      [](const Variable& x) { return square(reshape(transpose(x, 0, 1), {15})); });
  one("transpose(x, a, b)", "neighbours", {2, 3, 5}, [](const Variable& x) { return transpose(x, -1, -2); });
  one("transpose(x, a, b)", "first and last", {2, 3, 5}, [](const Variable& x) { return transpose(x, 0, 2); });
  one("slice(x, dimension, begin, end)", "middle", {5, 7, 3}, [](const Variable& x) { return slice(x, 1, 2, 6); });
  one("slice(x, dimension, begin, end)", "overlapping", {7, 3},
      [](const Variable& x) { return multiply(slice(x, 0, 0, 5), slice(x, -2, 2, 7)); });
  one("broadcast_to(x, shape)", "new and old", {3, 1}, [](const Variable& x) { return broadcast_to(x, {2, 3, 5}); });
  one("broadcast_to(x, shape)", "number", {}, [](const Variable& x) { return broadcast_to(x, {7}); });
  const Shape shape = fewer(Shape{3, 5, 7}, {2, 3, 5});
  for (const int dimension : {0, 1, 2, -1}) {
    one("sum(x, dimension)", text(dimension), shape, [=](const Variable& x) { return sum(x, dimension); });
    one("mean(x, dimension)", text(dimension), shape, [=](const Variable& x) { return mean(x, dimension); });
    one("max(x, dimension)", text(dimension), shape, [=](const Variable& x) { return max(x, dimension); });
  }
  one("sum(x)", "[3, 5]", {3, 5}, [](const Variable& x) { return sum(square(x)); });
  one("mean(x)", "[3, 5]", {3, 5}, [](const Variable& x) { return mean(square(x)); });
  for (const int dimension : {0, 1, -1})
    cases.push_back({"concatenate(parts, dimension)",
                     text("dimension ", dimension),
                     [=](const Variables& x) {
                       return concatenate({x[0], x[1], x[0]}, dimension);
                     },
                     {random_tensor({3, 3}, 12), random_tensor({3, 3}, 13)}});
  cases.push_back({"concatenate(parts, dimension)",
                   "different lengths",
                   [](const Variables& x) {
                     return square(concatenate({x[0], x[1], x[2]}, 1));
                   },
                   {random_tensor({2, 3}, 12), random_tensor({2, 1}, 13), random_tensor({2, 5}, 14)}});
}

void add_products(std::vector<GradientCase>& cases) {
  const auto product = [&](const Shape& a, const Shape& b) {
    cases.push_back({"matmul(a, b)",
                     text(a, " ", b),
                     [](const Variables& x) { return matmul(x[0], x[1]); },
                     {random_tensor(a, 21), random_tensor(b, 22)}});
  };
  product({3, 5}, {5, 7});
  product({1, 1}, {1, 1});
  product({2, 3, 5}, {5, 7});
  product({3, 5}, {2, 5, 7});
  product({2, 3, 1, 5}, {2, 3, 5, 4});
  cases.push_back({"matmul(a, b)",
                   "transposed and repeated operands",
                   [](const Variables& x) {
                     return matmul(transpose(x[0], 0, 2), broadcast_to(transpose(x[1], 0, 1), {5, 3, 4}));
                   },
                   {random_tensor({3, 2, 5}, 21), random_tensor({4, 3}, 22)}});
  cases.push_back({"matmul(a, b)",
                   "a matrix with itself",
                   [](const Variables& x) { return matmul(x[0], transpose(x[0], 0, 1)); },
                   {random_tensor({3, 5}, 21)}});
  for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu}) {
    cases.push_back({"linear(x, weight, bias, activation)",
                     text("activation ", static_cast<int>(activation)),
                     [=](const Variables& x) { return linear(x[0], x[1], x[2], activation); },
                     {random_tensor({2, 3, 5}, 23), random_tensor({5, 7}, 24), random_tensor({7}, 25)}});
    cases.push_back({"linear(x, weight, bias, activation)",
                     text("no bias, activation ", static_cast<int>(activation)),
                     [=](const Variables& x) { return linear(transpose(x[0], 0, 1), x[1], {}, activation); },
                     {random_tensor({5, 3}, 23), random_tensor({5, 1}, 24)}});
  }
}

void add_model(std::vector<GradientCase>& cases) {
  for (const Shape& shape : {Shape{1}, Shape{33}, Shape{2, 3, 7}}) {
    cases.push_back(
        {"softmax(x)", text(shape), [](const Variables& x) { return softmax(x[0]); }, {random_tensor(shape, 31, 2)}});
    cases.push_back({"log_softmax(x)",
                     text(shape),
                     [](const Variables& x) { return log_softmax(x[0]); },
                     {random_tensor(shape, 31, 2)}});
  }
  const std::string norm = "layer_norm(x, residual, gain, bias, epsilon)";
  cases.push_back({norm,
                   "without residual",
                   [](const Variables& x) { return layer_norm(x[0], {}, x[1], x[2], 1e-5); },
                   {random_tensor({2, 3, 7}, 32), random_tensor({7}, 33), random_tensor({7}, 34)}});
  cases.push_back(
      {norm,
       "with residual",
       [](const Variables& x) { return layer_norm(x[0], x[1], x[2], x[3], 0.1); },
       {random_tensor({3, 33}, 32), random_tensor({3, 33}, 35), random_tensor({33}, 33), random_tensor({33}, 34)}});
  cases.push_back({norm,
                   "x as its own residual",
                   [](const Variables& x) { return layer_norm(x[0], x[0], x[1], x[2], 1e-5); },
                   {random_tensor({3, 5}, 32), random_tensor({5}, 33), random_tensor({5}, 34)}});

  const Tensor tokens = from_values<std::int32_t>({1, 4, 1, 0, 3, 1}, {2, 3});
  const std::string embed = "embedding(tokens, table, scale, positions, first_position, type)";
  cases.push_back({embed,
                   "without positions",
                   [=](const Variables& x) { return embedding(tokens, x[0], 2.5); },
                   {random_tensor({5, 7}, 36)}});
  cases.push_back({embed,
                   "with positions from 1",
                   [=](const Variables& x) { return embedding(tokens, x[0], 2.5, x[1], 1); },
                   {random_tensor({5, 7}, 36), random_tensor({6, 7}, 37)}});

  const Tensor targets = from_values<std::int32_t>({2, -1, 0, 6, 2}, {5});
  for (const double smoothing : {0.0, 0.1, 1.0})
    cases.push_back({"cross_entropy(logits, targets, smoothing)",
                     text("smoothing ", smoothing),
                     [=](const Variables& x) { return cross_entropy(x[0], targets, smoothing).loss; },
                     {random_tensor({5, 7}, 38, 2)}});

  const Tensor lengths = from_values<std::int32_t>({5, 2}, {2});
  const Size T = fewer(3, 2), D = fewer(3, 2);
  Turn turn(3);  // which meets every number of heads and every mask
  for (const Size kv_heads : {1, 2, 4})
    for (const Mask& mask :
         {Mask{}, Mask{lengths, any_order}, Mask{{}, causal}, Mask{lengths, causal}, Mask{{}, causal, 2}}) {
      if (!turn()) continue;
      const std::string what =
          text("4 heads share ", kv_heads, mask.order == causal ? ", causal" : "",
               mask.window > 0 ? text(", window ", mask.window) : "", mask.source_lengths.defined() ? ", padding" : "");
      const std::vector<Tensor> inputs = {random_tensor({2, T, 4, D}, 41), random_tensor({2, 5, kv_heads, D}, 42),
                                          random_tensor({2, 5, kv_heads, D}, 43)};
      cases.push_back({"attention(query, key, value, mask)", what,
                       [=](const Variables& x) { return attention(x[0], x[1], x[2], mask); }, inputs});
      cases.push_back({"composed_attention(query, key, value, mask)", what,
                       [=](const Variables& x) { return composed_attention(x[0], x[1], x[2], mask); }, inputs});
    }
}

std::vector<GradientCase> all_cases() {
  std::vector<GradientCase> cases;
  add_elementwise(cases);
  add_shapes(cases);
  add_products(cases);
  add_model(cases);
  return cases;
}

// "Variable slice(const Variable& x, int dimension, Size begin = 0);" -> "slice(x, dimension, begin)", for every
// declaration of a function that returns a Variable or a loss.
std::set<std::string> declared_functions(const std::string& header) {
  std::set<std::string> found;
  for (const std::string result : {"\nVariable ", "\nCrossEntropyLoss "})
    for (std::size_t at = header.find(result); at != std::string::npos; at = header.find(result, at + 1)) {
      const std::size_t name = at + result.size(), open = header.find('(', name), close = header.find(");", open);
      std::string signature = header.substr(name, open - name) + "(", parameter;
      for (const char c : header.substr(open + 1, close - open - 1) + ",") {
        if (c != ',') {
          parameter += c;
          continue;
        }
        parameter = parameter.substr(0, parameter.find(" ="));
        signature += (signature.back() == '(' ? "" : ", ") + parameter.substr(parameter.find_last_of(" &") + 1);
        parameter.clear();
      }
      found.insert(signature + ")");
    }
  return found;
}

}  // namespace

TEST_CASE("the backward of every differentiable function agrees with central differences") {
  for (const GradientCase& gradient_case : all_cases()) {
    const GradientCheck check = check_gradient(gradient_case.call, gradient_case.inputs);
    CHECK_MESSAGE(check.passed, gradient_case.function, " ", gradient_case.what, ": ", check.message);
  }
}

TEST_CASE("no function of autograd/functions.h is without a gradient check") {
  std::set<std::string> checked;
  for (const GradientCase& gradient_case : all_cases()) checked.insert(gradient_case.function);
  const std::string header = read_file(std::string(HEADSHARE_SOURCE_DIR) + "/autograd/functions.h");
  const std::set<std::string> declared = declared_functions(header);
  CHECK(declared.size() >= 30);
  for (const std::string& function : declared)
    CHECK_MESSAGE(checked.contains(function), function, " has no gradient check");
  for (const std::string& function : checked) CHECK_MESSAGE(declared.contains(function), function, " is not declared");
}

TEST_CASE("a declaration over two lines, a default value and an overload are all seen") {
  const std::string header =
      "// Variable hidden(x);\nVariable sum(const Variable& x);\nVariable sum(const Variable& x, int dimension);\n"
      "struct CrossEntropyLoss {\n  Variable loss;\n};\n"
      "Variable embedding(const Tensor& tokens, const Variable& positions = {},\n             Size first = 0);  // "
      "[B]\n"
      "CrossEntropyLoss loss(const std::vector<Variable>& parts);\n";
  CHECK(declared_functions(header) ==
        std::set<std::string>{"sum(x)", "sum(x, dimension)", "embedding(tokens, positions, first)", "loss(parts)"});
}

TEST_CASE("check_gradient notices a softmax backward that lost a factor or a term") {
  const auto check_softmax = [](const auto& wrong) {
    return check_gradient(
        [&](const Variables& x) {
          const Tensor y = softmax(x[0].value());
          return record("softmax", y, {x[0]}, [=](const Tensor& dy) -> Gradients { return {wrong(dy, y)}; });
        },
        {random_tensor({3, 7}, 51)});
  };
  const auto inner = [](const Tensor& dy, const Tensor& y) {
    return subtract(dy, sum(multiply(dy, y), -1).reshape({3, 1}));
  };
  CHECK(check_softmax([&](const Tensor& dy, const Tensor& y) { return multiply(inner(dy, y), y); }).passed);
  const GradientCheck lost_factor = check_softmax(inner);
  CHECK_FALSE(lost_factor.passed);
  CHECK(lost_factor.largest_error > 0.1);
  CHECK(lost_factor.message.starts_with("input 0, element "));
  CHECK(lost_factor.message.find(": backward says ") != std::string::npos);
  CHECK(lost_factor.message.find(", central difference ") != std::string::npos);
  CHECK_FALSE(check_softmax([](const Tensor& dy, const Tensor& y) { return multiply(dy, y); }).passed);
}

TEST_CASE("check_gradient notices a gradient that is transposed, incomplete, missing, slightly off, or not a number") {
  const auto check_product = [](const auto& wrong) {
    return check_gradient(
        [&](const Variables& x) {
          const Tensor a = x[0].value(), b = x[1].value();
          return record("product", matmul(a, b), {x[0], x[1]}, [=](const Tensor& dc) -> Gradients {
            return {wrong(matmul(dc, b.transpose(0, 1))), matmul(a.transpose(0, 1), dc)};
          });
        },
        {random_tensor({3, 3}, 52), random_tensor({3, 3}, 53)});
  };
  CHECK(check_product([](const Tensor& da) { return da; }).passed);
  CHECK_FALSE(check_product([](const Tensor& da) { return da.transpose(0, 1); }).passed);
  CHECK_FALSE(check_product([](const Tensor&) { return Tensor(); }).passed);
  CHECK_FALSE(check_product([](const Tensor& da) { return affine(da, 1.0001, 0); }).passed);
  CHECK_FALSE(check_product([](const Tensor& da) { return affine(da, not_a_number<double>, 0); }).passed);
  CHECK_FALSE(check_product([](const Tensor& da) {
                const Tensor half = da.clone();  // as if one block of the kernel had not run
                half.slice(0, 2, 3).copy_from(zeros({1, 3}, float64));
                return half;
              }).passed);
}

TEST_CASE("check_gradient notices the missing sum of a broadcast") {
  const auto check_add = [](const auto& gradient_of_row) {
    return check_gradient(
        [&](const Variables& x) {
          return record("add", add(x[0].value(), x[1].value()), {x[0], x[1]}, [=](const Tensor& dy) -> Gradients {
            return {dy, gradient_of_row(dy)};
          });
        },
        {random_tensor({3, 5}, 54), random_tensor({5}, 55)});
  };
  CHECK(check_add([](const Tensor& dy) { return sum(dy, 0); }).passed);
  CHECK_FALSE(check_add([](const Tensor& dy) { return dy.slice(0, 0, 1).reshape({5}); }).passed);
  CHECK_THROWS_WITH_AS(check_add([](const Tensor& dy) { return dy; }),
                       "backward of add: returned a gradient [3, 5] float64 for an input [5] float64", Error);
}

TEST_CASE("check_gradient refuses numbers that are too coarse for differences") {
  const Tensor coarse = random_tensor({3}, 56).to(ElementType::float32);
  CHECK_THROWS_WITH_AS(check_gradient([](const Variables& x) { return square(x[0]); }, {coarse}),
                       "check_gradient: needs float64 inputs, got float32", Error);
}
