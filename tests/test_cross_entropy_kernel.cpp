#include "core/error.h"
#include "kernels/cross_entropy.h"
#include "tests/kernel_helpers.h"

using namespace headshare;
using namespace headshare::test;

namespace {

template <class T>
struct Result {
  Array<T> loss, nll, log_sum_exp;
};

template <class T>
Result<T> cross_entropy(Size classes, const Array<T>& logits, const Array<std::int32_t>& targets, double smoothing) {
  Result<T> result{Array<T>(targets.size()), Array<T>(targets.size()), Array<T>(targets.size())};
  on_device([&](auto device) {
    kernels::cross_entropy(device, static_cast<Size>(targets.size()), classes, logits.data(), targets.data(),
                           static_cast<T>(smoothing), result.loss.data(), result.nll.data(), result.log_sum_exp.data());
  });
  return result;
}

template <class T>
Array<T> backward(Size classes, const Array<T>& logits, const Array<std::int32_t>& targets, double smoothing,
                  const Array<T>& log_sum_exp, const Array<T>& d_loss) {
  Array<T> d_logits(logits.size());
  on_device([&](auto device) {
    kernels::cross_entropy_backward(device, static_cast<Size>(targets.size()), classes, logits.data(), targets.data(),
                                    static_cast<T>(smoothing), log_sum_exp.data(), d_loss.data(), d_logits.data());
  });
  return d_logits;
}

// The definition, in double, with the smoothed truth written out class by class.
template <class T>
Result<double> plain(Size classes, const Array<T>& logits, const Array<std::int32_t>& targets, double smoothing) {
  Result<double> result;
  for (std::size_t row = 0; row < targets.size(); ++row) {
    const T* x = logits.data() + static_cast<Size>(row) * classes;
    double largest = -infinity<double>, sum = 0, loss = 0;
    for (Size v = 0; v < classes; ++v) largest = std::max(largest, static_cast<double>(x[v]));
    for (Size v = 0; v < classes; ++v) sum += std::exp(static_cast<double>(x[v]) - largest);
    const double log_sum_exp = largest + std::log(sum);
    for (Size v = 0; v < classes; ++v) {
      const double truth = (v == targets[row] ? 1 - smoothing : 0) + smoothing / static_cast<double>(classes);
      loss += truth * (log_sum_exp - static_cast<double>(x[v]));
    }
    const bool padding = targets[row] < 0;
    result.loss.push_back(padding ? 0 : loss);
    result.nll.push_back(padding ? 0 : log_sum_exp - static_cast<double>(x[targets[row]]));
    result.log_sum_exp.push_back(log_sum_exp);
  }
  return result;
}

}  // namespace

TEST_CASE_TEMPLATE("cross-entropy and its gradient follow their definition", T, float, double) {
  for (const Size rows : {0, 1, 7, 33}) {
    for (const Size classes : {1, 7, 33, 97, 8000}) {
      for (const double smoothing : {0.0, 0.1}) {
        const Array<T> logits = random_vector<T>(rows * classes, 1, 3), d_loss = random_vector<T>(rows, 2);
        Array<std::int32_t> targets = random_indices(rows, classes, 3);
        if (rows > 1) targets[1] = -1;
        const Result<T> result = cross_entropy(classes, logits, targets, smoothing);
        const Result<double> expected = plain(classes, logits, targets, smoothing);
        CHECK(distance(result.loss, expected.loss) < tolerance<T>);
        CHECK(distance(result.nll, expected.nll) < tolerance<T>);
        CHECK(distance(result.log_sum_exp, expected.log_sum_exp) < tolerance<T>);

        Array<double> expected_gradient(logits.size());
        for (Size i = 0; i < rows * classes; ++i) {
          const Size row = i / classes, v = i % classes;
          const double p = std::exp(static_cast<double>(logits[i]) - expected.log_sum_exp[row]);
          const double truth = (v == targets[row] ? 1 - smoothing : 0) + smoothing / static_cast<double>(classes);
          expected_gradient[i] = targets[row] < 0 ? 0 : static_cast<double>(d_loss[row]) * (p - truth);
        }
        const Array<T> gradient = backward(classes, logits, targets, smoothing, result.log_sum_exp, d_loss);
        CHECK(distance(gradient, expected_gradient) < tolerance<T>);

        Array<T> in_place = logits;
        on_device([&](auto device) {
          kernels::cross_entropy_backward(device, rows, classes, in_place.data(), targets.data(),
                                          static_cast<T>(smoothing), result.log_sum_exp.data(), d_loss.data(),
                                          in_place.data());
        });
        CHECK(same_bits(in_place, gradient));
      }
    }
  }
}

