#include <doctest/doctest.h>
#include <omp.h>

#include <array>

#include "tests/attention_problem.h"

using namespace headshare;
using namespace headshare::kernels;
using namespace headshare::kernels::attention_test;

namespace {

// Double against plain double; float against twice what plain float loses, and a rounding of the largest number around.
void check_forward(const Problem<double>& p) {
  CAPTURE(describe(p));
  const Result<double> expected = plain(p), result = run(p);
  CHECK(largest_difference(result.output.data, expected.output.data) < 1e-13);
  CHECK(largest_difference(result.log_sum_exp, expected.log_sum_exp) < 1e-13);
  CHECK(largest_difference(result.weights, expected.weights) < 1e-14);

  const Problem<float> rounded = to_float(p);
  const Result<float> simple = plain(rounded), fast = run(rounded);
  const auto check = [](const Array<float>& f, const Array<float>& s, const Array<double>& e) {
    CHECK(largest_difference(f, e) <= 2 * largest_difference(s, e) + 5e-7);
  };
  check(fast.output.data, simple.output.data, expected.output.data);
  check(fast.log_sum_exp, simple.log_sum_exp, expected.log_sum_exp);
  check(fast.weights, simple.weights, expected.weights);
}

void check_backward(const Problem<double>& p) {
  CAPTURE(describe(p));
  const Heads<double> d_output = random_upstream(p);
  const Gradients<double> expected = plain_backward(p, d_output), result = run_backward(p, d_output);
  CHECK(largest_difference(result.query.data, expected.query.data) < 1e-12);
  CHECK(largest_difference(result.key.data, expected.key.data) < 1e-12);
  CHECK(largest_difference(result.value.data, expected.value.data) < 1e-12);

  const Problem<float> rounded = to_float(p);
  const Heads<float> d_output_rounded = converted<float>(d_output);
  const Gradients<float> simple = plain_backward(rounded, d_output_rounded);
  const Gradients<float> fast = run_backward(rounded, d_output_rounded);
  // Plain loops can be exact by luck: with one visible key, dP - delta is 0 to the last bit. The kernel takes delta
  // from the output, and a rounding of a sum over D remains, once for every row that is added up.
  const auto rows = static_cast<double>(p.sizes.targets * p.sizes.heads / p.sizes.kv_heads);
  const double rounding = 1e-6 + 3e-7 * std::sqrt(rows * static_cast<double>(p.sizes.head_size));
  const auto check = [&](const Heads<float>& f, const Heads<float>& s, const Heads<double>& e) {
    CHECK(largest_difference(f.data, e.data) <= 2 * largest_difference(s.data, e.data) + rounding);
  };
  check(fast.query, simple.query, expected.query);
  check(fast.key, simple.key, expected.key);
  check(fast.value, simple.value, expected.value);
}

// All modes of sharing for all sizes; `check` sees each one causal and not, with and without padding.
template <class Check>
void for_all_sizes(Check check) {
  const std::vector<Size> odd{1, 7, 33, 97};
  test::Turn turn(3);
  for (const Size H : {1, 2, 4, 6})
    for (const Size G : {Size{1}, Size{2}, H}) {
      if (H % G != 0) continue;
      for (const Size T : odd)
        for (const Size S : odd)
          for (const Size D : {1, 7, 8, 32, 33}) {
            // The full product would take a minute: the largest sizes meet few heads.
            if (T * S * H > 33 * 33 * 2 && D != 7 && D != 32) continue;
            if (T * S * H > 33 * 97 * 2 && H != 6) continue;
            if (!turn()) continue;
            const AttentionSizes sizes{2, T, S, H, G, D};
            const Array<std::int32_t> lengths{static_cast<std::int32_t>(S), static_cast<std::int32_t>(S / 2)};
            check(make_problem(sizes, Order::any, (T + D) % 2 == 0 ? lengths : Array<std::int32_t>{}));
            check(make_problem(sizes, Order::causal, (T + D) % 2 == 1 ? lengths : Array<std::int32_t>{}));
          }
    }
}

}  // namespace

