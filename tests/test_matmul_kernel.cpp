#include <doctest/doctest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>
#include <vector>

#include "core/random.h"
#include "kernels/elementwise_functions.h"
#include "kernels/gelu.h"
#include "kernels/matmul.h"
#include "tests/matmul_problem.h"
#include "tests/test_device.h"

using namespace headshare;
using namespace headshare::kernels;
using namespace headshare::kernels::matmul_test;
using test::Array;
using test::on_device;

namespace {

// Exactly as much memory as the matrices have elements, so that the address sanitizer sees every read and write
// outside.
template <class T>
Array<T> random_numbers(Size n, Generator& generator) {
  Array<T> numbers(static_cast<std::size_t>(n));
  for (T& x : numbers) x = static_cast<T>(4 * generator.uniform() - 2);
  return numbers;
}

template <class To, class From>
Array<To> converted(const Array<From>& from) {
  return Array<To>(from.begin(), from.end());
}

template <class T>
struct Operands {
  Array<T> a, b, bias;

  Operands(const Case& c, Generator& generator)
      : a(random_numbers<T>(c.a_matrices * c.sizes.m * c.sizes.k, generator)),
        b(random_numbers<T>(c.b_matrices * c.sizes.k * c.sizes.n, generator)),
        bias(random_numbers<T>(c.bias ? c.sizes.n : 0, generator)) {}
  template <class From>
  explicit Operands(const Operands<From>& from)
      : a(converted<T>(from.a)), b(converted<T>(from.b)), bias(converted<T>(from.bias)) {}
};

enum class Which { fast, plain, packed };  // packed: B is packed first; without a batch

template <class T>
Array<T> packed(Size k, Size n, const MatrixView<T>& b) {
  Array<T> result(static_cast<std::size_t>(packed_size<T>(k, n)));
  on_device([&](auto device) { pack_matrix(device, k, n, b, result.data()); });
  return result;
}

template <class T>
Results<T> run(const Case& c, const Operands<T>& operands, Which which) {
  const MatmulSizes& s = c.sizes;
  const auto elements = static_cast<std::size_t>(s.batch * s.m * s.n);
  const T unwritten = std::numeric_limits<T>::quiet_NaN();
  Results<T> results{Array<T>(elements, unwritten), Array<T>(c.keep_before ? elements : 0, unwritten)};
  const auto a = view(operands.a, s.m, s.k, c.a_layout, c.a_matrices);
  const auto b = view(operands.b, s.k, s.n, c.b_layout, c.b_matrices);
  const Epilogue<T> epilogue{c.bias ? operands.bias.data() : nullptr, c.activation,
                             c.keep_before ? results.before.data() : nullptr};
  if (which == Which::fast)
    on_device([&](auto device) { matmul(device, s, a, b, results.c.data(), epilogue); });
  else if (which == Which::plain)
    matmul_plain(Cpu{}, s, a, b, results.c.data(), epilogue);
  else
    on_device([&](auto device) {
      matmul_packed(device, s.m, s.n, s.k, a, packed(s.k, s.n, b).data(), results.c.data(), epilogue);
    });
  return results;
}

// The largest difference; infinity where exactly one of the two is NaN.
template <class T>
double distance(const Array<T>& x, const Array<double>& y) {
  REQUIRE(x.size() == y.size());
  double largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double difference = std::abs(static_cast<double>(x[i]) - y[i]);
    largest = std::max(largest, std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference);
  }
  return largest;
}

// The truth is the plain product in float64. A float32 result may be off by twice what the plain float32 product is off
// (or by a few roundings, where that one is exact by luck), a float64 result by roundings.
void check_case(const Case& c, Generator& generator) {
  CAPTURE(c);
  const Operands<float> operands(c, generator);
  const Operands<double> operands_double(operands);
  const Results<double> truth = run(c, operands_double, Which::plain);
  const Results<float> plain = run(c, operands, Which::plain);
  const double rounding = 4 * std::sqrt(static_cast<double>(c.sizes.k) + 1) * std::numeric_limits<float>::epsilon();
  const double rounding_double = 1e-13 * (1 + std::sqrt(static_cast<double>(c.sizes.k)));
  for (const Which which : {Which::fast, Which::packed}) {
    if (which == Which::packed && c.sizes.batch != 1) continue;
    const Results<float> result = run(c, operands, which);
    CHECK(distance(result.c, truth.c) <= 2 * distance(plain.c, truth.c) + rounding);
    CHECK(distance(result.before, truth.before) <= 2 * distance(plain.before, truth.before) + rounding);
    const Results<double> result_double = run(c, operands_double, which);
    CHECK(distance(result_double.c, truth.c) <= rounding_double);
    CHECK(distance(result_double.before, truth.before) <= rounding_double);
  }
}

