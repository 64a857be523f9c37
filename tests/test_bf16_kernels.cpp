#include "kernels/copy.h"
#include "kernels/dropout.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/reduce.h"
#include "tests/placed_array.h"

// The kernels that move memory, in bfloat16 and wherever their arrays begin; test_bf16_row_kernels.cpp has those that
// normalize rows.

using namespace headshare;
using namespace headshare::test;

namespace {

struct Offsets {
  Size a, b, y;
};
const std::vector<Offsets> places = {{0, 0, 0}, {3, 3, 3}, {1, 0, 2}, {0, 1, 0}};
const std::vector<Size> sizes = {0, 1, 5, 8, 33, 2100};

template <class Op, class T>
void check_unary() {
  for (const Size n : sizes) {
    for (const auto [a, b, y] : places) {
      const Placed<T> x(random_vector<T>(n, 1, 3), a);
      Placed<T> to(n, y), in_place = x;
      Array<double> expected;
      for (Size i = 0; i < n; ++i) expected.push_back(Op{}(value(x.data()[i])));
      on_cuda([&](Cuda device) {
        kernels::map<Op>(device, n, x.data(), to.data());
        kernels::map<Op>(device, n, in_place.data(), in_place.data());
      });
      CHECK(rounded_once(to.data(), expected));
      CHECK(rounded_once(in_place.data(), expected));
      CHECK(to.kept_its_neighbours());
      CHECK(in_place.kept_its_neighbours());
    }
  }
}

template <class Op, class T>
void check_binary() {
  for (const Size n : sizes) {
    for (const auto [a, b, y] : places) {
      const Placed<T> left(random_vector<T>(n, 1, 3), a), right(random_vector<T>(n, 2), b);
      Placed<T> to(n, y), in_left = left;
      Array<double> expected;
      for (Size i = 0; i < n; ++i) expected.push_back(Op{}(value(left.data()[i]), value(right.data()[i])));
      on_cuda([&](Cuda device) {
        kernels::map<Op>(device, n, left.data(), right.data(), to.data());
        kernels::map<Op>(device, n, in_left.data(), right.data(), in_left.data());
      });
      CHECK(rounded_once(to.data(), expected));
      CHECK(rounded_once(in_left.data(), expected));
      CHECK(to.kept_its_neighbours());
    }
  }
}

}  // namespace

// ---- Elementwise ----------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("functions of one and two numbers are rounded once, wherever the arrays begin", T, BFloat16, float,
                   double) {
  if (without_cuda()) return;
  check_unary<kernels::Relu, T>();
  check_unary<kernels::Gelu, T>();
  check_binary<kernels::Add, T>();
  check_binary<kernels::Subtract, T>();
  check_binary<kernels::Multiply, T>();
  check_binary<kernels::ReluBackward, T>();
  check_binary<kernels::GeluBackward, T>();
}

TEST_CASE("Gelu of bfloat16 far from 0, and of NaN") {
  if (without_cuda()) return;
  Array<BFloat16> x, y(200), dy(200, BFloat16(1.0f)), dx(200);
  for (int i = 0; i < 200; ++i) x.push_back(BFloat16(static_cast<float>(i - 100) / 4));
  on_cuda([&](Cuda device) {
    kernels::map<kernels::Gelu>(device, 200, x.data(), y.data());
    kernels::map<kernels::GeluBackward>(device, 200, x.data(), dy.data(), dx.data());
  });
  for (std::size_t i = 0; i < x.size(); ++i) {
    CHECK(std::abs(value(y[i]) - kernels::Gelu{}(value(x[i]))) <= std::abs(value(y[i])) / 256 + 1e-6);
    CHECK(std::abs(value(dx[i]) - kernels::GeluBackward{}(value(x[i]), 1.0)) <= std::abs(value(dx[i])) / 256 + 1e-6);
  }
  x[3] = BFloat16(not_a_number<float>);
  on_cuda([&](Cuda device) { kernels::map<kernels::Gelu>(device, 200, x.data(), y.data()); });
  CHECK(std::isnan(value(y[3])));
}

