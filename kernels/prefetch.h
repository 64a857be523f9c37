#pragma once

#include <cstdint>

#include "core/size.h"

namespace headshare::kernels {

// A first cache may have no room for many lines a page apart; the second has.
constexpr int first_cache = 3, second_cache = 2;

// Asks for the cache line that holds from[ahead], so that it is there when its turn comes. Only a hint: any address
// will do, also one behind the end. Inlined by force: for GCC 12 a function that only asks has no effect, and a call of
// it may go.
template <int cache, class T>
[[gnu::always_inline]] inline void prefetch(const T* from, Size ahead) {
  const std::uintptr_t bytes = static_cast<std::uintptr_t>(ahead) * sizeof(T);
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(from) + bytes), 0, cache);
}

}  // namespace headshare::kernels
