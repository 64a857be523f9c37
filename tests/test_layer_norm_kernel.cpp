#include "kernels/layer_norm.h"
#include "tests/kernel_helpers.h"

using namespace headshare;
using namespace headshare::test;

namespace {

template <class T>
struct Result {
  Array<T> sum, y, mean, reciprocal_deviation;
};

template <class T>
struct Input {
  Size rows, n;
  Array<T> x, residual, gain, bias;
};

template <class T>
Input<T> random_input(Size rows, Size n) {
  return {rows,
          n,
          random_vector<T>(rows * n, 1),
          random_vector<T>(rows * n, 2),
          random_vector<T>(n, 3),
          random_vector<T>(n, 4)};
}

constexpr double epsilon = 1e-5;

enum class Residual { with, without };

template <class T>
Result<T> layer_norm(const Input<T>& in, Residual residual) {
  Result<T> out{Array<T>(in.x.size()), Array<T>(in.x.size()), Array<T>(static_cast<std::size_t>(in.rows)),
                Array<T>(static_cast<std::size_t>(in.rows))};
  const bool with = residual == Residual::with;
  on_device([&](auto device) {
    kernels::layer_norm(device, in.rows, in.n, in.x.data(), with ? in.residual.data() : nullptr, in.gain.data(),
                        in.bias.data(), static_cast<T>(epsilon), with ? out.sum.data() : nullptr, out.y.data(),
                        out.mean.data(), out.reciprocal_deviation.data());
  });
  if (!with) out.sum = in.x;
  return out;
}

// The definition, in double, of the sum that the kernel made.
template <class T>
Result<double> plain(const Input<T>& in, const Array<T>& sum) {
  Result<double> out;
  const double n = static_cast<double>(in.n);
  for (Size row = 0; row < in.rows; ++row) {
    double mean = 0, variance = 0;
    for (Size i = 0; i < in.n; ++i) mean += static_cast<double>(sum[row * in.n + i]) / n;
    for (Size i = 0; i < in.n; ++i) variance += std::pow(static_cast<double>(sum[row * in.n + i]) - mean, 2) / n;
    const double scale = 1 / std::sqrt(variance + static_cast<double>(static_cast<T>(epsilon)));
    for (Size i = 0; i < in.n; ++i)
      out.y.push_back(static_cast<double>(in.gain[i]) * (static_cast<double>(sum[row * in.n + i]) - mean) * scale +
                      static_cast<double>(in.bias[i]));
    out.mean.push_back(mean);
    out.reciprocal_deviation.push_back(scale);
  }
  return out;
}

template <class T>
struct Gradients {
  Array<T> dx, d_gain, d_bias;
};

template <class T>
Gradients<T> backward(const Input<T>& in, const Result<T>& out, const Array<T>& dy) {
  Gradients<T> d{Array<T>(in.x.size(), T(77)), Array<T>(in.gain.size(), T(77)), Array<T>(in.bias.size(), T(77))};
  on_device([&](auto device) {
    kernels::layer_norm_backward(device, in.rows, in.n, dy.data(), out.sum.data(), in.gain.data(), out.mean.data(),
                                 out.reciprocal_deviation.data(), d.dx.data(), d.d_gain.data(), d.d_bias.data());
  });
  return d;
}

struct Case {
  Size rows, n;
};
const std::vector<Case> cases = {{0, 7}, {1, 1}, {5, 7}, {3, 16}, {130, 33}, {7, 97}, {700, 97}, {3, 8000}};

}  // namespace

TEST_CASE_TEMPLATE("layer norm follows its definition, with and without a residual", T, float, double) {
  for (const auto [rows, n] : cases) {
    const Input<T> in = random_input<T>(rows, n);
    for (const Residual residual : {Residual::with, Residual::without}) {
      if (n == 1 && residual == Residual::without) continue;  // 1 / sqrt(epsilon) magnifies a rounding that is 0 here
      const Result<T> out = layer_norm(in, residual);
      const Result<double> expected = plain(in, out.sum);
      if (residual == Residual::with) {
        for (std::size_t i = 0; i < in.x.size(); ++i) CHECK(out.sum[i] == in.x[i] + in.residual[i]);
      }
      CHECK(distance(out.y, expected.y) < 2 * tolerance<T>);
      CHECK(distance(out.mean, expected.mean) < tolerance<T>);
      CHECK(distance(out.reciprocal_deviation, expected.reciprocal_deviation) < tolerance<T>);
    }
  }
}

