#include "kernels/copy.h"
#include "kernels/elementwise.h"
#include "tests/kernel_helpers.h"

using namespace headshare;
using namespace headshare::test;
using kernels::BroadcastSizes;
using kernels::max_rank;
using kernels::StridedSizes;

namespace {

// map<Op> against Op itself in double, for sizes around every vector width and block.
template <class Op, class T>
double error_of_unary(double low, double high, double unit = 1) {
  double worst = 0;
  for (const Size n : {0, 1, 7, 33, 97, 4097, 70001}) {
    Array<T> x(static_cast<std::size_t>(n)), y(x.size());
    Generator generator(5);
    for (T& value : x) value = static_cast<T>(low + (high - low) * generator.uniform());
    Array<double> expected;
    for (const T value : x) expected.push_back(Op{}(static_cast<double>(value)));
    on_device([&](auto device) { kernels::map<Op>(device, n, x.data(), y.data()); });
    worst = std::max(worst, distance(y, expected, unit));
    on_device([&](auto device) { kernels::map<Op>(device, n, x.data(), x.data()); });
    CHECK(same_bits(x, y));  // in place
  }
  return worst;
}

template <class Op, class T>
double error_of_binary() {
  double worst = 0;
  for (const Size n : {0, 1, 7, 33, 97, 4097, 70001}) {
    const Array<T> a = random_vector<T>(n, 1), b = random_vector<T>(n, 2);
    Array<T> y(a.size()), in_a = a, in_b = b;
    Array<double> expected;
    for (std::size_t i = 0; i < a.size(); ++i)
      expected.push_back(Op{}(static_cast<double>(a[i]), static_cast<double>(b[i])));
    on_device([&](auto device) { kernels::map<Op>(device, n, a.data(), b.data(), y.data()); });
    worst = std::max(worst, distance(y, expected));
    on_device([&](auto device) { kernels::map<Op>(device, n, in_a.data(), b.data(), in_a.data()); });
    on_device([&](auto device) { kernels::map<Op>(device, n, a.data(), in_b.data(), in_b.data()); });
    CHECK(same_bits(in_a, y));
    CHECK(same_bits(in_b, y));
  }
  return worst;
}

// Visits every index of a shape in order.
template <class Visit>
void for_each_index(int rank, const std::array<Size, max_rank>& extents, const Visit& visit) {
  Size count = 1;
  for (int d = 0; d < rank; ++d) count *= extents[d];
  for (Size i = 0; i < count; ++i) {
    std::array<Size, max_rank> index{};
    Size rest = i;
    for (int d = rank - 1; d >= 0; --d) {
      index[d] = rest % extents[d];
      rest /= extents[d];
    }
    visit(i, index);
  }
}

Size offset(int rank, const std::array<Size, max_rank>& index, const std::array<Size, max_rank>& strides) {
  Size sum = 0;
  for (int d = 0; d < rank; ++d) sum += index[d] * strides[d];
  return sum;
}

const std::vector<BroadcastSizes> broadcasts = {
    {0, {}, {}, {}},
    {1, {97}, {1}, {0}},                                  // a number on the right
    {1, {97}, {0}, {1}},                                  // and on the left
    {1, {70000}, {1}, {1}},                               // nothing repeated
    {2, {33, 97}, {97, 1}, {0, 1}},                       // a row for all rows
    {2, {33, 97}, {97, 1}, {1, 0}},                       // a column for all columns
    {2, {300, 700}, {700, 1}, {0, 1}},                    // the same, in threads
    {2, {300, 700}, {1, 300}, {700, 1}},                  // a transposed
    {2, {7, 33}, {0, 0}, {0, 0}},                         // both are numbers
    {3, {7, 5, 33}, {165, 33, 1}, {33, 0, 1}},            // repeated in the middle
    {4, {2, 3, 7, 11}, {0, 77, 11, 1}, {231, 0, 0, 21}},  // everything at once
    {3, {2, 1, 9}, {9, 1234, 1}, {0, 0, 1}},              // the stride of an extent of 1 does not matter
    {2, {0, 5}, {5, 1}, {0, 1}},                          // nothing to do
    {8, {2, 1, 2, 3, 1, 2, 2, 3}, {72, 0, 36, 12, 0, 6, 3, 1}, {0, 0, 18, 6, 0, 0, 3, 1}},
};

}  // namespace

