#include "nn/key_value_cache.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "tensor/attention.h"
#include "tensor/embedding.h"
#include "tests/tensor_helpers.h"

// The key/value cache: what it holds, where, and what stays of it when sentences leave. Attention over it is tested
// with the attention layer and the decoder.

using namespace headshare;
using namespace headshare::test;

namespace {

constexpr Size B = 2, D = 2;

Tensor heads_tensor(Size batch, Size positions, Size kv_heads, std::uint64_t seed) {
  return random_tensor({batch, positions, kv_heads, D}, seed);
}

KeysValues keys_values(Size batch, Size positions, Size kv_heads, std::uint64_t seed) {
  return {Variable(heads_tensor(batch, positions, kv_heads, seed)),
          Variable(heads_tensor(batch, positions, kv_heads, seed + 1000))};
}

}  // namespace

TEST_CASE("the cache holds what was appended, in order, for G heads and not for H") {
  const Size G = 2, capacity = 7;
  KeyValueCache cache(B, G, capacity, D, float64);
  CHECK(cache.length() == 0);
  CHECK(cache.bytes() == 2 * B * G * capacity * D * 8);
  const KeysValues all = keys_values(B, 7, G, 1);
  Size length = 0;
  for (const Size next : {1, 3, 1, 2}) {
    const auto part = [&](const Variable& x) { return Variable(x.value().slice(1, length, length + next)); };
    cache.append({part(all.key), part(all.value)});
    length += next;
    CHECK(cache.length() == length);
    CHECK(same_values(cache.keys_values().key.value(), all.key.value().slice(1, 0, length)));
    CHECK(same_values(cache.keys_values().value.value(), all.value.value().slice(1, 0, length)));
  }
  CHECK_THROWS_WITH_AS(cache.append(keys_values(B, 1, G, 9)), "key/value cache: position 7 does not fit into 7", Error);
  CHECK(cache.length() == 7);
  CHECK(same_values(cache.keys_values().key.value(), all.key.value()));
}

TEST_CASE("a cache with a window is a ring of the newest positions") {
  const Size G = 2;
  for (const Size window : {1, 3, 4, 20}) {
    CAPTURE(window);
    const Size places = std::min(window, Size{9});
    KeyValueCache cache(B, G, 9, D, float64, window), written(B, G, 9, D, float64, window);
    CHECK(cache.bytes() == 2 * B * G * places * D * 8);
    const KeysValues all = keys_values(B, 9, G, 1);
    const auto part = [&](const Variable& x, Size begin, Size end) { return Variable(x.value().slice(1, begin, end)); };
    Size begin = 0;
    for (const Size end : {1, 6, 7, 9}) {
      cache.append({part(all.key, begin, end), part(all.value, begin, end)});
      for (Size position = begin; position < end; ++position) {
        const Tensor on_device = from_values<std::int32_t>({static_cast<std::int32_t>(position)}, {1});
        written.advance(1);
        written.write({part(all.key, position, position + 1), part(all.value, position, position + 1)}, on_device);
      }
      CHECK(cache.length() == end);
      CHECK(cache.held() == std::min(end, places));
      for (const KeyValueCache* ring : {&cache, &written}) {
        const KeysValues held = ring->keys_values();
        CHECK(held.key.extent(1) == cache.held());
        for (Size position = std::max(end - places, Size{0}); position < end; ++position) {
          const Size place = position % places;
          CHECK(
              same_values(held.key.value().slice(1, place, place + 1), part(all.key, position, position + 1).value()));
          CHECK(same_values(held.value.value().slice(1, place, place + 1),
                            part(all.value, position, position + 1).value()));
        }
      }
      begin = end;
    }
    CHECK_THROWS_WITH_AS(cache.append(keys_values(B, 1, G, 9)), "key/value cache: position 9 does not fit into 9",
                         Error);
    const Tensor before = cache.keys_values().key.value().clone();
    cache.select(std::vector<std::int32_t>{1, 0, 1});
    const Tensor after = cache.keys_values().key.value();
    CHECK(same_values(after, gather_rows(before, from_values<std::int32_t>({1, 0, 1}, {3}))));
  }
}

