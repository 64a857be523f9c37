#pragma once

#include "core/size.h"
#include "kernels/cpu.h"
#include "kernels/cuda.h"

// Softmax over the rows of x: [rows, n]. T is float or double. Outputs may be the same memory as an input of the same
// shape. The maximum is subtracted before exp, so logits of any size are safe. -infinity is a masked position, with
// probability 0. NaN or +infinity in a row make the whole row NaN.
namespace headshare::kernels {

// y_i = exp(x_i - max x) / sum_j exp(x_j - max x).                                       x, y: [rows, n]
// A row of only -infinity (everything masked) gives zeros.
template <class T>
void softmax(Cpu, Size rows, Size n, const T* x, T* y);
template <class T>
void softmax(Cuda, Size rows, Size n, const T* x, T* y);

// dx_i = y_i (dy_i - sum_j y_j dy_j).                                                    dy, y, dx: [rows, n]
template <class T>
void softmax_backward(Cpu, Size rows, Size n, const T* dy, const T* y, T* dx);
template <class T>
void softmax_backward(Cuda, Size rows, Size n, const T* dy, const T* y, T* dx);

// y_i = x_i - log sum_j exp(x_j).                                                        x, y: [rows, n]
// A row of only -infinity stays as it is: the logarithm of softmax's zeros.
template <class T>
void log_softmax(Cpu, Size rows, Size n, const T* x, T* y);
template <class T>
void log_softmax(Cuda, Size rows, Size n, const T* x, T* y);

// dx_i = dy_i - exp(y_i) sum_j dy_j.                                                     dy, y, dx: [rows, n]
template <class T>
void log_softmax_backward(Cpu, Size rows, Size n, const T* dy, const T* y, T* dx);
template <class T>
void log_softmax_backward(Cuda, Size rows, Size n, const T* dy, const T* y, T* dx);

}  // namespace headshare::kernels
