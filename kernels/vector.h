#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/bfloat16.h"
#include "core/size.h"

namespace headshare::kernels {

// The one place that knows how wide this processor's vectors are. GCC's and Clang's vector extensions turn `a * b + c`
// on these types into one instruction per register, on AVX-512, AVX2 and NEON alike.
#if defined(__AVX512F__)
constexpr Size vector_bytes = 64;
#elif defined(__AVX__)
constexpr Size vector_bytes = 32;
#else
constexpr Size vector_bytes = 16;
#endif

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(vector_bytes)));
};

// A register full of T: float32 x 16 with AVX-512.
template <class T>
using Vector = typename VectorOf<T>::type;

template <class T>
constexpr Size lanes = vector_bytes / static_cast<Size>(sizeof(T));

// Loads and stores of any alignment; memcpy of a known size is one instruction.
template <class T>
inline Vector<T> load(const T* from) {
  Vector<T> v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}
// As many bfloat16 numbers as a register holds float32 ones, widened: their bits are the upper half of a float32's.
inline Vector<float> load(const BFloat16* from) {
  typedef std::uint16_t Narrow __attribute__((vector_size(vector_bytes / 2)));
  typedef std::uint32_t Wide __attribute__((vector_size(vector_bytes)));
  Narrow narrow;
  std::memcpy(&narrow, from, sizeof(narrow));
  return std::bit_cast<Vector<float>>(__builtin_convertvector(narrow, Wide) << 16);
}
template <class T>
inline void store(T* to, Vector<T> v) {
  std::memcpy(to, &v, sizeof(v));
}

// The first n lanes from memory, `fill` in the others. Nothing past from[n - 1] is touched.
template <class T>
inline Vector<T> load_first(const T* from, Size n, T fill) {
  Vector<T> v = Vector<T>{} + fill;
  std::memcpy(&v, from, static_cast<std::size_t>(n) * sizeof(T));
  return v;
}
template <class T>
inline void store_first(T* to, Vector<T> v, Size n) {
  std::memcpy(to, &v, static_cast<std::size_t>(n) * sizeof(T));
}

template <class T>
inline T sum_of_lanes(Vector<T> v) {
  T sum = 0;
  for (Size i = 0; i < lanes<T>; ++i) sum += v[i];
  return sum;
}
template <class T>
inline T max_of_lanes(Vector<T> v) {
  T max = v[0];
  for (Size i = 1; i < lanes<T>; ++i) max = v[i] > max ? v[i] : max;
  return max;
}

// e^x in every lane; relative error about 2e-7 in float32. x = n ln 2 + r with |r| <= ln(2) / 2, then a polynomial for
// e^r (Cephes' coefficients) and n added to the exponent bits. Results below 1e-38 become about 1e-38; overflow is the
// caller's to avoid (softmax subtracts the maximum first). NaN stays NaN.
inline Vector<float> exp(Vector<float> x) {
  typedef std::uint32_t Integers __attribute__((vector_size(vector_bytes)));
  const Vector<float> lowest = Vector<float>{} - 87.0f;
  const Vector<float> highest = Vector<float>{} + 88.0f;
  x = x < lowest ? lowest : x;
  x = x > highest ? highest : x;
  const Vector<float> shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: rounds to an integer in the low bits
  const Vector<float> n = shifted - 12582912.0f;
  const Vector<float> r = x - n * 0.693359375f + n * 2.12194440e-4f;  // ln 2 in two parts
  Vector<float> p = 1.9875691e-4f * r + 1.3981999e-3f;
  p = p * r + 8.3334519e-3f;
  p = p * r + 4.1665796e-2f;
  p = p * r + 1.6666665e-1f;
  p = p * r + 5.0000001e-1f;
  p = p * r * r + r + 1.0f;
  const Integers exponent = std::bit_cast<Integers>(shifted) << 23;
  const Integers bits = std::bit_cast<Integers>(p) + exponent;
  return std::bit_cast<Vector<float>>(bits);
}
inline Vector<double> exp(Vector<double> x) {
  for (Size i = 0; i < lanes<double>; ++i) x[i] = std::exp(x[i]);
  return x;
}

// e^x for x <= 0, exactly 0 where x is -infinity or so small that the result leaves float32's range: masked positions
// have probability 0, not nearly 0.
inline Vector<float> exp_or_zero(Vector<float> x) { return x < Vector<float>{} - 87.0f ? Vector<float>{} : exp(x); }
inline Vector<double> exp_or_zero(Vector<double> x) { return exp(x); }

// The probability that a standard normal number is below x, within 1e-7. Abramowitz and Stegun 1964, 7.1.26, for the
// tail beyond |x|; the side below 0 is that tail itself, so it keeps its relative precision.
inline Vector<float> normal_distribution(Vector<float> x) {
  const Vector<float> magnitude = x < Vector<float>{} ? -x : x;
  const Vector<float> t = 1.0f / (1.0f + 0.231641888f * magnitude);  // 0.3275911 / sqrt(2)
  Vector<float> p = 0.5307027145f * t - 0.7265760135f;               // half of the published coefficients
  p = p * t + 0.7107068705f;
  p = p * t - 0.142248368f;
  p = p * t + 0.127414796f;
  const Vector<float> tail = p * t * exp_or_zero(-0.5f * x * x);
  return x < Vector<float>{} ? tail : 1.0f - tail;
}

}  // namespace headshare::kernels
