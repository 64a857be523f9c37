#pragma once

#include "core/size.h"
#include "kernels/cuda.h"

// Lesson 10: first kernels. All pointers are device memory; no array overlaps another. lesson.cu holds the kernels,
// lesson.cpp the prediction of step 2.
namespace headshare::lesson {

using kernels::Cuda;

constexpr int block_threads = 128;  // of a block in steps 1 to 4: four warps
constexpr int row_threads = 256;    // of a block in step 5, where a block has a row to itself
constexpr int warp_lanes = 32;      // threads of a warp

// ---- Step 1: one thread for each element ----------------------------------------------------------------------------

// y[i] = max(0, scale x[i] + shift)                                                                 x, y: [n], n >= 1
void scaled_relu(Cuda device, Size n, float scale, float shift, const float* x, float* y);
// Given: the same without the check that keeps the last block inside the arrays.
void scaled_relu_unchecked(Cuda device, Size n, float scale, float shift, const float* x, float* y);

// ---- Step 2: what a warp fetches ------------------------------------------------------------------------------------

// The 32 lanes of a warp read one float each: lane l reads the one with number first + l stride. Global memory comes in
// sectors of 32 bytes = 8 floats; sector s holds the floats 8 s to 8 s + 7. How many sectors do the lanes touch?
//                                                                                            first, stride: 0 or more
int sectors_of_warp(Size first, Size stride);
// Given: y[i] = x[first + i stride], thread i for element i.                         x: [first + (n - 1) stride + 1]
void copy_strided(Cuda device, Size n, Size first, Size stride, const float* x, float* y);

// ---- Steps 3 to 5: three ways to share out the rows of a softmax ----------------------------------------------------
// y[r, i] = exp(x[r, i] - max of row r) / sum over j of exp(x[r, j] - max of row r)                x, y: [rows, n]
// An x of minus infinity is masked: its y is 0. Every row has at least one finite x. rows, n >= 1.

void softmax_by_threads(Cuda device, Size rows, Size n, const float* x, float* y);  // step 3: a thread has a row
void softmax_by_warps(Cuda device, Size rows, Size n, const float* x, float* y);    // step 4: a warp has a row
void softmax_by_blocks(Cuda device, Size rows, Size n, const float* x, float* y);   // step 5: a block has a row

// Given: difference[i] = x[i] - x[i - 1], and x[0] for i = 0, by way of shared memory; a barrier is missing.
//                                                                                          x, difference: [row_threads]
void differences_without_barrier(Cuda device, const float* x, float* difference);

}  // namespace headshare::lesson
