#pragma once

#include <cstdint>

#include "core/size.h"
#include "kernels/cpu.h"
#include "kernels/cuda.h"

// The likeliest next tokens, of which beam search makes its choice: a few numbers a row travel to the host, not the
// whole vocabulary. T is float or double.
namespace headshare::kernels {

// values[r, i] and index[r, i]: the i-th largest number of row r of x and where it stands; of equal numbers, the one
// that stands first comes first. NaN counts as the largest number. Throws Error when count is above n.
//                                                                  x: [rows, n]   values, index: [rows, count]
template <class T>
void top_k(Cpu, Size rows, Size n, Size count, const T* x, T* values, std::int32_t* index);
template <class T>
void top_k(Cuda, Size rows, Size n, Size count, const T* x, T* values, std::int32_t* index);

}  // namespace headshare::kernels
