#pragma once

#include <bit>
#include <cstdint>

namespace headshare {

// The upper half of a float32: its sign, its eight exponent bits and seven of its 23 fraction bits (two to three
// decimal digits). Half the bytes, the same range. For storing; arithmetic is done in float32.
// constexpr lets CUDA kernels use it too.
struct BFloat16 {
  std::uint16_t bits;

  BFloat16() = default;
  // To the nearest, of two equally near ones the even one; NaN stays NaN.
  constexpr explicit BFloat16(float x) : bits(0) {
    const auto wide = std::bit_cast<std::uint32_t>(x);
    const std::uint32_t round = 0x7fffu + (wide >> 16 & 1u);
    bits = static_cast<std::uint16_t>((x != x ? wide | 0x400000u : wide + round) >> 16);
  }
  constexpr explicit BFloat16(double x) : BFloat16(static_cast<float>(x)) {}
  constexpr explicit BFloat16(std::int32_t x) : BFloat16(static_cast<float>(x)) {}
  constexpr explicit operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
};

}  // namespace headshare
