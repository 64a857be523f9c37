#include "tensor/reduce.h"

#include "kernels/reduce.h"
#include "kernels/top_k.h"
#include "tensor/dispatch.h"
#include "tensor/elementwise.h"

namespace headshare {
namespace {

// A dimension in the middle, as kernels see it: [outer, n, inner].
struct Middle {
  Size outer = 1, n = 1, inner = 1;
  Middle(const Shape& shape, int dimension) : n(shape[dimension]) {
    for (int i = 0; i < shape.rank(); ++i) {
      if (i < shape.index(dimension)) outer *= shape[i];
      if (i > shape.index(dimension)) inner *= shape[i];
    }
  }
};

}  // namespace

Tensor sum(const Tensor& x, int dimension) {
  const Tensor from = x.contiguous();
  const Middle middle(x.shape(), dimension);
  const Tensor y(x.shape().without(dimension), {wide(x.type()), x.device()});
  note_work(x.count(), x.bytes());
  dispatch_with_bfloat16("sum", from, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::sum<T>(device, middle.outer, middle.n, middle.inner, from.data<T>(), y.data<kernels::Wide<T>>());
  });
  return y;
}

Tensor mean(const Tensor& x, int dimension) {
  return affine(sum(x, dimension), 1.0 / static_cast<double>(x.extent(dimension)), 0);
}

Maximum max(const Tensor& x, int dimension) {
  if (x.extent(dimension) == 0) fail("max: dimension ", dimension, " of ", x.shape(), " is empty");
  const Tensor from = x.contiguous();
  const Middle middle(x.shape(), dimension);
  const Shape shape = x.shape().without(dimension);
  const Maximum result{Tensor(shape, x.options()), Tensor(shape, {ElementType::int32, x.device()})};
  dispatch_floating("max", from, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::max(device, middle.outer, middle.n, middle.inner, from.data<T>(), result.value.data<T>(),
                 result.index.data<std::int32_t>());
  });
  return result;
}

Tensor max_backward(const Tensor& index, const Tensor& dy, int dimension, const Shape& x_shape) {
  const Tensor gradient = dy.contiguous();
  const Middle middle(x_shape, dimension);
  const Tensor dx(x_shape, dy.options());
  dispatch_floating("max_backward", gradient, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::max_backward(device, middle.outer, middle.n, middle.inner, index.data<std::int32_t>(), gradient.data<T>(),
                          dx.data<T>());
  });
  return dx;
}

Tensor argmax(const Tensor& x) {
  const Tensor index(x.shape().without(-1), {ElementType::int32, x.device()});
  argmax_into(x, index);
  return index;
}

void argmax_into(const Tensor& x, const Tensor& index) {
  if (x.rank() == 0 || x.extent(-1) == 0) fail("argmax: a row of ", x.shape(), " is empty");
  check_shape("argmax", "index", index, x.shape().without(-1));
  const Tensor from = x.contiguous();
  note_work(x.count(), x.bytes());
  dispatch_floating("argmax", from, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::argmax(device, index.count(), x.extent(-1), from.data<T>(), index.data<std::int32_t>());
  });
}

Largest top_k(const Tensor& x, Size count) {
  const Tensor from = x.contiguous();
  Shape shape = x.shape();
  shape[-1] = count;
  const Largest result{Tensor(shape, x.options()), Tensor(shape, {ElementType::int32, x.device()})};
  note_work(x.count(), x.bytes());
  dispatch_floating("top_k", from, [&](auto device, auto zero) {
    using T = decltype(zero);
    const Size rows = x.extent(-1) == 0 ? 0 : x.count() / x.extent(-1);
    kernels::top_k(device, rows, x.extent(-1), count, from.data<T>(), result.value.data<T>(),
                   result.index.data<std::int32_t>());
  });
  return result;
}

Tensor sum(const Tensor& x) { return sum(x.reshape({x.count()}), 0); }
Tensor mean(const Tensor& x) { return mean(x.reshape({x.count()}), 0); }

double sum_of_squares(const Tensor& x) {
  const Tensor from = x.contiguous();
  double result = 0;
  note_work(2 * x.count(), x.bytes());
  dispatch_floating("sum_of_squares", from, [&](auto device, auto zero) {
    using T = decltype(zero);
    result = kernels::sum_of_squares(device, from.count(), from.data<T>());
  });
  return result;
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  Tensor y = x;
  while (y.rank() > shape.rank()) y = sum(y, 0);
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] == y.extent(i)) continue;
    if (shape[i] != 1) fail("sum_to: ", x.shape(), " is not a broadcast of ", shape);
    Shape kept = y.shape();
    kept[i] = 1;
    y = sum(y, i).reshape(kept);
  }
  return y;
}

}  // namespace headshare
