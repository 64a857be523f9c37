#include <cmath>
#include <set>

#include "lesson.h"
#include "tutorials/support/check.h"
#include "tutorials/support/traced.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

const Cuda device = kernels::cuda();

// A number from 0 to below - 1 that is another one in every grading.
Size chosen(Size below, std::uint64_t which) { return Generator(grading_seed() + 1000 * which).below(below); }

std::vector<float> normal(Size n, std::uint64_t seed) {
  return random_tensor({n}, grading_seed() + seed, {.type = ElementType::float32, .device = Device::cpu})
      .to_vector<float>();
}

// Against plain loops, in double.
void check_softmax(void (*softmax)(Cuda, Size, Size, const float*, float*), Size rows, Size n) {
  in_every_order([&] {
    const std::vector<float> values = normal(rows * n, 1);
    DeviceArray<> x("x", values), y("y", rows * n);
    softmax(device, rows, n, x.data(), y.data());
    const std::vector<float> got = y.to_vector();
    for (Size row = 0; row < rows; ++row) {
      double sum = 0;
      for (Size i = 0; i < n; ++i) sum += std::exp(double{values[static_cast<std::size_t>(row * n + i)]});
      for (Size i = 0; i < n; ++i) {
        const auto at = static_cast<std::size_t>(row * n + i);
        check_close(got[at], std::exp(double{values[at]}) / sum, text("y[", row, ", ", i, "] of ", rows, " x ", n));
      }
    }
  });
}

}  // namespace

TEST_CASE("10.1 other lengths and other factors") {
  in_every_order([] {
    for (std::uint64_t which = 1; which <= 3; ++which) {
      const Size n = 1 + chosen(3000, which);
      const float scale = static_cast<float>(chosen(9, which)) - 4, shift = static_cast<float>(chosen(5, which)) / 4;
      const std::vector<float> values = normal(n, which);
      DeviceArray<> x("x", values), y("y", n);
      scaled_relu(device, n, scale, shift, x.data(), y.data());
      std::vector<float> expected;
      for (const float value : values) expected.push_back(std::fmax(0.0f, scale * value + shift));
      check_close(y.to_vector(), expected, text("y for n = ", n, ", scale ", scale, ", shift ", shift));
    }
  });
}

TEST_CASE("10.2 other places and other strides") {
  for (std::uint64_t which = 1; which <= 20; ++which) {
    const Size first = chosen(100000, which), stride = chosen(which < 15 ? 10 : 500, which + 50);
    std::set<Size> sectors;
    for (Size lane = 0; lane < 32; ++lane) sectors.insert((4 * (first + lane * stride)) / 32);
    check_equal(sectors_of_warp(first, stride), static_cast<long long>(sectors.size()),
                text("sectors for first ", first, ", stride ", stride));
  }
}

TEST_CASE("10.3 other shapes") { check_softmax(softmax_by_threads, 1 + chosen(200, 1), 1 + chosen(70, 2)); }

TEST_CASE("10.4 other shapes") {
  check_softmax(softmax_by_warps, 1 + chosen(40, 3), 1 + chosen(31, 4));
  check_softmax(softmax_by_warps, 1 + chosen(20, 5), 33 + chosen(300, 6));
}

TEST_CASE("10.5 other shapes") {
  check_softmax(softmax_by_blocks, 1 + chosen(4, 7), 1 + chosen(255, 8));
  check_softmax(softmax_by_blocks, 1 + chosen(3, 9), 257 + chosen(1500, 10));
}
