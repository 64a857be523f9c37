#pragma once

#include <cmath>
#include <cstdint>

#include "core/error.h"
#include "kernels/dropout.h"

namespace headshare::kernels {

// What the probability means for one element: kept, and then times scale, when its 16-bit number is at least threshold.
template <class T>
struct DropoutRule {
  std::int32_t threshold;
  T scale;
};

// Throws Error when the probability is not within 0 .. 1.
template <class T>
DropoutRule<T> dropout_rule(const DropoutMask& mask) {
  if (!(mask.probability >= 0 && mask.probability <= 1))
    fail("dropout: probability ", mask.probability, " is not within 0 .. 1");
  return {static_cast<std::int32_t>(std::lround(65536 * mask.probability)), static_cast<T>(1 / (1 - mask.probability))};
}

}  // namespace headshare::kernels