TEST_CASE_TEMPLATE("each function of one number agrees with its double precision form", T, float, double) {
  using namespace kernels;
  CHECK(error_of_unary<Negate, T>(-5, 5) == 0);
  CHECK(error_of_unary<Exp, T>(-20, 20) < tolerance<T>);
  CHECK(error_of_unary<Log, T>(0.1, 20) < tolerance<T>);
  CHECK(error_of_unary<Sqrt, T>(0, 20) < tolerance<T>);
  CHECK(error_of_unary<Square, T>(-5, 5) < tolerance<T>);
  CHECK(error_of_unary<Reciprocal, T>(0.1, 20) < tolerance<T>);
  CHECK(error_of_unary<Tanh, T>(-5, 5) < tolerance<T>);
  CHECK(error_of_unary<Sigmoid, T>(-30, 30) < tolerance<T>);
  CHECK(error_of_unary<Relu, T>(-5, 5) == 0);
  CHECK(error_of_unary<Gelu, T>(-8, 8) < tolerance<T> / 4);
  CHECK(error_of_unary<Exp, T>(-80, 0, 1e-38) < tolerance<T>);  // relative to the small results themselves
}

TEST_CASE_TEMPLATE("each function of two numbers agrees with its double precision form", T, float, double) {
  using namespace kernels;
  CHECK(error_of_binary<Add, T>() < tolerance<T>);
  CHECK(error_of_binary<Subtract, T>() < tolerance<T>);
  CHECK(error_of_binary<Multiply, T>() < tolerance<T>);
  CHECK(error_of_binary<Divide, T>() < tolerance<T>);
  CHECK(error_of_binary<ReluBackward, T>() == 0);
  CHECK(error_of_binary<GeluBackward, T>() < tolerance<T>);
  CHECK(error_of_binary<TanhBackward, T>() < tolerance<T>);
  CHECK(error_of_binary<SigmoidBackward, T>() < tolerance<T>);
}

TEST_CASE("the backward functions are the derivatives of the forward ones") {
  using namespace kernels;
  const double h = 1e-6;
  const auto slope = [h](auto op, double x) { return (op(x + h) - op(x - h)) / (2 * h); };
  for (const double x : {-3.0, -0.7, 0.2, 1.9}) {
    CHECK(GeluBackward{}(x, 2.0) == doctest::Approx(2 * slope(Gelu{}, x)).epsilon(1e-7));
    CHECK(TanhBackward{}(std::tanh(x), 2.0) == doctest::Approx(2 * slope(Tanh{}, x)).epsilon(1e-7));
    CHECK(SigmoidBackward{}(Sigmoid{}(x), 2.0) == doctest::Approx(2 * slope(Sigmoid{}, x)).epsilon(1e-7));
    CHECK(ReluBackward{}(Relu{}(x), 2.0) == doctest::Approx(2 * slope(Relu{}, x)).epsilon(1e-7));
  }
}

TEST_CASE_TEMPLATE("functions meet their limits: published values, infinities and NaN", T, float, double) {
  using namespace kernels;
  const auto one = [](auto op, T x) {
    Array<T> in(19, x), out(19);  // a full register and a partial one
    on_device([&](auto device) { kernels::map<decltype(op)>(device, 19, in.data(), out.data()); });
    CHECK(same_bits(out, Array<T>(19, out[0])));
    return out[0];
  };
  CHECK(one(Gelu{}, 1) == doctest::Approx(0.8413447460685429));
  CHECK(one(Gelu{}, -1) == doctest::Approx(-0.15865525393145707));
  CHECK(one(Exp{}, -infinity<T>) == 0);
  CHECK(one(Exp{}, infinity<T>) == infinity<T>);
  CHECK(one(Exp{}, 1000) == infinity<T>);
  CHECK(one(Exp{}, T(88.5)) == doctest::Approx(std::exp(88.5)).epsilon(1e-5));
  CHECK(one(Exp{}, T(-100)) == std::exp(T(-100)));
  CHECK(one(Sigmoid{}, 200) == 1);
  CHECK(one(Sigmoid{}, -200) < 1e-30);
  CHECK(one(Relu{}, -infinity<T>) == 0);
  const T nan = not_a_number<T>;
  for (const T value :
       {one(Negate{}, nan), one(Exp{}, nan), one(Log{}, nan), one(Sqrt{}, nan), one(Square{}, nan),
        one(Reciprocal{}, nan), one(Tanh{}, nan), one(Sigmoid{}, nan), one(Relu{}, nan), one(Gelu{}, nan)})
    CHECK(std::isnan(value));
}