TEST_CASE("keys and values of another batch or number of heads do not fit into a cache") {
  KeyValueCache cache(B, 2, 7, D, float64);
  CHECK_THROWS_AS(cache.append(keys_values(B + 1, 1, 2, 1)), Error);
  CHECK_THROWS_AS(cache.append(keys_values(B, 1, 1, 1)), Error);
  CHECK_THROWS_AS(cache.append({Variable(zeros({B, 1, 2, D})), Variable(zeros({B, 1, 2, D}))}), Error);  // float32
  CHECK(cache.length() == 0);
}

TEST_CASE("select keeps, reorders and repeats sentences, and appending goes on behind them") {
  const Size G = 3;
  KeyValueCache cache(3, G, 5, D, float64);
  const KeysValues first = keys_values(3, 2, G, 1);
  cache.append(first);
  cache.select(std::vector<std::int32_t>{2, 0, 2, 1});
  const Tensor key = cache.keys_values().key.value(), value = cache.keys_values().value.value();
  CHECK(key.shape() == Shape{4, 2, G, D});
  Size row = 0;
  for (const Size sentence : {2, 0, 2, 1}) {
    CHECK(same_values(key.slice(0, row, row + 1), first.key.value().slice(0, sentence, sentence + 1)));
    CHECK(same_values(value.slice(0, row, row + 1), first.value.value().slice(0, sentence, sentence + 1)));
    ++row;
  }
  const KeysValues more = keys_values(4, 1, G, 5);
  cache.append(more);
  CHECK(same_values(cache.keys_values().key.value().slice(1, 2, 3), more.key.value()));
  CHECK(same_values(cache.keys_values().key.value().slice(1, 0, 2), key));
  CHECK_THROWS_WITH_AS(cache.select(std::vector<std::int32_t>{4}), "key/value cache: there is no sentence 4 among 4",
                       Error);
  CHECK_THROWS_WITH_AS(cache.select(std::vector<std::int32_t>{-1}), "key/value cache: there is no sentence -1 among 4",
                       Error);
}

TEST_CASE("any selection of sentences is what gathering them gives, in place, in circles and repeated") {
  Generator generator(3);
  for (int trial = 0; trial < 200; ++trial) {
    const Size batch = 1 + generator.below(7), G = 2, length = 1 + generator.below(3);
    KeyValueCache cache(batch, G, 4, D, float64);
    const KeysValues first = keys_values(batch, length, G, static_cast<std::uint64_t>(trial));
    cache.append(first);
    std::vector<std::int32_t> rows(static_cast<std::size_t>(1 + generator.below(8)));
    for (std::int32_t& row : rows) row = static_cast<std::int32_t>(generator.below(batch));
    if (trial % 3 == 0) {  // circles alone: a permutation
      rows.resize(static_cast<std::size_t>(batch));
      std::iota(rows.begin(), rows.end(), 0);
      generator.shuffle(rows);
    }
    cache.select(rows);
    CHECK(cache.batch() == static_cast<Size>(rows.size()));
    const Tensor index = from_values(rows, {cache.batch()});
    CHECK(same_values(cache.keys_values().key.value(), gather_rows(first.key.value(), index)));
    CHECK(same_values(cache.keys_values().value.value(), gather_rows(first.value.value(), index)));
  }
}

TEST_CASE("a bfloat16 cache takes half the bytes and gives back what was rounded") {
  KeyValueCache wide(2, 2, 5, 4, {}), narrow(2, 2, 5, 4, {ElementType::bfloat16, default_device()});
  CHECK(2 * narrow.bytes() == wide.bytes());
  Generator generator(4);
  const Variable x(random_normal({2, 3, 2, 4}, 1, generator, {}));
  narrow.append({x, x});
  narrow.select(std::vector<std::int32_t>{1, 0});
  const Tensor expected = gather_rows(x.value(), from_values<std::int32_t>({1, 0}, {2})).to(ElementType::bfloat16);
  CHECK(same_values(narrow.keys_values().key.value().to(ElementType::float32), expected.to(ElementType::float32)));
}

