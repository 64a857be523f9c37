#include "core/error.h"
#include "kernels/adam.h"
#include "kernels/dropout.h"
#include "kernels/embedding.h"
#include "tests/kernel_helpers.h"

using namespace headshare;
using namespace headshare::test;
using kernels::AdamStep;
using kernels::DropoutMask;

namespace {

// The contract of dropout.h, straight from the generator.
bool kept(Size i, const DropoutMask& mask) {
  const auto low = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
  const auto high = [](std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); };
  const auto block = static_cast<std::uint64_t>(i / 8);
  const PhiloxCounter words =
      philox({low(block), high(block), low(mask.site), high(mask.site)}, {low(mask.seed), high(mask.seed)});
  const std::uint32_t number = words[static_cast<std::size_t>(i % 8 / 2)] >> (i % 2 == 0 ? 0 : 16) & 0xFFFFu;
  return static_cast<double>(number) >= std::round(65536 * mask.probability);
}

template <class T>
Array<T> dropout(const Array<T>& x, const DropoutMask& mask) {
  Array<T> y(x.size(), T(-99));
  on_device([&](auto device) { kernels::dropout(device, static_cast<Size>(x.size()), mask, x.data(), y.data()); });
  return y;
}

// One step of a single parameter.
template <class T, class Device>
void adam_of_one(Device device, Size n, const AdamStep& step, const double* scale, T* parameter, const T* gradient,
                 T* mean, T* variance) {
  const kernels::AdamArrays<T> arrays{n, parameter, gradient, mean, variance};
  kernels::adam<T>(device, step, scale, {&arrays, 1});
}

constexpr DropoutMask tenth{0.1, 0x123456789ABCDEF0u, 0xFEDCBA9876543210u};

}  // namespace

// ---- Embedding ------------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("embedding looks up, scales and adds the position", T, float, double) {
  for (const Size width : {1, 7, 33, 97}) {
    const Size sentences = 23, length = 9, first_position = 4, count = sentences * length;
    const Array<std::int32_t> tokens = random_indices(count, 50, 1), decoded = {first_position};
    const Array<T> table = random_vector<T>(50 * width, 2),
                   positions = random_vector<T>((first_position + length) * width, 3);
    Array<T> y(static_cast<std::size_t>(count * width)), without(y.size());
    on_device([&](auto device) {
      kernels::embedding(device, count, width, Size{50}, tokens.data(), table.data(), T(3), positions.data(), length,
                         decoded.data(), y.data());
    });
    on_device([&](auto device) {
      kernels::embedding<T>(device, count, width, 50, tokens.data(), table.data(), T(3), nullptr, length, nullptr,
                            without.data());
    });
    Array<double> expected, expected_without;
    for (Size i = 0; i < count; ++i) {
      for (Size c = 0; c < width; ++c) {
        const double scaled = 3 * static_cast<double>(table[tokens[i] * width + c]);
        expected_without.push_back(scaled);
        expected.push_back(scaled + static_cast<double>(positions[(first_position + i % length) * width + c]));
      }
    }
    CHECK(distance(y, expected) < tolerance<T>);
    CHECK(distance(without, expected_without) < tolerance<T>);
  }
}

TEST_CASE_TEMPLATE("the backward of embedding sums the gradients of equal tokens", T, float, double) {
  for (const Size width : {1, 7, 64, 97, 300}) {
    for (const Size count : {0, 1, 33, 1000}) {
      const Array<std::int32_t> tokens = random_indices(count, 50, 1);
      const Array<T> dy = random_vector<T>(count * width, 2);
      Array<T> d_table(static_cast<std::size_t>(53 * width), T(-99));
      Array<double> expected(d_table.size());
      for (Size i = 0; i < count * width; ++i)
        expected[tokens[i / width] * width + i % width] += 3 * static_cast<double>(dy[i]);
      on_device([&](auto device) {
        kernels::embedding_backward(device, count, width, Size{53}, tokens.data(), T(3), dy.data(), d_table.data());
      });
      CHECK(distance(d_table, expected) < 5 * tolerance<T>);
    }
  }
}

