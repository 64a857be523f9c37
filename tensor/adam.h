#pragma once

#include "kernels/adam.h"
#include "tensor/tensor.h"

namespace headshare {

// One step of Adam (Kingma, Ba 2015) with decoupled weight decay (Loshchilov, Hutter 2019), in place: the parameter and
// its two moments are read and written once. All four tensors have one shape.
using kernels::AdamStep;
void adam(const AdamStep& step, const Tensor& parameter, const Tensor& gradient, const Tensor& mean,
          const Tensor& variance);

}  // namespace headshare
