#include <cmath>

#include "autograd/functions.h"
#include "lesson.h"
#include "tutorials/support/check.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

// -log p[target] averaged over the rows, straight from the formula, in float64.
double plain_loss(const Tensor& logits, const std::vector<int>& targets) {
  const Size V = logits.extent(1);
  double total = 0;
  for (Size n = 0; n < logits.extent(0); ++n) {
    double sum = 0;
    for (Size v = 0; v < V; ++v) sum += std::exp(logits.at({n, v}));
    total -= std::log(std::exp(logits.at({n, targets[static_cast<std::size_t>(n)]})) / sum);
  }
  return total / static_cast<double>(logits.extent(0));
}

}  // namespace

TEST_CASE("3.1 a number becomes three ones") {
  const Tensor x = one_hot({342, 7});
  check_equal(x.shape(), Shape{2, 30}, "one_hot({342, 7}): shape");
  for (Size i = 0; i < 30; ++i) {
    check_close(x.at({0, i}), i == 3 || i == 14 || i == 22 ? 1 : 0, text("342, element ", i));
    check_close(x.at({1, i}), i == 0 || i == 10 || i == 27 ? 1 : 0, text("7, element ", i));
  }
}

TEST_CASE("3.1 a linear layer adds the bias to the weighted sum") {
  // 1 * 10 + 2 * 30 + 0.5 and 1 * 20 + 2 * 40 - 0.5
  const Tensor y = linear_forward(from_values<float>({1, 2}, {1, 2}), from_values<float>({10, 20, 30, 40}, {2, 2}),
                                  from_values<float>({0.5f, -0.5f}, {2}));
  check_close(y, from_values<float>({70.5f, 99.5f}, {1, 2}), "[1, 2] through [[10, 20], [30, 40]] and [0.5, -0.5]");
}

TEST_CASE("3.1 a linear layer is a matrix product plus a bias, row by row") {
  const Tensor x = random_tensor({5, 7}, 1), weight = random_tensor({7, 3}, 2), bias = random_tensor({3}, 3);
  check_close(linear_forward(x, weight, bias), add(Variable(matmul(x, weight)), Variable(bias)).value(),
              "x [5, 7], weight [7, 3]");
}

TEST_CASE("3.2 the loss is -log of the probability of the target") {
  check_close(cross_entropy_loss(from_values<float>({2, 1, 0}, {1, 3}), {0}), 0.40760596, "scores 2, 1, 0, target 0");
  check_close(cross_entropy_loss(zeros({4, 29}), {0, 5, 28, 5}), std::log(29.0), "29 equal scores");
  const Tensor logits = random_tensor({7, 5}, 4);
  check_close(cross_entropy_loss(logits, {0, 1, 2, 3, 4, 4, 0}), plain_loss(logits, {0, 1, 2, 3, 4, 4, 0}),
              "seven rows of five scores");
}

TEST_CASE("3.2 large scores give a loss, not infinity") {
  check_close(cross_entropy_loss(from_values<float>({1000, 990, 0}, {1, 3}), {1}), 10.0000454, "scores 1000, 990, 0");
  check_close(cross_entropy_loss(from_values<float>({-1000, -1000}, {1, 2}), {1}), std::log(2.0), "twice -1000");
  check_close(cross_entropy_gradient(from_values<float>({1000, 990, 0}, {1, 3}), {1}),
              from_values<float>({0.9999546f, -0.9999546f, 0}, {1, 3}), "gradient for scores 1000, 990, 0");
}

TEST_CASE("3.2 the gradient is p minus 1 at the target") {
  check_close(cross_entropy_gradient(from_values<float>({2, 1, 0}, {1, 3}), {0}),
              from_values<float>({-0.33475904f, 0.24472847f, 0.09003057f}, {1, 3}), "scores 2, 1, 0, target 0");
}

