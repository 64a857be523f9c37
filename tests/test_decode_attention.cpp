#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>

#include "kernels/attention_ladder.h"
#include "kernels/cache.h"
#include "kernels/device_memory.h"
#include "tests/attention_problem.h"
#include "tests/kernel_helpers.h"

using namespace headshare;
using namespace headshare::kernels;
using namespace headshare::kernels::attention_test;

// Decoding on CUDA: few queries over long caches, and what is done with the caches besides.

namespace {

// Keys and values that bfloat16 holds exactly: then one expectation serves all element types.
Problem<double> cache_problem(AttentionSizes sizes, Order order, Array<std::int32_t> lengths = {},
                              Layout layout = Layout::cache) {
  Problem<double> p = make_problem(sizes, order, std::move(lengths), layout);
  for (Heads<double>* heads : {&p.key, &p.value})
    for (double& x : heads->data) x = static_cast<double>(static_cast<float>(BFloat16(x)));
  return p;
}

template <class T, class Stored>
Result<T> run_per_group(const Problem<T>& p) {
  Result<T> r = empty_result(p);
  const Heads<Stored> key = converted<Stored>(p.key), value = converted<Stored>(p.value);
  decode_attention_per_group<T, Stored>(cuda(), p.sizes, p.mask(), p.query.view(), key.view(), value.view(),
                                        r.output.view(), r.log_sum_exp.data());
  synchronize(cuda());
  return r;
}

template <class T, class Stored>
Result<T> run_per_head(const Problem<T>& p) {
  Result<T> r = empty_result(p);
  const Heads<Stored> key = converted<Stored>(p.key), value = converted<Stored>(p.value);
  decode_attention_per_head<T, Stored>(cuda(), p.sizes, p.mask(), p.query.view(), key.view(), value.view(),
                                       r.output.view());
  synchronize(cuda());
  return r;
}

// Against plain loops. Double: but for roundings. Float: within twice what plain float loses, and a rounding of the
// largest number around.
template <class T, class Stored>
void check_decoding(const Problem<double>& exact) {
  const Result<double> expected = plain(exact);
  const Problem<T> p = problem_in<T>(exact);
  const Result<T> simple = plain(p);
  const double rounding = std::is_same_v<T, double> ? 1e-13 : 5e-7;
  const auto check = [&](const Array<T>& fast, const Array<T>& plain_t, const Array<double>& plain_double) {
    CHECK(largest_difference(fast, plain_double) <= 2 * largest_difference(plain_t, plain_double) + rounding);
  };
  check(run_per_head<T, Stored>(p).output.data, simple.output.data, expected.output.data);
  const Result<T> group = run_per_group<T, Stored>(p);
  check(group.output.data, simple.output.data, expected.output.data);
  check(group.log_sum_exp, simple.log_sum_exp, expected.log_sum_exp);
}

void check_all_types(const Problem<double>& p) {
  CAPTURE(describe(p));
  check_decoding<double, double>(p);
  check_decoding<float, float>(p);
  check_decoding<float, BFloat16>(p);
}

}  // namespace

// All of this is CUDA's: where the tests run on the CPU, doctest skips it, and says so in its count.
TEST_SUITE_BEGIN("decode attention on CUDA" * doctest::skip(test::test_device() == Device::cpu));

TEST_CASE("decode attention agrees with plain loops, whatever is shared and however long the cache is") {
  const std::array<Size, 5> head_sizes{1, 7, 32, 64, 97};
  std::size_t turn = 0;  // head sizes, paddings, orders and layouts take turns: all products would take a minute
  for (const Size T : {1, 3})
    for (const Size shared_by : {1, 4, 8})
      for (const Size S : {1, 31, 129, 700})
        for (std::size_t i = 0; i < (S < 129 ? 3 : 1); ++i) {
          if (T * shared_by > 16) continue;
          const Size G = S < 700 && turn % 2 == 0 ? 2 : 1;
          Array<std::int32_t> lengths;
          if (turn % 3 == 1) lengths = {static_cast<std::int32_t>(S), static_cast<std::int32_t>(S * 2 / 5)};
          const Order order = turn % 4 == 3 ? Order::causal : Order::any;
          check_all_types(cache_problem({S < 700 ? 2 : 1, T, S, G * shared_by, G, head_sizes[turn % 5]}, order, lengths,
                                        turn % 7 == 2 ? Layout::joint_projection : Layout::cache));
          ++turn;
        }
}

