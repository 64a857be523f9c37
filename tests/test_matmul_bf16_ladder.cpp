#include <doctest/doctest.h>

#include <cmath>
#include <tuple>
#include <vector>

#include "core/bfloat16.h"
#include "core/error.h"
#include "kernels/matmul_ladder.h"
#include "tests/matmul_rungs.h"

// The rungs of the ladder that multiply bfloat16 numbers, against plain loops in float64.

using namespace headshare;
using namespace headshare::kernels;
using namespace headshare::kernels::matmul_test;
using namespace headshare::test;

namespace {

template <class Out>
using Rungs = std::vector<Rung<BFloat16, Out>>;

template <class Out>
Rungs<Out> few_rows_rungs() {
  return {{"few rows", matmul_few_rows_bf16<Out>, most_few_rows_bf16}, {"chosen", matmul_bf16<Out>}};
}

// That read factors wherever they lie.
template <class Out>
Rungs<Out> rungs_for_all_places() {
  Rungs<Out> all = few_rows_rungs<Out>();
  all.push_back({"tensor core, 64", matmul_tensor_core<BFloat16, 64, Out>});
  all.push_back({"tensor core, 128", matmul_tensor_core<BFloat16, 128, Out>});
  return all;
}

template <class Out>
Rungs<Out> all_rungs() {
  Rungs<Out> all = rungs_for_all_places<Out>();
  all.push_back({"pipelined, 64 x 128", matmul_pipelined_tiled<64, 128, Out>});
  all.push_back({"pipelined, 128 x 128", matmul_pipelined_tiled<128, 128, Out>});
  all.push_back({"pipelined, 128 x 256", matmul_pipelined_tiled<128, 256, Out>});
  return all;
}

// Both types of results, and once more with factors whose lines begin anywhere.
void check_everywhere(Case c, std::uint64_t seed) {
  check(c, rungs_for_all_places<BFloat16>(), Operands<BFloat16, BFloat16>(c, seed));
  c.lines_on = 8;
  check(c, all_rungs<BFloat16>(), Operands<BFloat16, BFloat16>(c, seed));
  check(c, all_rungs<float>(), Operands<BFloat16, float>(c, seed));
}

}  // namespace

// All of this is CUDA's: where the tests run on the CPU, doctest skips it, and says so in its count.
TEST_SUITE_BEGIN("the ladder of the bfloat16 product" * doctest::skip(test_device() == Device::cpu));

TEST_CASE("every bfloat16 rung agrees with plain loops for odd sizes and all transposed forms") {
  const std::vector<std::tuple<Size, Size, Size>> sizes = {{1, 1, 1},   {1, 97, 33}, {7, 33, 65},
                                                           {16, 18, 7}, {33, 7, 8},  {97, 65, 130}};
  for (const auto& [m, n, k] : sizes)
    for (const auto& [a_layout, b_layout] : all_layouts) check_everywhere({{1, m, n, k}, a_layout, b_layout}, 1);
}

TEST_CASE("tiles of bfloat16 agree with plain loops where they are full and where they are cut") {
  for (const auto& [a_layout, b_layout] : all_layouts) {
    check_everywhere({{1, 130, 260, 67}, a_layout, b_layout, 1, 1, true, Activation::relu, true}, 2);
    check_everywhere({{1, 128, 256, 320}, a_layout, b_layout}, 3);
  }
}

TEST_CASE(
    "sums over a K that is cut into parts agree with plain loops on every bfloat16 rung, with the same bits twice") {
  Turn turn(3);
  for (const Size n : {33, 40})
    for (const auto& [a_layout, b_layout] : all_layouts) {
      if (!turn()) continue;
      const Case c{{2, 18, n, 1100}, a_layout, b_layout, 2, 1, true, Activation::gelu, true, 8};
      check(c, all_rungs<BFloat16>(), Operands<BFloat16, BFloat16>(c, 4));
      check(c, Rungs<float>{all_rungs<float>().back()}, Operands<BFloat16, float>(c, 5));
    }
  const Case c{{1, 18, 8, 1100}, Layout::rows, Layout::rows, 1, 1, false, Activation::none, false, 8};
  const Operands<BFloat16, float> operands(c, 5);
  for (const auto& rung : all_rungs<float>())
    if (rung.most_rows >= c.sizes.m) CHECK(same_bits(run(c, operands, rung).c, run(c, operands, rung).c));
}

