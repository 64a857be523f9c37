#pragma once

#include <cstdint>

#include "core/size.h"

namespace headshare::kernels {

// A kernel cannot throw. It writes the first thing that it finds wrong here, and synchronize() throws it as an Error.
struct IndexFault {
  int happened;  // 0 or 1
  std::int32_t index;
  Size position, limit;
  const char* who;  // the host's memory: kernels only pass these two on
  const char* what;
};

IndexFault* fault_record();  // managed memory, one for the whole program
void throw_fault();          // throws, once, what is recorded there; the device must be idle

}  // namespace headshare::kernels
