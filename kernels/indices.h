#pragma once

#include <cstdint>

#include "core/error.h"
#include "core/size.h"

namespace headshare::kernels {

// Throws Error when one of `count` indices is not in smallest .. limit - 1. Before the threads start: an exception may
// not leave one of them.
inline void check_indices(const char* who, const char* what, Size count, const std::int32_t* indices, Size smallest,
                          Size limit) {
  for (Size i = 0; i < count; ++i) {
    if (indices[i] < smallest || indices[i] >= limit)
      fail(who, ": ", what, " ", indices[i], " at position ", i, " is outside 0 .. ", limit - 1);
  }
}

}  // namespace headshare::kernels
