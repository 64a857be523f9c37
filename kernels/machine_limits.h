#pragma once

#include "core/size.h"

namespace headshare::kernels {

// What this machine can do at most, with the threads that OpenMP uses, measured now: shared machines drift by 20 %.
struct MachineLimits {
  double flops_per_second;  // float32 multiply-adds in registers, two operations each
  double bytes_per_second;  // reading 512 MiB, far more than any cache holds
};
MachineLimits measure_limits();

// Bytes per second when the same `bytes` are read again and again: the more there are, the farther away they lie.
double measure_reading(Size bytes);

}  // namespace headshare::kernels