TEST_CASE_TEMPLATE("a broadcast map computes every index of the common shape", T, float, double) {
  for (const BroadcastSizes& sizes : broadcasts) {
    const Array<T> a = random_vector<T>(250000, 1), b = random_vector<T>(250000, 2);
    Size count = 1;
    for (int d = 0; d < sizes.rank; ++d) count *= sizes.extents[d];
    Array<T> y(static_cast<std::size_t>(count), T(-99)), expected(y.size());
    for_each_index(sizes.rank, sizes.extents, [&](Size i, const auto& index) {
      expected[i] = a[offset(sizes.rank, index, sizes.a_strides)] - b[offset(sizes.rank, index, sizes.b_strides)];
    });
    on_device([&](auto device) { kernels::map<kernels::Subtract>(device, sizes, a.data(), b.data(), y.data()); });
    CHECK(same_bits(y, expected));
  }
}

TEST_CASE("a broadcast map reads backwards with a negative stride, and may write over its operand") {
  Array<float> a = random_vector<float>(3 * 37, 1), b = random_vector<float>(37, 2);
  const Array<float> before = a;
  on_device([&](auto device) {
    kernels::map<kernels::Subtract>(device, BroadcastSizes{2, {3, 37}, {37, 1}, {0, -1}}, a.data(), b.data() + 36,
                                    a.data());
  });
  for (Size i = 0; i < 3 * 37; ++i) CHECK(a[i] == before[i] - b[36 - i % 37]);
}

TEST_CASE_TEMPLATE("copy_strided reads any view and scatter_strided writes it back", T, float, double, std::int32_t) {
  // Without repeated elements, so that both directions are defined.
  const std::vector<StridedSizes> views = {
      {0, {}, {}},
      {1, {97}, {1}},
      {1, {97}, {3}},
      {1, {200000}, {1}},
      {2, {33, 97}, {97, 1}},
      {2, {33, 97}, {1, 33}},                  // transposed
      {2, {300, 700}, {1, 300}},               // transposed, in threads
      {2, {300, 500}, {600, 1}},               // a slice of columns
      {3, {7, 33, 5}, {165, 1, 33}},           // the last two exchanged
      {3, {33, 7, 5}, {1, 33, 231}},           // reversed
      {4, {2, 3, 17, 19}, {969, 19, 57, 1}},   // [B, T, H, D] seen as [B, H, T, D]
      {4, {2, 3, 19, 17}, {969, 19, 1, 57}},   // and with the keys transposed
      {4, {17, 2, 3, 19}, {1, 969, 323, 17}},  // the far dimension is the contiguous one
      {8, {2, 1, 2, 3, 1, 2, 2, 3}, {1, 7, 2, 4, 5, 12, 24, 48}},
      {2, {5, 0}, {0, 1}},
  };
  for (const StridedSizes& sizes : views) {
    Array<T> x(250000);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i);
    Size count = 1;
    for (int d = 0; d < sizes.rank; ++d) count *= sizes.extents[d];
    Array<T> y(static_cast<std::size_t>(count), T(-1)), expected(y.size());
    Array<T> written(x.size(), T(-1)), expected_written = written;
    for_each_index(sizes.rank, sizes.extents, [&](Size i, const auto& index) {
      const Size at = offset(sizes.rank, index, sizes.strides);
      expected[i] = x[at];
      expected_written[at] = x[at];
    });
    on_device([&](auto device) { kernels::copy_strided(device, sizes, x.data(), y.data()); });
    CHECK(same_bits(y, expected));
    on_device([&](auto device) { kernels::scatter_strided(device, sizes, y.data(), written.data()); });
    CHECK(same_bits(written, expected_written));  // and nothing beside the view
  }
}

