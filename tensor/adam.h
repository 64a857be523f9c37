#pragma once

#include <span>

#include "kernels/adam.h"
#include "tensor/tensor.h"

namespace headshare {

// A parameter, its gradient and its two moments: one shape, one type, contiguous.
struct AdamTensors {
  Tensor parameter, gradient, mean, variance;
};

// One step of Adam (Kingma, Ba 2015) with decoupled weight decay (Loshchilov, Hutter 2019), in place, over all of them:
// each is read and written once. gradient_scale is one float64 on their device (NaN: no update).
using kernels::AdamStep;
void adam(const AdamStep& step, const Tensor& gradient_scale, std::span<const AdamTensors> all);

// The sum of the squares of all numbers of all tensors, one float64 on their device; waits for nothing. Contiguous, one
// type.
Tensor squared_norm(std::span<const Tensor> all, Device device);

// factor, and less where that leaves a gradient norm above `limit` (0: no limit); NaN unless loss and squared_norm, one
// float64 each, are finite. Clipping that never waits for the device.
Tensor gradient_scale(double factor, double limit, const Tensor& loss, const Tensor& squared_norm);

}  // namespace headshare