TEST_CASE("layer norm of 1, 2, 3, 4 is what one computes by hand") {
  // mean 2.5, variance 1.25; normalized -1.5, -0.5, 0.5, 1.5 over sqrt(1.25)
  Input<double> in{1, 4, {1, 2, 3, 4}, {}, {1, 1, 1, 2}, {0, 0, 0, 10}};
  const Result<double> out = layer_norm(in, Residual::without);
  const double scale = 1 / std::sqrt(1.25 + epsilon);
  CHECK(out.mean[0] == 2.5);
  CHECK(out.reciprocal_deviation[0] == doctest::Approx(scale));
  CHECK(out.y[0] == doctest::Approx(-1.5 * scale));
  CHECK(out.y[3] == doctest::Approx(3 * scale + 10));
}

TEST_CASE("layer norm of float32 rows far from 0 keeps their variance") {
  Input<float> in{1, 97, random_vector<float>(97, 1), {}, Array<float>(97, 1), Array<float>(97, 0)};
  for (float& value : in.x) value += 10000;
  const Result<float> out = layer_norm(in, Residual::without);
  CHECK(distance(out.reciprocal_deviation, plain(in, out.sum).reciprocal_deviation) < 1e-3);
}

TEST_CASE_TEMPLATE("layer norm may write its results over its inputs", T, float, double) {
  const Input<T> in = random_input<T>(5, 97);
  const Result<T> expected = layer_norm(in, Residual::with);
  Input<T> used = in;
  Array<T> mean(5), reciprocal_deviation(5);
  on_device([&](auto device) {
    kernels::layer_norm(device, Size{5}, Size{97}, used.x.data(), used.residual.data(), in.gain.data(), in.bias.data(),
                        static_cast<T>(epsilon), used.residual.data(), used.x.data(), mean.data(),
                        reciprocal_deviation.data());
  });
  CHECK(same_bits(used.x, expected.y));
  CHECK(same_bits(used.residual, expected.sum));
  used = in;  // the sum is not wanted, y takes the place of the residual
  on_device([&](auto device) {
    kernels::layer_norm<T>(device, 5, 97, used.x.data(), used.residual.data(), in.gain.data(), in.bias.data(),
                           static_cast<T>(epsilon), nullptr, used.residual.data(), mean.data(),
                           reciprocal_deviation.data());
  });
  CHECK(same_bits(used.residual, expected.y));
  CHECK(same_bits(used.x, in.x));

  const Array<T> dy = random_vector<T>(5 * 97, 9);
  const Gradients<T> gradients = backward(in, expected, dy);
  Array<T> in_place = dy, d_gain(97), d_bias(97);
  on_device([&](auto device) {
    kernels::layer_norm_backward(device, Size{5}, Size{97}, in_place.data(), expected.sum.data(), in.gain.data(),
                                 expected.mean.data(), expected.reciprocal_deviation.data(), in_place.data(),
                                 d_gain.data(), d_bias.data());
  });
  CHECK(same_bits(in_place, gradients.dx));
}

