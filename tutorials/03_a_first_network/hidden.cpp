#include <cmath>

#include "autograd/functions.h"
#include "lesson.h"
#include "tutorials/support/check.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

// A number from 0 to n - 1 that is new in every grading.
Size drawn(Size n, std::uint64_t what) { return Generator(grading_seed() + 1000, what).below(n); }

std::vector<int> drawn_targets(Size count, Size V, std::uint64_t what) {
  Generator generator(grading_seed() + 2000, what);
  std::vector<int> targets;
  for (Size i = 0; i < count; ++i) targets.push_back(static_cast<int>(generator.below(V)));
  return targets;
}

// The library's cross-entropy, the mean over the rows.
Variable library_loss(const Variable& logits, const std::vector<int>& targets) {
  const Size rows = logits.extent(0);
  const std::vector<std::int32_t> ids(targets.begin(), targets.end());
  return affine(cross_entropy(logits, from_values<std::int32_t>(ids, {rows}), 0).loss, 1 / static_cast<double>(rows),
                0);
}

}  // namespace

TEST_CASE("3.1 every number from 0 to 999 becomes its three digits") {
  std::vector<int> numbers;
  for (int number = 0; number < 1000; ++number) numbers.push_back(number);
  const Tensor x = one_hot(numbers);
  for (int number = 0; number < 1000; ++number)
    for (int i = 0; i < 30; ++i) {
      const int digit = i < 10 ? number / 100 : i < 20 ? number / 10 % 10 : number % 10;
      check_close(x.at({number, i}), digit == i % 10 ? 1 : 0, text(number, ", element ", i));
    }
}

TEST_CASE("3.1 a linear layer of any size") {
  for (std::uint64_t round = 0; round < 5; ++round) {
    const Size B = 1 + drawn(9, 10 + round), in = 1 + drawn(33, 20 + round), out = 1 + drawn(33, 30 + round);
    const std::uint64_t seed = grading_seed() + 10 * round;
    const Tensor x = random_tensor({B, in}, seed), w = random_tensor({in, out}, seed + 1),
                 b = random_tensor({out}, seed + 2);
    check_close(linear_forward(x, w, b), add(Variable(matmul(x, w)), Variable(b)).value(),
                text("x [", B, ", ", in, "], weight [", in, ", ", out, "]"));
  }
}

TEST_CASE("3.2 loss and gradient for scores of any size") {
  for (std::uint64_t round = 0; round < 6; ++round) {
    const Size N = 1 + drawn(9, 40 + round), V = 1 + drawn(40, 50 + round);
    const double scale = round % 2 == 0 ? 1 : 400, shift = round < 3 ? 0 : -500;
    const Tensor x = affine(Variable(random_tensor({N, V}, grading_seed() + round)), scale, shift).value();
    const std::vector<int> targets = drawn_targets(N, V, round);
    const Variable logits = leaf(x.clone());
    const Variable expected = library_loss(logits, targets);
    backward(expected);
    const std::string what = text(N, " rows of ", V, " scores of about ", shift, " +- ", scale);
    check_close(cross_entropy_loss(x, targets), expected.value().item(), "loss of " + what, 1e-4);
    check_close(cross_entropy_gradient(x, targets), logits.gradient(), "gradient of " + what, 1e-4);
  }
}

