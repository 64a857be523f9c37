#pragma once

#include <span>

#include "core/size.h"
#include "kernels/cpu.h"
#include "kernels/cuda.h"

namespace headshare::kernels {

struct AdamStep {
  double learning_rate;
  double beta1, beta2;
  double epsilon;
  double weight_decay;
  Size step;  // from 1
};

// A parameter with what Adam keeps of it: [n] each, none overlapping.
template <class T>
struct AdamArrays {
  Size n;
  T* parameter;
  const T* gradient;
  T* mean;  // both moments are 0 before step 1
  T* variance;
};

// One step of Adam (Kingma and Ba 2015, algorithm 1) with decoupled weight decay (Loshchilov and Hutter 2019,
// algorithm 2):
//   g         = *gradient_scale gradient
//   mean     <- beta1 mean + (1 - beta1) g
//   variance <- beta2 variance + (1 - beta2) g^2
//   parameter <- parameter - learning_rate weight_decay parameter
//                - learning_rate (mean / (1 - beta1^step)) / (sqrt(variance / (1 - beta2^step)) + epsilon)
// for all parameters, on a GPU in a few kernels: a model has hundreds, most of them smaller than what it takes to start
// one. Scaling here costs clipping and the mean over a batch no pass of their own. The scale is one number in the
// device's memory: where it depends on the norm of all gradients, the host need not wait for the device to know it.
// One pass: 16 bytes read and 12 written for each float32 parameter. T is float or double.
// A scale that is NaN changes nothing: where a loss or gradient is not finite, the weights from before are kept.
// Throws Error when step is below 1: the corrections by 1 - beta^step would divide by 0.
template <class T>
void adam(Cpu, const AdamStep& step, const double* gradient_scale, std::span<const AdamArrays<T>> all);
template <class T>
void adam(Cuda, const AdamStep& step, const double* gradient_scale, std::span<const AdamArrays<T>> all);

// *total = sum of the squares of all numbers of all arrays, in double and in a fixed order.
template <class T>
struct Numbers {
  Size n;
  const T* data;
};
template <class T>
void squared_norm(Cpu, std::span<const Numbers<T>> arrays, double* total);
template <class T>
void squared_norm(Cuda, std::span<const Numbers<T>> arrays, double* total);

// The scale for Adam: `factor` (one over the tokens of the batch, say), and less where that leaves a norm above `limit`
// (0: no limit; Pascanu, Mikolov, Bengio 2013); NaN unless loss and squared_norm are finite.
//   norm = factor sqrt(squared_norm);   scale = norm > limit > 0 ? factor limit / norm : factor
//             loss, squared_norm, scale: one number each, in the device's memory
void gradient_scale(Cpu, double factor, double limit, const double* loss, const double* squared_norm, double* scale);
void gradient_scale(Cuda, double factor, double limit, const double* loss, const double* squared_norm, double* scale);

}  // namespace headshare::kernels
