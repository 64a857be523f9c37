#include "core/error.h"
#include "kernels/reduce.h"
#include "tests/kernel_helpers.h"

using namespace headshare;
using namespace headshare::test;

namespace {

struct Case {
  Size outer, n, inner;
};
// Around the vector widths, the blocks of columns (1024) and the chunks of a long sum (256 rows, 16384 numbers).
const std::vector<Case> cases = {{0, 3, 2},     {2, 3, 0},     {1, 1, 1},     {7, 33, 1},    {3, 97, 1},
                                 {5, 8000, 1},  {1, 50001, 1}, {2, 16385, 1}, {3, 7, 5},     {2, 33, 97},
                                 {1, 1000, 33}, {2, 257, 3},   {1, 3, 5000},  {1, 600, 1025}};

template <class T>
struct Maximum {
  Array<T> value;
  Array<std::int32_t> index;
};

template <class T>
Maximum<T> maximum(Size outer, Size n, Size inner, const Array<T>& x) {
  Maximum<T> result{Array<T>(static_cast<std::size_t>(outer * inner)),
                    Array<std::int32_t>(static_cast<std::size_t>(outer * inner), -7)};
  on_device(
      [&](auto device) { kernels::max(device, outer, n, inner, x.data(), result.value.data(), result.index.data()); });
  return result;
}

template <class T>
Array<T> sum(Size outer, Size n, Size inner, const Array<T>& x) {
  Array<T> y(static_cast<std::size_t>(outer * inner), T(-99));
  on_device([&](auto device) { kernels::sum(device, outer, n, inner, x.data(), y.data()); });
  return y;
}

}  // namespace

TEST_CASE_TEMPLATE("sum adds over the middle dimension", T, float, double) {
  for (const auto [outer, n, inner] : cases) {
    const Array<T> x = random_vector<T>(outer * n * inner, 1);
    Array<double> expected(static_cast<std::size_t>(outer * inner));
    for (Size i = 0; i < outer * n * inner; ++i)
      expected[i / (n * inner) * inner + i % inner] += static_cast<double>(x[i]);
    CHECK(distance(sum(outer, n, inner, x), expected, std::sqrt(static_cast<double>(n))) < tolerance<T>);
  }
  CHECK(sum<T>(2, 0, 3, {}) == Array<T>(6, T(0)));
}

TEST_CASE("a long float32 sum keeps its digits") {
  // Added one after the other, the sum would stop growing at 2^24.
  CHECK(sum(1, 20000000, 1, Array<float>(20000000, 1.0f))[0] == 20000000.0f);
}

TEST_CASE_TEMPLATE("max finds the largest element and its first position", T, float, double) {
  for (const auto [outer, n, inner] : cases) {
    Array<T> x = random_vector<T>(outer * n * inner, 1);
    for (T& value : x) value = std::round(2 * value);  // many are equal
    const Maximum<T> found = maximum(outer, n, inner, x);
    Maximum<T> expected = found;
    for (Size o = 0; o < outer; ++o) {
      for (Size i = 0; i < inner; ++i) {
        std::int32_t best = 0;
        const auto at = [&, o = o, n = n, inner = inner](Size k) { return x[(o * n + k) * inner + i]; };
        for (std::int32_t k = 1; k < n; ++k) best = at(k) > at(best) ? k : best;
        expected.value[o * inner + i] = at(best);
        expected.index[o * inner + i] = best;
      }
    }
    CHECK(same_bits(found.value, expected.value));
    CHECK(found.index == expected.index);
    Array<T> values(found.value.size());
    on_device([&](auto device) { kernels::max<T>(device, outer, n, inner, x.data(), values.data(), nullptr); });
    CHECK(same_bits(values, found.value));
    if (inner == 1) {
      Array<std::int32_t> index(found.index.size());
      on_device([&](auto device) { kernels::argmax(device, outer, n, x.data(), index.data()); });
      CHECK(index == expected.index);
    }
  }
}