TEST_CASE("a cache with keys in tiles serves attention as another does, also after sentences moved") {
  const Size G = 2, H = 12, S = 70;
  const TensorOptions cpu{ElementType::float64, Device::cpu}, narrow{ElementType::bfloat16, Device::cpu};
  Generator generator(5);
  const KeysValues all{Variable(random_normal({3, S, G, D}, 1, generator, cpu)),
                       Variable(random_normal({3, S, G, D}, 1, generator, cpu))};
  KeyValueCache plain(3, G, 80, D, cpu), tiled(3, G, 80, D, cpu, 0, KeyOrder::tiles);
  CHECK(tiled.bytes() == 3 * G * (80 + 96) * D * 8);  // three tiles of 32 hold 80 keys
  plain.append(all);
  tiled.append(all);
  CHECK(tiled.length() == S);
  CHECK_THROWS_WITH_AS(
      tiled.append({Variable(all.key.value().slice(1, 0, 1)), Variable(all.value.value().slice(1, 0, 1))}),
      "key/value cache: keys in tiles come all at once", Error);
  const auto attend = [&](const KeyValueCache& cache) {
    Generator same(6);
    const Tensor query = random_normal({cache.batch(), 1, H, D}, 1, same, cpu), output = empty_like(query);
    const KeysValues held = cache.keys_values();
    attention_into(query, held.key.value(), held.value.value(), {{}, any_order}, output);
    return output;
  };
  CHECK(same_values(attend(tiled), attend(plain)));
  for (const std::vector<std::int32_t>& rows : {std::vector<std::int32_t>{2, 0, 2, 1, 1}, {4, 3}}) {
    plain.select(rows);
    tiled.select(rows);
    CHECK(same_values(attend(tiled), attend(plain)));
  }
  CHECK_THROWS_WITH_AS(KeyValueCache(3, G, 80, D, cpu, 5, KeyOrder::tiles),
                       "key/value cache: keys in tiles have no window and are no int8", Error);
  CHECK_THROWS_WITH_AS(tiled.advance(1), "key/value cache: keys in tiles come all at once", Error);

  KeyValueCache half(2, G, S, D, narrow, 0, KeyOrder::tiles);
  const Variable x(random_normal({2, S, G, D}, 1, generator, {ElementType::float32, Device::cpu}));
  half.append({x, x});
  const Tensor tiles = half.keys_values().key.value();
  CHECK(tiles.shape() == Shape{2, G, 3, D, 32});
  const Tensor rounded = x.value().to(ElementType::bfloat16);
  for (const Size s : {0, 31, 32, 69})
    CHECK(same_values(tiles.slice(2, s / 32, s / 32 + 1).slice(4, s % 32, s % 32 + 1).reshape({2, 1, G, D}),
                      rounded.slice(1, s, s + 1)));
}

TEST_CASE("only many queries over a long source on the processor want keys in tiles") {
  const auto order = [](AttentionMode mode, Size beam, Size positions, Device device) {
    return order_of_source_keys(mode, beam, positions, device);
  };
  CHECK(order(multi_query(8), 1, 128, Device::cpu) == KeyOrder::tiles);
  CHECK(order(multi_head(8), 5, 128, Device::cpu) == KeyOrder::tiles);
  CHECK(order(multi_head(8), 4, 128, Device::cpu) == KeyOrder::positions);
  CHECK(order(grouped_query(8, 2), 1, 512, Device::cpu) == KeyOrder::positions);
  CHECK(order(multi_query(8), 1, 127, Device::cpu) == KeyOrder::positions);
  CHECK(order(multi_query(8), 1, 512, Device::cuda) == KeyOrder::positions);
}
