#include "tensor/embedding.h"

#include <algorithm>

#include "kernels/copy.h"
#include "kernels/embedding.h"
#include "tensor/dispatch.h"

namespace headshare {
namespace {

// Every token must be a row of the table: the kernels do not look.
void check_tokens(const char* who, const Tensor& tokens, Size rows) {
  if (tokens.count() == 0) return;
  const std::int32_t* first = tokens.data<std::int32_t>();
  const auto [low, high] = std::minmax_element(first, first + tokens.count());
  if (*low < 0 || *high >= rows)
    fail(who, ": index ", *low < 0 ? *low : *high, " is outside the table of ", rows, " rows");
}

}  // namespace

void embedding_into(const Tensor& tokens, const Tensor& table, double scale, const Tensor& positions,
                    Size first_position, const Tensor& y) {
  const Tensor index = tokens.contiguous();
  check_tokens("embedding", index, table.extent(0));
  const Size length = index.extent(-1), width = table.extent(1);
  if (positions.defined() && (first_position + length > positions.extent(0) || positions.extent(1) != width))
    fail("embedding: position ", first_position + length - 1, " is outside the model's ", positions.extent(0),
         " positions; use shorter sentences or a model with more positions");
  if (y.count() != index.count() * width) fail("embedding: ", index.shape(), " tokens do not fill ", y.shape());
  note_work(2 * y.count(), 2 * y.bytes());
  dispatch_floating("embedding", table, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::embedding(device, index.count(), width, index.data<std::int32_t>(), table.data<T>(), static_cast<T>(scale),
                       positions.defined() ? positions.data<T>() : nullptr, length, first_position, y.data<T>());
  });
}

Tensor embedding(const Tensor& tokens, const Tensor& table, double scale, const Tensor& positions,
                 Size first_position) {
  Shape shape = tokens.shape();
  shape.append(table.extent(1));
  const Tensor y(shape, table.options());
  embedding_into(tokens, table, scale, positions, first_position, y);
  return y;
}

Tensor embedding_backward(const Tensor& dy, const Tensor& tokens, double scale, const Shape& table_shape) {
  const Tensor gradient = dy.contiguous(), index = tokens.contiguous();
  const Tensor d_table(table_shape, dy.options());
  note_work(2 * dy.count(), dy.bytes() + d_table.bytes());
  dispatch_floating("embedding_backward", gradient, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::embedding_backward(device, index.count(), table_shape[1], table_shape[0], index.data<std::int32_t>(),
                                static_cast<T>(scale), gradient.data<T>(), d_table.data<T>());
  });
  return d_table;
}

Tensor gather_rows(const Tensor& x, const Tensor& index) {
  check_tokens("gather_rows", index, x.extent(0));
  const Tensor from = x.contiguous();
  Shape shape = x.shape();
  shape[0] = index.count();
  const Tensor y(shape, x.options());
  const Size row_size = x.extent(0) == 0 ? 0 : x.count() / x.extent(0);
  note_work(0, 2 * y.bytes());
  dispatch_any("gather_rows", from, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::gather_rows(device, index.count(), row_size, index.data<std::int32_t>(), from.data<T>(), y.data<T>());
  });
  return y;
}

Tensor dropout(const Tensor& x, const DropoutMask& mask) {
  if (!(mask.probability >= 0 && mask.probability < 1))
    fail("dropout: probability ", mask.probability, " must be at least 0 and below 1");
  const Tensor from = x.contiguous();
  const Tensor y = empty_like(from);
  note_work(2 * x.count(), 2 * x.bytes());
  dispatch_floating("dropout", from, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::dropout(device, from.count(), mask, from.data<T>(), y.data<T>());
  });
  return y;
}

}  // namespace headshare