TEST_CASE("3.3 ten steps of Adam for any settings") {
  const Size n = 3 + drawn(30, 60);
  const AdamSettings settings{.learning_rate = 0.05,
                              .beta1 = 0.5 + 0.01 * static_cast<double>(drawn(40, 61)),
                              .beta2 = 0.9 + 0.001 * static_cast<double>(drawn(99, 62)),
                              .epsilon = 1e-3};
  const Tensor p = random_tensor({n}, grading_seed());
  std::vector<double> parameter(static_cast<std::size_t>(n)), m(parameter.size()), v(parameter.size());
  for (Size i = 0; i < n; ++i) parameter[static_cast<std::size_t>(i)] = p.at({i});
  const Moments moments{zeros({n}), zeros({n})};
  for (Size step = 1; step <= 10; ++step) {
    const Tensor g = random_tensor({n}, grading_seed() + static_cast<std::uint64_t>(step));
    adam_step(p, g, moments, step, settings);
    for (std::size_t i = 0; i < parameter.size(); ++i) {
      const double gradient = g.at({static_cast<Size>(i)});
      m[i] = settings.beta1 * m[i] + (1 - settings.beta1) * gradient;
      v[i] = settings.beta2 * v[i] + (1 - settings.beta2) * gradient * gradient;
      const double mean = m[i] / (1 - std::pow(settings.beta1, step));
      const double variance = v[i] / (1 - std::pow(settings.beta2, step));
      parameter[i] -= settings.learning_rate * mean / (std::sqrt(variance) + settings.epsilon);
    }
    check_close(p.to(ElementType::float64).to_vector<double>(), parameter, text("the parameters after step ", step),
                1e-4);
  }
}

TEST_CASE("3.4 the loss falls by itself, whatever the numbers and the batch") {
  const std::vector<int> numbers = split_numbers(100 + drawn(200, 70)).seen;
  const TrainingOptions options{.steps = 60, .batch = 20 + drawn(30, 71)};
  const Network network = make_network({30, piece_slots * vocabulary}, grading_seed());
  const double before = accuracy(network, one_hot, numbers);
  const std::vector<double> losses = train(network, one_hot, numbers, options);
  check_equal(static_cast<long long>(losses.size()), 60, "losses of 60 steps");
  check_close(losses.front(), std::log(29.0), "the first loss", 0.1);
  if (!(losses.back() < 2)) FAIL(text("the loss after 60 steps: expected below 2, got ", losses.back()));
  if (!(accuracy(network, one_hot, numbers) > before))
    FAIL("more numbers said right after training: expected yes, got no");
}

TEST_CASE("3.4 the weights after some steps are those of the recipe") {
  const std::vector<int> numbers = {static_cast<int>(drawn(1000, 80)), 12, 345};
  const TrainingOptions options{.steps = 4, .batch = 3, .adam = {.learning_rate = 0.03}};
  const Network network = make_network({30, piece_slots * vocabulary}, 5),
                other = make_network({30, piece_slots * vocabulary}, 5);
  train(network, one_hot, numbers, options);
  std::vector<Moments> moments;
  for (const Variable& p : other.parameters()) moments.push_back({zeros(p.shape()), zeros(p.shape())});
  for (Size step = 1; step <= options.steps; ++step) {
    const std::vector<int> batch = batch_of_step(numbers, step, options.batch);
    const Variable w = leaf(other.weights[0].value()), b = leaf(other.biases[0].value());
    const Variable y = add(matmul(Variable(one_hot(batch)), w), b);
    backward(library_loss(reshape(y, {3 * options.batch, vocabulary}), pieces_of(batch)));
    adam_step(w.value(), w.gradient(), moments[0], step, options.adam);
    adam_step(b.value(), b.gradient(), moments[1], step, options.adam);
  }
  check_close(network.weights[0].value(), other.weights[0].value(), "the weights after four steps", 1e-4);
}

TEST_CASE("3.5 relu and its way back, any shape") {
  const Shape shape{1 + drawn(5, 90), 1 + drawn(7, 91), 3};
  const Tensor x = random_tensor(shape, grading_seed()), dy = random_tensor(shape, grading_seed() + 1);
  const Variable mine = leaf(x.clone()), theirs = leaf(x.clone());
  const Variable y = relu_layer(mine), expected = relu(theirs);
  backward(y, dy);
  backward(expected, dy);
  check_close(y.value(), expected.value(), "relu");
  check_close(mine.gradient(), theirs.gradient(), "its gradient");
}
