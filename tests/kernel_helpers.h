#pragma once

#include <doctest/doctest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/random.h"
#include "core/size.h"
#include "tests/test_device.h"

// What the tests of all kernels need: data, comparison, and a choice of the number of threads.
namespace headshare::test {

template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();
template <class T>
constexpr T not_a_number = std::numeric_limits<T>::quiet_NaN();

// Normal numbers; the same seed gives the same ones.
template <class T>
Array<T> random_vector(Size n, std::uint64_t seed, double scale = 1) {
  Generator generator(seed);
  Array<T> x(static_cast<std::size_t>(n));
  for (T& value : x) value = static_cast<T>(scale * generator.normal());
  return x;
}

inline Array<std::int32_t> random_indices(Size n, Size limit, std::uint64_t seed) {
  Generator generator(seed);
  Array<std::int32_t> x(static_cast<std::size_t>(n));
  for (std::int32_t& value : x) value = static_cast<std::int32_t>(generator.below(limit));
  return x;
}

// How far apart two arrays are, relative to numbers of size `unit`; infinity when one has a NaN, or a size differs.
template <class A, class B>
double distance(const A& a, const B& b, double unit = 1) {
  if (a.size() != b.size()) return infinity<double>;
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    if (x == y) continue;  // also equal infinities
    const double difference = std::abs(x - y) / std::max(unit, std::abs(y));
    worst = difference <= worst ? worst : difference;
    if (std::isnan(difference)) return infinity<double>;
  }
  return worst;
}

template <class A, class B>
bool same_bits(const A& a, const B& b) {
  static_assert(std::is_same_v<typename A::value_type, typename B::value_type>);
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0);
}

template <class T>
bool all_nan(const Array<T>& x) {
  return std::all_of(x.begin(), x.end(), [](T value) { return value != value; });
}

// A few units in the last place for each of T's operations.
template <class T>
constexpr double tolerance = sizeof(T) == 4 ? 2e-6 : 2e-14;

// compute() returns a vector; true when 1, 2, 3 and 5 threads give the same bits.
template <class Compute>
bool independent_of_threads(const Compute& compute) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  const auto expected = compute();
  bool same = true;
  for (const int threads : {2, 3, 5}) {
    omp_set_num_threads(threads);
    same = same && same_bits(compute(), expected);
  }
  omp_set_num_threads(before);
  return same;
}

}  // namespace headshare::test
