#include <doctest/doctest.h>

#include <array>
#include <limits>

#include "kernels/attention_ladder.h"
#include "kernels/device_memory.h"
#include "tests/attention_problem.h"

using namespace headshare;
using namespace headshare::kernels;
using namespace headshare::kernels::attention_test;

namespace {

// Keys and values that bfloat16 holds exactly: then one expectation serves all element types.
Problem<double> coarse_problem(AttentionSizes sizes, Order order, Array<std::int32_t> lengths = {},
                               Layout layout = Layout::positions_first) {
  Problem<double> p = make_problem(sizes, order, std::move(lengths), layout);
  for (Heads<double>* heads : {&p.key, &p.value})
    for (double& x : heads->data) x = static_cast<double>(static_cast<float>(BFloat16(x)));
  return p;
}

// Results in T against plain loops in double. Double may be off by roundings, float by twice what plain float loses and
// a rounding of the largest number around.
template <class T>
struct Judge {
  const Result<double>& expected;
  const Result<T>& simple;

  void same(const Array<T>& result, const Array<T>& in_t, const Array<double>& in_double) const {
    const double rounding = sizeof(T) == 8 ? 1e-13 : 5e-7;
    CHECK(largest_difference(result, in_double) <= 2 * largest_difference(in_t, in_double) + rounding);
  }
  void same_output(const Result<T>& r) const { same(r.output.data, simple.output.data, expected.output.data); }
  void same_sums(const Result<T>& r) const { same(r.log_sum_exp, simple.log_sum_exp, expected.log_sum_exp); }
};

template <class T, class Stored>
void check_rungs(const Problem<T>& p, const Judge<T>& judge) {
  const Heads<Stored> key = converted<Stored>(p.key), value = converted<Stored>(p.value);
  const auto result_of = [&](auto rung) {
    Result<T> r = empty_result(p);
    rung(r);
    synchronize(cuda());
    return r;
  };
  {
    INFO("fused");
    const Result<T> r = result_of([&](Result<T>& to) {
      attention_fused<T, Stored>(cuda(), p.sizes, p.mask(), p.query.view(), key.view(), value.view(), to.output.view(),
                                 to.log_sum_exp.data());
    });
    judge.same_output(r);
    judge.same_sums(r);
  }
  if (p.sizes.targets * p.sizes.heads / p.sizes.kv_heads > 16) return;  // more than decoding is made for
  {
    INFO("decoding, per head");
    judge.same_output(result_of([&](Result<T>& to) {
      decode_attention_per_head<T, Stored>(cuda(), p.sizes, p.mask(), p.query.view(), key.view(), value.view(),
                                           to.output.view());
    }));
  }
  {
    INFO("decoding, per group");
    const Result<T> r = result_of([&](Result<T>& to) {
      decode_attention_per_group<T, Stored>(cuda(), p.sizes, p.mask(), p.query.view(), key.view(), value.view(),
                                            to.output.view(), to.log_sum_exp.data());
    });
    judge.same_output(r);
    judge.same_sums(r);
  }
}

template <class T>
void check_composed(const Problem<T>& p, const Judge<T>& judge) {
  Result<T> r = empty_result(p);
  attention_composed<T>(cuda(), p.sizes, p.mask(), p.query.view(), p.key.view(), p.value.view(), r.output.view(),
                        r.weights.data());
  synchronize(cuda());
  INFO("composed");
  judge.same_output(r);
  judge.same(r.weights, judge.simple.weights, judge.expected.weights);
}

void check_ladders(const Problem<double>& p) {
  CAPTURE(describe(p));
  const Result<double> expected = plain(p);
  const Judge<double> judge{expected, expected};
  check_composed(p, judge);
  check_rungs<double, double>(p, judge);

  const Problem<float> rounded = to_float(p);
  const Result<float> simple = plain(rounded);
  const Judge<float> judge_of_float{expected, simple};
  check_composed(rounded, judge_of_float);
  check_rungs<float, float>(rounded, judge_of_float);
  check_rungs<float, BFloat16>(rounded, judge_of_float);
}

}  // namespace

// All of this is CUDA's: where the tests run on the CPU, doctest skips it, and says so in its count.
TEST_SUITE_BEGIN("the ladders of attention" * doctest::skip(test::test_device() == Device::cpu));

