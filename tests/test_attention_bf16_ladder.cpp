#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>

#include "kernels/attention_ladder.h"
#include "kernels/device_memory.h"
#include "tests/attention_problem.h"
#include "tests/kernel_helpers.h"

using namespace headshare;
using namespace headshare::kernels;
using namespace headshare::kernels::attention_test;

namespace {

using Forward = void(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const BFloat16>,
                     HeadsView<const BFloat16>, HeadsView<const BFloat16>, HeadsView<BFloat16>, float*);

// A bfloat16 has eight significant bits: rounding errs by this much at most, relative to the number.
constexpr double half_unit = 1.0 / 256;

Result<BFloat16> result_of(Forward* attend, const Problem<double>& exact, Layout output = Layout::joint_projection) {
  const Problem<BFloat16> p = problem_in<BFloat16>(exact);
  Result<BFloat16> r = empty_result(p, output);
  attend(cuda(), p.sizes, p.mask(), p.query.view(), p.key.view(), p.value.view(), r.output.view(),
         r.log_sum_exp.data());
  synchronize(cuda());
  return r;
}

// The sums of weights times the values' sizes: what rounding every weight can change is relative to these.
Heads<double> sums_of_sizes(Problem<double> p) {
  for (double& x : p.value.data) x = std::abs(x);
  return plain(p).output;
}

// By how much the output is off, relative to what the roundings of the weights and of the output itself, and 1e-6 for
// the sums in float32, allow; infinity where it has a NaN or wrote between the heads.
double output_error(const Result<BFloat16>& r, const Problem<double>& p, const Result<double>& expected) {
  const Heads<double> sizes = sums_of_sizes(p);
  double worst = 0;
  Size numbers = 0;
  r.output.for_each([&](Size b, Size t, Size h, Size d) {
    const double x = number_as<double>(r.output(b, t, h, d)), y = expected.output(b, t, h, d);
    const double allowed = half_unit * (std::abs(y) + sizes(b, t, h, d)) + 1e-6, error = std::abs(x - y) / allowed;
    worst = error <= worst ? worst : std::isnan(error) ? test::infinity<double> : error;
    ++numbers;
  });
  for (const BFloat16 x : r.output.data) numbers -= std::isnan(static_cast<float>(x)) ? 0 : 1;
  return numbers == 0 ? worst : test::infinity<double>;
}

// The statistics never were bfloat16: a key too many or too few shows in them.
void check_result(const Result<BFloat16>& r, const Problem<double>& p) {
  const Result<double> expected = plain(p);
  CHECK(output_error(r, p, expected) <= 1);
  CHECK(test::distance(r.log_sum_exp, expected.log_sum_exp, 4) <= 2e-6);
}

void check_attention(const Problem<double>& p, Layout output = Layout::joint_projection) {
  CAPTURE(describe(p));
  check_result(result_of(attention_tensor_core, p, output), p);
}

// Larger queries make softmax choose among few keys: then each of them counts.
Problem<double> sharp(Problem<double> p) {
  for (double& x : p.query.data) x *= 4;
  return p;
}

}  // namespace

// All of this is CUDA's: where the tests run on the CPU, doctest skips it, and says so in its count.
TEST_SUITE_BEGIN("attention in bfloat16" * doctest::skip(test::test_device() == Device::cpu));

TEST_CASE("attention on tensor cores agrees with plain loops in all shapes and layouts") {
  const std::array<Size, 9> head_sizes{1, 8, 32, 33, 64, 72, 96, 97, 128};
  const std::array<Layout, 4> layouts{Layout::positions_first, Layout::cache, Layout::aligned_projection,
                                      Layout::joint_projection};
  std::size_t turn = 0;  // head sizes, paddings and layouts take turns
  for (const Size T : {1, 33, 130})
    for (const Size S : {1, 7, 64, 97, 130})
      for (const Size G : {1, 2, 4})
        for (const Order order : {Order::any, Order::causal}) {
          Array<std::int32_t> lengths;
          if (turn % 5 < 2) lengths = {static_cast<std::int32_t>(S), static_cast<std::int32_t>(S / 2)};
          const Size D = head_sizes[(turn + turn / 9) % 9];
          if (T == 130 && G < 4 && turn % 3 != 0) {
            ++turn;
            continue;
          }
          check_attention(bfloat16_problem({2, T, S, 4, G, D}, order, lengths, layouts[turn % 4]),
                          layouts[turn / 4 % 4]);
          ++turn;
        }
}

