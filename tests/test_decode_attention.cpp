#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <type_traits>

#include "kernels/attention_ladder.h"
#include "kernels/device_memory.h"
#include "tests/attention_problem.h"
#include "tests/kernel_helpers.h"

using namespace headshare;
using namespace headshare::kernels;
using namespace headshare::kernels::attention_test;

// Decoding on CUDA: few queries over long caches.

namespace {

// A cache as it is stored.
template <class Stored>
struct Cache {
  Heads<Stored> heads;
  Array<float> scales;  // of int8: as many as heads.data has whole heads; NaN where there is none

  HeadsView<const Stored> view() const {
    HeadsView<const Stored> v = heads.view();
    if (!scales.empty()) v.scales = scales.data();
    return v;
  }
};

// Stores x, and leaves in x what is stored, exactly.
template <class Stored>
Cache<Stored> store(Heads<double>& x) {
  if constexpr (std::is_same_v<Stored, std::int8_t>) {
    Cache<Stored> cache{{x.batch, x.positions, x.heads, x.depth, x.batch_stride, x.position_stride, x.head_stride,
                         Array<Stored>(x.data.size(), Stored{127})},
                        Array<float>(x.data.size() / static_cast<std::size_t>(x.depth), test::not_a_number<float>)};
    for (Size b = 0; b < x.batch; ++b)
      for (Size p = 0; p < x.positions; ++p)
        for (Size h = 0; h < x.heads; ++h) {
          double largest = 0;
          for (Size d = 0; d < x.depth; ++d) largest = std::max(largest, std::abs(x(b, p, h, d)));
          const float scale = static_cast<float>(largest / 127);
          cache.scales[static_cast<std::size_t>(x.at(b, p, h, 0) / x.depth)] = scale;
          for (Size d = 0; d < x.depth; ++d) {
            const double number = scale == 0 ? 0 : std::rint(x(b, p, h, d) / scale);
            cache.heads(b, p, h, d) = static_cast<Stored>(number);
            x(b, p, h, d) = number * scale;
          }
        }
    return cache;
  } else {
    Cache<Stored> cache{converted<Stored>(x), {}};
    x = converted<double>(cache.heads);
    return cache;
  }
}

// A problem for queries of type T, and its numbers: those that T and Stored hold.
template <class T, class Stored>
struct Decoding {
  Problem<double> exact;
  Heads<T> query;
  Cache<Stored> key, value;

