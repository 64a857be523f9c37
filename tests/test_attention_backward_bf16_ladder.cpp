#include <doctest/doctest.h>

#include <array>
#include <cstring>

#include "kernels/attention_ladder.h"
#include "kernels/device_memory.h"
#include "tests/attention_problem.h"

using namespace headshare;
using namespace headshare::kernels;
using namespace headshare::kernels::attention_test;

namespace {

// Inputs that bfloat16 holds exactly, and the forward's results as the backward gets them.
struct Case {
  Problem<double> problem;
  Heads<double> output, d_output;
  Array<float> log_sum_exp;
};

Case make_case(AttentionSizes sizes, Order order, Array<std::int32_t> lengths, Layout layout, Size window = 0) {
  const Problem<double> p = with_window(bfloat16_problem(sizes, order, std::move(lengths), layout), window);
  const auto [B, T, S, H, G, D] = sizes;
  Case c{p, make_heads<double>(B, T, H, D, layout == Layout::cache ? Layout::positions_first : layout), {}, {}};
  c.d_output = random_upstream(p);
  round_to_bfloat16(c.d_output);
  for (Size b = 0; b < B; ++b)
    for (Size h = 0; h < H; ++h)
      for (Size t = 0; t < T; ++t) {
        double sum = 0;  // scores stay small: no need to subtract their maximum
        for (Size d = 0; d < D; ++d) c.output(b, t, h, d) = 0;
        for (Size s = 0; s < S; ++s) {
          if (!sees(p, b, t, s)) continue;
          double score = 0;
          for (Size d = 0; d < D; ++d) score += p.query(b, t, h, d) * p.key(b, s, h / (H / G), d);
          const double weight = std::exp(score / std::sqrt(static_cast<double>(D)));
          sum += weight;
          for (Size d = 0; d < D; ++d) c.output(b, t, h, d) += weight * p.value(b, s, h / (H / G), d);
        }
        for (Size d = 0; d < D; ++d) c.output(b, t, h, d) /= sum != 0 ? sum : 1;
        c.log_sum_exp.push_back(static_cast<float>(std::log(sum)));  // -infinity where no key is seen
      }
  round_to_bfloat16(c.output);
  return c;
}

// The gradients in plain loops, and how far rounding may take them: weights and gradients of scores are rounded to
// bfloat16, each by at most 2^-8 of its own, before they enter the sums, which are rounded to bfloat16 once more. The
// roundings within a sum go either way. Of n of them the sum is the root of their squares; thrice that never happens.
struct Expected {
  Gradients<double> gradients, squares;
};

Expected expected_of(const Case& c) {
  const Problem<double>& p = c.problem;
  const auto [B, T, S, H, G, D] = p.sizes;
  const auto zeros = [&] {
    Gradients<double> g{make_heads<double>(B, T, H, D, Layout::positions_first),
                        make_heads<double>(B, S, G, D, Layout::positions_first),
                        make_heads<double>(B, S, G, D, Layout::positions_first)};
    for (Heads<double>* heads : {&g.query, &g.key, &g.value}) std::fill(heads->data.begin(), heads->data.end(), 0.0);
    return g;
  };
  Expected e{zeros(), zeros()};
  const double scale = 1 / std::sqrt(static_cast<double>(D));
  const auto add = [](Heads<double>& to, Heads<double>& squares, Size b, Size position, Size head, Size d, double x) {
    to(b, position, head, d) += x;
    squares(b, position, head, d) += x * x;
  };
  for (Size b = 0; b < B; ++b)
    for (Size h = 0; h < H; ++h)
      for (Size t = 0; t < T; ++t) {
        const Size g = h / (H / G);
        double delta = 0;
        for (Size d = 0; d < D; ++d) delta += c.d_output(b, t, h, d) * c.output(b, t, h, d);
        for (Size s = 0; s < S; ++s) {
          if (!sees(p, b, t, s)) continue;
          double score = 0, d_weight = 0;
          for (Size d = 0; d < D; ++d) {
            score += p.query(b, t, h, d) * p.key(b, s, g, d);
            d_weight += c.d_output(b, t, h, d) * p.value(b, s, g, d);
          }
          const double log_sum = static_cast<double>(c.log_sum_exp[static_cast<std::size_t>((b * H + h) * T + t)]);
          const double weight = std::exp(score * scale - log_sum), d_score = weight * (d_weight - delta) * scale;
          for (Size d = 0; d < D; ++d) {
            add(e.gradients.value, e.squares.value, b, s, g, d, weight * c.d_output(b, t, h, d));
            add(e.gradients.query, e.squares.query, b, t, h, d, d_score * p.key(b, s, g, d));
            add(e.gradients.key, e.squares.key, b, s, g, d, d_score * p.query(b, t, h, d));
          }
        }
      }
  return e;
}

Gradients<BFloat16> run_case(const Case& c, Layout layout, Size most_bytes) {
  const Problem<double>& p = c.problem;
  const auto [B, T, S, H, G, D] = p.sizes;
  const Heads<BFloat16> query = converted<BFloat16>(p.query), key = converted<BFloat16>(p.key),
                        value = converted<BFloat16>(p.value);
  const Heads<BFloat16> output = converted<BFloat16>(c.output), d_output = converted<BFloat16>(c.d_output);
  const auto untouched = [&](Size positions, Size heads, Layout as) {
    return converted<BFloat16>(make_heads<double>(B, positions, heads, D, as));
  };
  Gradients<BFloat16> g{untouched(T, H, layout == Layout::cache ? Layout::positions_first : layout),
                        untouched(S, G, layout), untouched(S, G, layout)};
  attention_backward_tensor_core(cuda(), p.sizes, p.mask(), query.view(), key.view(), value.view(), output.view(),
                                 c.log_sum_exp.data(), d_output.view(), g.query.view(), g.key.view(), g.value.view(),
                                 most_bytes);
  synchronize(cuda());
  return g;
}

// The largest error in units of what is allowed. What lies between the heads must be as it was.
double largest_error(const Heads<BFloat16>& result, const Heads<double>& expected, const Heads<double>& squares) {
  double largest = 0;
  std::vector<bool> used(result.data.size());
  expected.for_each([&](Size b, Size position, Size head, Size d) {
    const double x = number_as<double>(result(b, position, head, d)), right = expected(b, position, head, d);
    const double allowed = (std::abs(right) + 3 * std::sqrt(squares(b, position, head, d))) / 256 + 1e-6;
    const double error = std::abs(x - right) / allowed;
    largest = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(largest, error);
    used[static_cast<std::size_t>(result.at(b, position, head, d))] = true;
  });
  for (std::size_t i = 0; i < used.size(); ++i)
    if (!used[i] && !std::isnan(number_as<double>(result.data[i]))) return std::numeric_limits<double>::infinity();
  return largest;
}

void check(const Case& c, Layout layout, Size most_bytes = Size{1} << 29) {
  CAPTURE(describe(c.problem));
  CAPTURE(static_cast<int>(layout));
  const Expected e = expected_of(c);
  const Gradients<BFloat16> g = run_case(c, layout, most_bytes);
  CHECK(largest_error(g.query, e.gradients.query, e.squares.query) <= 1);
  CHECK(largest_error(g.key, e.gradients.key, e.squares.key) <= 1);
  CHECK(largest_error(g.value, e.gradients.value, e.squares.value) <= 1);
}

}  // namespace

