#include "tensor/attention.h"

#include <algorithm>

#include "tensor/dispatch.h"

namespace headshare {
namespace {

kernels::AttentionSizes sizes_of(const Tensor& query, const Tensor& key) {
  if (query.rank() != 4 || key.rank() != 4)
    fail("attention: query ", query.shape(), " and key ", key.shape(), ", needed rank 4");
  const kernels::AttentionSizes sizes{query.extent(0), query.extent(1), key.extent(1),
                                      query.extent(2), key.extent(2),   query.extent(3)};
  if (key.extent(0) != sizes.batch || key.extent(3) != sizes.head_size)
    fail("attention: query ", query.shape(), " and key ", key.shape(), " must agree in the first and last extent");
  if (sizes.kv_heads < 1 || sizes.heads % sizes.kv_heads != 0)
    fail("attention: ", sizes.heads, " query heads cannot share ", sizes.kv_heads, " key/value heads evenly");
  return sizes;
}

kernels::AttentionMask kernel_mask(const Mask& mask, const kernels::AttentionSizes& sizes, Device device) {
  if (mask.window < 0 || (mask.window > 0 && mask.order != causal))
    fail("attention: a window of ", mask.window, " positions, needed 0 or more, and causal order");
  const Size window = std::min(mask.window, sizes.sources);  // as many are all of them
  if (!mask.source_lengths.defined()) return {nullptr, mask.order, window};
  check_shape("attention", "source_lengths", mask.source_lengths, {sizes.batch});
  check_device("attention", "source_lengths", mask.source_lengths, device);
  return {mask.source_lengths.data<std::int32_t>(), mask.order, window};
}

// Kernels follow three strides; the elements of one head must lie side by side.
Tensor readable(const Tensor& x) { return x.stride(-1) == 1 || x.extent(-1) == 1 ? x : x.clone(); }

template <class T>
kernels::HeadsView<T> view(const Tensor& x) {
  return {x.strided_data<std::remove_const_t<T>>(), x.stride(0), x.stride(1), x.stride(2)};
}
// Of int8: with the numbers' scales, of which there is one per head of D numbers.
kernels::HeadsView<const std::int8_t> view(const Tensor& x, const Tensor& scales) {
  kernels::HeadsView<const std::int8_t> heads = view<const std::int8_t>(x);
  heads.scales = scales.strided_data<float>();
  return heads;
}

template <class T>
kernels::KeyTiles<T> view_of_tiles(const Tensor& x) {
  return {x.strided_data<std::remove_const_t<T>>(), x.stride(0), x.stride(1)};
}

// Fails unless these are the tiles of S keys, each head's in one piece.
void check_tiles(const Tensor& tiles, Size B, Size S, Size G, Size D) {
  check_shape("attention", "keys in tiles", tiles, {B, G, key_tiles(S), D, kernels::key_tile_sources});
  const Size width = kernels::key_tile_sources;
  if (tiles.stride(2) != D * width || tiles.stride(3) != width || tiles.stride(4) != 1)
    fail("attention: keys in tiles with strides ", tiles.strides(), ", needed each head in one piece");
  if (tiles.device() != Device::cpu) fail("attention: only device cpu takes keys in tiles");
}

// Multiply-adds of all scores; a causal mask leaves out half of them.
Size products(const kernels::AttentionSizes& sizes) {
  return sizes.batch * sizes.heads * sizes.targets * sizes.sources * sizes.head_size;
}

// log_sum_exp may be undefined: not kept.
void run_attention(const kernels::AttentionSizes& sizes, const Tensor& query, const Tensor& key, const Tensor& value,
                   const HeadScales& scales, const Mask& mask, const Tensor& output, const Tensor& log_sum_exp) {
  check_shape("attention", "value", value, key.shape());
  check_alike("attention", key, value);
  const Tensor q = readable(query), k = readable(key), v = readable(value);
  note_work(4 * products(sizes), q.bytes() + k.bytes() + v.bytes() + output.bytes());
  dispatch_with_bfloat16("attention", q, [&](auto device, auto zero) {
    using T = decltype(zero);
    using Wide = kernels::Wide<T>;
    const auto run = [&](auto stored_key, auto stored_value) {
      kernels::attention<T>(device, sizes, kernel_mask(mask, sizes, q.device()), view<const T>(q), stored_key,
                            stored_value, view<T>(output), log_sum_exp.defined() ? log_sum_exp.data<Wide>() : nullptr);
    };
    constexpr bool on_cuda = std::is_same_v<decltype(device), kernels::Cuda>;
    if constexpr (std::is_same_v<Wide, float> && on_cuda)
      if (key.type() == ElementType::int8) return run(view(k, scales.key), view(v, scales.value));
    if constexpr (std::is_same_v<T, float>)
      if (key.type() == ElementType::bfloat16) return run(view<const BFloat16>(k), view<const BFloat16>(v));
    check_alike("attention", query, key);
    run(view<const T>(k), view<const T>(v));
  });
}

void run_attention_to_tiles(const Tensor& query, const Tensor& tiles, const Tensor& value, const Mask& mask,
                            const Tensor& output) {
  const kernels::AttentionSizes sizes = sizes_of(query, value);
  check_device("attention", "the query", query, Device::cpu);
  check_device("attention", "the output", output, Device::cpu);
  check_tiles(tiles, sizes.batch, sizes.sources, sizes.kv_heads, sizes.head_size);
  check_alike("attention", tiles, value);
  if (mask.order == causal) fail("attention: keys in tiles are for queries that see all of them");
  const Tensor q = readable(query), v = readable(value);
  note_work(4 * products(sizes), q.bytes() + 2 * v.bytes() + output.bytes());
  dispatch_floating("attention", q, [&](auto, auto zero) {
    using T = decltype(zero);
    const auto run = [&](auto stored) {
      using Stored = decltype(stored);
      kernels::attention<T, Stored>(kernels::Cpu{}, sizes, kernel_mask(mask, sizes, q.device()), view<const T>(q),
                                    view_of_tiles<const Stored>(tiles), view<const Stored>(v), view<T>(output));
    };
    if constexpr (std::is_same_v<T, float>)
      if (tiles.type() == ElementType::bfloat16) return run(BFloat16{});
    check_alike("attention", query, tiles);
    run(zero);
  });
}

}  // namespace

Size key_tiles(Size positions) { return (positions + kernels::key_tile_sources - 1) / kernels::key_tile_sources; }

void lay_out_keys_into(const Tensor& key, const Tensor& tiles) {
  if (key.rank() != 4) fail("lay_out_keys: keys ", key.shape(), ", needed [batch, positions, heads, D]");
  const kernels::AttentionSizes sizes{key.extent(0), 0, key.extent(1), key.extent(2), key.extent(2), key.extent(3)};
  check_tiles(tiles, sizes.batch, sizes.sources, sizes.kv_heads, sizes.head_size);
  check_device("lay_out_keys", "keys", key, Device::cpu);
  const Tensor k = readable(key);
  note_work(0, k.bytes() + tiles.bytes());
  dispatch_floating("lay_out_keys", k, [&](auto, auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_same_v<T, float>)
      if (tiles.type() == ElementType::bfloat16)
        return kernels::lay_out_keys(kernels::Cpu{}, sizes, view<const T>(k), view_of_tiles<BFloat16>(tiles));
    check_alike("lay_out_keys", key, tiles);
    kernels::lay_out_keys(kernels::Cpu{}, sizes, view<const T>(k), view_of_tiles<T>(tiles));
  });
}

