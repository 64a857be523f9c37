#include "tensor/adam.h"

#include "tensor/dispatch.h"

namespace headshare {

void adam(const AdamStep& step, const Tensor& gradient_scale, const Tensor& parameter, const Tensor& gradient,
          const Tensor& mean, const Tensor& variance) {
  for (const Tensor* other : {&gradient, &mean, &variance}) {
    check_alike("adam", parameter, *other);
    check_shape("adam", "gradient or moment", *other, parameter.shape());
  }
  note_work(12 * parameter.count(), 7 * parameter.bytes());
  dispatch_floating("adam", parameter, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::adam(device, parameter.count(), step, gradient_scale.data<double>(), parameter.data<T>(),
                  gradient.data<T>(), mean.data<T>(), variance.data<T>());
  });
}

Tensor gradient_scale(double factor, double limit, const Tensor& loss, const Tensor& squared_norm) {
  check_shape("gradient_scale", "loss", loss, squared_norm.shape());
  const Tensor scale = empty_like(squared_norm);
  dispatch_device("gradient_scale", squared_norm, [&](auto device) {
    kernels::gradient_scale(device, factor, limit, loss.data<double>(), squared_norm.data<double>(),
                            scale.data<double>());
  });
  return scale;
}

}  // namespace headshare
