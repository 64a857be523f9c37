#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "core/error.h"
#include "kernels/matmul_ladder.h"
#include "tests/kernel_helpers.h"
#include "tests/matmul_problem.h"
#include "tests/test_tools.h"

// The ladder's last rung against plain loops in float64.

using namespace headshare;
using namespace headshare::kernels;
using namespace headshare::kernels::matmul_test;
using namespace headshare::test;

namespace {

// Tests that need Hopper: the simulated device is one, other GPUs have a test of their own.
bool on_hopper() { return test_device() == Device::cuda && compute_capability() == 90; }

template <class Out>
using Multiply = std::function<void(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&, const MatrixView<BFloat16>&,
                                    Out*, const Epilogue<Out>&)>;
template <class Out>
std::vector<std::tuple<std::string, Multiply<Out>>> rungs() {
  return {{"128 columns", matmul_hopper_tiled<128, Out>}, {"256 columns", matmul_hopper_tiled<256, Out>}};
}

const std::vector<std::tuple<Layout, Layout>> all_layouts = {{Layout::rows, Layout::rows},
                                                             {Layout::rows, Layout::columns},
                                                             {Layout::columns, Layout::rows},
                                                             {Layout::columns, Layout::columns}};

double exact(float x) { return static_cast<double>(x); }
double exact(BFloat16 x) { return static_cast<double>(static_cast<float>(x)); }

template <class T>
Array<double> in_double(const Array<T>& from) {
  Array<double> to(from.size());
  std::transform(from.begin(), from.end(), to.begin(), [](T x) { return exact(x); });
  return to;
}

// A batch of matrices of which every line begins on whole 16 bytes. Between the end of a line and the next there is
// NaN: who reads it will show it.
struct Factor {
  Size rows, columns, matrices;
  Layout layout;
  Array<BFloat16> data;

  Factor(Size rows_, Size columns_, Size matrices_, Layout layout_, std::uint64_t seed)
      : rows(rows_), columns(columns_), matrices(matrices_), layout(layout_) {
    data.assign(static_cast<std::size_t>(matrices * lines() * stride()), BFloat16(not_a_number<float>));
    const Array<float> numbers = random_vector<float>(matrices * lines() * length(), seed);
    for (Size i = 0; i < matrices * lines(); ++i)
      for (Size j = 0; j < length(); ++j)
        data[static_cast<std::size_t>(i * stride() + j)] =
            BFloat16(numbers[static_cast<std::size_t>(i * length() + j)]);
  }
  Size lines() const { return layout == Layout::rows ? rows : columns; }
  Size length() const { return layout == Layout::rows ? columns : rows; }
  Size stride() const { return (length() + 7) / 8 * 8; }

  template <class T>
  MatrixView<T> view(const T* numbers) const {
    const Size matrix = matrices == 1 ? 0 : lines() * stride();
    if (layout == Layout::rows) return {numbers, stride(), 1, matrix};
    return {numbers, 1, stride(), matrix};
  }
};

template <class T>
struct Results {
  Array<T> c, before;
};

template <class Out>
struct Problem {
  Case c;
  Factor a, b;
  Array<float> bias;
  Problem(const Case& c_, std::uint64_t seed)
      : c(c_),
        a(c.sizes.m, c.sizes.k, c.a_matrices, c.a_layout, seed),
        b(c.sizes.k, c.sizes.n, c.b_matrices, c.b_layout, seed + 1),
        bias(random_vector<float>(c.bias ? c.sizes.n : 0, seed + 2)) {}

