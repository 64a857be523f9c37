#pragma once

#include "kernels/softmax.h"

// The ways to softmax on a GPU, from the plainest on. softmax(Cuda) of softmax.h is the last; the contract of each is
// the one there. All are tested, and measured against each other in the benchmark.
namespace headshare::kernels {

// A thread per row. Neighbouring threads read elements n apart: each takes 32 bytes from memory to use 4 of them.
template <class T>
void softmax_naive(Cuda, Size rows, Size n, const T* x, T* y);

// A warp per row: neighbouring lanes read neighbouring elements. Three passes: maximum, sum, output.
template <class T>
void softmax_warp(Cuda, Size rows, Size n, const T* x, T* y);

// Two passes: maximum and sum together (Milakov and Gimelshein 2018), output. A warp per row, a block for long rows.
template <class T>
void softmax_online(Cuda, Size rows, Size n, const T* x, T* y);

}  // namespace headshare::kernels