TEST_SUITE_BEGIN("the backward of attention on tensor cores" * doctest::skip(test::test_device() == Device::cpu));

TEST_CASE("the gradients of attention in bfloat16 agree with plain loops") {
  struct Shape {
    Size T, S, G, D;
  };
  const std::array<Shape, 12> shapes{{{1, 1, 4, 8},
                                      {7, 33, 2, 33},
                                      {33, 7, 1, 64},
                                      {97, 97, 4, 16},
                                      {65, 130, 2, 40},
                                      {130, 65, 4, 32},
                                      {33, 97, 1, 96},
                                      {40, 131, 4, 97},
                                      {97, 33, 2, 128},
                                      {1, 97, 1, 64},
                                      {66, 66, 4, 128},
                                      {130, 130, 2, 64}}};
  const std::array<Layout, 3> layouts{Layout::aligned_projection, Layout::joint_projection, Layout::cache};
  std::size_t turn = 0;
  for (const Shape& shape : shapes)
    for (const Order order : {Order::any, Order::causal}) {
      const auto [T, S, G, D] = shape;
      Array<std::int32_t> lengths;
      if (turn % 5 < 2) lengths = {static_cast<std::int32_t>(S), static_cast<std::int32_t>(S / 2)};
      const Layout layout = layouts[turn % 3];
      check(make_case({2, T, S, 4, G, D}, order, lengths, layout), layout);
      ++turn;
    }
}