TEST_CASE("attention of two keys is the average a calculator gives") {
  // One query 2, keys 0 and ln 3 / 2: scores 0 and ln 3, weights 1/4 and 3/4; values 8 and 4: output 5.
  const Array<double> query = {2}, keys = {0, std::log(3.0) / 2}, values = {8, 4};
  Array<double> output(1), log_sum_exp(1), weights(2);
  const AttentionSizes sizes{1, 1, 2, 1, 1, 1};
  on_device([&](auto device) {
    attention<double>(device, sizes, {}, {query.data(), 1, 1, 1}, {keys.data(), 2, 1, 2}, {values.data(), 2, 1, 2},
                      {output.data(), 1, 1, 1}, log_sum_exp.data());
  });
  on_device([&](auto device) {
    attention_weights<double>(device, sizes, {}, {query.data(), 1, 1, 1}, {keys.data(), 2, 1, 2}, weights.data());
  });
  CHECK(output[0] == doctest::Approx(5).epsilon(1e-15));
  CHECK(log_sum_exp[0] == doctest::Approx(std::log(4.0)).epsilon(1e-15));
  CHECK(weights[0] == doctest::Approx(0.25).epsilon(1e-15));
  CHECK(weights[1] == doctest::Approx(0.75).epsilon(1e-15));
}

TEST_CASE("attention agrees with plain loops for all sizes and modes") { for_all_sizes(check_forward); }

TEST_CASE("the backward of attention agrees with plain loops for all sizes and modes") {
  for_all_sizes(check_backward);
}

TEST_CASE("heads are read in place from a projection and from a cache") {
  for (const Layout layout : {Layout::positions_first, Layout::joint_projection, Layout::cache})
    for (const Size D : {7, 32})
      for (const Size T : {1, 33}) {
        const Problem<double> p = make_problem({3, T, 97, 4, 2, D}, Order::causal, {97, 0, 50}, layout);
        check_forward(p);
        check_backward(p);
      }
}

TEST_CASE("sources longer than a tile are joined without a seam") {
  const Problem<double> p = make_problem({1, 70, 300, 2, 1, 16}, Order::causal, {290});
  check_forward(p);
  check_backward(p);
  check_forward(make_problem({1, 1, 8192, 4, 1, 8}, Order::any));
}

TEST_CASE("a window agrees with plain loops: from one key to more than there are, with padding, heads shared or not") {
  test::Turn turn(7);  // which meets every window, every sharing and every size
  for (const Size window : {1, 3, 7, 34, 200})
    for (const Size G : {1, 2, 4})
      for (const auto& [T, S, D] : std::vector<std::array<Size, 3>>{
               {1, 1, 7}, {7, 7, 8}, {33, 33, 33}, {97, 97, 7}, {1, 97, 32}, {3, 33, 8}, {33, 97, 7}, {9, 5, 8}}) {
        if (!turn()) continue;
        const Array<std::int32_t> lengths{static_cast<std::int32_t>(S), static_cast<std::int32_t>(S / 2)};
        const Layout layout = G == 2 ? Layout::cache : Layout::joint_projection;
        for (const Array<std::int32_t>& padding : {Array<std::int32_t>{}, lengths}) {
          const Problem<double> p =
              with_window(make_problem({2, T, S, 4, G, D}, Order::causal, padding, layout), window);
          check_forward(p);
          check_backward(p);
        }
      }
}

TEST_CASE("a window hides whole tiles of keys and of queries, and ends where it should") {
  for (const Size window : {2, 5, 130}) {
    for (const Size G : {2, 1}) {
      const Problem<double> p = with_window(make_problem({1, 70, 300, 2, G, 16}, Order::causal, {290}), window);
      check_forward(p);
      check_backward(p);
    }
    const Problem<double> p = with_window(make_problem({1, 97, 97, 1, 1, 7}, Order::causal), window);
    check_forward(p);
    check_backward(p);
  }
}

