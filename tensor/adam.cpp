#include "tensor/adam.h"

#include "tensor/dispatch.h"

namespace headshare {

void adam(const AdamStep& step, const Tensor& gradient_scale, std::span<const AdamTensors> all) {
  if (all.empty()) return;
  for (const AdamTensors& tensors : all)
    for (const Tensor* other : {&tensors.parameter, &tensors.gradient, &tensors.mean, &tensors.variance}) {
      check_alike("adam", all.front().parameter, *other);
      check_shape("adam", "gradient or moment", *other, tensors.parameter.shape());
      note_work(3 * other->count(), (other == &tensors.gradient ? 1 : 2) * other->bytes());
    }
  dispatch_floating("adam", all.front().parameter, [&](auto device, auto zero) {
    using T = decltype(zero);
    std::vector<kernels::AdamArrays<T>> arrays;
    for (const AdamTensors& tensors : all)
      arrays.push_back({tensors.parameter.count(), tensors.parameter.data<T>(), tensors.gradient.data<T>(),
                        tensors.mean.data<T>(), tensors.variance.data<T>()});
    kernels::adam<T>(device, step, gradient_scale.data<double>(), arrays);
  });
}

Tensor squared_norm(std::span<const Tensor> all, Device device) {
  if (all.empty()) return zeros({}, {ElementType::float64, device});
  const Tensor total({}, {ElementType::float64, device});
  for (const Tensor& x : all) {
    check_alike("squared_norm", all.front(), x);
    note_work(2 * x.count(), x.bytes());
  }
  dispatch_floating("squared_norm", all.front(), [&](auto kernel_device, auto zero) {
    using T = decltype(zero);
    std::vector<kernels::Numbers<T>> arrays;
    for (const Tensor& x : all) arrays.push_back({x.count(), x.data<T>()});
    kernels::squared_norm<T>(kernel_device, arrays, total.data<double>());
  });
  return total;
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
