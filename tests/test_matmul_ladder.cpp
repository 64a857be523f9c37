#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "core/bfloat16.h"
#include "core/error.h"
#include "kernels/matmul_ladder.h"
#include "tests/matmul_rungs.h"

// Every rung of the ladder against plain loops in float64.

using namespace headshare;
using namespace headshare::kernels;
using namespace headshare::kernels::matmul_test;
using namespace headshare::test;

namespace {

template <class T>
std::vector<Rung<T, T>> rungs() {
  std::vector<Rung<T, T>> all = {{"naive", matmul_naive<T>},
                                 {"tiled", matmul_tiled<T>},
                                 {"register tiled, 64", matmul_register_tiled<T, 64>},
                                 {"few rows", matmul_few_rows<T>, most_few_rows}};
  if constexpr (sizeof(T) == 4) all.push_back({"register tiled, 128", matmul_register_tiled<T, 128>});
  return all;
}

template <class In>
std::vector<Rung<In, float>> tensor_core_rungs() {
  return {{"tensor core, 64", matmul_tensor_core<In, 64>}, {"tensor core, 128", matmul_tensor_core<In, 128>}};
}

// A float with as many bits of fraction as tensor cores take: ten, to the nearest.
float rounded_to_tf32(float x) { return std::bit_cast<float>((std::bit_cast<std::uint32_t>(x) + 0x1000u) & ~0x1fffu); }

void check_everywhere(const Case& c, std::uint64_t seed) {
  check(c, rungs<float>(), Operands<float, float>(c, seed));
  check(c, rungs<double>(), Operands<double, double>(c, seed));
  check(c, tensor_core_rungs<BFloat16>(), Operands<BFloat16, float>(c, seed));
  // Rounded beforehand, so that rounding inside changes nothing and float32 tolerances hold.
  Operands<float, float> operands(c, seed);
  for (Array<float>* const array : {&operands.a, &operands.b})
    std::transform(array->begin(), array->end(), array->begin(), rounded_to_tf32);
  check(c, tensor_core_rungs<float>(), operands);
}

}  // namespace

// All of this is CUDA's: where the tests run on the CPU, doctest skips it, and says so in its count.
TEST_SUITE_BEGIN("the ladder of the matrix product" * doctest::skip(test_device() == Device::cpu));

TEST_CASE("every rung agrees with plain loops for odd sizes and all transposed forms") {
  const std::vector<std::tuple<Size, Size, Size>> sizes = {{1, 1, 1},  {1, 97, 33}, {7, 33, 65}, {7, 1, 97},
                                                           {33, 7, 7}, {65, 97, 1}, {97, 65, 33}};
  for (const auto& [m, n, k] : sizes)
    for (const auto& [a_layout, b_layout] : all_layouts) check_everywhere({{1, m, n, k}, a_layout, b_layout}, 1);
}

TEST_CASE("tiles of 128 agree with plain loops where they are full and where they are cut") {
  for (const auto& [a_layout, b_layout] : all_layouts)
    check_everywhere({{1, 129, 130, 35}, a_layout, b_layout, 1, 1, true, Activation::relu, true}, 2);
}

TEST_CASE("sums over a K that is cut into parts agree with plain loops, and have the same bits twice") {
  for (const auto& [m, n, k] : {std::tuple<Size, Size, Size>{1, 33, 257}, {3, 7, 391}, {8, 65, 300}, {9, 33, 270}})
    for (const Layout layout : {Layout::rows, Layout::columns}) {
      const Layout other = layout == Layout::rows ? Layout::columns : Layout::rows;
      const Case c{{m == 1 ? 2 : 1, m, n, k}, layout, m == 8 ? layout : other, 1, 1, true, Activation::gelu, true};
      check_everywhere(c, 3);
      const Operands<float, float> operands(c, 4);
      for (const Rung<float, float>& rung : rungs<float>()) {
        if (m > rung.most_rows) continue;
        CAPTURE(rung.name);
        CHECK(same_bits(run(c, operands, rung).c, run(c, operands, rung).c));
      }
    }
}

TEST_CASE("the product for few rows agrees with plain loops where a block walks over K in several steps") {
  for (const Layout layout : {Layout::rows, Layout::columns}) {
    const Case c{{130, 2, 3, 300}, Layout::rows, layout, 130, 1};  // so many blocks that K is not cut into parts
    check(c, {Rung<float, float>{"few rows", matmul_few_rows<float>}}, Operands<float, float>(c, 15));
    check(c, {Rung<double, double>{"few rows", matmul_few_rows<double>}}, Operands<double, double>(c, 15));
  }
}

TEST_CASE("every rung adds the bias, activates and keeps values in every combination") {
  for (const bool bias : {false, true})
    for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu})
      for (const bool keep_before : {false, true})
        for (const auto& [m, n] : {std::tuple<Size, Size>{5, 33}, {33, 7}})
          check_everywhere({{2, m, n, 9}, Layout::rows, Layout::rows, 2, 1, bias, activation, keep_before}, 5);
}