TEST_CASE("a window as long as the keys hides none, bit for bit, and one key is its own average") {
  Problem<float> p = to_float(make_problem({2, 33, 33, 4, 2, 8}, Order::causal, {33, 20}));
  const Heads<float> d_output = converted<float>(random_upstream(make_problem(p.sizes, Order::any)));
  const Result<float> all = run(p);
  const Gradients<float> gradients = run_backward(p, d_output);
  p.window = 33;
  const Result<float> seen = run(p);
  const Gradients<float> same = run_backward(p, d_output);
  CHECK(largest_difference(all.output.data, seen.output.data) == 0);
  CHECK(largest_difference(all.log_sum_exp, seen.log_sum_exp) == 0);
  CHECK(all.weights == seen.weights);
  for (const auto part : {&Gradients<float>::query, &Gradients<float>::key, &Gradients<float>::value})
    CHECK(largest_difference((gradients.*part).data, (same.*part).data) == 0);
  p.window = 32;
  CHECK(largest_difference(all.output.data, run(p).output.data) > 1e-3);
  p.window = 1;
  const Result<float> own = run(p);
  own.output.for_each([&](Size b, Size t, Size h, Size d) {
    const bool blind = b == 1 && t >= 20;
    CHECK(own.output(b, t, h, d) == (blind ? 0 : p.value(b, t, h / 2, d)));
  });
}

TEST_CASE("nothing is read from keys that have left the window of all queries, and their gradients are 0") {
  Problem<float> p = to_float(with_window(make_problem({1, 3, 60, 4, 2, 8}, Order::causal), 7));
  const Heads<float> d_output = converted<float>(random_upstream(make_problem(p.sizes, Order::any)));
  const Gradients<float> g = run_backward(p, d_output);
  const Size first = 60 - 3 + 1 - 7;  // that the first query sees
  g.key.for_each([&](Size b, Size s, Size n, Size d) {
    CHECK((g.key(b, s, n, d) == 0) == (s < first));
    CHECK((g.value(b, s, n, d) == 0) == (s < first));
  });
  const Result<float> before = run(p);
  for (Heads<float>* heads : {&p.key, &p.value})
    heads->for_each([&](Size b, Size s, Size n, Size d) {
      if (s < first) (*heads)(b, s, n, d) = std::numeric_limits<float>::quiet_NaN();
    });
  CHECK(largest_difference(run(p).output.data, before.output.data) == 0);
}

TEST_CASE("a query that sees no key gets zeros, and so do all gradients it has a part in") {
  // Two targets more than sources: causal, the first two see nothing. The second sequence is all padding.
  const Problem<float> p = to_float(make_problem({2, 5, 3, 4, 2, 7}, Order::causal, {3, 0}));
  const Result<float> r = run(p);
  const Heads<float> d_output = converted<float>(random_upstream(make_problem(p.sizes, Order::any)));
  const Gradients<float> g = run_backward(p, d_output);
  r.output.for_each([&](Size b, Size t, Size h, Size d) {
    const bool blind = b == 1 || t < 2;
    CHECK((r.output(b, t, h, d) == 0) == blind);
    if (blind) CHECK(g.query(b, t, h, d) == 0);
    const float log_sum_exp = r.log_sum_exp[static_cast<std::size_t>((b * 4 + h) * 5 + t)];
    CHECK((log_sum_exp == -std::numeric_limits<float>::infinity()) == blind);
  });
  g.key.for_each([&](Size b, Size s, Size n, Size d) {
    CHECK((g.key(b, s, n, d) == 0) == (b == 1));
    CHECK((g.value(b, s, n, d) == 0) == (b == 1));
  });
}

TEST_CASE("nothing is read from padding") {
  Problem<float> p = to_float(make_problem({1, 9, 40, 2, 1, 32}, Order::any, {21}));
  const Result<float> before = run(p);
  const Heads<float> d_output = converted<float>(random_upstream(make_problem(p.sizes, Order::any)));
  for (Size s = 21; s < 40; ++s)
    for (Size d = 0; d < 32; ++d) p.key(0, s, 0, d) = p.value(0, s, 0, d) = std::numeric_limits<float>::quiet_NaN();
  CHECK(largest_difference(run(p).output.data, before.output.data) == 0);
  const Gradients<float> g = run_backward(p, d_output);
  g.query.for_each([&](Size b, Size t, Size h, Size d) { CHECK(std::isfinite(g.query(b, t, h, d))); });
  g.key.for_each([&](Size b, Size s, Size n, Size d) { CHECK((g.key(b, s, n, d) == 0) == (s >= 21)); });
}

