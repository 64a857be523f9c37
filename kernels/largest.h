#pragma once

#include "core/error.h"
#include "core/size.h"

// What max and argmax mean by the largest, on every device.
namespace headshare::kernels {

// True where `candidate` takes the place of `best`: NaN counts as the largest number.
template <class T>
constexpr bool exceeds(T candidate, T best) {
  return candidate > best || (candidate != candidate && best == best);
}

inline void check_not_empty(const char* who, Size results, Size n) {
  if (n < 1 && results > 0) fail(who, ": the largest of 0 elements does not exist; needed at least 1 element");
}

}  // namespace headshare::kernels
