#include "tensor/layer_norm.h"

#include "kernels/layer_norm.h"
#include "tensor/dispatch.h"

namespace headshare {

LayerNorm layer_norm(const Tensor& x, const Tensor& residual, const Tensor& gain, const Tensor& bias, double epsilon) {
  const Size n = x.extent(-1);
  check_shape("layer_norm", "gain", gain, {n});
  check_shape("layer_norm", "bias", bias, {n});
  const Tensor from = x.contiguous();
  const Tensor other = residual.defined() ? residual.contiguous() : residual;
  if (other.defined()) check_shape("layer_norm", "residual", other, x.shape());
  const Shape statistics = x.shape().without(-1);
  const TensorOptions exact{wide(x.type()), x.device()};
  const LayerNorm result{empty_like(from), other.defined() ? empty_like(from) : from, Tensor(statistics, exact),
                         Tensor(statistics, exact)};
  note_work(8 * x.count(), (other.defined() ? 4 : 2) * x.bytes());
  dispatch_with_bfloat16("layer_norm", from, [&](auto device, auto zero) {
    using T = decltype(zero);
    using Wide = kernels::Wide<T>;
    kernels::layer_norm<T>(device, statistics.count(), n, from.data<T>(), other.defined() ? other.data<T>() : nullptr,
                           gain.data<Wide>(), bias.data<Wide>(), static_cast<Wide>(epsilon),
                           other.defined() ? result.sum.data<T>() : nullptr, result.y.data<T>(),
                           result.mean.data<Wide>(), result.reciprocal_deviation.data<Wide>());
  });
  return result;
}

void layer_norm_into(const Tensor& x, const Tensor& residual, const Tensor& gain, const Tensor& bias, double epsilon,
                     const Tensor& sum, const Tensor& y) {
  const Size n = x.extent(-1);
  check_shape("layer_norm", "gain", gain, {n});
  check_shape("layer_norm", "y", y, x.shape());
  note_work(8 * x.count(), (residual.defined() ? 3 : 2) * x.bytes());
  dispatch_with_bfloat16("layer_norm", x, [&](auto device, auto zero) {
    using T = decltype(zero);
    using Wide = kernels::Wide<T>;
    const auto optional = [](const Tensor& tensor) { return tensor.defined() ? tensor.data<T>() : nullptr; };
    kernels::layer_norm<T>(device, x.count() / n, n, x.data<T>(), optional(residual), gain.data<Wide>(),
                           bias.data<Wide>(), static_cast<Wide>(epsilon), optional(sum), y.data<T>(), nullptr, nullptr);
  });
}

LayerNormGradients layer_norm_backward(const Tensor& dy, const LayerNorm& forward, const Tensor& gain) {
  const Tensor gradient = dy.contiguous();
  const LayerNormGradients result{empty_like(gradient), empty_like(gain), empty_like(gain)};
  note_work(10 * dy.count(), 3 * dy.bytes());
  dispatch_with_bfloat16("layer_norm_backward", gradient, [&](auto device, auto zero) {
    using T = decltype(zero);
    using Wide = kernels::Wide<T>;
    kernels::layer_norm_backward<T>(device, forward.mean.count(), gain.count(), gradient.data<T>(),
                                    forward.sum.data<T>(), gain.data<Wide>(), forward.mean.data<Wide>(),
                                    forward.reciprocal_deviation.data<Wide>(), result.dx.data<T>(),
                                    result.d_gain.data<Wide>(), result.d_bias.data<Wide>());
  });
  return result;
}

}  // namespace headshare
