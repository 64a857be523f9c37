#pragma once

#include "kernels/adam.h"
#include "tensor/tensor.h"

namespace headshare {

// One step of Adam (Kingma, Ba 2015) with decoupled weight decay (Loshchilov, Hutter 2019), in place: the parameter and
// its two moments are read and written once. All four tensors have one shape; gradient_scale is one float64 (NaN: no
// update).
using kernels::AdamStep;
void adam(const AdamStep& step, const Tensor& gradient_scale, const Tensor& parameter, const Tensor& gradient,
          const Tensor& mean, const Tensor& variance);

// factor, and less where that leaves a gradient norm above `limit` (0: no limit); NaN unless loss and squared_norm, one
// float64 each, are finite. Clipping that never waits for the device.
Tensor gradient_scale(double factor, double limit, const Tensor& loss, const Tensor& squared_norm);

}  // namespace headshare
