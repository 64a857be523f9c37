#include "tensor/softmax.h"

#include "kernels/cross_entropy.h"
#include "kernels/softmax.h"
#include "tensor/dispatch.h"

namespace headshare {
namespace {

Size rows(const Tensor& x) { return x.extent(-1) == 0 ? 0 : x.count() / x.extent(-1); }

}  // namespace

Tensor softmax(const Tensor& x) {
  const Tensor from = x.contiguous();
  const Tensor y = empty_like(from);
  note_work(5 * x.count(), 2 * x.bytes());
  dispatch_floating("softmax", from, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::softmax(device, rows(from), from.extent(-1), from.data<T>(), y.data<T>());
  });
  return y;
}

Tensor softmax_backward(const Tensor& dy, const Tensor& y) {
  const Tensor gradient = dy.contiguous();
  check_shape("softmax_backward", "dy", gradient, y.shape());
  const Tensor dx = empty_like(y);
  dispatch_floating("softmax_backward", y, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::softmax_backward(device, rows(y), y.extent(-1), gradient.data<T>(), y.data<T>(), dx.data<T>());
  });
  return dx;
}

Tensor log_softmax(const Tensor& x) {
  const Tensor from = x.contiguous();
  const Tensor y = empty_like(from);
  note_work(5 * x.count(), 2 * x.bytes());
  dispatch_floating("log_softmax", from, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::log_softmax(device, rows(from), from.extent(-1), from.data<T>(), y.data<T>());
  });
  return y;
}

Tensor log_softmax_backward(const Tensor& dy, const Tensor& y) {
  const Tensor gradient = dy.contiguous();
  check_shape("log_softmax_backward", "dy", gradient, y.shape());
  const Tensor dx = empty_like(y);
  dispatch_floating("log_softmax_backward", y, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::log_softmax_backward(device, rows(y), y.extent(-1), gradient.data<T>(), y.data<T>(), dx.data<T>());
  });
  return dx;
}

CrossEntropy cross_entropy(const Tensor& logits, const Tensor& targets, double smoothing) {
  if (logits.rank() != 2) fail("cross_entropy: logits of shape ", logits.shape(), ", needed [N, V]");
  check_shape("cross_entropy", "targets", targets, {logits.extent(0)});
  check_device("cross_entropy", "targets", targets, logits.device());
  const Tensor from = logits.contiguous();
  const Shape shape{logits.extent(0)};
  const TensorOptions exact{wide(logits.type()), logits.device()};
  const CrossEntropy result{Tensor(shape, exact), Tensor(shape, exact), Tensor(shape, exact)};
  note_work(5 * from.count(), from.bytes());
  dispatch_with_bfloat16("cross_entropy", from, [&](auto device, auto zero) {
    using T = decltype(zero);
    using Wide = kernels::Wide<T>;
    kernels::cross_entropy<T>(device, from.extent(0), from.extent(1), from.data<T>(), targets.data<std::int32_t>(),
                              static_cast<Wide>(smoothing), result.loss.data<Wide>(), result.nll.data<Wide>(),
                              result.log_sum_exp.data<Wide>());
  });
  return result;
}

Tensor cross_entropy_backward(const Tensor& d_loss, Tensor logits, const Tensor& targets, double smoothing,
                              const Tensor& log_sum_exp) {
  const bool reuse = !logits.shares_storage() && logits.is_contiguous();
  const Tensor from = logits.contiguous(), gradient = d_loss.contiguous();
  const Tensor d_logits = reuse ? from : empty_like(from);
  note_work(5 * from.count(), 2 * from.bytes());
  dispatch_with_bfloat16("cross_entropy_backward", from, [&](auto device, auto zero) {
    using T = decltype(zero);
    using Wide = kernels::Wide<T>;
    kernels::cross_entropy_backward<T>(device, from.extent(0), from.extent(1), from.data<T>(),
                                       targets.data<std::int32_t>(), static_cast<Wide>(smoothing),
                                       log_sum_exp.data<Wide>(), gradient.data<Wide>(), d_logits.data<T>());
  });
  return d_logits;
}

}  // namespace headshare
