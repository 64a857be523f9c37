#pragma once

#include <cstdint>

#include "core/error.h"
#include "core/size.h"
#include "kernels/cpu.h"
#include "kernels/cuda.h"

namespace headshare::kernels {

// Throws Error when one of `count` indices is not in smallest .. limit - 1. Before the threads start: an exception may
// not leave one of them. `who` and `what` are string literals.
inline void check_indices(Cpu, const char* who, const char* what, Size count, const std::int32_t* indices,
                          Size smallest, Size limit) {
  for (Size i = 0; i < count; ++i) {
    if (indices[i] < smallest || indices[i] >= limit)
      fail(who, ": ", what, " ", indices[i], " at position ", i, " is outside 0 .. ", limit - 1);
  }
}

// On a real GPU the Error comes at the next synchronize(): waiting here would cost more than the check. Kernels that
// run in between must survive a wrong index.
void check_indices(Cuda device, const char* who, const char* what, Size count, const std::int32_t* indices,
                   Size smallest, Size limit);

}  // namespace headshare::kernels