TEST_CASE("copy_strided repeats elements where the stride is 0 and reverses where it is negative") {
  const Array<float> x = {1, 2, 3};
  Array<float> y(6);
  on_device([&](auto device) { kernels::copy_strided(device, {2, {2, 3}, {0, 1}}, x.data(), y.data()); });
  CHECK(y == Array<float>{1, 2, 3, 1, 2, 3});
  on_device([&](auto device) { kernels::copy_strided(device, {2, {3, 2}, {1, 0}}, x.data(), y.data()); });
  CHECK(y == Array<float>{1, 1, 2, 2, 3, 3});
  on_device([&](auto device) { kernels::copy_strided(device, {2, {2, 3}, {0, -1}}, x.data() + 2, y.data()); });
  CHECK(y == Array<float>{3, 2, 1, 3, 2, 1});
}

TEST_CASE("fill, accumulate, affine and gather_rows do what plain loops do") {
  for (const Size n : {0, 1, 7, 33, 97, 70001}) {
    const Array<float> x = random_vector<float>(n, 1);
    Array<float> y(x.size()), expected;
    on_device([&](auto device) { kernels::fill(device, n, 3.0f, y.data()); });
    CHECK(same_bits(y, Array<float>(x.size(), 3.0f)));
    on_device([&](auto device) { kernels::accumulate(device, n, x.data(), y.data()); });
    for (const float value : x) expected.push_back(3.0f + value);
    CHECK(same_bits(y, expected));
    on_device([&](auto device) { kernels::affine(device, n, x.data(), 2.0f, -1.0f, y.data()); });
    for (std::size_t i = 0; i < x.size(); ++i) expected[i] = 2 * x[i] - 1;
    CHECK(distance(y, expected) < 1e-6);
  }
  const Array<std::int32_t> index = {2, 0, 2}, x = {10, 11, 20, 21, 30, 31};
  Array<std::int32_t> y(6);
  on_device([&](auto device) { kernels::gather_rows(device, 3, 4, 2, index.data(), x.data(), y.data()); });
  CHECK(y == Array<std::int32_t>{30, 31, 10, 11, 30, 31});
}

TEST_CASE("convert keeps values, drops fractions and saturates integers") {
  const Array<float> x = {0, -1.9f, 1.9f, 3e9f, -3e9f, infinity<float>, -infinity<float>, not_a_number<float>};
  Array<std::int32_t> integers(8);
  on_device([&](auto device) { kernels::convert(device, 8, x.data(), integers.data()); });
  CHECK(integers == Array<std::int32_t>{0, -1, 1, 2147483647, -2147483647 - 1, 2147483647, -2147483647 - 1, 0});
  Array<double> doubles(8);
  on_device([&](auto device) { kernels::convert(device, 8, integers.data(), doubles.data()); });
  CHECK(doubles[3] == 2147483647.0);
  on_device([&](auto device) { kernels::convert(device, 8, doubles.data(), integers.data()); });
  CHECK(integers[3] == 2147483647);
  on_device([&](auto device) { kernels::convert(device, 8, x.data(), doubles.data()); });
  CHECK(doubles[1] == static_cast<double>(-1.9f));
  Array<float> floats(8);
  on_device([&](auto device) { kernels::convert(device, 8, doubles.data(), floats.data()); });
  CHECK(same_bits(Array<float>(floats.begin(), floats.end() - 1), Array<float>(x.begin(), x.end() - 1)));
  CHECK(std::isnan(floats[7]));
}

TEST_CASE("elementwise results do not depend on the number of threads") {
  const Size n = 100003;
  const Array<float> x = random_vector<float>(n, 1, 30), dy = random_vector<float>(n, 2);
  const auto of_one = [&](auto op) {
    return independent_of_threads([&] {
      Array<float> y(x.size());
      on_device([&](auto device) { kernels::map<decltype(op)>(device, n, x.data(), y.data()); });
      return y;
    });
  };
  CHECK(of_one(kernels::Exp{}));
  CHECK(of_one(kernels::Sigmoid{}));
  CHECK(of_one(kernels::Gelu{}));
  CHECK(of_one(kernels::Tanh{}));
  CHECK(independent_of_threads([&] {
    Array<float> y(x.size());
    on_device([&](auto device) { kernels::map<kernels::GeluBackward>(device, n, x.data(), dy.data(), y.data()); });
    return y;
  }));
  CHECK(independent_of_threads([&] {
    Array<float> y(x.size());
    on_device([&](auto device) { kernels::affine(device, n, x.data(), 0.3f, 0.7f, y.data()); });
    return y;
  }));
}
