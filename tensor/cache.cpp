#include "tensor/cache.h"

#include <algorithm>

#include "tensor/dispatch.h"

namespace headshare {

void copy_heads(const Tensor& x, const Tensor& y) { copy_heads(x, y, {}); }

void copy_heads(const Tensor& x, const Tensor& y, const Tensor& first_position) {
  Shape wanted = x.shape();
  if (first_position.defined()) wanted[1] = std::max(wanted[1], y.extent(1));
  check_shape("copy_heads", "y", y, wanted);
  if (x.rank() != 4 || x.stride(-1) != 1 || y.stride(-1) != 1)
    fail("copy_heads: ", x.shape(), " is not [batch, positions, heads, D] with heads in one piece");
  note_work(0, x.bytes() + y.bytes());
  dispatch_floating("copy_heads", x, [&](auto device, auto zero) {
    using T = decltype(zero);
    const auto copy = [&](auto stored) {
      using Stored = decltype(stored);
      kernels::copy_heads<T, Stored>(
          device, x.extent(0), x.extent(1), x.extent(2), x.extent(3),
          {x.strided_data<T>(), x.stride(0), x.stride(1), x.stride(2)},
          {y.strided_data<Stored>(), y.stride(0), y.stride(1), y.stride(2)},
          {y.extent(1), first_position.defined() ? first_position.data<std::int32_t>() : nullptr});
    };
    if constexpr (std::is_same_v<T, float>)
      if (y.type() == ElementType::bfloat16) return copy(BFloat16{});
    check_alike("copy_heads", x, y);
    copy(zero);
  });
}

void move_rows(const Tensor& x, std::span<const RowMove> moves, Size positions) {
  if (x.rank() != 4 || positions > x.extent(2)) fail("move_rows: ", x.shape(), " holds no ", positions, " positions");
  for (const RowMove& move : moves)
    if (std::min(move.from, move.to) < 0 || std::max(move.from, move.to) >= x.extent(0))
      fail("move_rows: row ", move.from, " to ", move.to, " of only ", x.extent(0), " rows");
  const Size piece = x.extent(2) * x.extent(3);
  const auto run = [&](auto device, auto zero) {
    using Stored = decltype(zero);
    kernels::move_rows(device, moves, x.extent(1), piece, positions * x.extent(3), x.data<Stored>());
  };
  if (x.type() == ElementType::bfloat16)
    dispatch_device("move_rows", x, [&](auto device) { run(device, BFloat16{}); });
  else
    dispatch_floating("move_rows", x, run);
}

}  // namespace headshare
