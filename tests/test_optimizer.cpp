#include <doctest/doctest.h>

#include <cmath>

#include "nn/optimizer.h"
#include "nn/schedule.h"
#include "tensor/reduce.h"
#include "tests/model_helpers.h"

// The optimizer over all parameters of a model, and the learning rate it is given.

using namespace headshare;
using namespace headshare::test;

namespace {

// Two parameters and one that never gets a gradient.
struct ThreeParameters {
  Parameter a{random_tensor({7, 5}, 1)};
  Parameter b{random_tensor({3}, 2)};
  Parameter unused{random_tensor({4}, 3)};
  void visit(const ParameterVisitor& visitor) const {
    visitor("a", a);
    visitor("b", b);
    visitor("unused", unused);
  }
};

// Gives a the gradient `da` and b the gradient `db`.
void set_gradients(const ThreeParameters& model, const Tensor& da, const Tensor& db) {
  backward(add(sum(multiply(model.a, Variable(da))), sum(multiply(model.b, Variable(db)))));
}

// One parameter in a plain loop, from the paper.
struct PlainAdam {
  std::vector<double> value, mean = std::vector<double>(value.size()), variance = std::vector<double>(value.size());

  void step(int t, const std::vector<double>& gradient, double rate, double scale, const AdamOptions& options) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      const double g = scale * gradient[i];
      mean[i] = options.beta1 * mean[i] + (1 - options.beta1) * g;
      variance[i] = options.beta2 * variance[i] + (1 - options.beta2) * g * g;
      const double m = mean[i] / (1 - std::pow(options.beta1, t)), v = variance[i] / (1 - std::pow(options.beta2, t));
      value[i] -= rate * (m / (std::sqrt(v) + options.epsilon) + options.weight_decay * value[i]);
    }
  }
};

}  // namespace

TEST_CASE("Adam over a model's parameters takes the steps of a plain loop") {
  for (const AdamOptions& options : {AdamOptions{}, AdamOptions{0.8, 0.95, 1e-3, 0.1}}) {
    const ThreeParameters model;
    Adam adam(model, options);
    REQUIRE(adam.slots().size() == 3);
    CHECK(adam.slots()[0].name == "a");
    CHECK(adam.slots()[2].name == "unused");
    PlainAdam a{model.a.value().to_vector<double>()}, b{model.b.value().to_vector<double>()};
    const Tensor unused = model.unused.value().clone();
    for (int t = 1; t <= 5; ++t) {
      const Tensor da = random_tensor({7, 5}, 10 + static_cast<std::uint64_t>(t)), db = random_tensor({3}, 20);
      set_gradients(model, da, db);
      const double rate = 0.1 / t;
      adam.step(t, rate, 0.25);
      a.step(t, da.to_vector<double>(), rate, 0.25, options);
      b.step(t, db.to_vector<double>(), rate, 0.25, options);
      CHECK(distance(model.a.value().to_vector<double>(), a.value) < 1e-12);
      CHECK(distance(model.b.value().to_vector<double>(), b.value) < 1e-12);
      CHECK(distance(adam.slots()[0].mean.to_vector<double>(), a.mean) < 1e-12);
      CHECK(distance(adam.slots()[1].variance.to_vector<double>(), b.variance) < 1e-12);
      CHECK(!model.a.gradient().defined());  // cleared: the next backward starts from nothing
    }
    CHECK(same_bits(model.unused.value(), unused));  // without a gradient nothing moves, weight decay included
    CHECK(same_values(adam.slots()[2].variance, zeros({4}, float64)));
    set_gradients(model, zeros({7, 5}, float64), zeros({3}, float64));
    CHECK_THROWS_WITH_AS(adam.step(0, 0.1, 1), "adam: step 0 is impossible; steps are counted from 1", Error);
  }
}

TEST_CASE("the gradient norm is that of all parameters together") {
  const ThreeParameters model;
  const Adam adam(model, {});
  CHECK(adam.gradient_norm() == 0);
  set_gradients(model, full({7, 5}, 2, float64), from_values<double>({1, -4, 2}, {3}));
  CHECK(adam.gradient_norm() == doctest::Approx(std::sqrt(35.0 * 4 + 21)).epsilon(1e-12));
  set_gradients(model, full({7, 5}, 2, float64), from_values<double>({1, -4, 2}, {3}));  // adds up until cleared
  CHECK(adam.gradient_norm() == doctest::Approx(2 * std::sqrt(35.0 * 4 + 21)).epsilon(1e-12));
  adam.clear_gradients();
  CHECK(adam.gradient_norm() == 0);
  set_gradients(model, full({7, 5}, not_a_number<double>, float64), zeros({3}, float64));
  CHECK(std::isnan(adam.gradient_norm()));
}

TEST_CASE("a view as gradient is used like a contiguous one") {
  const ThreeParameters model;
  Adam adam(model, {});
  const Tensor transposed = random_tensor({5, 7}, 30).transpose(0, 1);
  PlainAdam a{model.a.value().to_vector<double>()};
  backward(model.a, transposed);
  CHECK(adam.gradient_norm() == doctest::Approx(std::sqrt(sum(square(transposed)).item())).epsilon(1e-12));
  adam.step(1, 0.1, 1);
  a.step(1, transposed.to_vector<double>(), 0.1, 1, {});
  CHECK(distance(model.a.value().to_vector<double>(), a.value) < 1e-12);
}

TEST_CASE("the learning rate rises to its peak, then falls with the root of the step") {
  const Schedule schedule{.peak = 0.8, .warmup = 100};
  CHECK(schedule.learning_rate(1) == doctest::Approx(0.008));
  CHECK(schedule.learning_rate(25) == doctest::Approx(0.2));
  CHECK(schedule.learning_rate(100) == doctest::Approx(0.8));
  CHECK(schedule.learning_rate(400) == doctest::Approx(0.4));
  CHECK(schedule.learning_rate(10'000) == doctest::Approx(0.08));
  for (Size step = 1; step < 100; ++step) CHECK(schedule.learning_rate(step) < schedule.learning_rate(step + 1));
  for (Size step = 100; step < 300; ++step) CHECK(schedule.learning_rate(step) > schedule.learning_rate(step + 1));
  // Without a warm-up the first step has the peak.
  CHECK(Schedule{.peak = 0.8, .warmup = 0}.learning_rate(1) == doctest::Approx(0.8));
  CHECK(Schedule{.peak = 0.8, .warmup = 0}.learning_rate(4) == doctest::Approx(0.4));
}

TEST_CASE("the decay goes from where the rate was linearly to 0, and stays there") {
  const Schedule schedule{.peak = 0.8, .warmup = 100, .decay_after = 400, .decay_steps = 50};
  CHECK(schedule.learning_rate(100) == doctest::Approx(0.8));
  CHECK(schedule.learning_rate(400) == doctest::Approx(0.4));
  CHECK(schedule.learning_rate(401) == doctest::Approx(0.4 * 49 / 50));
  CHECK(schedule.learning_rate(425) == doctest::Approx(0.2));
  CHECK(schedule.learning_rate(449) == doctest::Approx(0.4 / 50));
  CHECK(schedule.learning_rate(450) == 0);
  CHECK(schedule.learning_rate(1000) == 0);
  // All of the run is decay.
  CHECK(Schedule{.peak = 0.8, .warmup = 1, .decay_after = 0, .decay_steps = 4}.learning_rate(1) ==
        doctest::Approx(0.6));
}
