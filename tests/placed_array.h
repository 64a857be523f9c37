#pragma once

#include "core/bfloat16.h"
#include "kernels/wide.h"
#include "tests/kernel_helpers.h"

// What the tests of the kernels that compute in bfloat16 need, which Device::cuda alone does; and arrays that begin
// anywhere: kernels take whole chunks of 16 bytes where they can, in all types, and single numbers elsewhere.
namespace headshare::test {

using kernels::Cuda;
using kernels::Wide;

// body(kernels::Cuda{...}); the device is done when this returns.
template <class Body>
void on_cuda(const Body& body) {
  body(kernels::cuda());
  kernels::synchronize(kernels::cuda());
}

inline bool without_cuda() { return test_device() == Device::cpu; }

template <class T>
double value(T x) {
  return static_cast<double>(static_cast<Wide<T>>(x));
}

template <class T>
Array<float> widened(const Array<T>& x) {
  Array<float> wide;
  for (const T number : x) wide.push_back(static_cast<float>(number));
  return wide;
}

// What computation in float32 (or T, where that is wider) may add to the error of the last rounding.
template <class T>
constexpr double slack = sizeof(T) == 8 ? 1e-14 : 2e-6;

// Is y[i] what expected[i] rounds to, give or take `unit` slacks before the rounding? So a result that is rounded
// twice, or not to the nearest, is wrong.
template <class T>
bool rounded_once(const T* y, const Array<double>& expected, double unit = 1) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double x = expected[i], margin = slack<T> * unit * std::max(1.0, std::abs(x));
    if (std::isnan(x) ? value(y[i]) == value(y[i])
                      : !(value(T(x - margin)) <= value(y[i]) && value(y[i]) <= value(T(x + margin)))) {
      MESSAGE("element ", i, " of ", expected.size(), " is ", value(y[i]), " instead of ", x);
      return false;
    }
  }
  return true;
}

// n numbers in memory, `offset` numbers behind a border of 16 bytes, with others around them that nobody may touch.
template <class T>
class Placed {
 public:
  Placed(const Array<T>& x, Size offset) : offset_(offset), size_(x.size()), memory_(x.size() + 32, T(7.0f)) {
    std::copy(x.begin(), x.end(), data());
  }
  Placed(Size n, Size offset) : Placed(Array<T>(static_cast<std::size_t>(n), T(-99.0f)), offset) {}
  T* data() { return memory_.data() + 16 + offset_; }
  const T* data() const { return memory_.data() + 16 + offset_; }
  bool kept_its_neighbours() const {
    bool kept = true;
    for (std::size_t i = 0; i < memory_.size(); ++i) {
      const bool outside =
          i < 16 + static_cast<std::size_t>(offset_) || i >= 16 + static_cast<std::size_t>(offset_) + size_;
      kept = kept && (!outside || value(memory_[i]) == 7);
    }
    return kept;
  }

 private:
  Size offset_;
  std::size_t size_;
  Array<T> memory_;
};

}  // namespace headshare::test