TEST_CASE("the backward of embedding refuses a token outside the vocabulary and does not depend on the threads") {
  for (const std::int32_t wrong : {5, -1}) {
    const Array<std::int32_t> tokens = {1, wrong};
    Array<float> table(10), dy(4);
    CHECK_THROWS_WITH_AS(on_device([&](auto device) {
                           kernels::embedding_backward(device, 2, 2, 5, tokens.data(), 1.0f, dy.data(), table.data());
                         }),
                         text("embedding_backward: token ", wrong, " at position 1 is outside 0 .. 4").c_str(), Error);
  }
  const Array<std::int32_t> tokens = random_indices(999, 20, 1);
  const Array<float> gradient = random_vector<float>(999 * 300, 2);
  CHECK(independent_of_threads([&] {
    Array<float> d_table(20 * 300);
    on_device([&](auto device) {
      kernels::embedding_backward(device, 999, 300, 20, tokens.data(), 1.5f, gradient.data(), d_table.data());
    });
    return d_table;
  }));
}

// ---- Dropout --------------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("dropout keeps exactly the elements that the generator says", T, float, double) {
  for (const DropoutMask& mask : {tenth, DropoutMask{0.5, 1, 2}, DropoutMask{0.3, ~std::uint64_t{0}, 1u << 31}}) {
    for (const Size n : {0, 1, 7, 8, 9, 33, 97, 511, 513, 8000, 70001}) {
      const Array<T> x = random_vector<T>(n, 1);
      Array<T> expected(x.size());
      for (Size i = 0; i < n; ++i)
        expected[i] = kept(i, mask) ? x[i] * static_cast<T>(1 / (1 - mask.probability)) : T(0);
      CHECK(same_bits(dropout(x, mask), expected));
    }
  }
}

TEST_CASE("dropout keeps the right share, the mean, and different elements at every site and seed") {
  const Size n = 1000000;
  const Array<float> ones(static_cast<std::size_t>(n), 1.0f);
  for (const double probability : {0.1, 0.5, 0.9}) {
    const Array<float> y = dropout(ones, {probability, 7, 8});
    const double count = static_cast<double>(std::count_if(y.begin(), y.end(), [](float value) { return value != 0; }));
    const double expected = static_cast<double>(n) * (1 - probability);
    const double sigma = std::sqrt(expected * probability);
    CHECK(std::abs(count - expected) < 4 * sigma);
    double sum = 0;
    for (const float value : y) sum += static_cast<double>(value);
    CHECK(std::abs(sum - static_cast<double>(n)) < 4 * sigma / (1 - probability) + 1);
    // Another site, another seed: two independent masks agree on a share of p^2 + (1 - p)^2.
    for (const DropoutMask& other : {DropoutMask{probability, 7, 9}, DropoutMask{probability, 8, 8}}) {
      const Array<float> z = dropout(ones, other);
      double agree = 0;
      for (std::size_t i = 0; i < y.size(); ++i) agree += y[i] == z[i];
      const double share = probability * probability + (1 - probability) * (1 - probability);
      CHECK(std::abs(agree - share * static_cast<double>(n)) <
            4 * std::sqrt(static_cast<double>(n) * share * (1 - share)));
    }
  }
}

TEST_CASE_TEMPLATE("the backward of dropout, the same call again, has the same mask; also in place", T, float, double) {
  const Array<T> x = random_vector<T>(10001, 1), dy = random_vector<T>(10001, 2);
  const Array<T> y = dropout(x, tenth), dx = dropout(dy, tenth);
  for (std::size_t i = 0; i < x.size(); ++i) CHECK((y[i] == 0) == (dx[i] == 0));
  Array<T> in_place = x;
  on_device([&](auto device) { kernels::dropout(device, 10001, tenth, in_place.data(), in_place.data()); });
  CHECK(same_bits(in_place, y));
}

TEST_CASE("dropout of probability 0 changes nothing, of 1 leaves nothing, and of anything else outside is refused") {
  const Array<float> x = random_vector<float>(97, 1);
  CHECK(same_bits(dropout(x, {0, 1, 2}), x));
  CHECK(dropout(x, {1, 1, 2}) == Array<float>(97, 0.0f));
  CHECK_THROWS_WITH_AS(dropout(x, {1.5, 1, 2}), "dropout: probability 1.5 is not within 0 .. 1", Error);
  CHECK_THROWS_AS(dropout(x, {-0.1, 1, 2}), Error);
  CHECK_THROWS_AS(dropout(x, {not_a_number<double>, 1, 2}), Error);
}

