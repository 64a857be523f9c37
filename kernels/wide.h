#pragma once

#include <type_traits>

#include "core/bfloat16.h"

namespace headshare::kernels {

// The type in which a kernel computes with numbers of type T, and in which whatever must not lose bits stays beside
// them: parameters and their gradients, sums, statistics (Micikevicius et al. 2018, "Mixed Precision Training"). T
// itself; float32 for bfloat16.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, BFloat16>, float, T>;

}  // namespace headshare::kernels