TEST_CASE("all rungs of the attention ladders agree with plain loops") {
  const std::array<Size, 6> head_sizes{1, 7, 32, 33, 64, 97};
  std::size_t turn = 0;  // head sizes, paddings and layouts take turns: all products would take a minute
  for (const Size T : {1, 7, 33, 65})
    for (const Size S : {1, 7, 33, 65})
      for (const Size G : {1, 2, 4})
        for (const Order order : {Order::any, Order::causal}) {
          Array<std::int32_t> lengths;
          if (turn % 5 < 2) lengths = {static_cast<std::int32_t>(S), static_cast<std::int32_t>(S / 2)};
          const Layout layout = turn % 3 == 0 ? Layout::cache : Layout::joint_projection;
          check_ladders(coarse_problem({2, T, S, 4, G, head_sizes[(turn + turn / 6) % 6]}, order, lengths, layout));
          ++turn;
        }
}

TEST_CASE("rungs of attention: queries that see no key, because all is padding or all lies in the future") {
  for (const Size T : {1, 5, 70})
    for (const Order order : {Order::any, Order::causal})
      check_ladders(coarse_problem({3, T, 3, 4, 2, 7}, order, {0, 3, 0}));
}

TEST_CASE("rungs of attention: a window, shorter and longer than a tile, with padding and queries that see no key") {
  for (const Size window : {1, 3, 7, 40, 100})
    for (const Size G : {1, 4}) {
      check_ladders(with_window(coarse_problem({2, 70, 70, 4, G, 7}, Order::causal, {70, 31}), window));
      check_ladders(with_window(coarse_problem({1, 5, 33, 4, G, 32}, Order::causal), window));
      check_ladders(with_window(coarse_problem({1, 9, 5, 4, G, 8}, Order::causal, {4}), window));
    }
  check_ladders(with_window(coarse_problem({1, 70, 300, 2, 1, 16}, Order::causal, {290}), 50));
}

TEST_CASE("rungs of attention: many tiles of queries and keys, and the largest heads") {
  check_ladders(coarse_problem({1, 70, 300, 3, 1, 16}, Order::causal, {290}));
  check_ladders(coarse_problem({1, 3, 300, 4, 1, 40}, Order::any));
  check_ladders(coarse_problem({1, 35, 40, 1, 1, 256}, Order::causal));
}

TEST_CASE("rungs of attention: nothing is read from padding") {
  for (const Size T : {1, 20}) {
    Problem<double> p = coarse_problem({2, T, 40, 2, 1, 7}, Order::any, {21, 33});
    for (Heads<double>* heads : {&p.key, &p.value})
      heads->for_each([&](Size b, Size s, Size g, Size d) {
        if (s >= p.lengths[static_cast<std::size_t>(b)])
          (*heads)(b, s, g, d) = std::numeric_limits<double>::quiet_NaN();
      });
    check_ladders(p);
  }
}

TEST_CASE("fused attention: scores that grow from tile to tile do not overflow, and hidden ones hide no others") {
  for (const Order order : {Order::any, Order::causal}) {  // causal: the largest scores are those that are not seen
    Problem<double> p = coarse_problem({1, 20, 100, 1, 1, 8}, order);
    p.key.for_each(
        [&](Size b, Size s, Size g, Size d) { p.key(b, s, g, d) *= static_cast<double>(Size{1} << s / 10); });
    const Problem<float> rounded = to_float(p);
    const Result<double> expected = plain(p);
    const Result<float> simple = plain(rounded);
    check_rungs<float, float>(rounded, {expected, simple});
  }
}

TEST_CASE("fused attention: log_sum_exp is kept only where it is wanted") {
  const Problem<float> p = to_float(make_problem({2, 9, 33, 4, 2, 7}, Order::causal));
  Result<float> with = empty_result(p), without = empty_result(p);
  for (Result<float>* r : {&with, &without})
    attention_fused<float>(cuda(), p.sizes, p.mask(), p.query.view(), p.key.view(), p.value.view(), r->output.view(),
                           r == &with ? r->log_sum_exp.data() : nullptr);
  synchronize(cuda());
  CHECK(largest_difference(with.output.data, without.output.data) == 0);
}

TEST_CASE("fused attention: heads that are too large, and nothing to do") {
  const auto run_sizes = [](AttentionSizes sizes) {
    attention_fused<float>(cuda(), sizes, {}, {nullptr, 0, 0, 0}, {nullptr, 0, 0, 0}, {nullptr, 0, 0, 0},
                           {nullptr, 0, 0, 0}, nullptr);
  };
  CHECK_THROWS_WITH_AS(run_sizes({1, 1, 1, 1, 1, 257}), doctest::Contains("heads of 257 numbers"), Error);
  run_sizes({0, 20, 5, 2, 1, 8});
  run_sizes({2, 0, 5, 2, 1, 8});
  synchronize(cuda());
}

TEST_SUITE_END();