TEST_CASE("cross-entropy of equal logits is the logarithm of the number of classes") {
  // By hand: p = 1/4 everywhere, so loss = nll = log 4 for every smoothing.
  const Result<double> result = cross_entropy<double>(4, {7, 7, 7, 7}, {2}, 0.1);
  CHECK(result.loss[0] == doctest::Approx(std::log(4.0)));
  CHECK(result.nll[0] == doctest::Approx(std::log(4.0)));
  // And p = (3/4, 1/4): nll = log 4; loss = 0.9 log 4 + 0.1 (log 4 + log 4/3) / 2.
  const Result<double> uneven = cross_entropy<double>(2, {std::log(3.0), 0}, {1}, 0.1);
  CHECK(uneven.loss[0] == doctest::Approx(0.9 * std::log(4.0) + 0.05 * (std::log(4.0) + std::log(4.0 / 3))));
  const Array<double> gradient = backward<double>(2, {std::log(3.0), 0}, {1}, 0.1, uneven.log_sum_exp, {2});
  CHECK(gradient[0] == doctest::Approx(2 * (0.75 - 0.05)));
  CHECK(gradient[1] == doctest::Approx(2 * (0.25 - 0.95)));
}

TEST_CASE_TEMPLATE("the gradient of cross-entropy sums to zero over the classes", T, float, double) {
  const Array<T> logits = random_vector<T>(8000, 1);
  const Result<T> result = cross_entropy(8000, logits, {17}, 0.1);
  double sum = 0;
  for (const T d : backward<T>(8000, logits, {17}, 0.1, result.log_sum_exp, {1})) sum += static_cast<double>(d);
  CHECK(std::abs(sum) < 20 * tolerance<T>);
}

TEST_CASE_TEMPLATE("logits of 1e4 neither overflow nor lose the loss", T, float, double) {
  const Result<T> result = cross_entropy<T>(3, {10000, 9999, -10000}, {1}, 0.0);
  CHECK(result.loss[0] == doctest::Approx(1.3132617).epsilon(1e-3));
  const Result<T> hopeless = cross_entropy<T>(2, {10000, -10000}, {1}, 0.0);
  CHECK(hopeless.loss[0] == T(20000));
}

TEST_CASE_TEMPLATE("an impossible class costs nothing without smoothing and everything with it", T, float, double) {
  Array<T> logits(37, T(1));
  logits[35] = -infinity<T>;
  CHECK(cross_entropy<T>(37, logits, {0}, 0.0).loss[0] == doctest::Approx(std::log(36.0)));
  CHECK(cross_entropy<T>(37, logits, {0}, 0.1).loss[0] == infinity<T>);
  CHECK(cross_entropy<T>(37, logits, {35}, 0.0).loss[0] == infinity<T>);
  const Result<T> result = cross_entropy<T>(37, logits, {0}, 0.0);
  CHECK(backward<T>(37, logits, {0}, 0.0, result.log_sum_exp, {1})[35] == 0);
}

TEST_CASE_TEMPLATE("NaN in a row makes its loss NaN, and padding stays 0", T, float, double) {
  for (const Size position : {0, 20, 36}) {
    Array<T> logits(2 * 37, T(1));
    logits[position] = logits[37 + position] = not_a_number<T>;
    const Result<T> result = cross_entropy<T>(37, logits, {5, -1}, 0.1);
    CHECK(std::isnan(result.loss[0]));
    CHECK(result.loss[1] == 0);
    const Array<T> gradient = backward<T>(37, logits, {5, -1}, 0.1, result.log_sum_exp, {1, 1});
    CHECK(all_nan(Array<T>(gradient.begin(), gradient.begin() + 37)));
    CHECK(Array<T>(gradient.begin() + 37, gradient.end()) == Array<T>(37, T(0)));
  }
}

TEST_CASE("a target outside the vocabulary is refused") {
  CHECK_THROWS_WITH_AS(cross_entropy<float>(4, Array<float>(8), {0, 4}, 0.0),
                       "cross_entropy: target 4 at position 1 is outside 0 .. 3", Error);
  CHECK_THROWS_WITH_AS(backward<float>(4, Array<float>(4), {7}, 0.0, {0}, {0}),
                       "cross_entropy_backward: target 7 at position 0 is outside 0 .. 3", Error);
}

TEST_CASE("the unsmoothed loss may be left out") {
  const Array<float> logits = {1, 2, 3};
  const Array<std::int32_t> target = {1};
  Array<float> loss(1), log_sum_exp(1);
  on_device([&](auto device) {
    kernels::cross_entropy<float>(device, 1, 3, logits.data(), target.data(), 0.0f, loss.data(), nullptr,
                                  log_sum_exp.data());
  });
  CHECK(loss[0] == doctest::Approx(1.4076059));
}

TEST_CASE("cross-entropy does not depend on the number of threads") {
  const Array<float> logits = random_vector<float>(101 * 997, 1), d_loss = random_vector<float>(101, 2);
  const Array<std::int32_t> targets = random_indices(101, 997, 3);
  CHECK(independent_of_threads([&] { return cross_entropy(997, logits, targets, 0.1).loss; }));
  const Result<float> result = cross_entropy(997, logits, targets, 0.1);
  CHECK(independent_of_threads([&] { return backward(997, logits, targets, 0.1, result.log_sum_exp, d_loss); }));
}