TEST_CASE("windows, in rows and keys that end within a tile") {
  for (const Size window : {1, 5, 64, 100})
    check(make_case({1, 150, 141, 2, 1, 32}, Order::causal, {}, Layout::positions_first, window),
          Layout::positions_first);
  check(make_case({1, 140, 300, 1, 1, 32}, Order::causal, {}, Layout::positions_first, 40), Layout::positions_first);
  check(make_case({1, 70, 200, 2, 2, 64}, Order::causal, {150}, Layout::positions_first, 70), Layout::positions_first);
  // Of the rows that see any of the first 128 keys, the last is alone in its tile of 64.
  check(make_case({1, 200, 200, 1, 1, 32}, Order::causal, {}, Layout::positions_first, 66), Layout::positions_first);
}

TEST_CASE("queries among the padding, whose windows have left all keys, get nothing of what the memory held before") {
  const auto run = [](Order order, Array<std::int32_t> lengths, Size window) {
    check(make_case({1, 300, 200, 1, 1, 32}, order, std::move(lengths), Layout::positions_first, window),
          Layout::positions_first);
  };
  run(Order::any, {}, 0);  // leaves gradients of scores everywhere
  run(Order::causal, {20}, 8);
}

TEST_CASE("queries that see nothing and keys that nobody sees") {
  for (const Order order : {Order::any, Order::causal}) {
    check(make_case({3, 35, 20, 2, 2, 24}, order, {20, 0, 1}, Layout::positions_first), Layout::positions_first);
    check(make_case({2, 3, 150, 2, 1, 16}, order, {0, 2}, Layout::positions_first), Layout::positions_first);
  }
}

TEST_CASE("keys in several runs and rows in several shares give the same gradients") {
  const Case c = make_case({2, 130, 300, 4, 1, 32}, Order::causal, {300, 140}, Layout::positions_first);
  check(c, Layout::positions_first, 0);
  check(make_case({1, 150, 270, 2, 2, 64}, Order::any, {}, Layout::positions_first), Layout::positions_first, 200000);
  const Gradients<BFloat16> one = run_case(c, Layout::positions_first, 0),
                            same = run_case(c, Layout::positions_first, 0);
  for (const auto of : {&Gradients<BFloat16>::query, &Gradients<BFloat16>::key, &Gradients<BFloat16>::value})
    CHECK(std::memcmp((one.*of).data.data(), (same.*of).data.data(), (one.*of).data.size() * sizeof(BFloat16)) == 0);
}

TEST_CASE("attention_backward of bfloat16 is the one on tensor cores") {
  const Case c = make_case({1, 40, 40, 2, 1, 64}, Order::causal, {}, Layout::positions_first);
  const Gradients<BFloat16> expected = run_case(c, Layout::positions_first, Size{1} << 29);
  Gradients<BFloat16> g = expected;
  for (Heads<BFloat16>* heads : {&g.query, &g.key, &g.value})
    std::fill(heads->data.begin(), heads->data.end(), BFloat16(0.0f));
  const Problem<double>& p = c.problem;
  const Heads<BFloat16> query = converted<BFloat16>(p.query), key = converted<BFloat16>(p.key),
                        value = converted<BFloat16>(p.value);
  const Heads<BFloat16> output = converted<BFloat16>(c.output), d_output = converted<BFloat16>(c.d_output);
  attention_backward<BFloat16>(cuda(), p.sizes, p.mask(), query.view(), key.view(), value.view(), output.view(),
                               c.log_sum_exp.data(), d_output.view(), g.query.view(), g.key.view(), g.value.view());
  synchronize(cuda());
  for (const auto of : {&Gradients<BFloat16>::query, &Gradients<BFloat16>::key, &Gradients<BFloat16>::value})
    CHECK(std::memcmp((g.*of).data.data(), (expected.*of).data.data(), (g.*of).data.size() * sizeof(BFloat16)) == 0);
}

TEST_CASE("heads that do not fit into registers are an error") {
  const Case c = make_case({1, 2, 2, 1, 1, 136}, Order::any, {}, Layout::positions_first);
  CHECK_THROWS_WITH_AS(run_case(c, Layout::positions_first, 0), doctest::Contains("heads of 136 numbers"), Error);
}