TEST_CASE_TEMPLATE("the largest of infinities and NaN is found where it stands", T, float, double) {
  const T nan = not_a_number<T>, low = -infinity<T>;
  for (const Size inner : {1, 40}) {
    const auto first_maximum = [&](const Array<T>& column) {
      Array<T> x;
      for (const T value : column) x.insert(x.end(), static_cast<std::size_t>(inner), value);
      const Maximum<T> found = maximum(1, static_cast<Size>(column.size()), inner, x);
      CHECK(found.index == Array<std::int32_t>(found.index.size(), found.index[0]));
      return found.index[0];
    };
    CHECK(first_maximum({low, low, low}) == 0);
    CHECK(first_maximum({low, 3, infinity<T>, 4}) == 2);
    CHECK(first_maximum({1, nan, infinity<T>, nan}) == 1);
    CHECK(first_maximum({nan, 1, 2}) == 0);
    for (const std::size_t position : {0, 15, 70, 99}) {
      Array<T> column(100, T(5));
      column[position] = 6;
      CHECK(first_maximum(column) == static_cast<std::int32_t>(position));
      column[position] = nan;
      CHECK(first_maximum(column) == static_cast<std::int32_t>(position));
    }
  }
}

TEST_CASE("the largest of nothing is refused") {
  Array<float> y(1);
  Array<std::int32_t> index(1);
  CHECK_THROWS_WITH_AS(on_device([&](auto device) { kernels::max(device, 1, 0, 1, y.data(), y.data(), index.data()); }),
                       "max: the largest of 0 elements does not exist; needed at least 1 element", Error);
  CHECK_THROWS_WITH_AS(on_device([&](auto device) { kernels::argmax(device, 1, 0, y.data(), index.data()); }),
                       "argmax: the largest of 0 elements does not exist; needed at least 1 element", Error);
}

TEST_CASE_TEMPLATE("the backward of max gives the gradient to the position of the maximum alone", T, float, double) {
  for (const auto [outer, n, inner] : cases) {
    const Array<std::int32_t> index = random_indices(outer * inner, n, 1);
    const Array<T> dy = random_vector<T>(outer * inner, 2);
    Array<T> dx(static_cast<std::size_t>(outer * n * inner), T(-99)), expected(dx.size());
    for (Size i = 0; i < outer * n * inner; ++i) {
      const Size to = i / (n * inner) * inner + i % inner;
      expected[i] = i / inner % n == index[to] ? dy[to] : T(0);
    }
    on_device([&](auto device) { kernels::max_backward(device, outer, n, inner, index.data(), dy.data(), dx.data()); });
    CHECK(same_bits(dx, expected));
  }
}

template <class T>
static double sum_of_squares(const Array<T>& x) {
  double result = 0;
  on_device([&](auto device) { result = kernels::sum_of_squares(device, static_cast<Size>(x.size()), x.data()); });
  return result;
}

TEST_CASE_TEMPLATE("sum_of_squares adds in double and lets NaN and infinity through", T, float, double) {
  for (const Size n : {0, 1, 7, 33, 97, 8000, 100003}) {
    Array<T> x = random_vector<T>(n, 1);
    double expected = 0;
    for (const T value : x) expected += static_cast<double>(value) * static_cast<double>(value);
    CHECK(sum_of_squares(x) == doctest::Approx(expected).epsilon(1e-12));
    if (n == 0) continue;
    for (const Size position : {Size{0}, n / 2, n - 1}) {
      const T before = x[position];
      x[position] = not_a_number<T>;
      CHECK(std::isnan(sum_of_squares(x)));
      x[position] = -infinity<T>;
      CHECK(sum_of_squares(x) == infinity<double>);
      x[position] = T(1e30);  // its square is beyond float32, not beyond double
      CHECK(sum_of_squares(x) == doctest::Approx(1e60));
      x[position] = before;
    }
  }
}

TEST_CASE("reductions do not depend on the number of threads") {
  const Array<float> x = random_vector<float>(300000, 1);
  CHECK(independent_of_threads([&] { return sum(1, 300000, 1, x); }));
  CHECK(independent_of_threads([&] { return sum(1, 3000, 100, x); }));
  CHECK(independent_of_threads([&] { return sum(30, 100, 100, x); }));
  CHECK(independent_of_threads([&] { return maximum(300, 1000, 1, x).value; }));
  CHECK(independent_of_threads([&] { return Array<double>{sum_of_squares(x)}; }));
}
