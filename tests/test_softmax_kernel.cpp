#include "kernels/softmax.h"
#include "tests/kernel_helpers.h"

using namespace headshare;
using namespace headshare::test;

namespace {

// The definition, in double; -infinity allowed.
template <class T>
Array<double> plain_log_softmax(Size rows, Size n, const Array<T>& x) {
  Array<double> y(x.size());
  for (Size row = 0; row < rows; ++row) {
    double sum = 0, largest = -infinity<double>;
    for (Size i = 0; i < n; ++i) largest = std::max(largest, static_cast<double>(x[row * n + i]));
    for (Size i = 0; i < n; ++i) sum += std::exp(static_cast<double>(x[row * n + i]) - largest);
    for (Size i = 0; i < n; ++i) y[row * n + i] = static_cast<double>(x[row * n + i]) - largest - std::log(sum);
  }
  return y;
}

Array<double> exp_of(Array<double> x) {
  for (double& value : x) value = std::exp(value);
  return x;
}

template <class T>
Array<T> softmax(Size rows, Size n, const Array<T>& x) {
  Array<T> y(x.size());
  on_device([&](auto device) { kernels::softmax(device, rows, n, x.data(), y.data()); });
  return y;
}

template <class T>
Array<T> log_softmax(Size rows, Size n, const Array<T>& x) {
  Array<T> y(x.size());
  on_device([&](auto device) { kernels::log_softmax(device, rows, n, x.data(), y.data()); });
  return y;
}

struct Case {
  Size rows, n;
};
const std::vector<Case> cases = {{0, 5}, {3, 0}, {1, 1}, {5, 7}, {3, 16}, {4, 33}, {7, 97}, {1000, 97}, {3, 8000}};

}  // namespace

TEST_CASE_TEMPLATE("softmax and log_softmax follow their definition", T, float, double) {
  for (const auto [rows, n] : cases) {
    const Array<T> x = random_vector<T>(rows * n, 1, 3);
    const Array<double> expected = plain_log_softmax(rows, n, x);
    CHECK(distance(softmax(rows, n, x), exp_of(expected), 1e-12) < 10 * tolerance<T>);  // relative, also where tiny
    CHECK(distance(log_softmax(rows, n, x), expected) < tolerance<T>);
  }
}

TEST_CASE_TEMPLATE("softmax may write over its input", T, float, double) {
  Array<T> x = random_vector<T>(5 * 97, 1), logarithms = x;
  const Array<T> expected = softmax(5, 97, x), expected_logarithms = log_softmax(5, 97, x);
  on_device([&](auto device) { kernels::softmax(device, 5, 97, x.data(), x.data()); });
  on_device([&](auto device) { kernels::log_softmax(device, 5, 97, logarithms.data(), logarithms.data()); });
  CHECK(same_bits(x, expected));
  CHECK(same_bits(logarithms, expected_logarithms));
}

TEST_CASE_TEMPLATE("softmax of logits of 1e4 is finite and equals that of the shifted logits", T, float, double) {
  Array<T> x = {0, 1, 2, -3}, large = {10000, 10001, 10002, 9997};
  CHECK(distance(softmax(1, 4, large), softmax(1, 4, x)) == 0);
  for (T& value : x) value *= 10000;  // the largest takes everything
  CHECK(softmax(1, 4, x) == Array<T>{0, 0, 1, 0});
  CHECK(log_softmax(1, 4, x) == Array<T>{-20000, -10000, 0, -50000});
}

TEST_CASE_TEMPLATE("a masked position, -infinity, has probability exactly 0", T, float, double) {
  const T masked = -infinity<T>;
  for (const Size n : {7, 16, 40, 97}) {
    Array<T> x = random_vector<T>(2 * n, 1);
    for (Size i = 1; i < n; i += 2) x[i] = masked;
    for (Size i = n; i < 2 * n; ++i) x[i] = masked;  // the second row sees nothing at all
    const Array<T> y = softmax(2, n, x), logarithm = log_softmax(2, n, x);
    double sum = 0;
    for (Size i = 0; i < n; ++i) sum += static_cast<double>(y[i]);
    CHECK(sum == doctest::Approx(1));
    for (Size i = 1; i < n; i += 2) CHECK(y[i] == 0);
    for (Size i = 1; i < n; i += 2) CHECK(logarithm[i] == masked);
    for (Size i = n; i < 2 * n; ++i) CHECK(y[i] == 0);
    for (Size i = n; i < 2 * n; ++i) CHECK(logarithm[i] == masked);
  }
}

TEST_CASE_TEMPLATE("NaN and +infinity spoil their row and no other", T, float, double) {
  for (const T poison : {not_a_number<T>, infinity<T>}) {
    for (const Size position : {0, 15, 31, 36}) {
      for (const T others : {T(1), -infinity<T>}) {
        Array<T> x(2 * 37, others);
        x[position] = poison;
        std::fill(x.begin() + 37, x.end(), T(2));
        const Array<T> y = softmax(2, 37, x);
        CHECK(all_nan(Array<T>(y.begin(), y.begin() + 37)));
        CHECK(y[37] == doctest::Approx(1.0 / 37));
      }
    }
  }
}

TEST_CASE_TEMPLATE("the backward of softmax and log_softmax follow their definition", T, float, double) {
  for (const auto [rows, n] : cases) {
    const Array<T> x = random_vector<T>(rows * n, 1, 3), dy = random_vector<T>(rows * n, 2);
    const Array<T> y = softmax(rows, n, x), logarithm = log_softmax(rows, n, x);
    Array<T> dx(x.size()), d_logarithm(x.size());
    Array<double> expected(x.size()), expected_logarithm(x.size());
    for (Size row = 0; row < rows; ++row) {
      double dot = 0, sum = 0;
      for (Size i = row * n; i < (row + 1) * n; ++i) dot += static_cast<double>(y[i]) * static_cast<double>(dy[i]);
      for (Size i = row * n; i < (row + 1) * n; ++i) sum += static_cast<double>(dy[i]);
      for (Size i = row * n; i < (row + 1) * n; ++i) {
        expected[i] = static_cast<double>(y[i]) * (static_cast<double>(dy[i]) - dot);
        expected_logarithm[i] = static_cast<double>(dy[i]) - std::exp(static_cast<double>(logarithm[i])) * sum;
      }
    }
    on_device([&](auto device) { kernels::softmax_backward(device, rows, n, dy.data(), y.data(), dx.data()); });
    on_device([&](auto device) {
      kernels::log_softmax_backward(device, rows, n, dy.data(), logarithm.data(), d_logarithm.data());
    });
    CHECK(distance(dx, expected) < tolerance<T>);
    CHECK(distance(d_logarithm, expected_logarithm) < 2 * tolerance<T>);
    Array<T> in_place = dy;
    on_device(
        [&](auto device) { kernels::softmax_backward(device, rows, n, in_place.data(), y.data(), in_place.data()); });
    CHECK(same_bits(in_place, dx));
  }
}

TEST_CASE("softmax does not depend on the number of threads") {
  const Array<float> x = random_vector<float>(1001 * 97, 1), dy = random_vector<float>(1001 * 97, 2);
  CHECK(independent_of_threads([&] { return softmax(1001, 97, x); }));
  CHECK(independent_of_threads([&] { return log_softmax(1001, 97, x); }));
  CHECK(independent_of_threads([&] {
    Array<float> dx(x.size());
    on_device([&](auto device) { kernels::softmax_backward(device, 1001, 97, dy.data(), x.data(), dx.data()); });
    return dx;
  }));
}
