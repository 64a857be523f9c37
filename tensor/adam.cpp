#include "tensor/adam.h"

#include "tensor/dispatch.h"

namespace headshare {

void adam(const AdamStep& step, const Tensor& parameter, const Tensor& gradient, const Tensor& mean,
          const Tensor& variance) {
  for (const Tensor* other : {&gradient, &mean, &variance}) {
    check_alike("adam", parameter, *other);
    check_shape("adam", "gradient or moment", *other, parameter.shape());
  }
  note_work(12 * parameter.count(), 7 * parameter.bytes());
  dispatch_floating("adam", parameter, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::adam(device, parameter.count(), step, parameter.data<T>(), gradient.data<T>(), mean.data<T>(),
                  variance.data<T>());
  });
}

}  // namespace headshare