TEST_CASE("every rung multiplies each matrix of a batch with its own partner or with the shared one") {
  for (const bool a_shared : {false, true})
    for (const bool b_shared : {false, true})
      for (const auto& [m, n, k] : {std::tuple<Size, Size, Size>{2, 33, 7}, {65, 7, 33}})
        for (const Layout layout : {Layout::rows, Layout::columns})
          check_everywhere({{3, m, n, k}, layout, layout, a_shared ? 1 : 3, b_shared ? 1 : 3, true}, 6);
  // More than a grid may have blocks in its second and third dimension.
  const Case many{{70000, 1, 1, 2}, Layout::rows, Layout::rows, 70000, 1};
  check(many, {Rung<float, float>{"naive", matmul_naive<float>}}, Operands<float, float>(many, 7));
}

TEST_CASE("a product without k is the activated bias on every rung, and one without elements writes nothing") {
  for (const Size m : {1, 8, 33}) check_everywhere({{2, m, 7, 0}, {}, {}, 1, 1, true, Activation::relu, true}, 8);
  check_everywhere({{2, 7, 33, 0}}, 9);
  for (const MatmulSizes& sizes : {MatmulSizes{0, 2, 2, 300}, MatmulSizes{1, 0, 2, 300}, MatmulSizes{1, 2, 0, 300}})
    check_everywhere({sizes, {}, {}, 1, 1, true, Activation::gelu, true}, 10);
}

TEST_CASE("NaN in A reaches exactly its row of C on every rung") {
  for (const Size m : {7, 40}) {
    const Case c{{1, m, 33, 300}, Layout::rows, Layout::columns, 1, 1, false, Activation::relu};
    const auto check_rows = [&]<class In, class Out>(const std::vector<Rung<In, Out>>& all, In nan) {
      Operands<In, Out> operands(c, 11);
      const Size row = m / 2;
      operands.a[static_cast<std::size_t>(row * 300 + 299)] = nan;
      for (const Rung<In, Out>& rung : all) {
        if (m > rung.most_rows) continue;
        CAPTURE(rung.name);
        const Array<Out> result = run(c, operands, rung).c;
        for (std::size_t i = 0; i < result.size(); ++i)
          REQUIRE(std::isnan(result[i]) == (static_cast<Size>(i) / 33 == row));
      }
    };
    check_rows(rungs<float>(), not_a_number<float>);
    check_rows(rungs<double>(), not_a_number<double>);
    check_rows(tensor_core_rungs<float>(), not_a_number<float>);
    check_rows(tensor_core_rungs<BFloat16>(), BFloat16(not_a_number<float>));
  }
}

TEST_CASE("tensor cores take every NaN for NaN, whatever its bits, and infinity for infinity") {
  // The smallest and the largest NaN, the one most computations give, and their negatives.
  Array<float> a;
  for (const std::uint32_t bits : {0x7f800001u, 0x7fffffffu, 0x7fc00000u, 0xff800001u, 0xffffffffu, 0xffc00000u})
    a.push_back(std::bit_cast<float>(bits));
  a.push_back(infinity<float>);
  a.push_back(-infinity<float>);
  const Array<float> one = {1};
  for (const auto& rung : tensor_core_rungs<float>()) {
    CAPTURE(rung.name);
    Array<float> left(8), right(8);
    rung.multiply(cuda(), {1, 8, 1, 1}, {a.data(), 1, 1}, {one.data(), 1, 1}, left.data(), {});
    rung.multiply(cuda(), {1, 1, 8, 1}, {one.data(), 1, 1}, {a.data(), 1, 1}, right.data(), {});
    synchronize(cuda());
    for (std::size_t i = 0; i < 6; ++i) {
      CHECK(std::isnan(left[i]));
      CHECK(std::isnan(right[i]));
    }
    for (const Array<float>* const result : {&left, &right}) {
      CHECK((*result)[6] == infinity<float>);
      CHECK((*result)[7] == -infinity<float>);
    }
  }
}

TEST_CASE("every rung reads matrices with more memory between their lines in place") {
  const Array<float> data = random_vector<float>(40 * 50, 12);
  const MatrixView<float> b{data.data() + 7, 50, 1}, b_transposed{data.data() + 5, 1, 50};
  for (const Size m : {3, 30})
    for (const MatrixView<float>& right : {b, b_transposed})
      for (const MatrixView<float>& left : {MatrixView<float>{data.data() + 3, 50, 1}, {data.data() + 2, 1, 50}})
        for (const Rung<float, float>& rung : rungs<float>()) {
          if (m > rung.most_rows) continue;
          CAPTURE(rung.name);
          Array<float> result(static_cast<std::size_t>(m * 20)), plain(result.size());
          rung.multiply(cuda(), {1, m, 20, 37}, left, right, result.data(), {});
          synchronize(cuda());
          matmul_plain<float>(Cpu{}, {1, m, 20, 37}, left, right, plain.data(), {});
          CHECK(distance(result, plain) < 1e-5);
        }
}

