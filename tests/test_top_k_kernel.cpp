#include <algorithm>

#include "core/error.h"
#include "kernels/ranked.h"
#include "kernels/top_k.h"
#include "tests/kernel_helpers.h"
#include "tests/test_tools.h"

using namespace headshare;
using namespace headshare::test;

namespace {

template <class T>
struct Chosen {
  Array<T> values;
  Array<std::int32_t> index;
};

template <class T>
Chosen<T> top_k(Size rows, Size n, Size count, const Array<T>& x) {
  const auto size = static_cast<std::size_t>(rows * count);
  Chosen<T> chosen{Array<T>(size, T(-99)), Array<std::int32_t>(size, -7)};
  on_device([&](auto device) {
    kernels::top_k(device, rows, n, count, x.data(), chosen.values.data(), chosen.index.data());
  });
  return chosen;
}

// All of the row sorted, in the order that the contract names.
template <class T>
Chosen<T> sorted(Size rows, Size n, Size count, const Array<T>& x) {
  Chosen<T> expected;
  for (Size row = 0; row < rows; ++row) {
    std::vector<std::int32_t> order;
    for (Size i = 0; i < n; ++i) order.push_back(static_cast<std::int32_t>(i));
    const T* const numbers = x.data() + row * n;
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      const bool a_is_nan = numbers[a] != numbers[a], b_is_nan = numbers[b] != numbers[b];
      return a_is_nan != b_is_nan ? a_is_nan : numbers[a] > numbers[b];
    });
    for (Size i = 0; i < count; ++i) {
      expected.index.push_back(order[static_cast<std::size_t>(i)]);
      expected.values.push_back(numbers[order[static_cast<std::size_t>(i)]]);
    }
  }
  return expected;
}

template <class T>
void check_like_sorting(Size rows, Size n, Size count, const Array<T>& x) {
  CAPTURE(rows);
  CAPTURE(n);
  CAPTURE(count);
  const Chosen<T> chosen = top_k(rows, n, count, x), expected = sorted(rows, n, count, x);
  CHECK(chosen.index == expected.index);
  CHECK(same_bits(chosen.values, expected.values));
}

}  // namespace

TEST_CASE_TEMPLATE("top_k is the beginning of the sorted row", T, float, double) {
  // Around what a thread keeps (8 or 16), the threads of a block (256), and more than one pass.
  for (const auto& [rows, n, count] : std::vector<std::array<Size, 3>>{{0, 5, 2},
                                                                       {3, 1, 1},
                                                                       {2, 7, 7},
                                                                       {5, 33, 8},
                                                                       {2, 97, 9},
                                                                       {3, 1000, 1},
                                                                       {2, 2600, 16},
                                                                       {2, 257, 17},
                                                                       {1, 300, 40}})
    check_like_sorting(rows, n, count, random_vector<T>(rows * n, static_cast<std::uint64_t>(n)));
}

TEST_CASE_TEMPLATE("of equal numbers top_k takes the first, and all of a row may be one thread's", T, float, double) {
  Array<T> equal(600, T(1));
  check_like_sorting(2, 300, 20, equal);
  Array<T> apart(8 * 256, T(-1));  // those that one thread of a block of 256 reads are the largest
  for (Size i = 0; i < 8; ++i) apart[static_cast<std::size_t>(i * 256 + 5)] = static_cast<T>(i);
  check_like_sorting<T>(1, 8 * 256, 8, apart);
}

TEST_CASE_TEMPLATE("top_k with infinities and NaN", T, float, double) {
  Array<T> x = random_vector<T>(70, 3);
  x[4] = x[60] = infinity<T>;
  x[5] = -infinity<T>;
  x[40] = not_a_number<T>;
  check_like_sorting<T>(1, 70, 70, x);
  check_like_sorting<T>(1, 70, 3, x);
  check_like_sorting<T>(1, 40, 40, Array<T>(40, -infinity<T>));
}

TEST_CASE("top_k of more than there are is an error") {
  const Array<float> x(3, 1.0f);
  CHECK(test::error_of([&] { top_k(1, 3, 4, x); }) == "top_k: the 4 largest of 3 numbers do not exist");
}