AttentionResult attention(const Tensor& query, const Tensor& key, const Tensor& value, const Mask& mask) {
  const kernels::AttentionSizes sizes = sizes_of(query, key);
  const AttentionResult result{Tensor(query.shape(), query.options()),
                               Tensor({sizes.batch, sizes.heads, sizes.targets}, {wide(query.type()), query.device()})};
  run_attention(sizes, query, key, value, {}, mask, result.output, result.log_sum_exp);
  return result;
}

void attention_into(const Tensor& query, const Tensor& key, const Tensor& value, const Mask& mask, const Tensor& output,
                    const HeadScales& scales) {
  check_shape("attention", "output", output, query.shape());
  if ((key.type() == ElementType::int8) != (scales.key.defined() && scales.value.defined()))
    fail("attention: int8 keys and values need their scales, and others have none");
  if (key.rank() == 5) return run_attention_to_tiles(query, key, value, mask, output);
  run_attention(sizes_of(query, key), query, key, value, scales, mask, output, {});
}

AttentionGradients attention_backward(const Tensor& d_output, const Tensor& query, const Tensor& key,
                                      const Tensor& value, const Mask& mask, const AttentionResult& forward) {
  const kernels::AttentionSizes sizes = sizes_of(query, key);
  check_shape("attention_backward", "d_output", d_output, query.shape());
  const Tensor q = readable(query), k = readable(key), v = readable(value), gradient = readable(d_output);
  const AttentionGradients result{Tensor(query.shape(), query.options()), Tensor(key.shape(), key.options()),
                                  Tensor(value.shape(), value.options())};
  note_work(10 * products(sizes), 2 * (q.bytes() + k.bytes() + v.bytes() + gradient.bytes()));
  dispatch_with_bfloat16("attention_backward", q, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::attention_backward<T>(device, sizes, kernel_mask(mask, sizes, q.device()), view<const T>(q),
                                   view<const T>(k), view<const T>(v), view<const T>(forward.output),
                                   forward.log_sum_exp.data<kernels::Wide<T>>(), view<const T>(gradient),
                                   view<T>(result.d_query), view<T>(result.d_key), view<T>(result.d_value));
  });
  return result;
}

Tensor attention_weights(const Tensor& query, const Tensor& key, const Mask& mask) {
  const kernels::AttentionSizes sizes = sizes_of(query, key);
  const Tensor q = readable(query), k = readable(key);
  const Tensor weights({sizes.batch, sizes.heads, sizes.targets, sizes.sources}, query.options());
  dispatch_floating("attention_weights", q, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::attention_weights<T>(device, sizes, kernel_mask(mask, sizes, q.device()), view<const T>(q),
                                  view<const T>(k), weights.data<T>());
  });
  return weights;
}

}  // namespace headshare
