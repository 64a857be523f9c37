#include "nn/key_value_cache.h"

#include <algorithm>

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

KeyValueCache::KeyValueCache(Size batch, Size kv_heads, Size capacity, Size head_size, TensorOptions options,
                             Size window)
    : batch_(batch), capacity_(capacity) {
  const Size places = window > 0 ? std::min(capacity, window) : capacity;
  key_ = Tensor({batch + 1, kv_heads, places, head_size}, options);
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
  const Size scales = key_scales_.defined() ? key_scales_.bytes() : 0;
  return 2 * batch_ * ((key_.bytes() + scales) / key_.extent(0));
}

void KeyValueCache::append(const KeysValues& next) {
  const Size end = end_after(next.key.extent(1));
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
  const KeysValues all = all_places();
  copy_keys_values(next.key.value(), {all.key.value(), scales().key}, next.value.value(),
                   {all.value.value(), scales().value}, position);
}

void KeyValueCache::advance(Size positions) { length_ = end_after(positions); }

Size KeyValueCache::end_after(Size positions) const {
  const Size end = length_ + positions;
  if (end > capacity_) fail("key/value cache: position ", end - 1, " does not fit into ", capacity_);
  return end;
}

KeysValues KeyValueCache::in_places(Size begin, Size end) const {
  const auto view = [&](const Tensor& x) {
    return Variable(x.slice(0, 0, batch_).slice(2, begin, end).transpose(1, 2));
  };
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
  for (const Tensor* x : tensors()) move_rows(*x, moves, held());
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
