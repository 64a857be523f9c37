#include "core/bfloat16.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "core/random.h"
#include "tests/tensor_helpers.h"

using namespace headshare;

TEST_CASE("every bfloat16 number survives the way to float32 and back") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    BFloat16 x;
    x.bits = static_cast<std::uint16_t>(bits);
    const float wide = static_cast<float>(x);
    if (std::isnan(wide))
      CHECK(std::isnan(static_cast<float>(BFloat16(wide))));
    else if (BFloat16(wide).bits != x.bits)
      CHECK(BFloat16(wide).bits == x.bits);
  }
}

TEST_CASE("float32 is rounded to the nearest bfloat16, ties to even") {
  CHECK(static_cast<float>(BFloat16(1.0f)) == 1.0f);
  CHECK(static_cast<float>(BFloat16(1.0f + 1.0f / 256)) == 1.0f);               // half way: the even one below
  CHECK(static_cast<float>(BFloat16(1.0f + 3.0f / 256)) == 1.0f + 4.0f / 256);  // half way: the even one above
  CHECK(static_cast<float>(BFloat16(1.0f + 1.01f / 256)) == 1.0f + 2.0f / 256);
  CHECK(static_cast<float>(BFloat16(-3.4e38f)) == -std::numeric_limits<float>::infinity());
  CHECK(static_cast<float>(BFloat16(std::numeric_limits<float>::infinity())) == std::numeric_limits<float>::infinity());
  CHECK(std::isnan(static_cast<float>(BFloat16(std::bit_cast<float>(0x7f800001u)))));  // a NaN in the low bits alone
  Generator generator(1);
  for (int i = 0; i < 1000; ++i) {
    const float x = static_cast<float>(generator.normal());
    CHECK(std::abs(static_cast<float>(BFloat16(x)) - x) <= std::abs(x) / 256);  // 8 significant bits, half a unit
  }
}

TEST_CASE("tensors convert to bfloat16 and back, also from views, and take half the bytes") {
  const Tensor x = from_values<float>({1, 2.5f, -3, 0.1f, 5, 6}, {2, 3});
  const Tensor narrow = x.transpose(0, 1).to(ElementType::bfloat16);
  CHECK(narrow.bytes() * 2 == x.bytes());
  CHECK(narrow.shape() == Shape{3, 2});
  CHECK(narrow.transpose(0, 1).to(ElementType::float32).to_vector<float>() ==
        std::vector<float>{1, 2.5f, -3, static_cast<float>(BFloat16(0.1f)), 5, 6});
  CHECK(narrow.slice(0, 1, 3).to(ElementType::float64).to_vector<double>() == std::vector<double>{2.5, 5, -3, 6});
  CHECK(full({2}, 2.7, {ElementType::bfloat16, default_device()}).to(ElementType::int32).to_vector<std::int32_t>() ==
        std::vector<std::int32_t>{2, 2});
}