  template <class T>
  Results<T> room() const {
    const auto elements = static_cast<std::size_t>(c.sizes.batch * c.sizes.m * c.sizes.n);
    return {Array<T>(elements, T(not_a_number<float>)), Array<T>(c.keep_before ? elements : 0, T(not_a_number<float>))};
  }
  Results<Out> run(const Multiply<Out>& multiply) const {
    Results<Out> results = room<Out>();
    multiply(cuda(), c.sizes, a.view(a.data.data()), b.view(b.data.data()), results.c.data(),
             {c.bias ? bias.data() : nullptr, c.activation, c.keep_before ? results.before.data() : nullptr});
    synchronize(cuda());
    return results;
  }
  Results<double> truth() const {
    const Array<double> a_double = in_double(a.data), b_double = in_double(b.data), bias_double = in_double(bias);
    Results<double> results = room<double>();
    matmul_plain<double>(
        Cpu{}, c.sizes, a.view(a_double.data()), b.view(b_double.data()), results.c.data(),
        {c.bias ? bias_double.data() : nullptr, c.activation, c.keep_before ? results.before.data() : nullptr});
    return results;
  }
};

// Of a sum of K products of normal numbers, whose size is sqrt(K): as for the other tensor core rungs; a bfloat16
// result is rounded to 2^-8 of itself.
template <class Out>
double allowed(const Case& c) {
  const double k = static_cast<double>(c.sizes.k), sums = 0x1p-23 * (8 + std::sqrt(k) * k / 8);
  return sizeof(Out) == 2 ? sums + 0x1p-8 : sums;
}

template <class Out>
void check(const Case& c, std::uint64_t seed) {
  CAPTURE(c.sizes.batch);
  CAPTURE(c.sizes.m);
  CAPTURE(c.sizes.n);
  CAPTURE(c.sizes.k);
  CAPTURE(static_cast<int>(c.a_layout));
  CAPTURE(static_cast<int>(c.b_layout));
  CAPTURE(c.bias);
  CAPTURE(static_cast<int>(c.activation));
  CAPTURE(sizeof(Out));
  const Problem<Out> problem(c, seed);
  const Results<double> expected = problem.truth();
  for (const auto& [name, multiply] : rungs<Out>()) {
    CAPTURE(name);
    const Results<Out> results = problem.run(multiply);
    CHECK(distance(in_double(results.c), expected.c) <= allowed<Out>(c));
    CHECK(distance(in_double(results.before), expected.before) <= allowed<Out>(c));
  }
}

}  // namespace

TEST_SUITE_BEGIN("Hopper's rung of the matrix product" * doctest::skip(!on_hopper()));

TEST_CASE("one tile agrees with plain loops in all transposed forms, full and cut at every edge") {
  const std::vector<std::tuple<Size, Size, Size>> sizes = {{1, 1, 1}, {33, 97, 130}, {128, 128, 64}, {7, 130, 16}};
  for (const auto& [m, n, k] : sizes)
    for (const auto& [a_layout, b_layout] : all_layouts) {
      check<float>({{1, m, n, k}, a_layout, b_layout}, 1);
      check<BFloat16>({{1, m, n, k}, a_layout, b_layout}, 2);
    }
}

TEST_CASE("tiles in every direction, and a ring that goes around several times, agree with plain loops") {
  for (const auto& [a_layout, b_layout] : all_layouts) {
    check<float>({{1, 260, 520, 72}, a_layout, b_layout, 1, 1, true, Activation::relu, true}, 3);
    check<BFloat16>({{1, 129, 260, 1000}, a_layout, b_layout, 1, 1, true, Activation::gelu, true}, 4);
  }
  check<float>({{1, 17 * 128 + 1, 300, 8}}, 5);  // more tiles down than a band has
}

TEST_CASE("each matrix of a batch is multiplied with its own partner or with the shared one") {
  for (const auto& [a_layout, b_layout] : all_layouts)
    for (const auto& [a_matrices, b_matrices] : {std::tuple<Size, Size>{5, 5}, {5, 1}, {1, 5}})
      check<BFloat16>({{5, 9, 17, 70}, a_layout, b_layout, a_matrices, b_matrices, true}, 6);
}

TEST_CASE("sums over a K that is cut into parts agree with plain loops, and have the same bits twice") {
  for (const auto& [m, n, k] : {std::tuple<Size, Size, Size>{33, 65, 1100}, {130, 8, 1541}}) {
    const Case c{{2, m, n, k}, Layout::columns, Layout::rows, 2, 2, true, Activation::gelu, true};
    check<float>(c, 7);
    check<BFloat16>(c, 8);
    const Problem<float> problem(c, 9);
    CHECK(same_bits(problem.run(matmul_hopper<float>).c, problem.run(matmul_hopper<float>).c));
  }
}

