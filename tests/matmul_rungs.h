#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "core/bfloat16.h"
#include "kernels/device_memory.h"
#include "tests/kernel_helpers.h"
#include "tests/matmul_problem.h"

// How a rung of the ladder of the matrix product is compared with plain loops in float64.
namespace headshare::kernels::matmul_test {

using test::on_device;
using test::random_vector;

template <class In, class Out>
struct Rung {
  std::string name;
  std::function<void(Cuda, const MatmulSizes&, const MatrixView<In>&, const MatrixView<In>&, Out*,
                     const Epilogue<Out>&)>
      multiply;
  Size most_rows = 1 << 30;
};

inline const std::vector<std::tuple<Layout, Layout>> all_layouts = {{Layout::rows, Layout::rows},
                                                                    {Layout::rows, Layout::columns},
                                                                    {Layout::columns, Layout::rows},
                                                                    {Layout::columns, Layout::columns}};

inline double exact(double x) { return x; }
inline double exact(float x) { return static_cast<double>(x); }
inline double exact(BFloat16 x) { return static_cast<double>(static_cast<float>(x)); }

template <class T>
Array<double> in_double(const Array<T>& from) {
  Array<double> to(from.size());
  std::transform(from.begin(), from.end(), to.begin(), [](T x) { return exact(x); });
  return to;
}

template <class T>
const T nan_of = T(std::numeric_limits<float>::quiet_NaN());

// Exactly as much memory as the matrices need, so that whoever watches the memory sees each read outside; NaN where
// lines have a gap between them, so that everybody does.
template <class T>
Array<T> random_matrices(const Lines& lines, std::uint64_t seed) {
  Array<T> x = random_vector<T>(lines.elements(), seed);
  for (std::size_t i = 0; i < x.size(); ++i)
    if (static_cast<Size>(i) % lines.stride >= lines.length) x[i] = nan_of<T>;
  return x;
}

template <class In, class Out>
struct Operands {
  Array<In> a, b;
  Array<Wide<Out>> bias;
  Operands(const Case& c, std::uint64_t seed)
      : a(random_matrices<In>({c.sizes.m, c.sizes.k, c.a_layout, c.a_matrices, c.lines_on}, seed)),
        b(random_matrices<In>({c.sizes.k, c.sizes.n, c.b_layout, c.b_matrices, c.lines_on}, seed + 1)),
        bias(random_vector<Wide<Out>>(c.bias ? c.sizes.n : 0, seed + 2)) {}
};

// multiply(sizes, a, b, c, epilogue) as the case says.
template <class In, class Out, class Multiply>
Results<Out> run(const Case& c, const Array<In>& a, const Array<In>& b, const Array<Wide<Out>>& bias,
                 const Multiply& multiply) {
  const MatmulSizes& s = c.sizes;
  const auto elements = static_cast<std::size_t>(s.batch * s.m * s.n);
  Results<Out> results{Array<Out>(elements, nan_of<Out>), Array<Out>(c.keep_before ? elements : 0, nan_of<Out>)};
  const Epilogue<Out> epilogue{c.bias ? bias.data() : nullptr, c.activation,
                               c.keep_before ? results.before.data() : nullptr};
  multiply(s, view(a, s.m, s.k, c.a_layout, c.a_matrices, c.lines_on),
           view(b, s.k, s.n, c.b_layout, c.b_matrices, c.lines_on), results.c.data(), epilogue);
  return results;
}

template <class In, class Out>
Results<Out> run(const Case& c, const Operands<In, Out>& operands, const Rung<In, Out>& rung) {
  const auto results = run<In, Out>(c, operands.a, operands.b, operands.bias,
                                    [&](const auto&... arguments) { rung.multiply(cuda(), arguments...); });
  synchronize(cuda());
  return results;
}

template <class In, class Out>
Results<double> truth(const Case& c, const Operands<In, Out>& operands) {
  return run<double, double>(c, in_double(operands.a), in_double(operands.b), in_double(operands.bias),
                             [](const auto&... arguments) { matmul_plain<double>(Cpu{}, arguments...); });
}

// Half a unit in the last place for each of K sums of normal numbers would be sqrt(K) * K / 2 units if all errors had
// one sign: four times less is ample for the float32 units, and for tensor cores, which cut off instead of rounding.
template <class Out>
double allowed(const Case& c) {
  const double k = static_cast<double>(c.sizes.k);
  return static_cast<double>(std::numeric_limits<Wide<Out>>::epsilon()) * (8 + std::sqrt(k) * k / 8);
}

// Whether all elements are as near to the truth as they can be. A bfloat16 is rounded once more, to eight bits.
template <class Out>
bool near(const Case& c, const Array<Out>& found, const Array<double>& expected) {
  const double last = std::is_same_v<Out, BFloat16> ? 0x1p-8 : 0;
  if (found.size() != expected.size()) return false;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double x = exact(found[i]), y = expected[i];
    if (x == y || std::abs(x - y) <= allowed<Out>(c) * std::max(1.0, std::abs(y)) + last * std::abs(y)) continue;
    MESSAGE("element " << i << " of " << found.size() << " is " << x << ", not " << y);
    return false;
  }
  return true;
}

template <class In, class Out>
void check(const Case& c, const std::vector<Rung<In, Out>>& all, const Operands<In, Out>& operands) {
  CAPTURE(c);
  const Results<double> expected = truth(c, operands);
  for (const Rung<In, Out>& rung : all) {
    if (c.sizes.m > rung.most_rows) continue;
    CAPTURE(rung.name);
    const Results<Out> results = run(c, operands, rung);
    CHECK(near(c, results.c, expected.c));
    CHECK(near(c, results.before, expected.before));
  }
}

}  // namespace headshare::kernels::matmul_test
