#pragma once

#include "core/size.h"

namespace headshare::kernels {

// What this machine can do at most, with the threads that OpenMP uses, measured now: shared machines drift by 20 %.
// float32 multiply-adds in registers, two operations each, per second.
double measure_arithmetic();

// The same by the processor's matrix unit, in float32 products of numbers in the nearest cache. 0 without one.
double measure_matrix_unit();

// Bytes per second when the same `bytes` are read again and again: the more there are, the farther away they lie.
double measure_reading(Size bytes = Size{512} << 20);

// Seconds to start and join a team of threads that has nothing to do: what every operation shared between the cores
// costs at least. The threads are awake; when they have slept, it takes several times as long.
double measure_parallel_region();

}  // namespace headshare::kernels