TEST_CASE("bias, activation and kept values in every combination") {
  for (const bool bias : {false, true})
    for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu})
      for (const bool keep_before : {false, true})
        for (const Size n : {40, 33}) {
          const Case c{{1, 70, n, 24}, Layout::rows, Layout::rows, 1, 1, bias, activation, keep_before};
          check<float>(c, 10);
          check<BFloat16>(c, 11);
        }
}

TEST_CASE("a product without k is the activated bias, and one without elements writes nothing") {
  check<float>({{2, 7, 33, 0}, {}, {}, 1, 1, true, Activation::relu, true}, 12);
  check<BFloat16>({{2, 7, 33, 0}}, 13);
  for (const MatmulSizes& sizes : {MatmulSizes{0, 2, 2, 300}, MatmulSizes{1, 0, 2, 300}, MatmulSizes{1, 2, 0, 300}})
    check<float>({sizes, {}, {}, 1, 1, true, Activation::gelu, true}, 14);
}

TEST_CASE("NaN in A reaches exactly its row of C") {
  Problem<float> problem({{1, 40, 33, 200}, Layout::rows, Layout::columns}, 15);
  problem.a.data[20 * 200 + 199] = BFloat16(not_a_number<float>);
  for (const auto& [name, multiply] : rungs<float>()) {
    CAPTURE(name);
    const Array<float> result = problem.run(multiply).c;
    for (std::size_t i = 0; i < result.size(); ++i) REQUIRE(std::isnan(result[i]) == (i / 33 == 20));
  }
}

TEST_CASE("whole numbers are multiplied and added without an error") {
  Problem<float> problem({{1, 130, 140, 264}, Layout::columns, Layout::rows}, 16);
  for (Array<BFloat16>* const numbers : {&problem.a.data, &problem.b.data})
    for (BFloat16& x : *numbers) x = BFloat16(std::clamp(std::round(4 * static_cast<float>(x)), -8.0f, 8.0f));
  const Array<double> expected = problem.truth().c;
  for (const auto& [name, multiply] : rungs<float>()) CHECK(distance(problem.run(multiply).c, expected) == 0);
}

TEST_CASE("the choice between the tiles gives the same sums") {
  for (const Size batch : {1, 264}) {  // so many tiles that the large ones are faster
    const Problem<float> problem({{batch, 3, 200, 8}, Layout::rows, Layout::rows, batch, 1}, 17);
    CHECK(distance(problem.run(matmul_hopper<float>).c, problem.truth().c) <= allowed<float>(problem.c));
  }
}

TEST_CASE("factors that do not begin on whole 16 bytes are refused") {
  const Array<BFloat16> numbers(64);
  Array<float> c(64);
  const MatrixView<BFloat16> good{numbers.data(), 8, 1}, bad_line{numbers.data(), 7, 1},
      bad_start{numbers.data() + 1, 8, 1};
  for (const auto& bad : {bad_line, bad_start}) {
    const std::string words = "matmul_hopper: lines of a factor do not begin on whole 16 bytes; use matmul_tensor_core";
    CHECK(error_of([&] { matmul_hopper<float>(cuda(), {1, 4, 4, 4}, bad, good, c.data(), {}); }) == words);
    CHECK(error_of([&] { matmul_hopper<float>(cuda(), {1, 4, 4, 4}, good, bad, c.data(), {}); }) == words);
  }
}

TEST_SUITE_END();

TEST_CASE("other GPUs refuse Hopper's rung in one line" * doctest::skip(test_device() == Device::cpu || on_hopper())) {
  CHECK(contains(error_of([] {
                   matmul_hopper<float>(cuda(), {1, 1, 1, 1}, {nullptr, 8, 1}, {nullptr, 8, 1}, nullptr, {});
                 }),
                 "these instructions are those of 9.0; use matmul_pipelined"));
}