TEST_CASE("attention on tensor cores: many tiles of queries and keys") {
  check_attention(sharp(bfloat16_problem({1, 150, 300, 3, 1, 64}, Order::causal, {290})), Layout::positions_first);
  check_attention(sharp(bfloat16_problem({2, 40, 200, 4, 1, 128}, Order::any, {200, 129})), Layout::positions_first);
  check_attention(sharp(bfloat16_problem({1, 300, 260, 1, 1, 24}, Order::causal)), Layout::aligned_projection);
  check_attention(sharp(bfloat16_problem({1, 100, 140, 6, 2, 96}, Order::any)), Layout::positions_first);
}

TEST_CASE("attention on tensor cores: a window, shorter and longer than a tile, with padding") {
  for (const Size window : {1, 3, 40, 64, 100}) {
    check_attention(with_window(sharp(bfloat16_problem({2, 140, 140, 2, 1, 16}, Order::causal, {140, 31})), window));
    check_attention(with_window(sharp(bfloat16_problem({1, 140, 140, 2, 2, 16}, Order::causal)), window));
    check_attention(with_window(bfloat16_problem({1, 9, 5, 4, 2, 8}, Order::causal, {4}), window));
  }
  check_attention(with_window(bfloat16_problem({1, 70, 300, 2, 1, 16}, Order::causal, {290}), 50));
}

TEST_CASE("attention on tensor cores: queries that see no key get 0, and -infinity for log_sum_exp") {
  for (const Size T : {1, 5, 140})
    for (const Order order : {Order::any, Order::causal})
      check_attention(bfloat16_problem({3, T, 3, 4, 2, 8}, order, {0, 3, 0}));
  const Problem<double> p = bfloat16_problem({1, 140, 130, 1, 1, 32}, Order::causal);  // the first ten
  const Result<BFloat16> r = result_of(attention_tensor_core, p);
  for (Size t = 0; t < 10; ++t) {
    CHECK(r.log_sum_exp[static_cast<std::size_t>(t)] == -test::infinity<float>);
    for (Size d = 0; d < 32; ++d) CHECK(r.output(0, t, 0, d).bits == 0);
  }
  check_result(r, p);
}

TEST_CASE("attention on tensor cores: nothing is read from padding") {
  for (const Layout layout : {Layout::positions_first, Layout::joint_projection}) {
    Problem<double> p = bfloat16_problem({2, 20, 100, 2, 1, 8}, Order::any, {61, 93}, layout);
    for (Heads<double>* heads : {&p.key, &p.value})
      heads->for_each([&](Size b, Size s, Size g, Size d) {
        if (s >= p.lengths[static_cast<std::size_t>(b)]) (*heads)(b, s, g, d) = test::not_a_number<double>;
      });
    // The plain sums of sizes read no padding either.
    check_attention(p, Layout::positions_first);
  }
}

TEST_CASE("attention on tensor cores: keys and values that lie in memory in different ways") {
  for (const Layout layout : {Layout::aligned_projection, Layout::joint_projection}) {
    Problem<double> p = bfloat16_problem({2, 40, 70, 4, 2, 16}, Order::causal, {}, Layout::cache);
    Heads<double> value = make_heads<double>(2, 70, 2, 16, layout);
    value.for_each([&](Size b, Size s, Size g, Size d) { value(b, s, g, d) = p.value(b, s, g, d); });
    p.value = value;
    check_attention(p, Layout::positions_first);
  }
}

