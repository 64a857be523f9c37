#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "core/error.h"
#include "kernels/matmul_ladder.h"
#include "tests/kernel_helpers.h"
#include "tests/matmul_rungs.h"
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
std::vector<Rung<BFloat16, Out>> rungs() {
  return {{"128 columns", matmul_hopper_tiled<128, Out>}, {"256 columns", matmul_hopper_tiled<256, Out>}};
}

// The same, where every line begins on whole 16 bytes, which the copy engine needs.
Case on_16_bytes(Case c) {
  c.lines_on = 8;
  return c;
}

template <class Out>
void check(const Case& c, std::uint64_t seed) {
  check(on_16_bytes(c), rungs<Out>(), Operands<BFloat16, Out>(on_16_bytes(c), seed));
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
    const Case again = on_16_bytes(c);
    const Operands<BFloat16, float> operands(again, 9);
    const Rung<BFloat16, float> rung{"chosen tiles", matmul_hopper<float>};
    CHECK(same_bits(run(again, operands, rung).c, run(again, operands, rung).c));
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
  const Case c = on_16_bytes({{1, 40, 33, 200}, Layout::rows, Layout::columns});
  Operands<BFloat16, float> operands(c, 15);
  operands.a[20 * 200 + 199] = nan_of<BFloat16>;
  for (const auto& rung : rungs<float>()) {
    CAPTURE(rung.name);
    const Array<float> result = run(c, operands, rung).c;
    for (std::size_t i = 0; i < result.size(); ++i) REQUIRE(std::isnan(result[i]) == (i / 33 == 20));
  }
}

TEST_CASE("whole numbers are multiplied and added without an error") {
  const Case c = on_16_bytes({{1, 130, 140, 264}, Layout::columns, Layout::rows});
  Operands<BFloat16, float> operands(c, 16);
  for (Array<BFloat16>* const numbers : {&operands.a, &operands.b})
    for (BFloat16& x : *numbers) x = BFloat16(std::clamp(std::round(4 * static_cast<float>(x)), -8.0f, 8.0f));
  const Array<double> expected = truth(c, operands).c;
  for (const auto& rung : rungs<float>()) CHECK(distance(run(c, operands, rung).c, expected) == 0);
}

TEST_CASE("the choice between the tiles gives the same sums") {
  for (const Size batch : {1, 264}) {  // so many tiles that the large ones are faster
    const Case c = on_16_bytes({{batch, 3, 200, 8}, Layout::rows, Layout::rows, batch, 1});
    check(c, {Rung<BFloat16, float>{"chosen tiles", matmul_hopper<float>}}, Operands<BFloat16, float>(c, 17));
  }
}

TEST_CASE("Hopper's rung is chosen where tiles times parts of K are enough for half of its multiprocessors") {
  const Rung<BFloat16, float> hopper{"Hopper's", matmul_hopper<float>}, pipelined{"pipelined", matmul_pipelined<float>};
  for (const auto& [batch, k, expected] : {std::tuple{16, 2048, hopper}, {3, 1024, pipelined}}) {
    const Case c = on_16_bytes({{batch, 65, 8, k}, Layout::rows, Layout::rows, 1, batch});
    CAPTURE(c);
    const Operands<BFloat16, float> operands(c, 18);
    CHECK(same_bits(run(c, operands, {"chosen", matmul_bf16<float>}).c, run(c, operands, expected).c));
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
