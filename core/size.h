#pragma once

#include <cstdint>

namespace headshare {

// Every count, extent, stride and index. Signed, so that differences and loops downwards are safe.
using Size = std::int64_t;

}  // namespace headshare