const std::vector<Size> odd_sizes = {1, 2, 5, 7, 8, 9, 12, 13, 24, 25, 32, 33, 65, 97};

}  // namespace

TEST_CASE("the plain product has the values computed by hand") {
  // [1 2 3]   [1 4]   [14 32]
  // [4 5 6] * [2 5] = [32 77], plus the bias (-20, 1)
  //           [3 6]
  const Array<double> a = {1, 2, 3, 4, 5, 6}, b = {1, 4, 2, 5, 3, 6}, bias = {-20, 1};
  for (const Which which : {Which::plain, Which::fast}) {
    Array<double> c(4), before(4);
    const Epilogue<double> epilogue{bias.data(), Activation::relu, before.data()};
    const MatmulSizes sizes{1, 2, 2, 3};
    const auto multiply = [&](const MatrixView<double>& right, const Epilogue<double>& then) {
      const MatrixView<double> left{a.data(), 3, 1};
      if (which == Which::plain)
        matmul_plain(Cpu{}, sizes, left, right, c.data(), then);
      else
        on_device([&](auto device) { matmul(device, sizes, left, right, c.data(), then); });
    };
    multiply({b.data(), 2, 1}, epilogue);
    CHECK(before == Array<double>{-6, 33, 12, 78});
    CHECK(c == Array<double>{0, 33, 12, 78});
    multiply({a.data(), 1, 3}, {});  // A times its own transpose
    CHECK(c == Array<double>{14, 32, 32, 77});
  }
}

TEST_CASE("the product agrees with three plain loops for odd sizes and all transposed forms") {
  Generator generator(1);
  for (const Size m : odd_sizes)
    for (const Size n : odd_sizes)
      for (const Size k : {1, 7, 33, 97})
        for (const Layout a_layout : {Layout::rows, Layout::columns})
          for (const Layout b_layout : {Layout::rows, Layout::columns}) {
            if ((m + n + k) % 3 != 0) continue;  // a third of all combinations is enough
            check_case({{1, m, n, k}, a_layout, b_layout}, generator);
          }
}

TEST_CASE("the product agrees with three plain loops where rows, columns and k are cut into blocks") {
  Generator generator(2);
  std::vector<std::tuple<Size, Size, Size>> sizes = {{1, 65, 400},   {3, 33, 1025}, {8, 97, 257},  {9, 70, 255},
                                                     {12, 300, 512}, {13, 97, 256}, {97, 33, 400}, {143, 32, 40},
                                                     {144, 65, 33},  {145, 97, 300}};
  // The largest, made for the blocks of the CPU.
  if (!test::on_simulated_device()) sizes.insert(sizes.end(), {{301, 257, 65}, {290, 530, 513}});
  for (const auto& [m, n, k] : sizes)
    for (const Layout a_layout : {Layout::rows, Layout::columns})
      for (const Layout b_layout : {Layout::rows, Layout::columns})
        check_case({{1, m, n, k}, a_layout, b_layout, 1, 1, true, Activation::relu, true}, generator);
  if (!test::on_simulated_device())
    check_case({{1, 150, 600, 1100}, Layout::rows, Layout::columns}, generator);  // B packed in several parts
}

TEST_CASE("the product agrees with three plain loops where lines of A lie a multiple of 2 or 4 KiB apart") {
  if (test::on_simulated_device()) return;  // made for the caches of the CPU
  Generator generator(8);
  for (const auto& [m, n, k] : {std::tuple<Size, Size, Size>{3, 40, 1024}, {20, 40, 2048}, {300, 33, 1024}})
    check_case({{1, m, n, k}, Layout::rows, Layout::rows, 1, 1, true, Activation::relu, true}, generator);
  for (const auto& [m, n, k] : {std::tuple<Size, Size, Size>{512, 33, 70}, {512, 65, 1100}, {1024, 40, 33}})
    check_case({{1, m, n, k}, Layout::columns, Layout::rows, 1, 1, true, Activation::relu, true}, generator);
}

