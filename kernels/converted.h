#pragma once

#include <limits>
#include <type_traits>

#include "core/bfloat16.h"

namespace headshare::kernels {

// A number in another type, as `convert` of copy.h promises it. `constexpr` lets CUDA kernels call the same source.
template <class From, class To>
constexpr To converted(From value) {
  if constexpr (std::is_same_v<From, BFloat16>) {
    return converted<float, To>(static_cast<float>(value));
  } else {
    if constexpr (std::is_integral_v<To>) {
      constexpr To smallest = std::numeric_limits<To>::min(), largest = std::numeric_limits<To>::max();
      if (value != value) return 0;
      if (value <= static_cast<From>(smallest)) return smallest;
      if (value >= static_cast<From>(largest)) return largest;
    }
    return static_cast<To>(value);
  }
}

}  // namespace headshare::kernels