TEST_CASE("tensor cores are exact where nothing is lost, and round floats to ten bits of fraction") {
  // Whole numbers from -8 to 8: neither inputs nor sums need more bits than there are.
  const Case c{{1, 33, 17, 50}, Layout::rows, Layout::columns};
  Operands<float, float> operands(c, 13);
  for (Array<float>* const array : {&operands.a, &operands.b})
    for (float& x : *array) x = std::clamp(std::round(4 * x), -8.0f, 8.0f);
  Operands<BFloat16, float> halves(c, 13);
  std::transform(operands.a.begin(), operands.a.end(), halves.a.begin(), [](float x) { return BFloat16(x); });
  std::transform(operands.b.begin(), operands.b.end(), halves.b.begin(), [](float x) { return BFloat16(x); });
  const Array<double> expected = truth(c, operands).c;
  for (const auto& rung : tensor_core_rungs<float>()) CHECK(distance(run(c, operands, rung).c, expected) == 0);
  for (const auto& rung : tensor_core_rungs<BFloat16>()) CHECK(distance(run(c, halves, rung).c, expected) == 0);

  // Kept, cut, and half way: away from zero.
  const float unit = 0x1p-10f;
  const Array<float> a = {1 + unit, 1 + unit / 4, 1 + unit / 2, -1 - unit / 2}, one = {1};
  for (const auto& rung : tensor_core_rungs<float>()) {
    Array<float> result(4);
    rung.multiply(cuda(), {1, 4, 1, 1}, {a.data(), 1, 1}, {one.data(), 1, 1}, result.data(), {});
    synchronize(cuda());
    CHECK(result == Array<float>{1 + unit, 1, 1 + unit, -1 - unit});
  }
}

TEST_CASE("rounding their inputs is all that sets tensor cores apart from float32") {
  // Each factor is off by a relative 2^-11 (tf32) at most, so the product by just over 2^-10 of the sum of |a b|.
  const Case c{{1, 40, 33, 97}};
  const Operands<float, float> operands(c, 14);
  Operands<float, float> magnitudes = operands;
  for (Array<float>* const array : {&magnitudes.a, &magnitudes.b})
    for (float& x : *array) x = std::abs(x);
  const Array<double> expected = truth(c, operands).c, largest = truth(c, magnitudes).c;
  for (const auto& rung : tensor_core_rungs<float>()) {
    const Array<float> result = run(c, operands, rung).c;
    double worst = 0;
    for (std::size_t i = 0; i < result.size(); ++i)
      worst = std::max(worst, std::abs(exact(result[i]) - expected[i]) / largest[i]);
    CHECK(worst < 1.01 * 0x1p-10);
    CHECK(worst > 0x1p-16);  // far more than float32 errs: it did round
  }
}

TEST_CASE("matmul agrees with plain loops where there are tiles of 128 enough for every multiprocessor") {
  const Case c{{256, 9, 3, 17}, Layout::rows, Layout::columns, 256, 1, true};
  const auto chosen = [](Cuda device, const MatmulSizes& sizes, const MatrixView<float>& a, const MatrixView<float>& b,
                         float* product,
                         const Epilogue<float>& epilogue) { matmul<float>(device, sizes, a, b, product, epilogue); };
  check(c, {Rung<float, float>{"matmul", chosen}}, Operands<float, float>(c, 16));
}

TEST_CASE("the product in tf32 rounds as tensor cores do, except for few rows") {
  for (const auto& [batch, m] : {std::tuple<Size, Size>{2, 40}, {130, 9}, {2, 8}}) {
    const Case c{{batch, m, 33, 50}, Layout::rows, Layout::columns, batch, 1, true, Activation::relu};
    const Operands<float, float> operands(c, 17);
    const auto found = run(c, operands, {"tf32", matmul_tf32}).c;
    const Rung<float, float> expected = m == 8 ? Rung<float, float>{"few rows", matmul_few_rows<float>}
                                               : tensor_core_rungs<float>()[batch == 130 ? 1 : 0];
    CHECK(same_bits(found, run(c, operands, expected).c));
  }
}

TEST_CASE("the product for few rows refuses many") {
  CHECK_THROWS_WITH_AS(matmul_few_rows<float>(cuda(), {1, 9, 1, 1}, {nullptr, 1, 1}, {nullptr, 1, 1}, nullptr, {}),
                       "matmul_few_rows: 9 rows; at most 8 are few", Error);
}

TEST_SUITE_END();