TEST_CASE("decode attention: the largest heads and the most rows") {
  for (const Size D : {128, 256}) check_all_types(cache_problem({1, 2, 40, 8, 1, D}, Order::causal));
  check_all_types(cache_problem({1, 4, 33, 4, 1, 40}, Order::causal));
}

TEST_CASE("decode attention: so many sentences that a warp takes several steps, of different lengths") {
  const Size B = 1024, S = 290;  // two splits, of up to 256 keys
  Array<std::int32_t> lengths;
  for (Size b = 0; b < B; ++b) lengths.push_back(static_cast<std::int32_t>(S - b % 50));
  check_decoding<float, float>(cache_problem({B, 1, S, 1, 1, 4}, Order::any, lengths));
}

TEST_CASE("decode attention: queries that see no key") {
  for (const Size T : {1, 3})
    for (const Size S : {2, 140})
      check_all_types(cache_problem({3, T, S, 4, 2, 8}, Order::causal, {0, static_cast<std::int32_t>(S), 1}));
}

TEST_CASE("decode attention: a window, of which padding hides some or all keys, in one split and in several") {
  for (const Size window : {1, 7, 150, 1000}) {
    check_all_types(with_window(cache_problem({2, 3, 40, 8, 2, 7}, Order::causal, {40, 33}), window));
    check_all_types(with_window(cache_problem({2, 2, 400, 4, 1, 8}, Order::causal, {400, 300}), window));
  }
  check_all_types(with_window(cache_problem({2, 1, 300, 4, 4, 8}, Order::causal), 200));
}

TEST_CASE("decode attention: a cache shorter than its sentence counts whole") {
  for (const Size T : {1, 3}) {
    const Problem<double> p = cache_problem({2, T, 20, 4, 2, 8}, Order::any, {25, 13});
    check_all_types(p);
    CHECK(largest_difference(plain(p).output.data, plain(cache_problem(p.sizes, Order::any, {20, 13})).output.data) ==
          0);
  }
}

TEST_CASE("decode attention reads nothing from padding, and does not need log_sum_exp") {
  Problem<float> p = to_float(cache_problem({1, 1, 300, 8, 1, 64}, Order::any, {150}));
  const Result<float> before = run_per_group<float, float>(p);
  for (Size s = 150; s < 300; ++s)
    for (Size d = 0; d < 64; ++d) p.key(0, s, 0, d) = p.value(0, s, 0, d) = test::not_a_number<float>;
  const Problem<float>& padded = p;
  Result<float> after = empty_result(p);
  decode_attention_per_group<float>(cuda(), p.sizes, p.mask(), padded.query.view(), padded.key.view(),
                                    padded.value.view(), after.output.view(), nullptr);
  synchronize(cuda());
  CHECK(largest_difference(after.output.data, before.output.data) == 0);
}

TEST_CASE("decode attention: scores that grow along the cache do not overflow") {
  Problem<double> p = cache_problem({1, 1, 300, 2, 1, 8}, Order::any);
  p.key.for_each([&](Size b, Size s, Size g, Size d) { p.key(b, s, g, d) *= static_cast<double>(Size{1} << s / 30); });
  const Result<double> expected = plain(p);
  const auto check = [&](const Result<float>& r) {  // scores of a thousand carry roundings of 1e-4
    CHECK(largest_difference(r.output.data, expected.output.data) < 1e-3);
    CHECK(largest_difference(r.log_sum_exp, expected.log_sum_exp) < 1e-3);
  };
  check(run_per_group<float, float>(to_float(p)));
  check(run_per_group<float, BFloat16>(to_float(p)));
}

