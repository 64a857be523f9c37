#pragma once

#include "kernels/cuda.h"

// The same copy and the same transposition in good and bad ways (lessons.cu): what the tracer counts of them is known.
namespace headshare::test {

void copy_coalesced(kernels::Cuda device, const float* x, float* y, int n);          // neighbours read neighbours
void copy_strided(kernels::Cuda device, const float* x, float* y, int n, int step);  // neighbours are `step` apart
void copy_broadcast(kernels::Cuda device, const float* x, float* y, int n);          // y[i] = x[0]
void copy_vectors(kernels::Cuda device, const float* x, float* y, int n);            // four values at a time; 4 | n

// y = x transposed.                                                                    x, y: [n, n], 32 | n
void transpose_naive(kernels::Cuda device, const float* x, float* y, int n);
void transpose_shared(kernels::Cuda device, const float* x, float* y, int n);
void transpose_padded(kernels::Cuda device, const float* x, float* y, int n);

}  // namespace headshare::test
