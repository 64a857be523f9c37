#include "kernels/cross_entropy.h"
#include "kernels/layer_norm.h"
#include "tests/placed_array.h"

// The kernels that normalize rows, in bfloat16 and wherever their rows begin.

using namespace headshare;
using namespace headshare::test;

namespace {

template <class T>
void check_layer_norm(Size rows, Size n, Size offset) {
  INFO(rows, " rows of ", n, ", ", offset, " behind a border");
  using W = Wide<T>;
  const Placed<T> x(random_vector<T>(rows * n, 1), offset), residual(random_vector<T>(rows * n, 2), offset);
  const Placed<T> dy(random_vector<T>(rows * n, 5), offset);
  const Array<W> gain = random_vector<W>(n, 3), bias = random_vector<W>(n, 4);
  Array<W> mean(static_cast<std::size_t>(rows)), scale(mean.size()), d_gain(gain.size(), -99), d_bias(gain.size(), -99);
  Placed<T> sum(rows * n, offset), y(rows * n, offset), alone(rows * n, offset), dx(rows * n, offset), in_place = dy;
  const double epsilon = 1e-5;
  on_cuda([&](Cuda device) {
    kernels::layer_norm<T>(device, rows, n, x.data(), nullptr, gain.data(), bias.data(), W(epsilon), nullptr,
                           alone.data(), nullptr, nullptr);
    kernels::layer_norm<T>(device, rows, n, x.data(), residual.data(), gain.data(), bias.data(), W(epsilon), sum.data(),
                           y.data(), mean.data(), scale.data());
    kernels::layer_norm_backward<T>(device, rows, n, dy.data(), sum.data(), gain.data(), mean.data(), scale.data(),
                                    dx.data(), d_gain.data(), d_bias.data());
    kernels::layer_norm_backward<T>(device, rows, n, in_place.data(), sum.data(), gain.data(), mean.data(),
                                    scale.data(), in_place.data(), d_gain.data(), d_bias.data());
  });
  // The definitions, in double. forward(): of the rows of values(i); appends to the four arrays.
  const double count = static_cast<double>(n);
  const auto forward = [&](const auto& values, Array<double>& result, Array<double>& means, Array<double>& scales) {
    for (Size row = 0; row < rows; ++row) {
      double center = 0, variance = 0;
      for (Size i = 0; i < n; ++i) center += values(row * n + i) / count;
      for (Size i = 0; i < n; ++i) variance += std::pow(values(row * n + i) - center, 2) / count;
      means.push_back(center);
      scales.push_back(1 / std::sqrt(variance + epsilon));
      for (Size i = 0; i < n; ++i)
        result.push_back(value(gain[i]) * (values(row * n + i) - center) * scales.back() + value(bias[i]));
    }
  };
  const auto summed = [&](Size i) { return value(x.data()[i]) + value(residual.data()[i]); };
  Array<double> sums, of_sum, of_x, means, scales, ignored;
  for (Size i = 0; i < rows * n; ++i) sums.push_back(summed(i));
  forward(summed, of_sum, means, scales);
  forward([&](Size i) { return value(x.data()[i]); }, of_x, ignored, ignored);
  CHECK(rounded_once(sum.data(), sums));
  CHECK(rounded_once(y.data(), of_sum, 5));
  CHECK(rounded_once(alone.data(), of_x, 5));
  CHECK(distance(mean, means) < tolerance<W>);
  CHECK(distance(scale, scales) < 2 * tolerance<W>);

  Array<double> expected, gain_sums(gain.size()), bias_sums(gain.size());
  for (Size row = 0; row < rows; ++row) {
    const auto normalized = [&](Size i) {
      return (value(sum.data()[row * n + i]) - value(mean[row])) * value(scale[row]);
    };
    const auto d = [&](Size i) { return value(dy.data()[row * n + i]); };
    double mean_g = 0, mean_g_normalized = 0;
    for (Size i = 0; i < n; ++i) mean_g += value(gain[i]) * d(i) / count;
    for (Size i = 0; i < n; ++i) mean_g_normalized += value(gain[i]) * d(i) * normalized(i) / count;
    for (Size i = 0; i < n; ++i) {
      expected.push_back(value(scale[row]) * (value(gain[i]) * d(i) - mean_g - normalized(i) * mean_g_normalized));
      gain_sums[i] += d(i) * normalized(i);
      bias_sums[i] += d(i);
    }
  }
  CHECK(rounded_once(dx.data(), expected, 10));
  CHECK(rounded_once(in_place.data(), expected, 10));
  CHECK(distance(d_gain, gain_sums, std::sqrt(static_cast<double>(rows))) < 5 * tolerance<W>);
  CHECK(distance(d_bias, bias_sums, std::sqrt(static_cast<double>(rows))) < 5 * tolerance<W>);
  for (const Placed<T>* written : {&sum, &y, &alone, &dx, &in_place}) CHECK(written->kept_its_neighbours());
}

}  // namespace

