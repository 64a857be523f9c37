#include "tensor/matmul.h"

#include <utility>

#include "kernels/matmul_ladder.h"
#include "tensor/dispatch.h"

namespace headshare {
namespace {

// Whether the last two dimensions can be read in place: one of them must have stride 1.
bool is_readable_matrix(const Tensor& x) { return x.stride(-1) == 1 || x.stride(-2) == 1 || x.count() == 0; }

// The stride from one matrix to the next when all batch dimensions are seen as one; -1 when the strides do not allow
// that.
Size batch_stride(const Tensor& x) {
  Size stride = 0, expected = -1;
  for (int i = x.rank() - 3; i >= 0; --i) {
    if (x.extent(i) == 1) continue;
    if (expected < 0)
      stride = x.stride(i);
    else if (x.stride(i) != expected)
      return -1;
    expected = x.stride(i) * x.extent(i);
  }
  return stride;
}

Tensor readable(const Tensor& x) { return is_readable_matrix(x) && batch_stride(x) >= 0 ? x : x.clone(); }

template <class T>
kernels::MatrixView<T> view(const Tensor& x) {
  return {x.strided_data<T>(), x.stride(-2), x.stride(-1), batch_stride(x)};
}

thread_local bool tf32_products = false;

// The kernel for the types and the device: c = activation(a b + bias).
template <class Device, class T, class Out>
void multiply(Device device, const kernels::MatmulSizes& sizes, const kernels::MatrixView<T>& a,
              const kernels::MatrixView<T>& b, Out* c, const kernels::Epilogue<Out>& epilogue) {
  if constexpr (std::is_same_v<T, BFloat16>)
    kernels::matmul_bf16(device, sizes, a, b, c, epilogue);
  else if constexpr (std::is_same_v<T, float> && std::is_same_v<Device, kernels::Cuda>)
    tf32_products ? kernels::matmul_tf32(device, sizes, a, b, c, epilogue)
                  : kernels::matmul<T>(device, sizes, a, b, c, epilogue);
  else
    kernels::matmul<T>(device, sizes, a, b, c, epilogue);
}

// Calls body(device, T{}, Out{}): T the type of the factors, Out that of the result.
template <class Body>
void dispatch_product(const char* who, const Tensor& factor, ElementType result, const Body& body) {
  dispatch_with_bfloat16(who, factor, [&](auto device, auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_same_v<T, BFloat16>)
      if (result == ElementType::float32) return body(device, zero, float{});
    if (result != factor.type()) fail(who, ": a product of ", name(factor.type()), " is no ", name(result));
    body(device, zero, zero);
  });
}

}  // namespace

Tf32Products::Tf32Products(bool wanted) : before_(std::exchange(tf32_products, wanted)) {}
Tf32Products::~Tf32Products() { tf32_products = before_; }

Tensor matmul(const Tensor& a, const Tensor& b) { return matmul(a, b, a.type()); }

Tensor matmul(const Tensor& a, const Tensor& b, ElementType result) {
  check_alike("matmul", a, b);
  if (a.rank() < 2 || b.rank() < 2 || a.extent(-1) != b.extent(-2))
    fail("matmul: ", a.shape(), " times ", b.shape(), ": the inner extents must be equal");
  if (b.rank() == 2 && a.rank() > 2 && a.is_contiguous()) {  // one matrix for all rows: a single large product
    Shape shape = a.shape();
    shape[-1] = b.extent(-1);
    return matmul(a.reshape({a.count() / std::max(a.extent(-1), Size{1}), a.extent(-1)}), b, result).reshape(shape);
  }
  Shape batch_a = a.shape().without(-1).without(-1), batch_b = b.shape().without(-1).without(-1);
  Shape shape = a.rank() >= b.rank() ? batch_a : batch_b;
  if (a.rank() > 2 && b.rank() > 2 && !(batch_a == batch_b))
    fail("matmul: ", a.shape(), " times ", b.shape(), ": the batch dimensions must be equal, or absent in one of them");
  const Size batch = shape.count();
  shape.append(a.extent(-2));
  shape.append(b.extent(-1));
  const Tensor left = readable(a), right = readable(b);
  const Tensor c(shape, {result, a.device()});
  const kernels::MatmulSizes sizes{batch, a.extent(-2), b.extent(-1), a.extent(-1)};
  note_work(2 * batch * sizes.m * sizes.n * sizes.k, a.bytes() + b.bytes() + c.bytes());
  dispatch_product("matmul", a, result, [&](auto device, auto zero, auto out) {
    using T = decltype(zero);
    using Out = decltype(out);
    multiply(device, sizes, view<T>(left), view<T>(right), c.data<Out>(), kernels::Epilogue<Out>{});
  });
  return c;
}

