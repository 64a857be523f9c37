#pragma once

#include <cstdint>
#include <limits>

#include "core/error.h"
#include "kernels/largest.h"

namespace headshare::kernels {

// A number and where it stands, as top_k orders them.
template <class T>
struct Ranked {
  T value = -std::numeric_limits<T>::infinity();
  std::int32_t index = std::numeric_limits<std::int32_t>::max();  // this pair comes after all that exist
};

template <class T>
constexpr bool comes_before(const Ranked<T>& a, const Ranked<T>& b) {
  return exceeds(a.value, b.value) || (!exceeds(b.value, a.value) && a.index < b.index);
}

inline void check_count(Size n, Size count) {
  if (count < 0 || count > n) fail("top_k: the ", count, " largest of ", n, " numbers do not exist");
}

}  // namespace headshare::kernels
