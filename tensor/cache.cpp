#include "tensor/cache.h"

#include <algorithm>

#include "tensor/dispatch.h"

namespace headshare {

namespace {

template <class T>
kernels::HeadsView<T> view(const Tensor& x, const Tensor& scales = {}) {
  using Stored = std::remove_const_t<T>;
  return {x.strided_data<Stored>(), x.stride(0), x.stride(1), x.stride(2),
          scales.defined() ? scales.strided_data<float>() : nullptr};
}

void check_copy(const Tensor& x, const CachedHeads& to, const Tensor& first_position) {
  Shape wanted = x.shape();
  if (first_position.defined()) wanted[1] = std::max(wanted[1], to.numbers.extent(1));
  check_shape("copy_keys_values", "the cache", to.numbers, wanted);
  if (x.rank() != 4 || x.stride(-1) != 1 || to.numbers.stride(-1) != 1)
    fail("copy_keys_values: ", x.shape(), " is not [batch, positions, heads, D] with heads in one piece");
  if ((to.numbers.type() == ElementType::int8) != to.scales.defined())
    fail("copy_keys_values: int8 needs scales, and no other type");
  note_work(0, x.bytes() + to.numbers.bytes());
}

}  // namespace

void copy_keys_values(const Tensor& key, const CachedHeads& key_cache, const Tensor& value,
                      const CachedHeads& value_cache, const Tensor& first_position) {
  check_alike("copy_keys_values", key, value);
  check_alike("copy_keys_values", key_cache.numbers, value_cache.numbers);
  check_shape("copy_keys_values", "value", value, key.shape());
  check_copy(key, key_cache, first_position);
  check_copy(value, value_cache, first_position);
  const ElementType type = key_cache.numbers.type();
  const kernels::RingPosition place{key_cache.numbers.extent(1),
                                    first_position.defined() ? first_position.data<std::int32_t>() : nullptr};
  dispatch_with_bfloat16("copy_keys_values", key, [&](auto device, auto zero) {
    using T = decltype(zero);
    const auto copy = [&](auto stored) {
      using Stored = decltype(stored);
      kernels::copy_keys_values<T, Stored>(device, key.extent(0), key.extent(1), key.extent(2), key.extent(3),
                                           view<const T>(key), view<Stored>(key_cache.numbers, key_cache.scales),
                                           view<const T>(value), view<Stored>(value_cache.numbers, value_cache.scales),
                                           place);
    };
    constexpr bool on_cuda = std::is_same_v<decltype(device), kernels::Cuda>;
    if constexpr (std::is_same_v<kernels::Wide<T>, float> && on_cuda)
      if (type == ElementType::int8) return copy(std::int8_t{});
    if constexpr (std::is_same_v<T, float>)
      if (type == ElementType::bfloat16) return copy(BFloat16{});
    check_alike("copy_keys_values", key, key_cache.numbers);
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
  else if (x.type() == ElementType::int8)
    dispatch_device("move_rows", x, [&](auto device) { run(device, std::int8_t{}); });
  else
    dispatch_floating("move_rows", x, run);
}

}  // namespace headshare
