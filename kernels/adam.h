#pragma once

#include "core/size.h"
#include "kernels/cpu.h"

namespace headshare::kernels {

struct AdamStep {
  double learning_rate;
  double beta1, beta2;
  double epsilon;
  double weight_decay;
  double
      gradient_scale;  // multiplies every gradient first: clipping and the mean over a batch cost no pass of their own
  Size step;           // from 1
};

// One step of Adam (Kingma and Ba 2015, algorithm 1) with decoupled weight decay (Loshchilov and Hutter 2019,
// algorithm 2):
//   g         = gradient_scale gradient
//   mean     <- beta1 mean + (1 - beta1) g
//   variance <- beta2 variance + (1 - beta2) g^2
//   parameter <- parameter - learning_rate weight_decay parameter
//                - learning_rate (mean / (1 - beta1^step)) / (sqrt(variance / (1 - beta2^step)) + epsilon)
//             parameter, gradient, mean, variance: [n], none overlapping; mean and variance are 0 before step 1
// One pass: 16 bytes read and 12 written for each float32 parameter. T is float or double.
// Throws Error when step is below 1: the corrections by 1 - beta^step would divide by 0.
template <class T>
void adam(Cpu, Size n, const AdamStep& step, T* parameter, const T* gradient, T* mean, T* variance);

}  // namespace headshare::kernels