TEST_CASE("the bfloat16 product for few rows agrees with plain loops over several rounds of steps, and in parts") {
  for (const Size m : {3, 16})
    for (const auto& [a_layout, b_layout] : all_layouts)
      for (const Size k : {1056, 2400, 2089}) {
        const Size n = k == 1056 ? 21 : 20;  // 33 whole steps that end beside the end of B
        Case c{{1, m, n, k}, a_layout, b_layout, 1, 1, true, Activation::gelu, true, 8};
        check(c, few_rows_rungs<BFloat16>(), Operands<BFloat16, BFloat16>(c, 6));
        c.lines_on = 4;  // of A not on whole 16 bytes
        check(c, few_rows_rungs<float>(), Operands<BFloat16, float>(c, 6));
      }
  for (const Layout layout : {Layout::rows, Layout::columns}) {
    const Case parts{{1, 2, 4, 16400}, Layout::rows, layout, 1, 1, true, Activation::relu, true};
    check(parts, few_rows_rungs<BFloat16>(), Operands<BFloat16, BFloat16>(parts, 7));
    for (const Size m : {2, 11}) {  // so many columns that blocks are wide
      const Case wide{{260, m, 33, 40}, Layout::rows, layout, 260, 1, false, Activation::none, false, 8};
      check(wide, few_rows_rungs<BFloat16>(), Operands<BFloat16, BFloat16>(wide, 8));
      const Case whole{{260, m, 36, 40}, Layout::rows, layout, 1, 260, false, Activation::none, false, 8};
      check(whole, few_rows_rungs<float>(), Operands<BFloat16, float>(whole, 9));
    }
  }
}

TEST_CASE("every bfloat16 rung adds the bias, activates and keeps values in every combination") {
  for (const bool bias : {false, true})
    for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu})
      for (const bool keep_before : {false, true})
        for (const auto& [m, n] : {std::tuple<Size, Size>{5, 36}, {20, 7}, {20, 36}})
          check_everywhere({{2, m, n, 9}, Layout::rows, Layout::rows, 2, 1, bias, activation, keep_before}, 10);
}

TEST_CASE("every bfloat16 rung multiplies each matrix of a batch with its own partner or with the shared one") {
  for (const bool a_shared : {false, true})
    for (const bool b_shared : {false, true})
      for (const Size m : {9, 70})
        for (const Layout layout : {Layout::rows, Layout::columns})
          check_everywhere({{3, m, 12, 24}, layout, layout, a_shared ? 1 : 3, b_shared ? 1 : 3, true}, 11);
}

TEST_CASE("a bfloat16 product without k is the activated bias, and one without elements writes nothing") {
  for (const Size m : {3, 20})
    for (const Size n : {7, 8}) check_everywhere({{2, m, n, 0}, {}, {}, 1, 1, true, Activation::relu, true}, 12);
  for (const MatmulSizes& sizes : {MatmulSizes{0, 2, 2, 300}, MatmulSizes{1, 0, 2, 300}, MatmulSizes{1, 2, 0, 300},
                                   MatmulSizes{0, 40, 2, 300}, MatmulSizes{1, 40, 0, 300}})
    check_everywhere({sizes, {}, {}, 1, 1, true, Activation::gelu, true}, 13);
}

TEST_CASE("NaN in a bfloat16 factor reaches exactly its row or column of C on every rung") {
  const Size n = 33, k = 300;
  for (const Size m : {7, 40})
    for (const auto& [a_layout, b_layout] : all_layouts) {
      const Case c{{1, m, n, k}, a_layout, b_layout, 1, 1, false, Activation::relu, false, 8};
      Operands<BFloat16, BFloat16> operands(c, 14);
      const Lines a_lines(m, k, a_layout, 1, 8), b_lines(k, n, b_layout, 1, 8);
      const Size row = m / 2, column = n - 1, last = k - 1;
      const auto at = [](const Lines& lines, Layout layout, Size i, Size j) {
        return static_cast<std::size_t>(layout == Layout::rows ? i * lines.stride + j : j * lines.stride + i);
      };
      operands.a[at(a_lines, a_layout, row, last)] = nan_of<BFloat16>;
      operands.b[at(b_lines, b_layout, 0, column)] = nan_of<BFloat16>;
      for (const auto& rung : all_rungs<BFloat16>()) {
        if (m > rung.most_rows) continue;
        CAPTURE(rung.name);
        const Array<BFloat16> result = run(c, operands, rung).c;
        for (Size i = 0; i < m * n; ++i)
          REQUIRE(std::isnan(exact(result[static_cast<std::size_t>(i)])) == (i / n == row || i % n == column));
      }
    }
}