TEST_CASE("3.2 the gradient agrees with small changes of each score") {
  const Tensor logits = random_tensor({3, 7}, 5);
  const std::vector<int> targets = {6, 0, 3};
  const Tensor gradient = cross_entropy_gradient(logits, targets);
  check_equal(gradient.shape(), logits.shape(), "shape of the gradient");
  for (Size n = 0; n < 3; ++n)
    for (Size v = 0; v < 7; ++v) {
      constexpr double h = 1e-3;
      const Tensor up = logits.to(ElementType::float64), down = logits.to(ElementType::float64);
      up.set({n, v}, up.at({n, v}) + h);
      down.set({n, v}, down.at({n, v}) - h);
      check_close(gradient.at({n, v}), (plain_loss(up, targets) - plain_loss(down, targets)) / (2 * h),
                  text("gradient of row ", n, ", score ", v), 1e-4);
    }
}

TEST_CASE("3.3 the first step is the learning rate, however large the gradient") {
  const Tensor p = from_values<float>({1, 1, 1}, {3});
  adam_step(p, from_values<float>({1000, -0.001f, 3}, {3}), {zeros({3}), zeros({3})}, 1, {.learning_rate = 0.1});
  check_close(p, from_values<float>({0.9f, 1.1f, 0.9f}, {3}), "1, 1, 1 after gradients 1000, -0.001, 3");
}

TEST_CASE("3.3 the averages remember") {
  const Tensor p = from_values<float>({1}, {1});
  const Moments moments{zeros({1}), zeros({1})};
  const AdamSettings settings{.learning_rate = 0.1, .beta1 = 0.5, .beta2 = 0.75, .epsilon = 0};
  adam_step(p, from_values<float>({4}, {1}), moments, 1, settings);
  check_close(moments.mean.item(), 2, "m after the gradient 4, beta1 0.5");
  check_close(moments.variance.item(), 4, "v after the gradient 4, beta2 0.75");
  adam_step(p, from_values<float>({-2}, {1}), moments, 2, settings);
  check_close(moments.mean.item(), 0, "m after the gradients 4 and -2");
  check_close(moments.variance.item(), 4, "v after the gradients 4 and -2");
  check_close(p.item(), 0.9, "the parameter: with m = 0 it stays");
  adam_step(p, from_values<float>({2}, {1}), moments, 3, settings);
  // m' = 1 / (1 - 1/8), v' = 4 / (1 - 27/64)
  check_close(p.item(), 0.9 - 0.1 * (8.0 / 7) / std::sqrt(4 * 64.0 / 37), "the parameter after a third step");
}

TEST_CASE("3.3 epsilon keeps a parameter without a gradient where it is") {
  const Tensor p = from_values<float>({3}, {1});
  adam_step(p, zeros({1}), {zeros({1}), zeros({1})}, 1, {});
  check_close(p.item(), 3, "a parameter whose gradient is 0");
  const Tensor q = from_values<float>({3}, {1});
  adam_step(q, from_values<float>({1}, {1}), {zeros({1}), zeros({1})}, 1, {.learning_rate = 1, .epsilon = 1});
  check_close(q.item(), 2.5, "gradient 1, learning rate 1, epsilon 1");
}

namespace {

// Three steps of one layer, with the library's functions: what train() must do.
struct Reference {
  Network network = make_network({30, piece_slots* vocabulary}, 3);
  std::vector<double> losses;

  Reference(const std::vector<int>& numbers, const TrainingOptions& options) {
    std::vector<Moments> moments;
    for (const Variable& p : network.parameters()) moments.push_back({zeros(p.shape()), zeros(p.shape())});
    for (Size step = 1; step <= options.steps; ++step) {
      const std::vector<int> batch = batch_of_step(numbers, step, options.batch), ids = pieces_of(batch);
      const Variable weight = leaf(network.weights[0].value()), bias = leaf(network.biases[0].value());
      const Variable y = add(matmul(Variable(one_hot(batch)), weight), bias);
      const Tensor targets =
          from_values<std::int32_t>(std::vector<std::int32_t>(ids.begin(), ids.end()), {static_cast<Size>(ids.size())});
      const Size rows = targets.count();
      const Variable loss =
          affine(cross_entropy(reshape(y, {rows, vocabulary}), targets, 0).loss, 1 / static_cast<double>(rows), 0);
      losses.push_back(loss.value().item());
      backward(loss);
      adam_step(weight.value(), weight.gradient(), moments[0], step, options.adam);
      adam_step(bias.value(), bias.gradient(), moments[1], step, options.adam);
    }
  }
};

}  // namespace

