#pragma once

#include "core/size.h"
#include "kernels/cpu.h"
#include "kernels/cuda.h"
#include "kernels/wide.h"

// Layer normalization (Ba, Kiros, Hinton 2016) over the rows of x: [rows, n], n >= 1, with the residual sum before it
// fused in: a Transformer sublayer ends in norm(x + residual), and the sum need not travel to memory and back. T is
// float or double; on Cuda also BFloat16, with parameters and statistics of type Wide<T>.
namespace headshare::kernels {

// s = x + residual (x alone when residual is null); then for every row
//   mean = sum_i s_i / n
//   reciprocal_deviation = 1 / sqrt(sum_i (s_i - mean)^2 / n + epsilon)
//   y_i = gain_i (s_i - mean) reciprocal_deviation + bias_i
//             x, residual, sum, y: [rows, n]; gain, bias: [n]; mean, reciprocal_deviation: [rows]
// `sum` receives s, for the backward and for the next residual; null where residual is null, or when s is not wanted.
// mean and reciprocal_deviation are for the backward too; null: not kept.
// sum and y may be x or residual, but not each other. NaN or infinity in a row make the row NaN.
template <class T>
void layer_norm(Cpu, Size rows, Size n, const T* x, const T* residual, const Wide<T>* gain, const Wide<T>* bias,
                Wide<T> epsilon, T* sum, T* y, Wide<T>* mean, Wide<T>* reciprocal_deviation);
template <class T>
void layer_norm(Cuda, Size rows, Size n, const T* x, const T* residual, const Wide<T>* gain, const Wide<T>* bias,
                Wide<T> epsilon, T* sum, T* y, Wide<T>* mean, Wide<T>* reciprocal_deviation);

// With normalized_i = (x_i - mean) reciprocal_deviation and g_i = gain_i dy_i, for every row
//   dx_i = reciprocal_deviation (g_i - sum_j g_j / n - normalized_i sum_j g_j normalized_j / n)
// and over all rows
//   d_gain_i = sum dy_i normalized_i,   d_bias_i = sum dy_i
//             dy, x, dx: [rows, n]; gain, d_gain, d_bias: [n]; mean, reciprocal_deviation: [rows]
// x is what was normalized: `sum` where there was a residual; dx is then the gradient of x and of residual alike.
// All outputs are written, not added to. dx may be dy or x. The bits do not depend on the number of threads.
template <class T>
void layer_norm_backward(Cpu, Size rows, Size n, const T* dy, const T* x, const Wide<T>* gain, const Wide<T>* mean,
                         const Wide<T>* reciprocal_deviation, T* dx, Wide<T>* d_gain, Wide<T>* d_bias);
template <class T>
void layer_norm_backward(Cuda, Size rows, Size n, const T* dy, const T* x, const Wide<T>* gain, const Wide<T>* mean,
                         const Wide<T>* reciprocal_deviation, T* dx, Wide<T>* d_gain, Wide<T>* d_bias);

}  // namespace headshare::kernels
