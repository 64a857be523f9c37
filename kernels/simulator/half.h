#pragma once

#include <bit>
#include <cstdint>

#include "core/bfloat16.h"

// CUDA's 16-bit floating-point types (cuda_fp16.h, cuda_bf16.h) on the simulated device: storage and conversions, to the
// nearest, of two equally near ones the even one. Arithmetic goes by way of float, as it does before sm_53 and sm_80.

// One sign, five exponent and ten fraction bits (IEEE 754 binary16).
struct __half {
  std::uint16_t bits;

  __half() = default;
  __half(float x) : bits(from_float(x)) {}
  operator float() const { return to_float(bits); }

 private:
  static std::uint16_t from_float(float x) {
    const auto wide = std::bit_cast<std::uint32_t>(x);
    const std::uint32_t sign = wide >> 16 & 0x8000u, size = wide & 0x7fffffffu;
    constexpr std::uint32_t infinity = 0x7c00, smallest_normal = 0x38800000, rounds_to_infinity = 0x477ff000;
    if (size > 0x7f800000u) return 0x7fff;  // NaN, as CUDA writes it
    if (size >= rounds_to_infinity) return static_cast<std::uint16_t>(sign | infinity);
    if (size < smallest_normal) {  // a multiple of 2^-24: adding 0.5 lets the float's own rounding find it
      const std::uint32_t multiple = std::bit_cast<std::uint32_t>(std::bit_cast<float>(size) + 0.5f) - 0x3f000000u;
      return static_cast<std::uint16_t>(sign | multiple);
    }
    const std::uint32_t rounded = size + 0xfffu + (size >> 13 & 1u);
    return static_cast<std::uint16_t>(sign | ((rounded >> 13) - (112u << 10)));  // exponent bias 127 becomes 15
  }

  static float to_float(std::uint16_t bits) {
    const std::uint32_t sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31u, fraction = bits & 0x3ffu;
    if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
    if (exponent > 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
    const float size = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -size : size;
  }
};

// The upper half of a float.
struct __nv_bfloat16 {
  std::uint16_t bits;

  __nv_bfloat16() = default;
  __nv_bfloat16(float x) : bits(headshare::BFloat16(x).bits) {}
  operator float() const { return std::bit_cast<float>(std::uint32_t{bits} << 16); }
};

inline float __half2float(__half x) { return x; }
inline __half __float2half(float x) { return x; }
inline float __bfloat162float(__nv_bfloat16 x) { return x; }
inline __nv_bfloat16 __float2bfloat16(float x) { return x; }
using half = __half;
using nv_bfloat16 = __nv_bfloat16;
