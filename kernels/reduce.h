#pragma once

#include <cstdint>

#include "core/size.h"
#include "kernels/cpu.h"
#include "kernels/cuda.h"
#include "kernels/wide.h"

// Reductions over the middle one of three dimensions; every reduction over one dimension of a contiguous tensor has
// this form. T is float or double; on Cuda sum and argmax also take BFloat16. Long sums are cut into blocks of a fixed
// size that are added in order, so the bits of a result depend on the sizes alone, never on the number of threads.
namespace headshare::kernels {

// y[o, i] = sum_k x[o, k, i]; 0 when n is 0.               x: [outer, n, inner]; y: [outer, inner]
// Its backward repeats dy along k: copy_strided with stride 0.
template <class T>
void sum(Cpu, Size outer, Size n, Size inner, const T* x, Wide<T>* y);
template <class T>
void sum(Cuda, Size outer, Size n, Size inner, const T* x, Wide<T>* y);

// y[o, i] = max_k x[o, k, i]; index[o, i] is the first k that has it (null: not wanted).
// NaN counts as the largest number.
//                                                          x: [outer, n, inner]; y, index: [outer, inner]
// Throws Error when n is 0 and a maximum is asked for: there is none.
template <class T>
void max(Cpu, Size outer, Size n, Size inner, const T* x, T* y, std::int32_t* index);
template <class T>
void max(Cuda, Size outer, Size n, Size inner, const T* x, T* y, std::int32_t* index);

// dx[o, k, i] = k == index[o, i] ? dy[o, i] : 0.          dy, index: [outer, inner]; dx: [outer, n, inner], all written
template <class T>
void max_backward(Cpu, Size outer, Size n, Size inner, const std::int32_t* index, const T* dy, T* dx);
template <class T>
void max_backward(Cuda, Size outer, Size n, Size inner, const std::int32_t* index, const T* dy, T* dx);

// index[r] is the position of the first maximum of row r. NaN counts as the largest number. Throws Error when n is 0.
//                                                          x: [rows, n]; index: [rows]
template <class T>
void argmax(Cpu, Size rows, Size n, const T* x, std::int32_t* index);
template <class T>
void argmax(Cuda, Size rows, Size n, const T* x, std::int32_t* index);

// sum_i x[i]^2 in double, as a number for the host: this waits for the device, as squared_norm of many arrays (adam.h)
// does not. NaN and infinity in x give NaN or infinity.                                                   x: [n]
template <class T>
double sum_of_squares(Cpu, Size n, const T* x);
template <class T>
double sum_of_squares(Cuda, Size n, const T* x);

}  // namespace headshare::kernels
