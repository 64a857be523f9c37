#include "nn/key_value_cache.h"

#include <algorithm>

#include "tensor/attention.h"
#include "tensor/cache.h"

namespace headshare {
namespace {

// Row i becomes what row from[i] was, for all i at once, as single copies one after the other: a row is overwritten
// only when nobody needs its old content any more. Where rows wait for each other in a circle, one steps aside to
// `spare`.
std::vector<RowMove> plan_moves(std::vector<std::int32_t> from, Size spare) {
  const auto at = [](Size i) { return static_cast<std::size_t>(i); };
  const Size count = static_cast<Size>(from.size());
  std::vector<Size> readers(at(spare + 1), 0);  // of each row: how many moves still read it
  for (Size i = 0; i < count; ++i)
    if (from[at(i)] != i) ++readers[at(from[at(i)])];
  std::vector<Size> ready;
  for (Size i = 0; i < count; ++i)
    if (from[at(i)] != i && readers[at(i)] == 0) ready.push_back(i);

  std::vector<RowMove> moves;
  const auto run_ready = [&] {
    while (!ready.empty()) {
      const Size to = ready.back(), source = from[at(to)];
      ready.pop_back();
      moves.push_back({source, to});
      from[at(to)] = static_cast<std::int32_t>(to);
      if (--readers[at(source)] == 0 && source < count && from[at(source)] != source) ready.push_back(source);
    }
  };
  run_ready();
  for (Size i = 0; i < count; ++i) {
    if (from[at(i)] == i) continue;  // every row left is in a circle and has exactly one reader
    moves.push_back({i, spare});
    std::replace(from.begin() + i + 1, from.end(), static_cast<std::int32_t>(i), static_cast<std::int32_t>(spare));
    readers[at(spare)] = 1;
    readers[at(i)] = 0;
    ready.push_back(i);
    run_ready();
  }
  return moves;
}

}  // namespace

KeyOrder order_of_source_keys(const AttentionMode& mode, Size beam, Size positions, Device device) {
  const bool many_queries = beam * mode.heads / mode.kv_heads > kernels::few_queries;
  const bool several_tiles = positions >= 4 * kernels::key_tile_sources;
  return device == Device::cpu && many_queries && several_tiles ? KeyOrder::tiles : KeyOrder::positions;
}

KeyValueCache::KeyValueCache(Size batch, Size kv_heads, Size capacity, Size head_size, TensorOptions options,
                             Size window, KeyOrder order)
    : batch_(batch), capacity_(capacity) {
  if (order == KeyOrder::tiles && (window > 0 || options.type == ElementType::int8))
    fail("key/value cache: keys in tiles have no window and are no int8");
  const Size places = window > 0 ? std::min(capacity, window) : capacity;
  key_ = order == KeyOrder::tiles
             ? Tensor({batch + 1, kv_heads, key_tiles(places), head_size, kernels::key_tile_sources}, options)
             : Tensor({batch + 1, kv_heads, places, head_size}, options);
  value_ = Tensor({batch + 1, kv_heads, places, head_size}, options);
  if (options.type != ElementType::int8) return;
  key_scales_ = Tensor({batch + 1, kv_heads, places, 1}, {ElementType::float32, options.device});
  value_scales_ = empty_like(key_scales_);
}

std::vector<Tensor*> KeyValueCache::tensors() {
  if (key_scales_.defined()) return {&key_, &value_, &key_scales_, &value_scales_};
  return {&key_, &value_};
}

Size KeyValueCache::bytes() const {
  if (!key_.defined()) return 0;
  const Size scales = key_scales_.defined() ? 2 * key_scales_.bytes() : 0;
  return batch_ * ((key_.bytes() + value_.bytes() + scales) / key_.extent(0));
}

void KeyValueCache::append(const KeysValues& next) {
  const Size end = end_after(next.key.extent(1));
  if (in_tiles()) {
    if (length_ != 0) fail("key/value cache: keys in tiles come all at once");
    const KeysValues to = in_places(0, end);
    lay_out_keys_into(next.key.value(), to.key.value());
    to.value.value().copy_from(next.value.value().to(value_.type()));
    length_ = end;
    return;
  }
  for (Size done = 0; length_ < end;) {  // in pieces that end where the ring does
    const Size place = length_ % places(), count = std::min(end - length_, places() - place);
    const KeysValues to = in_places(place, place + count);
    const HeadScales scales = scales_in_places(place, place + count);
    copy_keys_values(next.key.value().slice(1, done, done + count), {to.key.value(), scales.key},
                     next.value.value().slice(1, done, done + count), {to.value.value(), scales.value});
    done += count;
    length_ += count;
  }
}

void KeyValueCache::write(const KeysValues& next, const Tensor& position) const {
  if (in_tiles()) fail("key/value cache: keys in tiles come all at once");
  const KeysValues all = all_places();
  copy_keys_values(next.key.value(), {all.key.value(), scales().key}, next.value.value(),
                   {all.value.value(), scales().value}, position);
}

void KeyValueCache::advance(Size positions) {
  if (in_tiles()) fail("key/value cache: keys in tiles come all at once");
  length_ = end_after(positions);
}

Size KeyValueCache::end_after(Size positions) const {
  const Size end = length_ + positions;
  if (end > capacity_) fail("key/value cache: position ", end - 1, " does not fit into ", capacity_);
  return end;
}

KeysValues KeyValueCache::in_places(Size begin, Size end) const {
  const auto view = [&](const Tensor& x) {
    return Variable(x.slice(0, 0, batch_).slice(2, begin, end).transpose(1, 2));
  };
  if (in_tiles()) return {Variable(key_.slice(0, 0, batch_).slice(2, 0, key_tiles(end))), view(value_)};
  return {view(key_), view(value_)};
}

KeysValues KeyValueCache::keys_values() const { return in_places(0, held()); }

KeysValues KeyValueCache::all_places() const { return in_places(0, places()); }

HeadScales KeyValueCache::scales() const { return scales_in_places(0, places()); }

HeadScales KeyValueCache::scales_in_places(Size begin, Size end) const {
  if (!key_scales_.defined()) return {};
  const auto view = [&](const Tensor& x) { return x.slice(0, 0, batch_).slice(2, begin, end); };
  return {view(key_scales_), view(value_scales_)};
}

void KeyValueCache::select(std::span<const std::int32_t> sentences) {
  for (const std::int32_t sentence : sentences)
    if (sentence < 0 || sentence >= batch_) fail("key/value cache: there is no sentence ", sentence, " among ", batch_);
  const Size count = static_cast<Size>(sentences.size());
  if (count >= key_.extent(0)) grow(count);
  const std::vector<RowMove> moves = plan_moves({sentences.begin(), sentences.end()}, key_.extent(0) - 1);
  for (const Tensor* x : tensors()) {
    if (x->rank() == 5)
      move_rows(x->reshape({x->extent(0), x->extent(1), x->extent(2), x->extent(3) * x->extent(4)}), moves,
                key_tiles(held()));
    else
      move_rows(*x, moves, held());
  }
  batch_ = count;
}

void KeyValueCache::grow(Size batch) {
  for (Tensor* x : tensors()) {
    Shape shape = x->shape();
    shape[0] = batch + 1;
    const Tensor larger(shape, x->options());
    larger.slice(0, 0, batch_).copy_from(x->slice(0, 0, batch_));
    *x = larger;
  }
}

}  // namespace headshare
