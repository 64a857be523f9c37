#include <cmath>

#include "kernels/softmax_ladder.h"
#include "tests/kernel_helpers.h"

using namespace headshare;
using namespace headshare::test;

namespace {

template <class T>
struct Rung {
  const char* name;
  void (*softmax)(kernels::Cuda, Size rows, Size n, const T* x, T* y);
};

template <class T>
const std::vector<Rung<T>> rungs = {
    {"naive", kernels::softmax_naive<T>}, {"warp", kernels::softmax_warp<T>}, {"online", kernels::softmax_online<T>}};

template <class T>
Array<T> run(const Rung<T>& rung, Size rows, Size n, const Array<T>& x) {
  Array<T> y(x.size(), T(77));
  rung.softmax(kernels::cuda(), rows, n, x.data(), y.data());
  kernels::synchronize(kernels::cuda());
  return y;
}

// The definition, in double; a row of only -infinity is zeros.
template <class T>
Array<double> plain_softmax(Size rows, Size n, const Array<T>& x) {
  Array<double> y(x.size());
  for (Size row = 0; row < rows; ++row) {
    double largest = -infinity<double>, sum = 0;
    for (Size i = row * n; i < (row + 1) * n; ++i) largest = std::max(largest, static_cast<double>(x[i]));
    if (largest == -infinity<double>) continue;
    for (Size i = row * n; i < (row + 1) * n; ++i) sum += y[i] = std::exp(static_cast<double>(x[i]) - largest);
    for (Size i = row * n; i < (row + 1) * n; ++i) y[i] /= sum;
  }
  return y;
}

struct Case {
  Size rows, n;
};
// Around a warp, around the rows of one block, and on both sides of where a row gets a block of its own.
const std::vector<Case> cases = {{0, 5},  {3, 0},   {1, 1},   {7, 31},   {33, 32},  {5, 33},
                                 {2, 97}, {129, 7}, {97, 65}, {3, 1024}, {3, 1025}, {2, 4099}};

}  // namespace

// All of this is CUDA's: where the tests run on the CPU, doctest skips it, and says so in its count.
TEST_SUITE_BEGIN("the ladder of softmax" * doctest::skip(test_device() == Device::cpu));

TEST_CASE_TEMPLATE("every rung of the softmax ladder follows the definition", T, float, double) {
  for (const auto [rows, n] : cases) {
    CAPTURE(rows);
    CAPTURE(n);
    Array<T> x = random_vector<T>(rows * n, static_cast<std::uint64_t>(n), 3);
    for (Size i = 0; i < rows * n; i += 5) x[i] = -infinity<T>;  // masked
    for (Size i = 0; i < std::min(rows, Size{1}) * n; ++i) x[i] = -infinity<T>;
    const Array<double> expected = plain_softmax(rows, n, x);
    for (const Rung<T>& rung : rungs<T>) {
      CAPTURE(rung.name);
      CHECK(distance(run(rung, rows, n, x), expected, 1e-12) < 10 * tolerance<T>);  // relative, also where tiny
    }
  }
}

TEST_CASE_TEMPLATE("no rung of the softmax ladder minds rising, falling, huge or hidden maxima", T, float, double) {
  constexpr Size n = 1100;
  const T lowest = std::numeric_limits<T>::lowest();
  Array<T> x(6 * n);
  for (Size i = 0; i < n; ++i) {
    x[i] = static_cast<T>(i) / 16;  // each element is a new maximum
    x[n + i] = -static_cast<T>(i) / 16;
    x[2 * n + i] = i % 2 == 0 ? T(10000) : T(-10000);
    x[3 * n + i] = i == n - 1 ? T(0) : -infinity<T>;  // only the last position may be seen
    x[4 * n + i] = i % 3 == 0 ? lowest : -infinity<T>;
    x[5 * n + i] = i % 3 == 0 ? std::numeric_limits<T>::max() : lowest;
  }
  for (const Rung<T>& rung : rungs<T>) {
    CAPTURE(rung.name);
    CHECK(distance(run(rung, 6, n, x), plain_softmax(6, n, x), 1e-12) < 10 * tolerance<T>);
  }
}

TEST_CASE_TEMPLATE("NaN and +infinity make their row NaN, and no other, on every rung", T, float, double) {
  for (const Size n : {37, 1100}) {
    for (const T poison : {not_a_number<T>, infinity<T>}) {
      for (const Size position : {Size{0}, Size{31}, n - 1}) {
        for (const T others : {T(1), -infinity<T>}) {
          Array<T> x(2 * n, others);
          x[n + position] = poison;
          std::fill_n(x.begin(), n, T(2));
          for (const Rung<T>& rung : rungs<T>) {
            CAPTURE(rung.name);
            const Array<T> y = run(rung, 2, n, x);
            CHECK(y[n - 1] == doctest::Approx(1.0 / static_cast<double>(n)));
            CHECK(all_nan(Array<T>(y.begin() + n, y.end())));
          }
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("every rung of the softmax ladder may write over its input", T, float, double) {
  for (const Size n : {33, 1100}) {
    const Array<T> x = random_vector<T>(5 * n, 1);
    for (const Rung<T>& rung : rungs<T>) {
      CAPTURE(rung.name);
      Array<T> in_place = x;
      rung.softmax(kernels::cuda(), 5, n, in_place.data(), in_place.data());
      kernels::synchronize(kernels::cuda());
      CHECK(same_bits(in_place, run(rung, 5, n, x)));
    }
  }
}

TEST_SUITE_END();