TEST_CASE("3.4 every step uses the gradient of its own batch alone") {
  const std::vector<int> numbers = {342, 17, 5, 990, 608};
  const TrainingOptions options{.steps = 3, .batch = 4, .adam = {.learning_rate = 0.02}};
  const Reference expected(numbers, options);
  const Network network = make_network({30, piece_slots * vocabulary}, 3);
  check_close(train(network, one_hot, numbers, options), expected.losses, "the losses of three steps", 1e-4);
  check_close(network.weights[0].value(), expected.network.weights[0].value(), "the weights after three steps", 1e-4);
  check_close(network.biases[0].value(), expected.network.biases[0].value(), "the biases after three steps", 1e-4);
}

TEST_CASE("3.4 training leaves no gradient behind") {
  const Network network = make_network({30, piece_slots * vocabulary}, 3);
  train(network, one_hot, {1, 2, 3}, {.steps = 2, .batch = 5});
  for (const Variable& parameter : network.parameters())
    check_equal(parameter.gradient().defined(), false, "is a gradient left after training?");
}

TEST_CASE("3.4 it learns a few numbers by heart") {
  const std::vector<int> numbers = {342, 17, 5, 990, 608};
  const Network network = make_network({30, piece_slots * vocabulary}, 4);
  const std::vector<double> losses = train(network, one_hot, numbers, {.steps = 150, .batch = 10});
  check_equal(static_cast<long long>(losses.size()), 150, "losses of 150 steps");
  if (!(losses.back() < 0.2)) FAIL(text("the loss after 150 steps: expected below 0.2, got ", losses.back()));
  check_close(accuracy(network, one_hot, numbers), 1, "the share said without a mistake");
}

TEST_CASE("3.5 the gradient passes where the output is positive") {
  const Variable x = leaf(from_values<float>({-2, 3, 0, 0.5f}, {2, 2}));
  const Variable y = relu_layer(x);
  check_close(y.value(), from_values<float>({0, 3, 0, 0.5f}, {2, 2}), "relu of -2, 3, 0, 0.5");
  backward(y, from_values<float>({10, 20, 30, -40}, {2, 2}));
  check_close(x.gradient(), from_values<float>({0, 20, 0, -40}, {2, 2}), "the gradient for dy = 10, 20, 30, -40");
}

TEST_CASE("3.5 a network with a hidden layer learns as the library's layers do") {
  const Network network = make_network({3, 5, piece_slots * vocabulary}, 6);
  const std::vector<int> numbers = {342, 17, 905};
  const Tensor upstream = random_tensor({9, vocabulary}, 7);
  backward(scores(network, Variable(plain_digits(numbers))), upstream);
  const Variable w0 = leaf(network.weights[0].value()), w1 = leaf(network.weights[1].value());
  const Variable b0 = leaf(network.biases[0].value()), b1 = leaf(network.biases[1].value());
  const Variable h = relu(add(matmul(Variable(plain_digits(numbers)), w0), b0));
  backward(reshape(add(matmul(h, w1), b1), {9, vocabulary}), upstream);
  check_close(network.weights[0].gradient(), w0.gradient(), "the gradient of the first weights");
  check_close(network.biases[0].gradient(), b0.gradient(), "the gradient of the first biases");
  check_close(network.weights[1].gradient(), w1.gradient(), "the gradient of the second weights");
}
