#pragma once

namespace headshare::benchmarks {

// What this machine can do at most, with the threads that OpenMP uses, measured now: shared machines drift by 20 %.
struct MachineLimits {
  double flops_per_second;  // float32 multiply-adds in registers, two operations each
  double bytes_per_second;  // reading 512 MiB, far more than any cache holds
};
MachineLimits measure_limits();

}  // namespace headshare::benchmarks