TEST_CASE("a broadcast map of bfloat16 numbers computes every index of the common shape") {
  if (without_cuda()) return;
  const Array<BFloat16> a = random_vector<BFloat16>(33 * 97, 1), b = random_vector<BFloat16>(97, 2);
  Array<BFloat16> y(a.size());
  on_cuda([&](Cuda device) {
    kernels::map<kernels::Multiply>(device, kernels::BroadcastSizes{2, {33, 97}, {97, 1}, {0, 1}}, a.data(), b.data(),
                                    y.data());
  });
  Array<double> expected;
  for (std::size_t i = 0; i < a.size(); ++i) expected.push_back(value(a[i]) * value(b[i % 97]));
  CHECK(rounded_once(y.data(), expected, 0));
}

TEST_CASE_TEMPLATE("affine, accumulate and fill are right wherever the arrays begin", T, BFloat16, float, double) {
  if (without_cuda()) return;
  for (const Size n : sizes) {
    for (const auto [a, b, y] : places) {
      const Placed<T> x(random_vector<T>(n, 1), a);
      Placed<T> to(n, y), sums(random_vector<T>(n, 2), b), filled(n, y);
      Array<double> scaled, added;
      for (Size i = 0; i < n; ++i) {
        scaled.push_back(value(x.data()[i]) * 0.375 + 100);
        added.push_back(value(x.data()[i]) + value(sums.data()[i]));
      }
      on_cuda([&](Cuda device) {
        kernels::affine<T>(device, n, x.data(), 0.375f, 100, to.data());
        kernels::accumulate(device, n, x.data(), sums.data());
        kernels::fill(device, n, T(3.0f), filled.data());
      });
      CHECK(rounded_once(to.data(), scaled));
      CHECK(rounded_once(sums.data(), added));
      CHECK(rounded_once(filled.data(), Array<double>(static_cast<std::size_t>(n), 3.0), 0));
      CHECK(to.kept_its_neighbours());
      CHECK(sums.kept_its_neighbours());
      CHECK(filled.kept_its_neighbours());
    }
  }
}

TEST_CASE("numbers become bfloat16 and come back wherever the arrays begin") {
  if (without_cuda()) return;
  for (const Size n : sizes) {
    for (const auto [a, b, y] : places) {
      const Placed<float> x(random_vector<float>(n, 1), a);
      Placed<BFloat16> narrow(n, y);
      Placed<double> back(n, b);
      on_cuda([&](Cuda device) {
        kernels::convert(device, n, x.data(), narrow.data());
        kernels::convert(device, n, narrow.data(), back.data());
      });
      Array<double> rounded;
      for (Size i = 0; i < n; ++i) rounded.push_back(value(BFloat16(x.data()[i])));
      CHECK(rounded_once(narrow.data(), rounded, 0));
      CHECK(rounded_once(back.data(), rounded, 0));
      CHECK(narrow.kept_its_neighbours());
      CHECK(back.kept_its_neighbours());
    }
  }
}

TEST_CASE("dropout of bfloat16 numbers keeps the same ones as of float32, wherever the arrays begin") {
  if (without_cuda()) return;
  const kernels::DropoutMask mask{0.3, 0x123456789ABCDEF0u, 0xFEDCBA9876543210u};
  for (const Size n : {0, 1, 8, 9, 255, 256, 511, 2100}) {
    for (const auto [a, b, y] : places) {
      const Placed<BFloat16> x(random_vector<BFloat16>(n, 1), a);
      Placed<BFloat16> to(n, y), in_place = x;
      const Array<float> wide = widened(Array<BFloat16>(x.data(), x.data() + n));
      Array<float> expected(wide.size());
      kernels::dropout(kernels::Cpu{}, n, mask, wide.data(), expected.data());
      Placed<float> from_float(wide, b), to_float(n, y);
      on_cuda([&](Cuda device) {
        kernels::dropout(device, n, mask, x.data(), to.data());
        kernels::dropout(device, n, mask, in_place.data(), in_place.data());
        kernels::dropout(device, n, mask, from_float.data(), to_float.data());
      });
      CHECK(rounded_once(to.data(), Array<double>(expected.begin(), expected.end()), 0));
      CHECK(rounded_once(in_place.data(), Array<double>(expected.begin(), expected.end()), 0));
      CHECK(same_bits(Array<float>(to_float.data(), to_float.data() + n), expected));
      CHECK(to.kept_its_neighbours());
      CHECK(to_float.kept_its_neighbours());
    }
  }
}