TEST_CASE("elements between the heads are neither read nor written") {
  const Problem<float> p = to_float(make_problem({2, 7, 33, 4, 2, 7}, Order::any, {}, Layout::joint_projection));
  const Result<float> r = run(p);
  std::size_t untouched = 0, written = 0;
  for (const float x : r.output.data) (std::isnan(x) ? untouched : written) += 1;
  CHECK(written == 2 * 7 * 4 * 7);
  CHECK(untouched == r.output.data.size() - written);
}

TEST_CASE("weights of a row sum to 1 and are exactly 0 where masked") {
  const Problem<float> p = to_float(make_problem({2, 33, 97, 2, 1, 8}, Order::causal, {97, 40}));
  const Result<float> r = run(p);
  for (Size b = 0; b < 2; ++b)
    for (Size h = 0; h < 2; ++h)
      for (Size t = 0; t < 33; ++t) {
        double sum = 0;
        for (Size s = 0; s < 97; ++s) {
          const float weight = r.weights[static_cast<std::size_t>(((b * 2 + h) * 33 + t) * 97 + s)];
          sum += static_cast<double>(weight);
          CHECK((weight > 0) == sees(p, b, t, s));
        }
        CHECK(sum == doctest::Approx(1).epsilon(1e-6));
      }
}

TEST_CASE("scores far apart neither overflow nor become NaN") {
  Problem<float> p = to_float(make_problem({1, 3, 40, 1, 1, 8}, Order::any));
  for (float& x : p.query.data) x *= 1000;
  const Result<float> r = run(p);
  for (const float x : r.output.data)
    if (!std::isnan(x)) CHECK(std::isfinite(x));
  CHECK(largest_difference(r.weights, plain(p).weights) < 1e-3);
}

TEST_CASE("as many key/value heads as query heads is each head alone, bit for bit") {
  const Problem<float> p = to_float(make_problem({2, 33, 97, 4, 4, 32}, Order::causal, {97, 60}));
  const Result<float> together = run(p);
  const Heads<float> d_output = converted<float>(random_upstream(make_problem(p.sizes, Order::any)));
  const Gradients<float> gradients = run_backward(p, d_output);
  const auto one_head = [](const Heads<float>& all, Size head) {
    Heads<float> one = make_heads<float>(all.batch, all.positions, 1, all.depth, Layout::positions_first);
    one.for_each([&](Size b, Size t, Size, Size d) { one(b, t, 0, d) = all(b, t, head, d); });
    return one;
  };
  for (Size h = 0; h < 4; ++h) {
    Problem<float> alone{{2, 33, 97, 1, 1, 32}, p.order, p.lengths, one_head(p.query, h), one_head(p.key, h),
                         one_head(p.value, h)};
    const Result<float> r = run(alone);
    CHECK(one_head(r.output, 0).data == one_head(together.output, h).data);
    const Gradients<float> g = run_backward(alone, one_head(d_output, h));
    CHECK(one_head(g.query, 0).data == one_head(gradients.query, h).data);
    CHECK(one_head(g.key, 0).data == one_head(gradients.key, h).data);
    CHECK(one_head(g.value, 0).data == one_head(gradients.value, h).data);
  }
}