TEST_CASE_TEMPLATE("layer norm keeps rows in registers or reads them again, with the same result", T, BFloat16, float,
                   double) {
  if (without_cuda()) return;
  check_layer_norm<T>(0, 8, 0);
  check_layer_norm<T>(5, 7, 0);      // not in whole chunks
  check_layer_norm<T>(37, 36, 0);    // a warp, not all of whose lanes have a chunk
  check_layer_norm<T>(37, 36, 1);    // the same rows, but not on whole chunks
  check_layer_norm<T>(21, 512, 0);   // two to eight chunks per lane
  check_layer_norm<T>(19, 1024, 0);  // the longest row of a warp
  check_layer_norm<T>(2, 1028, 0);   // a block
  check_layer_norm<T>(2, 8192, 0);   // the longest row that a block holds
  check_layer_norm<T>(2, 8196, 0);
  check_layer_norm<T>(8200, 8, 0);  // more rows than the blocks of the backward take at least
}

TEST_CASE_TEMPLATE("cross-entropy and its gradient, of logits wherever their rows begin", T, BFloat16, float) {
  if (without_cuda()) return;
  const Size rows = 6;
  for (const Size classes : {1, 7, 97, 1000, 1027, 2048}) {
    for (const double smoothing : {0.0, 0.1}) {
      for (const Size offset : {0, 1}) {
        INFO(classes, " classes, smoothing ", smoothing, ", ", offset, " behind a border");
        const Placed<T> logits(random_vector<T>(rows * classes, 1, 3), offset);
        const Array<float> d_loss = random_vector<float>(rows, 2);
        Array<std::int32_t> targets = random_indices(rows, classes, 3);
        targets[1] = -1;
        Array<float> loss(static_cast<std::size_t>(rows)), nll(loss.size()), log_sum_exp(loss.size());
        Placed<T> gradient(rows * classes, offset), elsewhere(rows * classes, 2), in_place = logits;
        on_cuda([&](Cuda device) {
          const auto s = static_cast<float>(smoothing);
          kernels::cross_entropy(device, rows, classes, logits.data(), targets.data(), s, loss.data(), nll.data(),
                                 log_sum_exp.data());
          for (T* const to : {gradient.data(), elsewhere.data()})
            kernels::cross_entropy_backward<T>(device, rows, classes, logits.data(), targets.data(), s,
                                               log_sum_exp.data(), d_loss.data(), to);
          kernels::cross_entropy_backward<T>(device, rows, classes, in_place.data(), targets.data(), s,
                                             log_sum_exp.data(), d_loss.data(), in_place.data());
        });
        Array<double> losses, nlls, logarithms, expected;
        for (Size row = 0; row < rows; ++row) {
          const auto logit = [&](Size v) { return value(logits.data()[row * classes + v]); };
          const bool padding = targets[row] < 0;
          double sum = 0, all_nll = 0;
          for (Size v = 0; v < classes; ++v) sum += std::exp(logit(v));
          logarithms.push_back(std::log(sum));
          for (Size v = 0; v < classes; ++v) all_nll += (logarithms.back() - logit(v)) / static_cast<double>(classes);
          nlls.push_back(padding ? 0 : logarithms.back() - logit(targets[row]));
          losses.push_back(padding ? 0 : (1 - smoothing) * nlls.back() + smoothing * all_nll);
          for (Size v = 0; v < classes; ++v) {
            const double truth = (v == targets[row] ? 1 - smoothing : 0) + smoothing / static_cast<double>(classes);
            expected.push_back(padding ? 0 : value(d_loss[row]) * (std::exp(logit(v) - logarithms.back()) - truth));
          }
        }
        CHECK(distance(loss, losses) < tolerance<float>);
        CHECK(distance(nll, nlls) < tolerance<float>);
        CHECK(distance(log_sum_exp, logarithms) < tolerance<float>);
        CHECK(rounded_once(gradient.data(), expected, 2));
        CHECK(rounded_once(elsewhere.data(), expected, 2));
        CHECK(rounded_once(in_place.data(), expected, 2));
        CHECK(gradient.kept_its_neighbours());
        CHECK(elsewhere.kept_its_neighbours());
      }
    }
  }
}

TEST_CASE("impossible classes and NaN among bfloat16 logits") {
  if (without_cuda()) return;
  for (const Size n : {37, 64}) {
    Array<BFloat16> logits(static_cast<std::size_t>(3 * n), BFloat16(1.0f)), gradient(logits.size());
    const Array<std::int32_t> targets = {0, 5, 7};
    const Array<float> d_loss = {1, 1, 1};
    logits[35] = BFloat16(-infinity<float>);
    logits[static_cast<std::size_t>(n + 20)] = BFloat16(not_a_number<float>);
    std::fill_n(logits.begin() + 2 * n, n, BFloat16(-infinity<float>));  // everything is masked
    Array<float> loss(3), nll(3), log_sum_exp(3);
    on_cuda([&](Cuda device) {
      kernels::cross_entropy(device, 3, n, logits.data(), targets.data(), 0, loss.data(), nll.data(),
                             log_sum_exp.data());
      kernels::cross_entropy_backward(device, 1, n, logits.data(), targets.data(), 0, log_sum_exp.data(), d_loss.data(),
                                      gradient.data());
    });
    CHECK(loss[0] == doctest::Approx(std::log(static_cast<double>(n - 1))));
    CHECK(value(gradient[35]) == 0);
    CHECK(std::isnan(loss[1]));
    CHECK(log_sum_exp[2] == -infinity<float>);
  }
}