  explicit Decoding(Problem<double> p)
      : exact(std::move(p)),
        query(converted<T>(exact.query)),
        key(store<Stored>(exact.key)),
        value(store<Stored>(exact.value)) {
    exact.query = converted<double>(query);
  }
};

template <class T>
Result<T> result_for(const Problem<double>& p) {
  const auto [B, T_, S, H, G, D] = p.sizes;
  return {make_heads<T>(B, T_, H, D, Layout::joint_projection),
          Array<Wide<T>>(static_cast<std::size_t>(B * H * T_), test::not_a_number<Wide<T>>),
          {}};
}

// The ways to decode: those of attention_ladder.h. One that is given no place for log_sum_exp leaves NaN there.
template <class T, class Stored>
using Rung = void (*)(const Decoding<T, Stored>& p, Result<T>& to);

template <class T, class Stored>
void per_head(const Decoding<T, Stored>& p, Result<T>& to) {
  decode_attention_per_head<T, Stored>(cuda(), p.exact.sizes, p.exact.mask(), p.query.view(), p.key.view(),
                                       p.value.view(), to.output.view());
}
template <class T, class Stored>
void per_group(const Decoding<T, Stored>& p, Result<T>& to) {
  decode_attention_per_group<T, Stored>(cuda(), p.exact.sizes, p.exact.mask(), p.query.view(), p.key.view(),
                                        p.value.view(), to.output.view(), to.log_sum_exp.data());
}
template <class T, class Stored>
void tensor_core(const Decoding<T, Stored>& p, Result<T>& to) {
  decode_attention_tensor_core<T, Stored>(cuda(), p.exact.sizes, p.exact.mask(), p.query.view(), p.key.view(),
                                          p.value.view(), to.output.view(), to.log_sum_exp.data());
}
template <class T, class Stored>
void best(const Decoding<T, Stored>& p, Result<T>& to) {
  decode_attention<T, Stored>(cuda(), p.exact.sizes, p.exact.mask(), p.query.view(), p.key.view(), p.value.view(),
                              to.output.view(), to.log_sum_exp.data());
}
template <class T, class Stored>
void best_without_sums(const Decoding<T, Stored>& p, Result<T>& to) {
  decode_attention<T, Stored>(cuda(), p.exact.sizes, p.exact.mask(), p.query.view(), p.key.view(), p.value.view(),
                              to.output.view(), nullptr);
}

template <class T, class Stored>
Result<T> result_of(Rung<T, Stored> rung, const Decoding<T, Stored>& p) {
  const auto [B, T_, S, H, G, D] = p.exact.sizes;
  Result<T> r{make_heads<T>(B, T_, H, D, Layout::joint_projection),
              Array<Wide<T>>(static_cast<std::size_t>(B * H * T_), test::not_a_number<Wide<T>>),
              {}};
  rung(p, r);
  synchronize(cuda());
  return r;
}

template <class Stored>
bool for_tensor_cores(const Cache<Stored>& key, const Cache<Stored>& value) {
  if constexpr (sizeof(Stored) <= sizeof(BFloat16))
    return tensor_cores_can_decode(key.heads.depth, key.view(), value.view());
  else
    return false;
}

// How far outputs are from what they should be, less half a unit of bfloat16's last place where they have that type;
// infinity where something was written between the heads.
template <class T>
double output_error(const Heads<T>& output, const Heads<double>& expected) {
  Heads<double> wide = converted<double>(output);
  if constexpr (std::is_same_v<T, BFloat16>)
    expected.for_each([&](Size b, Size t, Size h, Size d) {
      const double y = expected(b, t, h, d), half_unit = std::abs(y) / 256;
      double& x = wide(b, t, h, d);
      x = std::abs(x - y) <= half_unit ? y : x < y ? x + half_unit : x - half_unit;
    });
  return largest_difference(wide.data, expected.data);
}

// Against plain loops. Double: but for roundings. Others: within twice what plain float loses, and a rounding of the
// largest number around; that of a result in bfloat16 comes on top.
template <class T, class Stored>
void check_decoding(const Problem<double>& problem) {
  CAPTURE(sizeof(T));
  CAPTURE(sizeof(Stored));
  const Decoding<T, Stored> p(problem);
  const Result<double> expected = plain(p.exact);
  const Result<Wide<T>> simple = plain(problem_in<Wide<T>>(p.exact));
  const double rounding = std::is_same_v<T, double> ? 1e-13 : 5e-7;
  const double allowed = 2 * largest_difference(simple.output.data, expected.output.data) + rounding;
  const double allowed_of_sums = 2 * largest_difference(simple.log_sum_exp, expected.log_sum_exp) + rounding;
  const auto check = [&](const std::string& name, Rung<T, Stored> rung, double slack) {
    CAPTURE(name);
    const Result<T> r = result_of(rung, p);
    CHECK(output_error(r.output, expected.output) <= allowed + slack);
    if (rung == per_head<T, Stored>) return;
    CHECK(largest_difference(r.log_sum_exp, expected.log_sum_exp) <= allowed_of_sums + slack);
  };
  check("per head", per_head<T, Stored>, 0);
  check("per group", per_group<T, Stored>, 0);
  if constexpr (sizeof(Stored) <= sizeof(BFloat16)) {
    // Three bfloat16 hold a float; of two that are multiplied with int8, and of weights in two, 16 bits are left.
    const double slack = std::is_same_v<T, float> && std::is_same_v<Stored, BFloat16> ? 1e-6 : 2e-5;
    if (for_tensor_cores(p.key, p.value)) check("tensor core", tensor_core<T, Stored>, slack);
  }
}

// int8 where strides are whole heads, as in a cache.
void check_all_types(const Problem<double>& p) {
  CAPTURE(describe(p));
  check_decoding<double, double>(p);
  check_decoding<float, float>(p);
  check_decoding<float, BFloat16>(p);
  check_decoding<BFloat16, BFloat16>(p);
  if (p.key.position_stride % p.key.depth != 0) return;
  check_decoding<float, std::int8_t>(p);
  check_decoding<BFloat16, std::int8_t>(p);
}

Problem<double> cache_problem(AttentionSizes sizes, Order order, Array<std::int32_t> lengths = {},
                              Layout layout = Layout::cache) {
  return make_problem(sizes, order, std::move(lengths), layout);
}

}  // namespace