TEST_CASE("dropout does not depend on the number of threads, and lets no dropped NaN through") {
  const Array<float> x = random_vector<float>(100003, 1);
  CHECK(independent_of_threads([&] { return dropout(x, tenth); }));
  const Array<float> y = dropout(Array<float>(1000, not_a_number<float>), tenth);
  for (Size i = 0; i < 1000; ++i) CHECK(std::isnan(y[i]) == kept(i, tenth));
}

// ---- Adam -----------------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("several Adam steps follow the algorithm", T, float, double) {
  const Array<double> half = {0.5};
  for (const Size n : {0, 1, 7, 33, 97, 8000, 70001}) {
    Array<T> parameter = random_vector<T>(n, 1), mean(parameter.size()), variance(parameter.size());
    Array<double> expected(parameter.begin(), parameter.end()), m(expected.size()), v(expected.size());
    for (Size step = 1; step <= 5; ++step) {
      const AdamStep options{1e-2, 0.9, 0.98, 1e-9, 0.1, step};
      const Array<T> gradient = random_vector<T>(n, 10 + static_cast<std::uint64_t>(step));
      on_device([&](auto device) {
        adam_of_one(device, n, options, half.data(), parameter.data(), gradient.data(), mean.data(), variance.data());
      });
      for (std::size_t i = 0; i < expected.size(); ++i) {
        const double g = 0.5 * static_cast<double>(gradient[i]);
        m[i] = 0.9 * m[i] + 0.1 * g;
        v[i] = 0.98 * v[i] + 0.02 * g * g;
        const double m_hat = m[i] / (1 - std::pow(0.9, step)), v_hat = v[i] / (1 - std::pow(0.98, step));
        expected[i] -= 1e-2 * (m_hat / (std::sqrt(v_hat) + 1e-9) + 0.1 * expected[i]);
      }
    }
    CHECK(distance(parameter, expected) < tolerance<T>);
    CHECK(distance(mean, m) < tolerance<T>);
    CHECK(distance(variance, v) < tolerance<T>);
  }
}

TEST_CASE_TEMPLATE("the first Adam step is the learning rate times the sign of the gradient", T, float, double) {
  // By hand: mean / (1 - beta1) = g and variance / (1 - beta2) = g^2, so the step is g / |g|.
  Array<T> parameter = {1, 1, 1, 1}, mean(4), variance(4);
  const Array<T> gradient = {T(0.001), -3, 500, 0};
  const Array<double> one = {1};
  on_device([&](auto device) {
    adam_of_one<T>(device, 4, {0.25, 0.9, 0.999, 1e-30, 0, 1}, one.data(), parameter.data(), gradient.data(),
                   mean.data(), variance.data());
  });
  CHECK(distance(parameter, Array<T>{T(0.75), T(1.25), T(0.75), 1}) < tolerance<T>);
  CHECK(mean[1] == doctest::Approx(-0.3));
  CHECK(variance[1] == doctest::Approx(0.009));
  // Weight decay is not scaled by the gradient's size: 1 - 0.25 * 0.1 where the gradient is 0.
  parameter = {1}, mean = {0}, variance = {0};
  on_device([&](auto device) {
    adam_of_one<T>(device, 1, {0.25, 0.9, 0.999, 1e-12, 0.1, 1}, one.data(), parameter.data(), gradient.data() + 3,
                   mean.data(), variance.data());
  });
  CHECK(parameter[0] == doctest::Approx(0.975));
}