TEST_CASE("the number of threads changes no bit") {
  const Problem<float> p = to_float(make_problem({3, 97, 97, 6, 2, 33}, Order::causal, {97, 40, 1}));
  const Heads<float> d_output = converted<float>(random_upstream(make_problem(p.sizes, Order::any)));
  const int threads = omp_get_max_threads();
  const auto all_bits = [&](int n) {
    omp_set_num_threads(n);
    const Result<float> r = run(p);
    const Gradients<float> g = run_backward(p, d_output);
    Array<float> bits;
    for (const Array<float>* part :
         {&r.output.data, &r.log_sum_exp, &r.weights, &g.query.data, &g.key.data, &g.value.data})
      for (const float x : *part) bits.push_back(std::isnan(x) ? 1e30f : x);
    return bits;
  };
  const Array<float> one = all_bits(1);
  CHECK(all_bits(2) == one);
  CHECK(all_bits(5) == one);
  omp_set_num_threads(threads);
}

TEST_CASE("the backward of attention agrees with central differences") {
  for (const Size G : test::fewer(std::vector<Size>{1, 2, 4}, {2}))
    for (const Order order : test::fewer(std::vector<Order>{Order::any, Order::causal}, {Order::causal})) {
      Problem<double> p = with_window(make_problem({2, 4, 6, 4, G, 5}, order, {6, 3}), G == 1 ? 0 : 2);
      CAPTURE(describe(p));
      const Heads<double> d_output = random_upstream(p);
      const Gradients<double> g = run_backward(p, d_output);
      const auto loss = [&] {
        const Result<double> r = run(p);
        double sum = 0;
        r.output.for_each([&](Size b, Size t, Size h, Size d) { sum += r.output(b, t, h, d) * d_output(b, t, h, d); });
        return sum;
      };
      const auto check = [&](Heads<double>& input, const Heads<double>& gradient) {
        const double step = 1e-6;
        input.for_each([&](Size b, Size t, Size h, Size d) {
          double& x = input(b, t, h, d);
          const double kept = x;
          x = kept + step;
          const double above = loss();
          x = kept - step;
          const double below = loss();
          x = kept;
          const double difference = (above - below) / (2 * step);
          CHECK(std::abs(gradient(b, t, h, d) - difference) < 1e-6 * std::max(1e-2, std::abs(difference)));
        });
      };
      check(p.query, g.query);
      check(p.key, g.key);
      check(p.value, g.value);
    }
}

TEST_CASE("a few queries over a cache agree with plain loops for all head sizes, float32 and bfloat16") {
  for (const Size D : test::fewer(std::vector<Size>{8, 16, 24, 32, 64, 128, 130}, {8, 24, 130}))
    for (const Size S : test::fewer(std::vector<Size>{1, 7, 15, 16, 33, 257}, {7, 33, 257}))
      for (const auto& [T, H, G] : std::vector<std::array<Size, 3>>{
               {1, 2, 2}, {1, 4, 2}, {1, 3, 1}, {1, 8, 1}, {3, 4, 2}, {4, 8, 1}, {1, 10, 2}}) {
        const Array<std::int32_t> lengths{static_cast<std::int32_t>(S), static_cast<std::int32_t>(S / 2)};
        Problem<double> p = make_problem({2, T, S, H, G, D}, Order::any, lengths, Layout::cache);
        check_forward(p);

        // Keys and values that bfloat16 holds exactly: narrow storage must not change anything but roundings.
        for (Heads<double>* heads : {&p.key, &p.value})
          for (double& x : heads->data) x = static_cast<double>(static_cast<float>(BFloat16(x)));
        CAPTURE(describe(p));
        const Problem<float> f = to_float(p);
        const Heads<BFloat16> key = converted<BFloat16>(f.key), value = converted<BFloat16>(f.value);
        Result<float> narrow = empty_result(f);
        on_device([&](auto device) {
          attention<float, BFloat16>(device, f.sizes, f.mask(), f.query.view(), key.view(), value.view(),
                                     narrow.output.view(), narrow.log_sum_exp.data());
        });
        const Result<double> expected = plain(p);
        const Result<float> simple = plain(f);
        CHECK(largest_difference(narrow.output.data, expected.output.data) <=
              2 * largest_difference(simple.output.data, expected.output.data) + 5e-7);
        CHECK(largest_difference(narrow.log_sum_exp, expected.log_sum_exp) <=
              2 * largest_difference(simple.log_sum_exp, expected.log_sum_exp) + 1e-6);
      }
}