TEST_CASE("the chosen bfloat16 rung agrees with plain loops where there are tiles enough for every multiprocessor") {
  // Tiles of 128 x 256 by the pipelined rung, then of 128 x 128; both by Hopper's where the GPU is one.
  for (const Size batch : {256, 130})
    for (const Layout layout : {Layout::rows, Layout::columns}) {
      const Case c{{batch, 65, 3, 17}, layout, layout, batch, 1, true, Activation::none, false, 8};
      check(c, Rungs<BFloat16>{{"chosen", matmul_bf16<BFloat16>}, {"pipelined", matmul_pipelined<BFloat16>}},
            Operands<BFloat16, BFloat16>(c, 15));
    }
  const Case anywhere{{130, 65, 3, 17}, Layout::rows, Layout::rows, 130, 1, true};
  check(anywhere, Rungs<float>{{"chosen", matmul_bf16<float>}}, Operands<BFloat16, float>(anywhere, 16));
}

TEST_CASE("matrices of bfloat16 that begin anywhere, with more memory between their lines, are read in place") {
  const Array<BFloat16> data = random_vector<BFloat16>(60 * 60, 17);
  for (const Size m : {3, 12, 30})
    for (const Size first : {0, 1, 2, 8})
      for (const auto& [left, right] : {std::tuple<MatrixView<BFloat16>, MatrixView<BFloat16>>{
                                            {data.data() + first, 56, 1}, {data.data() + 3, 52, 1}},
                                        {{data.data() + 3, 1, 50}, {data.data() + first, 56, 1}},
                                        {{data.data() + first, 56, 1}, {data.data() + 5, 1, 50}},
                                        {{data.data() + first, 56, 1}, {data.data() + first, 1, 56}}}) {
        const Case c{{1, m, 20, 37}};
        const Array<double> numbers = in_double(data);
        Array<double> plain(static_cast<std::size_t>(m * 20));
        const auto in_numbers = [&](const MatrixView<BFloat16>& x) {
          return MatrixView<double>{numbers.data() + (x.data - data.data()), x.row_stride, x.column_stride};
        };
        matmul_plain<double>(Cpu{}, c.sizes, in_numbers(left), in_numbers(right), plain.data(), {});
        for (const auto& rung : rungs_for_all_places<float>()) {
          if (m > rung.most_rows) continue;
          CAPTURE(rung.name);
          Array<float> memory(plain.size() + 8, nan_of<float>);  // C too begins anywhere
          rung.multiply(cuda(), c.sizes, left, right, memory.data() + first, {});
          synchronize(cuda());
          CHECK(near(c, Array<float>(memory.begin() + first, memory.end() - 8 + first), plain));
        }
      }
}

TEST_CASE("the product of bfloat16 matrices, and with one that was packed, is the chosen one") {
  for (const Size m : {3, 40}) {
    const Case c{{1, m, 24, 7}, Layout::rows, Layout::columns, 1, 1, true, Activation::relu, true};
    const Operands<BFloat16, BFloat16> operands(c, 18);
    Array<BFloat16> packed(7 * 24);
    pack_matrix(cuda(), 7, 24, view(operands.b, 7, 24, c.b_layout, 1), packed.data());
    const Rungs<BFloat16> both = {
        {"matmul",
         [](Cuda device, const MatmulSizes& sizes, const MatrixView<BFloat16>& a, const MatrixView<BFloat16>& b,
            BFloat16* product, const Epilogue<BFloat16>& epilogue) { matmul(device, sizes, a, b, product, epilogue); }},
        {"packed", [&](Cuda device, const MatmulSizes& sizes, const MatrixView<BFloat16>& a, const auto&,
                       BFloat16* product, const Epilogue<BFloat16>& epilogue) {
           matmul_packed(device, sizes.m, sizes.n, sizes.k, a, packed.data(), product, epilogue);
         }}};
    check(c, both, operands);
  }
}

TEST_CASE("rungs refuse bfloat16 factors that they cannot read, and rows that are not few") {
  const Array<BFloat16> x(64, BFloat16(1.0f));
  Array<BFloat16> y(64);
  const MatrixView<BFloat16> right{x.data(), 8, 1}, late{x.data() + 1, 8, 1}, narrow{x.data(), 7, 1};
  for (const auto& wrong : {late, narrow}) {
    CHECK_THROWS_WITH_AS(matmul_pipelined<BFloat16>(cuda(), {1, 4, 4, 4}, wrong, right, y.data(), {}),
                         "matmul_pipelined: lines of a factor do not begin on whole 16 bytes; use matmul_bf16", Error);
    CHECK_THROWS_WITH_AS(matmul_pipelined<BFloat16>(cuda(), {1, 4, 4, 4}, right, wrong, y.data(), {}),
                         "matmul_pipelined: lines of a factor do not begin on whole 16 bytes; use matmul_bf16", Error);
  }
  CHECK_THROWS_WITH_AS(matmul_few_rows_bf16<BFloat16>(cuda(), {1, 17, 1, 1}, right, right, y.data(), {}),
                       "matmul_few_rows_bf16: 17 rows; at most 16 are few", Error);
}

TEST_SUITE_END();