LinearResult linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation) {
  check_alike("linear", x, weight);
  if (weight.rank() != 2 || x.extent(-1) != weight.extent(0))
    fail("linear: ", x.shape(), " times weight ", weight.shape(), ": the inner extents must be equal");
  if (bias.defined()) check_shape("linear", "bias", bias, {weight.extent(1)});
  const Tensor from = x.contiguous(), w = readable(weight);
  const Size rows = w.extent(0) == 0 ? 0 : from.count() / w.extent(0);
  Shape shape = x.shape();
  shape[-1] = w.extent(1);
  LinearResult result{Tensor(shape, x.options()), {}};
  if (activation == Activation::gelu) result.before_activation = Tensor(shape, x.options());
  note_work(2 * result.y.count() * w.extent(0), x.bytes() + weight.bytes() + result.y.bytes());
  dispatch_with_bfloat16("linear", from, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::Epilogue<T> epilogue;
    if (bias.defined()) epilogue.bias = bias.data<kernels::Wide<T>>();
    epilogue.activation = activation;
    if (activation == Activation::gelu) epilogue.before_activation = result.before_activation.data<T>();
    multiply(device, {1, rows, w.extent(1), w.extent(0)}, {from.data<T>(), w.extent(0), 1}, view<T>(w),
             result.y.data<T>(), epilogue);
  });
  return result;
}

PackedMatrix pack_matrix(const Tensor& matrix) {
  if (matrix.rank() != 2) fail("pack_matrix: ", matrix.shape(), " is not a matrix");
  const Tensor from = readable(matrix);
  PackedMatrix packed{{}, matrix.extent(0), matrix.extent(1)};
  dispatch_with_bfloat16("pack_matrix", from, [&](auto device, auto zero) {
    using T = decltype(zero);
    Size size = packed.k * packed.n;
    if constexpr (std::is_same_v<decltype(device), kernels::Cpu>) size = kernels::packed_size<T>(packed.k, packed.n);
    packed.data = Tensor({size}, matrix.options());
    kernels::pack_matrix<T>(device, packed.k, packed.n, view<T>(from), packed.data.data<T>());
  });
  return packed;
}

Size PackedMatrix::bytes_read(Size rows) const {
  if (data.device() == Device::cpu && data.type() == ElementType::float32)
    return kernels::packed_bytes_read<float>(rows, k, n);
  return k * n * bytes_of(data.type());
}

void linear_into(const Tensor& x, const PackedMatrix& weight, const Tensor& bias, Activation activation,
                 const Tensor& y) {
  check_alike("linear", x, weight.data);
  const Size rows = x.extent(0);
  check_shape("linear", "x", x, {rows, weight.k});
  check_shape("linear", "y", y, {rows, weight.n});
  if (bias.defined()) check_shape("linear", "bias", bias, {weight.n});
  // Each number once, whatever the kernel reads of it: as in every row of a profile.
  note_work(2 * rows * weight.n * weight.k, x.bytes() + weight.k * weight.n * bytes_of(x.type()) + y.bytes());
  dispatch_product("linear", x, y.type(), [&](auto device, auto zero, auto out) {
    using T = decltype(zero);
    using Out = decltype(out);
    const kernels::MatrixView<T> rows_of_x{x.data<T>(), weight.k, 1};
    const kernels::Epilogue<Out> epilogue{bias.defined() ? bias.data<kernels::Wide<T>>() : nullptr, activation,
                                          nullptr};
    if constexpr (std::is_same_v<decltype(device), kernels::Cpu>)
      kernels::matmul_packed<T>(device, rows, weight.n, weight.k, rows_of_x, weight.data.data<T>(), y.data<Out>(),
                                epilogue);
    else  // packed is simply B without gaps there
      multiply(device, {1, rows, weight.n, weight.k}, rows_of_x, {weight.data.data<T>(), weight.n, 1}, y.data<Out>(),
               epilogue);
  });
}

}  // namespace headshare