// ---- Embedding ------------------------------------------------------------------------------------------------------

TEST_CASE("embedding rounds rows of a float32 table, and its backward sums in float32") {
  if (without_cuda()) return;
  const Size count = 4 * 9, length = 9;
  const Array<std::int32_t> tokens = random_indices(count, 50, 1), first = {4};
  for (const Size width : {1, 7, 8, 33, 260}) {
    for (const Size offset : {0, 1, 4}) {
      const Placed<float> table(random_vector<float>(50 * width, 2), offset),
          positions(random_vector<float>((4 + length) * width, 3), offset);
      Placed<BFloat16> y(count * width, offset), without(count * width, 0);
      const Array<BFloat16> dy = random_vector<BFloat16>(count * width, 4);
      Array<float> d_table(static_cast<std::size_t>(53 * width), -99);
      on_cuda([&](Cuda device) {
        kernels::embedding(device, count, width, 50, tokens.data(), table.data(), 3, positions.data(), length,
                           first.data(), y.data());
        kernels::embedding(device, count, width, 50, tokens.data(), table.data(), 3, nullptr, length, nullptr,
                           without.data());
        kernels::embedding_backward(device, count, width, 53, tokens.data(), 3, dy.data(), d_table.data());
      });
      Array<double> expected, scaled, sums(d_table.size());
      for (Size i = 0; i < count * width; ++i) {
        const Size row = tokens[i / width], column = i % width;
        scaled.push_back(3 * value(table.data()[row * width + column]));
        expected.push_back(scaled.back() + value(positions.data()[(4 + i / width % length) * width + column]));
        sums[row * width + column] += 3 * value(dy[i]);
      }
      CHECK(rounded_once(y.data(), expected));
      CHECK(rounded_once(without.data(), scaled));
      CHECK(distance(d_table, sums) < tolerance<float>);
      CHECK(y.kept_its_neighbours());
    }
  }
}

// ---- Sums -----------------------------------------------------------------------------------------------------------

TEST_CASE("sums of bfloat16 numbers are float32, and argmax finds the first of the largest") {
  if (without_cuda()) return;
  struct Case {
    Size outer, n, inner;
  };
  for (const auto [outer, n, inner] : std::vector<Case>{
           {0, 3, 8}, {2, 0, 8}, {1, 300, 8}, {2, 33, 97}, {1, 257, 4}, {3, 9, 260}, {7, 33, 1}, {1, 17000, 1}}) {
    for (const Size offset : {0, 1}) {
      const Placed<BFloat16> x(random_vector<BFloat16>(outer * n * inner, 1), offset);
      Placed<float> y(outer * inner, 0);
      on_cuda([&](Cuda device) { kernels::sum(device, outer, n, inner, x.data(), y.data()); });
      Array<double> expected(static_cast<std::size_t>(outer * inner));
      for (Size i = 0; i < outer * n * inner; ++i) expected[i / (n * inner) * inner + i % inner] += value(x.data()[i]);
      CHECK(distance(Array<float>(y.data(), y.data() + outer * inner), expected, std::sqrt(static_cast<double>(n))) <
            tolerance<float>);
      CHECK(y.kept_its_neighbours());
    }
  }
  for (const Size n : {1, 7, 97, 1000, 2003}) {
    Array<BFloat16> x = random_vector<BFloat16>(5 * n, 2);
    for (BFloat16& number : x) number = BFloat16(std::round(2 * static_cast<float>(number)));  // many are equal
    x[static_cast<std::size_t>(3 * n + n / 2)] = BFloat16(not_a_number<float>);
    Array<std::int32_t> index(5), expected(5);
    const Array<float> wide = widened(x);
    on_cuda([&](Cuda device) { kernels::argmax(device, 5, n, x.data(), index.data()); });
    kernels::argmax(kernels::Cpu{}, 5, n, wide.data(), expected.data());
    CHECK(index == expected);
  }
}