TEST_CASE("bias, activation and kept values agree with the plain product in every combination") {
  Generator generator(3);
  for (const bool bias : {false, true})
    for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu})
      for (const bool keep_before : {false, true})
        for (const auto& [m, n, k] :
             {std::tuple<Size, Size, Size>{1, 33, 7}, {7, 97, 33}, {33, 65, 300}, {150, 40, 300}})
          for (const Layout b_layout : {Layout::rows, Layout::columns})
            check_case({{2, m, n, k}, Layout::rows, b_layout, 2, 1, bias, activation, keep_before}, generator);
}

TEST_CASE("every matrix of a batch is multiplied with its own partner or with the shared one") {
  Generator generator(4);
  for (const Size batch : {1, 2, 3, 7, 33})
    for (const bool a_shared : {false, true})
      for (const bool b_shared : {false, true})
        for (const auto& [m, n, k] : {std::tuple<Size, Size, Size>{1, 33, 97}, {13, 7, 33}, {33, 97, 32}, {150, 33, 7}})
          for (const Layout layout : {Layout::rows, Layout::columns})
            check_case({{batch, m, n, k}, layout, layout, a_shared ? 1 : batch, b_shared ? 1 : batch, true}, generator);
}

TEST_CASE("a product without k is the activated bias, and one without rows, columns or batch writes nothing") {
  for (const Size m : {1, 5, 33, 200}) {
    const MatmulSizes sizes{2, m, 3, 0};
    const Array<float> bias = {-1, 0, 2};
    Array<float> c(static_cast<std::size_t>(sizes.batch * m * 3), -7.0f);
    for (const Layout b_layout : {Layout::rows, Layout::columns}) {
      const Array<float> none;
      on_device([&](auto device) {
        matmul<float>(device, sizes, view(none, m, 0, Layout::rows, 1), view(none, 0, 3, b_layout, 1), c.data(),
                      {bias.data(), Activation::relu, nullptr});
      });
      for (std::size_t i = 0; i < c.size(); ++i) CHECK(c[i] == std::max(0.0f, bias[i % 3]));
      on_device([&](auto device) {
        matmul<float>(device, sizes, view(none, m, 0, Layout::rows, 1), view(none, 0, 3, b_layout, 1), c.data(), {});
      });
      CHECK(std::all_of(c.begin(), c.end(), [](float x) { return x == 0.0f; }));
    }
  }
  const Array<float> ones(64, 1.0f);
  for (const MatmulSizes& sizes : {MatmulSizes{0, 2, 2, 2}, MatmulSizes{1, 0, 2, 2}, MatmulSizes{1, 2, 0, 2}})
    on_device([&](auto device) {
      matmul<float>(device, sizes, {ones.data(), 2, 1}, {ones.data(), 2, 1}, nullptr, {});
    });
}

TEST_CASE("the result has the same bits for one, two and three threads, and inside a parallel region") {
  Generator generator(5);
  const int threads_before = omp_get_max_threads();
  const std::vector<Case> cases = {{{1, 1, 1000, 257}, Layout::rows, Layout::rows},
                                   {{1, 1, 1000, 257}, Layout::rows, Layout::columns},
                                   {{1, 4, 1000, 300}, Layout::columns, Layout::columns},
                                   {{1, 12, 1000, 300}, Layout::rows, Layout::rows},
                                   {{1, 47, 500, 300}, Layout::rows, Layout::columns},
                                   {{1, 400, 97, 300}, Layout::columns, Layout::rows},
                                   {{1, 500, 300, 257}, Layout::rows, Layout::rows, 1, 1, true, Activation::gelu, true},
                                   {{64, 32, 33, 32}, Layout::rows, Layout::columns, 64, 64},
                                   {{3, 150, 97, 65}, Layout::rows, Layout::rows, 3, 3}};
  for (const Case& c : cases) {
    CAPTURE(c);
    const Operands<float> operands(c, generator);
    omp_set_num_threads(1);
    const Results<float> one = run(c, operands, Which::fast);
    for (const int threads : {2, 3}) {
      omp_set_num_threads(threads);
      const Results<float> more = run(c, operands, Which::fast);
      CHECK(std::memcmp(one.c.data(), more.c.data(), one.c.size() * sizeof(float)) == 0);
    }
    std::vector<Results<float>> inside(2);
    omp_set_num_threads(2);
#pragma omp parallel for
    for (int i = 0; i < 2; ++i) inside[static_cast<std::size_t>(i)] = run(c, operands, Which::fast);
    for (const Results<float>& result : inside)
      CHECK(std::memcmp(one.c.data(), result.c.data(), one.c.size() * sizeof(float)) == 0);
  }
  omp_set_num_threads(threads_before);
}

