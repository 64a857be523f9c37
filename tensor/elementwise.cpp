#include "tensor/elementwise.h"

#include "kernels/copy.h"
#include "kernels/elementwise.h"
#include "tensor/dispatch.h"

namespace headshare {
namespace {

// Which operations a model in bfloat16 needs; all others have no kernel for it.
template <class Operation>
constexpr bool serves_bfloat16 =
    std::is_same_v<Operation, kernels::Add> || std::is_same_v<Operation, kernels::Subtract> ||
    std::is_same_v<Operation, kernels::Multiply> || std::is_same_v<Operation, kernels::Relu> ||
    std::is_same_v<Operation, kernels::Gelu> || std::is_same_v<Operation, kernels::ReluBackward> ||
    std::is_same_v<Operation, kernels::GeluBackward>;

template <class Operation, class Body>
void dispatch_operation(const char* who, const Tensor& x, const Body& body) {
  if constexpr (serves_bfloat16<Operation>)
    dispatch_with_bfloat16(who, x, body);
  else
    dispatch_floating(who, x, body);
}

template <class Operation>
Tensor unary(const char* who, const Tensor& x) {
  const Tensor from = x.contiguous();
  const Tensor y = empty_like(from);
  note_work(x.count(), 2 * x.bytes());
  dispatch_operation<Operation>(who, from, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::map<Operation>(device, from.count(), from.data<T>(), y.data<T>());
  });
  return y;
}

template <class Operation>
Tensor binary(const char* who, const Tensor& a, const Tensor& b) {
  check_alike(who, a, b);
  const Shape shape = broadcast_shape(a.shape(), b.shape(), who);
  const Tensor y(shape, a.options());
  note_work(y.count(), a.bytes() + b.bytes() + y.bytes());
  dispatch_operation<Operation>(who, a, [&](auto device, auto zero) {
    using T = decltype(zero);
    if (a.shape() == b.shape() && a.is_contiguous() && b.is_contiguous()) {
      kernels::map<Operation>(device, y.count(), a.data<T>(), b.data<T>(), y.data<T>());
      return;
    }
    const Tensor left = a.broadcast_to(shape), right = b.broadcast_to(shape);
    const kernels::BroadcastSizes sizes{shape.rank(), shape.array(), left.strides().array(), right.strides().array()};
    kernels::map<Operation>(device, sizes, left.strided_data<T>(), right.strided_data<T>(), y.data<T>());
  });
  return y;
}

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) { return binary<kernels::Add>("add", a, b); }
Tensor subtract(const Tensor& a, const Tensor& b) { return binary<kernels::Subtract>("subtract", a, b); }
Tensor multiply(const Tensor& a, const Tensor& b) { return binary<kernels::Multiply>("multiply", a, b); }
Tensor divide(const Tensor& a, const Tensor& b) { return binary<kernels::Divide>("divide", a, b); }

Tensor negate(const Tensor& x) { return unary<kernels::Negate>("negate", x); }
Tensor exp(const Tensor& x) { return unary<kernels::Exp>("exp", x); }
Tensor log(const Tensor& x) { return unary<kernels::Log>("log", x); }
Tensor sqrt(const Tensor& x) { return unary<kernels::Sqrt>("sqrt", x); }
Tensor square(const Tensor& x) { return unary<kernels::Square>("square", x); }
Tensor reciprocal(const Tensor& x) { return unary<kernels::Reciprocal>("reciprocal", x); }
Tensor tanh(const Tensor& x) { return unary<kernels::Tanh>("tanh", x); }
Tensor sigmoid(const Tensor& x) { return unary<kernels::Sigmoid>("sigmoid", x); }
Tensor relu(const Tensor& x) { return unary<kernels::Relu>("relu", x); }
Tensor gelu(const Tensor& x) { return unary<kernels::Gelu>("gelu", x); }

Tensor affine(const Tensor& x, double scale, double shift) {
  const Tensor from = x.contiguous();
  const Tensor y = empty_like(from);
  note_work(2 * x.count(), 2 * x.bytes());
  dispatch_with_bfloat16("affine", from, [&](auto device, auto zero) {
    using T = decltype(zero);
    using Wide = kernels::Wide<T>;
    kernels::affine<T>(device, from.count(), from.data<T>(), static_cast<Wide>(scale), static_cast<Wide>(shift),
                       y.data<T>());
  });
  return y;
}

Tensor relu_backward(const Tensor& y, const Tensor& dy) {
  return binary<kernels::ReluBackward>("relu_backward", y, dy);
}
Tensor gelu_backward(const Tensor& x, const Tensor& dy) {
  return binary<kernels::GeluBackward>("gelu_backward", x, dy);
}
Tensor tanh_backward(const Tensor& y, const Tensor& dy) {
  return binary<kernels::TanhBackward>("tanh_backward", y, dy);
}
Tensor sigmoid_backward(const Tensor& y, const Tensor& dy) {
  return binary<kernels::SigmoidBackward>("sigmoid_backward", y, dy);
}

void accumulate(const Tensor& x, const Tensor& y) {
  check_alike("accumulate", x, y);
  check_shape("accumulate", "x", x, y.shape());
  note_work(y.count(), 3 * y.bytes());
  const auto run = [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::accumulate(device, y.count(), x.data<T>(), y.data<T>());
  };
  if (y.type() == ElementType::int32)
    dispatch_device("accumulate", y, [&](auto device) { run(device, std::int32_t{}); });
  else
    dispatch_with_bfloat16("accumulate", y, run);
}

}  // namespace headshare
