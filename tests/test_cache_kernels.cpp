#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <type_traits>

#include "kernels/cache.h"
#include "kernels/device_memory.h"
#include "tests/attention_problem.h"
#include "tests/kernel_helpers.h"

using namespace headshare;
using namespace headshare::kernels;
using namespace headshare::kernels::attention_test;

// What decoding does with its caches besides reading them.

namespace {

constexpr Size B = 3, P = 5, H = 4, D = 7, capacity = 9;

template <class T>
Heads<T> random_heads(std::uint64_t seed) {
  Heads<T> heads = make_heads<T>(B, P, H, D, Layout::joint_projection);
  Generator generator(seed);
  heads.for_each(
      [&](Size b, Size p, Size h, Size d) { heads(b, p, h, d) = T(static_cast<float>(generator.normal())); });
  return heads;
}

template <class Stored>
Heads<Stored> empty_cache() {
  return make_heads<Stored>(B, capacity, H, D, Layout::cache);
}

// The first positions, which fit, which meet the end of the ring, which are beyond it. -1: none is given.
const Array<std::int32_t> firsts{2, 7, 9, 1000};
template <class Check>
void for_each_first(const Check& check) {
  for (const std::int32_t& first : firsts) check(RingPosition{capacity, &first}, Size{first});
  check(RingPosition{capacity}, Size{0});
}

template <class T, class Stored, class Devices>
void check_copy(const Devices& on_devices) {
  const Heads<T> x = random_heads<T>(3), other = random_heads<T>(4);
  for_each_first([&](RingPosition place, Size first) {
    Heads<Stored> keys = empty_cache<Stored>(), values = keys;
    on_devices([&](auto device) {
      copy_keys_values<T, Stored>(device, B, P, H, D, x.view(), keys.view(), other.view(), values.view(), place);
    });
    for (const Heads<Stored>* cache : {&keys, &values}) {
      Size written = 0;
      for (const Stored number : cache->data) written += std::isnan(number_as<float>(number)) ? 0 : 1;
      CHECK(written == B * P * H * D);
    }
    x.for_each([&](Size b, Size p, Size h, Size d) {
      const Size to = (first + p) % capacity;
      CHECK(number_as<float>(keys(b, to, h, d)) == number_as<float>(number_as<Stored>(x(b, p, h, d))));
      CHECK(number_as<float>(values(b, to, h, d)) == number_as<float>(number_as<Stored>(other(b, p, h, d))));
    });
  });
}

void only_on_cuda(const std::function<void(Cuda)>& body) {
  body(cuda());
  synchronize(cuda());
}

// A cache of int8 with its scales.
struct QuantizedHeads {
  Heads<std::int8_t> numbers = empty_cache<std::int8_t>();
  Array<float> scales = Array<float>(numbers.data.size() / D, -1.0f);

  HeadsView<std::int8_t> view() {
    HeadsView<std::int8_t> v = numbers.view();
    v.scales = scales.data();
    return v;
  }
  float& scale(Size b, Size p, Size h) { return scales[static_cast<std::size_t>(numbers.at(b, p, h, 0) / D)]; }
};

// Every number within half a step, the largest 127 steps, and what lies in between untouched.
template <class T>
void check_quantization() {
  Heads<T> x = random_heads<T>(5);
  for (Size d = 0; d < D; ++d) {
    x(0, 0, 1, d) = T(0.0f);
    x(1, 2, 0, d) = number_as<T>(std::ldexp(number_as<float>(x(1, 2, 0, d)), 100));
    x(2, 1, 3, d) = number_as<T>(std::ldexp(number_as<float>(x(2, 1, 3, d)), -100));
  }
  const Heads<T>& from = x;
  for_each_first([&](RingPosition place, Size first) {
    QuantizedHeads y, values;
    only_on_cuda([&](Cuda device) {
      copy_keys_values<T, std::int8_t>(device, B, P, H, D, from.view(), y.view(), from.view(), values.view(), place);
    });
    CHECK(test::same_bits(values.numbers.data, y.numbers.data));
    CHECK(test::same_bits(values.scales, y.scales));
    CHECK(std::ranges::count(y.scales, -1.0f) == static_cast<Size>(y.scales.size()) - B * P * H);
    for (Size b = 0; b < B; ++b)
      for (Size p = 0; p < P; ++p)
        for (Size h = 0; h < H; ++h) {
          const Size to = (first + p) % capacity;
          const double scale = y.scale(b, to, h);
          double largest = 0;
          int most = 0;
          for (Size d = 0; d < D; ++d) {
            const double number = number_as<double>(x(b, p, h, d));
            const int steps = y.numbers(b, to, h, d);
            CHECK(std::abs(steps * scale - number) <= scale / 2 * (1 + 1e-5));
            largest = std::max(largest, std::abs(number)), most = std::max(most, std::abs(steps));
          }
          CHECK(scale == doctest::Approx(largest / 127).epsilon(1e-6));
          CHECK(most == (largest == 0 ? 0 : 127));
        }
  });
}

}  // namespace

TEST_CASE("copying heads into a cache: into a ring, and narrowing") {
  const auto any_device = [](const auto& body) { on_device(body); };
  check_copy<float, float>(any_device);
  check_copy<double, double>(any_device);
  check_copy<float, BFloat16>(any_device);
  const Heads<float> x = random_heads<float>(3);
  const HeadsView<float> none{};
  on_device([&](auto device) {
    copy_keys_values<float, float>(device, 0, P, H, D, x.view(), none, x.view(), none, {capacity});
  });
}

TEST_CASE("copying heads into a cache, on CUDA: bfloat16 and int8" *
          doctest::skip(test::test_device() == Device::cpu)) {
  check_copy<BFloat16, BFloat16>(only_on_cuda);
  check_quantization<float>();
  check_quantization<BFloat16>();
}

TEST_CASE("int8 rounds halves to even, and a NaN or an infinity leaves no ordinary number behind" *
          doctest::skip(test::test_device() == Device::cpu)) {
  const Array<float> x{127, 0.5f, 1.5f, -2.5f, -127, 126.5f, 1, test::not_a_number<float>, 2, 3, test::infinity<float>,
                       4};
  Array<std::int8_t> y(12, std::int8_t{-1}), values(12);
  Array<float> scales(4, -1.0f), value_scales(4);
  only_on_cuda([&](Cuda device) {
    copy_keys_values<float, std::int8_t>(device, 1, 4, 1, 3, {x.data(), 12, 3, 3}, {y.data(), 12, 3, 3, scales.data()},
                                         {x.data(), 12, 3, 3}, {values.data(), 12, 3, 3, value_scales.data()}, {4});
  });
  CHECK(scales[0] == 1);
  CHECK(scales[1] == 1);
  CHECK(std::isnan(scales[2]));
  CHECK(std::isinf(scales[3]));
  const std::array<int, 6> steps{127, 0, 2, -2, -127, 126};
  for (std::size_t i = 0; i < steps.size(); ++i) CHECK(int{y[i]} == steps[i]);
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
    for (Stored& x : expected) x = Stored(static_cast<float>(10 * generator.normal()));
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
  check(std::int8_t{}, 33, 21);
  check(std::int8_t{}, 32, 16);
  check(float{}, 8, 0);
  const std::vector<RowMove> first_two(moves.begin(), moves.begin() + 2);
  Array<float> rows{1, 2, 3, 4};
  test::on_device([&](auto device) { move_rows<float>(device, first_two, 1, 1, 1, rows.data()); });
  CHECK(rows == Array<float>{1, 1, 1, 4});
}