TEST_CASE("NaN and infinity in A reach exactly their row of C, through every activation") {
  Generator generator(6);
  for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu})
    for (const Size m : {1, 7, 33, 150})
      for (const Layout b_layout : {Layout::rows, Layout::columns})
        for (const Which which : {Which::fast, Which::packed}) {
          CAPTURE(m);
          const Case c{{1, m, 47, 300}, Layout::rows, b_layout, 1, 1, false, activation, true};
          Operands<float> operands(c, generator);
          const Size row = m / 2;
          const auto only_in_row = [&](const Array<float>& matrix, const auto& is_it) {
            bool right = true;
            for (std::size_t i = 0; i < matrix.size(); ++i)
              right = right && is_it(matrix[i]) == (static_cast<Size>(i) / 47 == row);
            return right;
          };
          operands.a[static_cast<std::size_t>(row * 300 + 299)] = std::numeric_limits<float>::quiet_NaN();
          const Results<float> with_nan = run(c, operands, which);
          for (const Array<float>* matrix : {&with_nan.c, &with_nan.before})
            CHECK(only_in_row(*matrix, [](float x) { return std::isnan(x); }));

          operands.a[static_cast<std::size_t>(row * 300 + 299)] = std::numeric_limits<float>::infinity();
          for (float& x : operands.b) x = std::abs(x) + 0.5f;
          const Results<float> with_infinity = run(c, operands, which);
          for (const Array<float>* matrix : {&with_infinity.c, &with_infinity.before})
            CHECK(only_in_row(*matrix, [](float x) { return std::isinf(x); }));
        }
}

TEST_CASE("matrices with more memory between their rows than they need are read in place") {
  Generator generator(7);
  const Array<double> data = random_numbers<double>(40 * 50, generator);
  for (const Size m : {3, 30}) {
    Array<double> fast(static_cast<std::size_t>(m * 20)), plain(fast.size());
    const MatrixView<double> a{data.data() + 3, 50, 1}, b{data.data() + 7, 50, 1}, b_transposed{data.data() + 5, 1, 50};
    for (const auto& right : {b, b_transposed}) {
      on_device([&](auto device) { matmul<double>(device, {1, m, 20, 37}, a, right, fast.data(), {}); });
      matmul_plain<double>(Cpu{}, {1, m, 20, 37}, a, right, plain.data(), {});
      CHECK(distance(fast, plain) < 1e-12);
    }
  }
}

TEST_CASE("GELU in vectors stays within 2e-7 of max(1, |x|) of the exact one") {
  const float infinity = std::numeric_limits<float>::infinity();
  for (float x = -20; x < 20; x += 0.001f) {
    const float y = gelu(Vector<float>{} + x)[0];
    const double exact = Gelu{}(static_cast<double>(x));
    if (!(std::abs(static_cast<double>(y) - exact) <= 2e-7 * std::max(1.0, std::abs(exact)))) {
      CAPTURE(x);
      CHECK(static_cast<double>(y) == doctest::Approx(exact).epsilon(2e-7));
    }
  }
  CHECK(gelu(Vector<float>{} - 1e30f)[0] == 0.0f);
  CHECK(gelu(Vector<float>{} + 1e30f)[0] == 1e30f);
  CHECK(gelu(Vector<float>{} + infinity)[0] == infinity);
  CHECK(std::isnan(gelu(Vector<float>{} + std::numeric_limits<float>::quiet_NaN())[0]));
}