// All of this is CUDA's: where the tests run on the CPU, doctest skips it, and says so in its count.
TEST_SUITE_BEGIN("decode attention on CUDA" * doctest::skip(test::test_device() == Device::cpu));

TEST_CASE("decode attention agrees with plain loops, whatever is shared and however long the cache is") {
  const std::array<Size, 7> head_sizes{1, 7, 32, 64, 97, 128, 48};
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
          check_all_types(cache_problem({S < 700 ? 2 : 1, T, S, G * shared_by, G, head_sizes[turn % 7]}, order, lengths,
                                        turn % 9 == 2 ? Layout::joint_projection : Layout::cache));
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
  const Problem<double> for_tensor_cores = cache_problem({B, 1, S, 1, 1, 16}, Order::any, lengths);
  check_decoding<BFloat16, BFloat16>(for_tensor_cores);  // one split: three steps
  check_decoding<float, std::int8_t>(for_tensor_cores);
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

template <class T, class Stored>
void check_padding() {
  Decoding<T, Stored> p(cache_problem({1, 1, 300, 8, 1, 64}, Order::any, {150}));
  const Result<T> before = result_of(best<T, Stored>, p);
  for (Cache<Stored>* cache : {&p.key, &p.value}) {
    if constexpr (std::is_same_v<Stored, std::int8_t>)
      std::fill(cache->scales.begin() + 150, cache->scales.end(), test::not_a_number<float>);
    else
      for (Size s = 150; s < 300; ++s)
        for (Size d = 0; d < 64; ++d) cache->heads(0, s, 0, d) = number_as<Stored>(test::not_a_number<float>);
  }
  const Result<T> after = result_of(best_without_sums<T, Stored>, p);
  CHECK(test::same_bits(after.output.data, before.output.data));
}

TEST_CASE("decode attention reads nothing from padding, and does not need log_sum_exp") {
  check_padding<float, float>();
  check_padding<float, BFloat16>();
  check_padding<BFloat16, BFloat16>();
  check_padding<BFloat16, std::int8_t>();
}

template <class T, class Stored>
void check_large_scores() {
  Problem<double> problem = cache_problem({1, 1, 300, 2, 1, 8}, Order::any);
  problem.key.for_each(
      [&](Size b, Size s, Size g, Size d) { problem.key(b, s, g, d) *= static_cast<double>(Size{1} << s / 30); });
  const Decoding<T, Stored> p(problem);
  const Result<double> expected = plain(p.exact);
  const Result<T> r = result_of(best<T, Stored>, p);  // scores of a thousand carry roundings of 1e-4
  CHECK(output_error(r.output, expected.output) < 1e-3);
  CHECK(largest_difference(r.log_sum_exp, expected.log_sum_exp) < 1e-3);
}

TEST_CASE("decode attention: scores that grow along the cache do not overflow") {
  check_large_scores<float, float>();
  check_large_scores<float, BFloat16>();
  check_large_scores<BFloat16, BFloat16>();
  check_large_scores<BFloat16, std::int8_t>();
}

TEST_CASE("decode attention: more rows than a tile has") {
  check_all_types(cache_problem({1, 3, 40, 8, 1, 32}, Order::causal));
  check_all_types(with_window(cache_problem({2, 17, 150, 4, 2, 16}, Order::causal, {150, 60}), 70));
}

TEST_CASE("decode attention: nothing to do, and what tensor cores do not take") {
  const auto run_sizes = [](auto rung, AttentionSizes sizes) {
    rung(cuda(), sizes, AttentionMask{}, {nullptr, 0, 0, 0}, {nullptr, 0, 0, 0}, {nullptr, 0, 0, 0}, {nullptr, 0, 0, 0},
         nullptr);
  };
  const auto tensor_core_rung = decode_attention_tensor_core<BFloat16, BFloat16>;
  for (const AttentionSizes sizes : {AttentionSizes{0, 1, 5, 8, 1, 8}, AttentionSizes{2, 0, 5, 8, 1, 8}}) {
    run_sizes(decode_attention_per_group<float, float>, sizes);
    run_sizes(tensor_core_rung, sizes);
  }
  for (const Size D : {129, 136, 7})
    CHECK_THROWS_WITH_AS(run_sizes(tensor_core_rung, {1, 1, 5, 8, 1, D}), doctest::Contains("at most 128"), Error);
  synchronize(cuda());
}

TEST_SUITE_END();