TEST_CASE("decode attention: more rows than it is made for, and nothing to do") {
  const auto run_sizes = [](AttentionSizes sizes) {
    decode_attention_per_group<float>(cuda(), sizes, {}, {nullptr, 0, 0, 0}, {nullptr, 0, 0, 0}, {nullptr, 0, 0, 0},
                                      {nullptr, 0, 0, 0}, nullptr);
  };
  CHECK_THROWS_WITH_AS(run_sizes({1, 3, 5, 8, 1, 8}), doctest::Contains("24 query rows"), Error);
  run_sizes({0, 1, 5, 8, 1, 8});
  run_sizes({2, 0, 5, 8, 1, 8});
  synchronize(cuda());
}

TEST_CASE("copying heads into a cache: both devices, narrowing as the CPU does") {
  const Heads<float> x = [] {
    Heads<float> heads = make_heads<float>(3, 5, 4, 7, Layout::joint_projection);
    Generator generator(3);
    fill(heads, generator);
    return heads;
  }();
  const Array<std::int32_t> firsts{2, 7, 9, 1000};  // which fit, which meet the end of the ring, which are beyond it
  const auto check = [&]<class Stored>(Stored) {
    for (std::size_t i = 0; i <= firsts.size(); ++i) {
      const std::int32_t* const first = i == firsts.size() ? nullptr : &firsts[i];
      Heads<Stored> expected = make_heads<Stored>(3, 9, 4, 7, Layout::cache), result = expected;
      copy_heads<float, Stored>(Cpu{}, 3, 5, 4, 7, x.view(), expected.view(), {9, first});
      test::on_device([&](auto device) {
        copy_heads<float, Stored>(device, 3, 5, 4, 7, x.view(), result.view(), {9, first});
      });
      CHECK(test::same_bits(result.data, expected.data));
      const Size skipped = first == nullptr ? 0 : *first;
      x.for_each([&](Size b, Size p, Size h, Size d) {
        CHECK(static_cast<float>(result(b, (skipped + p) % 9, h, d)) == static_cast<float>(Stored(x(b, p, h, d))));
      });
      if constexpr (std::is_same_v<Stored, float>)
        CHECK(std::ranges::count_if(result.data, [](float y) { return !std::isnan(y); }) == 3 * 5 * 4 * 7);
    }
  };
  check(float{});
  check(BFloat16{});
  test::on_device([&](auto device) { copy_heads<float>(device, 0, 5, 4, 7, x.view(), HeadsView<float>{}, {9}); });
}

TEST_CASE("moves of cache rows happen one after the other") {
  // The second move reads what the first wrote; the last ones rotate three rows by way of row 99. Then many, at random.
  std::vector<RowMove> moves{{0, 1}, {1, 2}, {3, 3}, {5, 99}, {6, 5}, {7, 6}, {99, 7}, {5, 8}, {9, 8}};
  Generator generator(9);
  for (int i = 0; i < 150; ++i) moves.push_back({generator.below(100), generator.below(100)});
  for (Size i = 0; i < 40; ++i) moves.push_back({i, 60 + i});
  const auto check = [&]<class Stored>(Stored, Size piece_size, Size used) {
    const Size pieces = 3;
    Array<Stored> expected(static_cast<std::size_t>(100 * pieces * piece_size));
    for (Stored& x : expected) x = Stored(static_cast<float>(generator.normal()));
    Array<Stored> result = expected;
    move_rows<Stored>(Cpu{}, moves, pieces, piece_size, used, expected.data());
    test::on_device([&](auto device) { move_rows<Stored>(device, moves, pieces, piece_size, used, result.data()); });
    CHECK(test::same_bits(result, expected));
  };
  check(float{}, 7, 5);
  check(float{}, 8, 4);  // whole words of 16 bytes
  check(double{}, 6, 6);
  check(BFloat16{}, 16, 9);
  check(BFloat16{}, 16, 8);
  check(float{}, 8, 0);
  const std::vector<RowMove> first_two(moves.begin(), moves.begin() + 2);
  Array<float> rows{1, 2, 3, 4};
  test::on_device([&](auto device) { move_rows<float>(device, first_two, 1, 1, 1, rows.data()); });
  CHECK(rows == Array<float>{1, 1, 1, 4});
}

TEST_SUITE_END();