TEST_CASE("Adam refuses step 0 and does not depend on the number of threads") {
  const Array<double> one = {1};
  Array<float> x(3);
  CHECK_THROWS_WITH_AS(
      on_device([&](auto device) {
        adam_of_one(device, 3, {0.1, 0.9, 0.99, 1e-9, 0, 0}, one.data(), x.data(), x.data(), x.data(), x.data());
      }),
      "adam: step 0 is impossible; steps are counted from 1", Error);
  const Array<float> gradient = random_vector<float>(100003, 1), start = random_vector<float>(100003, 2);
  CHECK(independent_of_threads([&] {
    Array<float> parameter = start, mean(start.size()), variance(start.size());
    on_device([&](auto device) {
      adam_of_one(device, 100003, {0.1, 0.9, 0.99, 1e-9, 0.01, 3}, one.data(), parameter.data(), gradient.data(),
                  mean.data(), variance.data());
    });
    return parameter;
  }));
}

TEST_CASE_TEMPLATE("Adam and the norm take many arrays at once, of any length and wherever they begin", T, float,
                   double) {
  constexpr Size count = 70, longest = 5000;
  const AdamStep step{1e-2, 0.9, 0.98, 1e-9, 0.1, 1};
  const Array<double> half = {0.5};
  const Array<T> start = random_vector<T>(count * longest, 1), gradient = random_vector<T>(count * longest, 2);
  Array<T> parameter = start, mean(start.size()), variance(start.size());
  Array<T> expected = start, expected_mean(start.size()), expected_variance(start.size());
  std::vector<kernels::AdamArrays<T>> all;
  std::vector<kernels::Numbers<T>> numbers;
  double sum = 0;
  for (Size i = 0; i < count; ++i) {
    const Size begin = i * longest + i % 5, n = i == 3 ? 0 : i * 1237 % (longest - 5);
    all.push_back({n, &parameter[begin], &gradient[begin], &mean[begin], &variance[begin]});
    numbers.push_back({n, &gradient[begin]});
    for (Size k = begin; k < begin + n; ++k) sum += static_cast<double>(gradient[k]) * static_cast<double>(gradient[k]);
    on_device([&](auto device) {
      adam_of_one<T>(device, n, step, half.data(), &expected[begin], &gradient[begin], &expected_mean[begin],
                     &expected_variance[begin]);
    });
  }
  Array<double> total = {-99};
  on_device([&](auto device) {
    kernels::adam<T>(device, step, half.data(), all);
    kernels::squared_norm<T>(device, numbers, total.data());
  });
  CHECK(distance(parameter, expected) < tolerance<T>);
  CHECK(distance(mean, expected_mean) < tolerance<T>);
  CHECK(distance(variance, expected_variance) < tolerance<T>);
  CHECK(!same_bits(parameter, start));
  CHECK(total[0] == doctest::Approx(sum));
}

TEST_CASE("the gradients' scale keeps their norm within the limit, and leaves out a step that is not finite") {
  const auto scale = [](double factor, double limit, double loss, double squared_norm) {
    const Array<double> numbers = {loss, squared_norm};
    Array<double> result = {-99};
    on_device([&](auto device) {
      kernels::gradient_scale(device, factor, limit, numbers.data(), numbers.data() + 1, result.data());
    });
    return result[0];
  };
  CHECK(scale(0.5, 0, 3, 1e6) == 0.5);                   // no limit
  CHECK(scale(0.5, 5, 3, 100) == 0.5);                   // 0.5 sqrt(100) is just within it
  CHECK(scale(0.5, 1, 3, 100) == doctest::Approx(0.1));  // 0.1 sqrt(100) = 1
  CHECK(scale(0.5, 1, 3, 0) == 0.5);
  for (const double wrong : {not_a_number<double>, infinity<double>, -infinity<double>}) {
    CHECK(std::isnan(scale(0.5, 1, wrong, 100)));
    CHECK(std::isnan(scale(0.5, 1, 3, wrong)));
  }
  const Array<double> none = {not_a_number<double>};
  const Array<float> gradient = {1, 2, 3}, start = {4, 5, 6};
  Array<float> parameter = start, mean = start, variance = start;
  on_device([&](auto device) {
    adam_of_one(device, 3, {0.1, 0.9, 0.99, 1e-9, 0.1, 1}, none.data(), parameter.data(), gradient.data(), mean.data(),
                variance.data());
  });
  for (const Array<float>& kept : {parameter, mean, variance}) CHECK(same_bits(kept, start));
}
