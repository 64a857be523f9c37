#include "tensor/embedding.h"

#include "kernels/copy.h"
#include "kernels/embedding.h"
#include "tensor/dispatch.h"

namespace headshare {

void embedding_into(const Tensor& tokens, const Tensor& table, double scale, const Tensor& positions,
                    const Tensor& first_position, const Tensor& y) {
  const Tensor index = tokens.contiguous();
  const Size length = index.extent(-1), vocabulary = table.extent(0), width = table.extent(1);
  if (positions.defined() && positions.extent(1) != width)
    fail("embedding: positions ", positions.shape(), " for a table ", table.shape());
  check_device("embedding", "tokens", index, table.device());
  if (y.count() != index.count() * width) fail("embedding: ", index.shape(), " tokens do not fill ", y.shape());
  note_work(2 * y.count(), 2 * y.bytes());
  dispatch_with_bfloat16("embedding", y, [&](auto device, auto zero) {
    using T = decltype(zero);
    using Wide = kernels::Wide<T>;
    kernels::embedding<T>(device, index.count(), width, vocabulary, index.data<std::int32_t>(), table.data<Wide>(),
                          static_cast<Wide>(scale), positions.defined() ? positions.data<Wide>() : nullptr, length,
                          first_position.defined() ? first_position.data<std::int32_t>() : nullptr, y.data<T>());
  });
}

Tensor embedding(const Tensor& tokens, const Tensor& table, double scale, const Tensor& positions, Size first_position,
                 std::optional<ElementType> type) {
  Shape shape = tokens.shape();
  shape.append(table.extent(1));
  const Tensor y(shape, {type.value_or(table.type()), table.device()});
  if (positions.defined() && first_position + tokens.extent(-1) > positions.extent(0))
    fail("embedding: position ", first_position + tokens.extent(-1) - 1, " is outside the model's ",
         positions.extent(0), " positions; use shorter sentences or a model with more positions");
  const Tensor from_first = positions.defined() ? positions.slice(0, first_position, positions.extent(0)) : positions;
  embedding_into(tokens, table, scale, from_first, {}, y);
  return y;
}

Tensor embedding_backward(const Tensor& dy, const Tensor& tokens, double scale, const Shape& table_shape) {
  const Tensor gradient = dy.contiguous(), index = tokens.contiguous();
  const Tensor d_table(table_shape, {wide(dy.type()), dy.device()});
  note_work(2 * dy.count(), dy.bytes() + d_table.bytes());
  dispatch_with_bfloat16("embedding_backward", gradient, [&](auto device, auto zero) {
    using T = decltype(zero);
    using Wide = kernels::Wide<T>;
    kernels::embedding_backward<T>(device, index.count(), table_shape[1], table_shape[0], index.data<std::int32_t>(),
                                   static_cast<Wide>(scale), gradient.data<T>(), d_table.data<Wide>());
  });
  return d_table;
}

Tensor gather_rows(const Tensor& x, const Tensor& index) {
  check_device("gather_rows", "index", index, x.device());
  const Tensor from = x.contiguous();
  Shape shape = x.shape();
  shape[0] = index.count();
  const Tensor y(shape, x.options());
  const Size row_size = x.extent(0) == 0 ? 0 : x.count() / x.extent(0);
  note_work(0, 2 * y.bytes());
  dispatch_any("gather_rows", from, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::gather_rows(device, index.count(), x.extent(0), row_size, index.data<std::int32_t>(), from.data<T>(),
                         y.data<T>());
  });
  return y;
}

Tensor dropout(const Tensor& x, const DropoutMask& mask) {
  if (!(mask.probability >= 0 && mask.probability < 1))
    fail("dropout: probability ", mask.probability, " must be at least 0 and below 1");
  const Tensor from = x.contiguous();
  const Tensor y = empty_like(from);
  note_work(2 * x.count(), 2 * x.bytes());
  dispatch_with_bfloat16("dropout", from, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::dropout(device, from.count(), mask, from.data<T>(), y.data<T>());
  });
  return y;
}

}  // namespace headshare