TEST_CASE_TEMPLATE("the backward of layer norm follows its definition", T, float, double) {
  for (const Case& size : cases) {
    const Size rows = size.rows, n = size.n;
    const Input<T> in = random_input<T>(rows, n);
    const Result<T> out = layer_norm(in, Residual::with);
    const Array<T> dy = random_vector<T>(rows * n, 5);
    const Gradients<T> d = backward(in, out, dy);
    Gradients<double> expected{{}, Array<double>(in.gain.size()), Array<double>(in.gain.size())};
    for (Size row = 0; row < rows; ++row) {
      const double scale = static_cast<double>(out.reciprocal_deviation[row]);
      const auto normalized = [&](Size i) {
        return (static_cast<double>(out.sum[row * n + i]) - static_cast<double>(out.mean[row])) * scale;
      };
      const auto g = [&](Size i) { return static_cast<double>(in.gain[i]) * static_cast<double>(dy[row * n + i]); };
      double mean_g = 0, mean_g_normalized = 0;
      for (Size i = 0; i < n; ++i) mean_g += g(i) / static_cast<double>(n);
      for (Size i = 0; i < n; ++i) mean_g_normalized += g(i) * normalized(i) / static_cast<double>(n);
      for (Size i = 0; i < n; ++i) {
        expected.dx.push_back(scale * (g(i) - mean_g - normalized(i) * mean_g_normalized));
        expected.d_gain[i] += static_cast<double>(dy[row * n + i]) * normalized(i);
        expected.d_bias[i] += static_cast<double>(dy[row * n + i]);
      }
    }
    // dx grows with 1 / deviation, and its rounding with it.
    double unit = 1;
    for (const T scale : out.reciprocal_deviation) unit = std::max(unit, static_cast<double>(scale));
    CHECK(distance(d.dx, expected.dx, unit) < 2 * tolerance<T>);
    CHECK(distance(d.d_gain, expected.d_gain) < 5 * tolerance<T>);
    CHECK(distance(d.d_bias, expected.d_bias) < 5 * tolerance<T>);
  }
}

TEST_CASE("the backward of layer norm agrees with central differences") {
  Input<double> in = random_input<double>(3, 7);
  const Array<double> dy = random_vector<double>(21, 5);
  const Gradients<double> d = backward(in, layer_norm(in, Residual::with), dy);
  const auto slope = [&](double& parameter) {
    const auto loss = [&] {
      const Result<double> out = layer_norm(in, Residual::with);
      double total = 0;
      for (std::size_t i = 0; i < dy.size(); ++i) total += dy[i] * out.y[i];
      return total;
    };
    const double before = parameter, h = 1e-5;
    parameter = before + h;
    const double above = loss();
    parameter = before - h;
    const double below = loss();
    parameter = before;
    return (above - below) / (2 * h);
  };
  for (std::size_t i = 0; i < 21; ++i) CHECK(std::abs(d.dx[i] - slope(in.x[i])) < 1e-6);
  for (std::size_t i = 0; i < 21; ++i) CHECK(std::abs(d.dx[i] - slope(in.residual[i])) < 1e-6);
  for (std::size_t i = 0; i < 7; ++i) CHECK(std::abs(d.d_gain[i] - slope(in.gain[i])) < 1e-6);
  for (std::size_t i = 0; i < 7; ++i) CHECK(std::abs(d.d_bias[i] - slope(in.bias[i])) < 1e-6);
}

TEST_CASE_TEMPLATE("NaN and infinity spoil their row and no other", T, float, double) {
  for (const T poison : {not_a_number<T>, infinity<T>, -infinity<T>}) {
    for (const Size position : {0, 20, 36}) {
      Input<T> in = random_input<T>(2, 37);
      const Result<T> clean = layer_norm(in, Residual::with);
      in.x[position] = poison;
      const Result<T> out = layer_norm(in, Residual::with);
      CHECK(all_nan(Array<T>(out.y.begin(), out.y.begin() + 37)));
      CHECK(same_bits(Array<T>(out.y.begin() + 37, out.y.end()), Array<T>(clean.y.begin() + 37, clean.y.end())));
    }
  }
}

TEST_CASE("layer norm does not depend on the number of threads") {
  const Input<float> in = random_input<float>(701, 129);
  const Result<float> out = layer_norm(in, Residual::with);
  const Array<float> dy = random_vector<float>(701 * 129, 5);
  CHECK(independent_of_threads([&] { return layer_norm(in, Residual::with).y; }));
  CHECK(independent_of_threads([&] { return backward(in, out, dy).dx; }));
  CHECK(independent_of_threads([&] { return backward(in, out, dy).d_gain; }));
  CHECK(independent_of_threads([&] { return backward(in, out, dy).d_bias; }));
}