TEST_CASE("attention on tensor cores: heads that begin or lie off 16 bytes") {
  const Problem<double> exact = bfloat16_problem({1, 20, 70, 2, 1, 16}, Order::causal);
  const Problem<BFloat16> p = problem_in<BFloat16>(exact);
  for (int shifted = 0; shifted < 4; ++shifted) {
    CAPTURE(shifted);
    Array<BFloat16> places[4];  // the same numbers, one of the four tensors a number further
    const Heads<BFloat16> output = empty_result(p, Layout::positions_first).output;
    const Heads<BFloat16>* const heads[4] = {&p.query, &p.key, &p.value, &output};
    for (int i = 0; i < 4; ++i) {
      places[i].assign(heads[i]->data.size() + 1, BFloat16(0.0f));
      std::copy(heads[i]->data.begin(), heads[i]->data.end(), places[i].begin() + (i == shifted ? 1 : 0));
    }
    const auto moved = [&](int i) {
      HeadsView<const BFloat16> view = heads[i]->view();
      view.data = places[i].data() + (i == shifted ? 1 : 0);
      return view;
    };
    const HeadsView<const BFloat16> out = moved(3);
    Result<BFloat16> r = empty_result(p, Layout::positions_first);
    attention_tensor_core(
        cuda(), p.sizes, p.mask(), moved(0), moved(1), moved(2),
        {places[3].data() + (shifted == 3 ? 1 : 0), out.batch_stride, out.position_stride, out.head_stride},
        r.log_sum_exp.data());
    synchronize(cuda());
    std::copy_n(places[3].begin() + (shifted == 3 ? 1 : 0), r.output.data.size(), r.output.data.begin());
    check_result(r, exact);
  }
}

TEST_CASE(
    "attention on tensor cores: scores that grow from tile to tile do not overflow, and hidden ones hide no others") {
  for (const Order order : {Order::any, Order::causal}) {  // causal: the largest scores are those that are not seen
    Problem<double> p = bfloat16_problem({1, 40, 200, 1, 1, 8}, order);
    p.key.for_each(
        [&](Size b, Size s, Size g, Size d) { p.key(b, s, g, d) *= static_cast<double>(Size{1} << s / 20); });
    check_attention(p);
  }
}

TEST_CASE("attention on tensor cores: a NaN stays in the rows that see it") {
  Problem<double> p = bfloat16_problem({1, 130, 130, 1, 1, 8}, Order::causal);
  p.key(0, 100, 0, 3) = test::not_a_number<double>;
  const Result<BFloat16> r = result_of(attention_tensor_core, p);
  for (Size t = 0; t < 130; ++t) {
    CHECK(std::isnan(static_cast<float>(r.output(0, t, 0, 0))) == (t >= 100));
    CHECK(std::isnan(r.log_sum_exp[static_cast<std::size_t>(t)]) == (t >= 100));
  }
}

TEST_CASE("attention on tensor cores: the same bits every time, log_sum_exp only where it is wanted") {
  const Problem<BFloat16> p = problem_in<BFloat16>(bfloat16_problem({2, 50, 90, 4, 2, 40}, Order::causal));
  Result<BFloat16> first = empty_result(p), second = empty_result(p), without = empty_result(p);
  for (Result<BFloat16>* r : {&first, &second, &without})
    attention_tensor_core(cuda(), p.sizes, p.mask(), p.query.view(), p.key.view(), p.value.view(), r->output.view(),
                          r == &without ? nullptr : r->log_sum_exp.data());
  synchronize(cuda());
  CHECK(test::same_bits(first.output.data, second.output.data));
  CHECK(test::same_bits(first.output.data, without.output.data));
  CHECK(test::same_bits(first.log_sum_exp, second.log_sum_exp));
}

TEST_CASE("attention on tensor cores: heads that are too large, and nothing to do") {
  const auto run_sizes = [](AttentionSizes sizes) {
    attention_tensor_core(cuda(), sizes, {}, {nullptr, 0, 0, 0}, {nullptr, 0, 0, 0}, {nullptr, 0, 0, 0},
                          {nullptr, 0, 0, 0}, nullptr);
  };
  CHECK_THROWS_WITH_AS(run_sizes({1, 1, 1, 1, 1, 129}), doctest::Contains("heads of 129 numbers"), Error);
  run_sizes({0, 20, 5, 2, 1, 8});
  run_sizes({2, 0, 5, 2, 1, 8});
  synchronize(cuda());
  check_attention(bfloat16_problem({1, 2, 1, 2, 1, 8}, Order::any, {0}));
}

TEST_CASE("attention in bfloat16 chooses a rung that can do it") {
  for (const Size T : {1, 4, 5, 40})
    check_result(
        result_of(attention<BFloat16, BFloat16>, bfloat16_problem({2, T, 70, 8, 2, 24}, Order::causal, {70, 11})),
        bfloat16_problem({2, T, 70, 8, 2, 24}, Order::causal, {70, 11}));
}

TEST_SUITE_END();
