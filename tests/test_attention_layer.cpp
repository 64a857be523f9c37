#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "nn/key_value_cache.h"
#include "tensor/embedding.h"
#include "tests/tensor_helpers.h"

// The attention layer with its projections, and the key/value cache.

using namespace headshare;
using namespace headshare::test;

namespace {

constexpr Size B = 2, T = 3, S = 5, C = 12, H = 6, D = 2;

// Projections with biases that are not 0, as they would be after training.
Attention random_layer(AttentionMode mode, TensorOptions options = float64) {
  Generator generator(1);
  Attention layer(C, mode, generator, options);
  std::uint64_t seed = 100;
  layer.visit("", [&](const std::string&, const Parameter& parameter) {
    parameter.value().copy_from(random_tensor(parameter.shape(), ++seed, 0.5).to(options.type));
  });
  return layer;
}

using Values = std::vector<double>;

// The layer in plain loops, straight from the definition; which key/value head a query head reads is the caller's
// choice.
struct PlainAttention {
  const Attention& layer;
  std::function<Size(Size)> kv_head_of = [group = layer.mode.heads / layer.mode.kv_heads](Size h) { return h / group; };
  std::vector<Size> lengths = {S, S};
  Mask mask = {};

  static Values project(const Linear& linear, const Values& x) {
    const Size in = linear.weight.extent(0), out = linear.weight.extent(1), rows = static_cast<Size>(x.size()) / in;
    const Values weight = linear.weight.value().to_vector<double>(), bias = linear.bias.value().to_vector<double>();
    Values y;
    for (Size row = 0; row < rows; ++row)
      for (Size o = 0; o < out; ++o) {
        double sum = bias[static_cast<std::size_t>(o)];
        for (Size i = 0; i < in; ++i)
          sum += x[static_cast<std::size_t>(row * in + i)] * weight[static_cast<std::size_t>(i * out + o)];
        y.push_back(sum);
      }
    return y;
  }

  Tensor operator()(const Tensor& x, const Tensor& source) const {
    const Size G = layer.mode.kv_heads, targets = x.extent(1), sources = source.extent(1);
    const Values q = project(layer.query, x.to_vector<double>()), k = project(layer.key, source.to_vector<double>()),
                 v = project(layer.value, source.to_vector<double>());
    Values heads(q.size(), 0);
    for (Size b = 0; b < x.extent(0); ++b)
      for (Size h = 0; h < H; ++h)
        for (Size t = 0; t < targets; ++t) {
          const auto at_q = [&](Size d) { return static_cast<std::size_t>(((b * targets + t) * H + h) * D + d); };
          const auto at_k = [&](Size s, Size d) {
            return static_cast<std::size_t>(((b * sources + s) * G + kv_head_of(h)) * D + d);
          };
          Values weights;
          double total = 0;
          for (Size s = 0; s < sources; ++s) {
            double score = 0;
            for (Size d = 0; d < D; ++d) score += q[at_q(d)] * k[at_k(s, d)];
            const bool future = mask.order == causal && s > t + (sources - targets);
            const bool visible = s < lengths[static_cast<std::size_t>(b)] && !future;
            weights.push_back(visible ? std::exp(score / std::sqrt(static_cast<double>(D))) : 0.0);
            total += weights.back();
          }
          for (Size s = 0; s < sources; ++s)
            for (Size d = 0; d < D; ++d) heads[at_q(d)] += weights[static_cast<std::size_t>(s)] / total * v[at_k(s, d)];
        }
    return from_values(project(layer.output, heads), x.shape());
  }
};

// Made when a test asks for them: before main the tests' device is not yet the default one.
Tensor x_values() { return random_tensor({B, T, C}, 2); }
Tensor source_values() { return random_tensor({B, S, C}, 3); }

// [first, last) of the columns of a parameter, copied into another one's.
void copy_columns(const Variable& from, Size from_begin, const Variable& to, Size to_begin, Size count) {
  to.value().slice(-1, to_begin, to_begin + count).copy_from(from.value().slice(-1, from_begin, from_begin + count));
}

Tensor heads_tensor(Size batch, Size positions, Size kv_heads, std::uint64_t seed) {
  return random_tensor({batch, positions, kv_heads, D}, seed);
}

KeysValues keys_values(Size batch, Size positions, Size kv_heads, std::uint64_t seed) {
  return {Variable(heads_tensor(batch, positions, kv_heads, seed)),
          Variable(heads_tensor(batch, positions, kv_heads, seed + 1000))};
}

}  // namespace

TEST_CASE("the layer is its definition in plain loops, for every way to share heads and every mask") {
  const Tensor lengths = from_values<std::int32_t>({5, 2}, {2});
  for (const Size G : {1, 2, 3, 6}) {
    CAPTURE(G);
    const Attention layer = random_layer({H, G});
    const Variable x(x_values()), source(source_values());
    CHECK(difference(layer(x, source, {}).value(), PlainAttention{layer}(x_values(), source_values())) < 1e-13);
    PlainAttention padded{layer};
    padded.lengths = {5, 2};
    CHECK(difference(layer(x, source, {lengths, any_order}).value(), padded(x_values(), source_values())) < 1e-13);
    PlainAttention masked{layer};
    masked.mask = {{}, causal};
    CHECK(difference(layer(source, source, {{}, causal}).value(), masked(source_values(), source_values())) < 1e-13);
  }
}

TEST_CASE("the layer in float32 is within a few roundings of the plain loops in double") {
  for (const Size G : {1, 2, 6}) {
    const Attention layer = random_layer({H, G}), coarse = random_layer({H, G}, {ElementType::float32});
    const Variable x(x_values().to(ElementType::float32)), source(source_values().to(ElementType::float32));
    CHECK(difference(coarse(x, source, {}).value(), PlainAttention{layer}(x_values(), source_values())) < 1e-5);
  }
}

TEST_CASE("query head h reads key/value head h / (H / G), and no other") {
  const Attention layer = random_layer(grouped_query(H, 2));
  const Tensor value = layer(Variable(x_values()), Variable(source_values()), {}).value();
  PlainAttention interleaved{layer};
  interleaved.kv_head_of = [](Size h) { return h % 2; };
  CHECK(difference(value, interleaved(x_values(), source_values())) > 0.01);

  // With an output projection that changes nothing, the heads can be looked at one by one.
  layer.output.weight.value().copy_from(zeros({C, C}, float64));
  for (Size c = 0; c < C; ++c) layer.output.weight.value().set({c, c}, 1);
  const auto heads = [&] {
    return layer(Variable(x_values()), Variable(source_values()), {}).value().reshape({B, T, H, D});
  };
  for (const Linear* projection : {&layer.key, &layer.value}) {
    const Tensor before = heads();
    const Tensor bias = projection->bias.value(), weight = projection->weight.value();
    for (Size d = 0; d < D; ++d) bias.set({d}, bias.at({d}) + 0.5 * static_cast<double>(d + 1));
    for (Size c = 0; c < C; ++c) weight.set({c, 0}, weight.at({c, 0}) + 0.5);  // head 0 only
    const Tensor after = heads();
    for (Size h = 0; h < H; ++h) {
      CAPTURE(h);
      CHECK((difference(before.slice(2, h, h + 1), after.slice(2, h, h + 1)) > 1e-3) == (h < H / 2));
    }
  }
}

TEST_CASE("grouped-query attention with as many groups as heads is multi-head attention, bit for bit") {
  CHECK(grouped_query(H, H) == multi_head(H));
  CHECK(grouped_query(H, 1) == multi_query(H));
  const Attention grouped = random_layer(grouped_query(H, H)), multi = random_layer(multi_head(H));
  const Variable x(x_values()), source(source_values());
  CHECK(same_values(grouped(x, source, {}).value(), multi(x, source, {}).value()));
}

TEST_CASE("sharing a head is multi-head attention whose key/value heads are copies, on the CPU bit for bit") {
  // On CUDA another kernel serves few queries per key/value head than serves many, and adds up in another order.
  const double allowed = test_device() == Device::cpu ? 0 : 1e-13;
  for (const Size G : {1, 2, 3}) {
    CAPTURE(G);
    const Attention shared = random_layer({H, G}), multi = random_layer(multi_head(H));
    const Size group = H / G;
    for (Size h = 0; h < H; ++h) {
      copy_columns(shared.key.weight, h / group * D, multi.key.weight, h * D, D);
      copy_columns(shared.key.bias, h / group * D, multi.key.bias, h * D, D);
      copy_columns(shared.value.weight, h / group * D, multi.value.weight, h * D, D);
      copy_columns(shared.value.bias, h / group * D, multi.value.bias, h * D, D);
    }
    const Variable x(x_values()), source(source_values());
    CHECK(difference(shared(x, source, {}).value(), multi(x, source, {}).value()) <= allowed);
  }
}

TEST_CASE("only keys and values get smaller when heads are shared") {
  for (const Size G : {1, 2, 3, 6}) {
    const Attention layer = random_layer({H, G});
    CHECK(layer.head_size() == D);
    CHECK(layer.query.weight.shape() == Shape{C, C});
    CHECK(layer.key.weight.shape() == Shape{C, G * D});
    CHECK(layer.value.weight.shape() == Shape{C, G * D});
    CHECK(layer.output.weight.shape() == Shape{C, C});
    std::vector<std::string> names;
    layer.visit("cross", [&](const std::string& name, const Parameter&) { names.push_back(name); });
    CHECK(names == std::vector<std::string>{"cross.query.weight", "cross.query.bias", "cross.key.weight",
                                            "cross.key.bias", "cross.value.weight", "cross.value.bias",
                                            "cross.output.weight", "cross.output.bias"});
  }
}

TEST_CASE("a mode that does not divide is refused with the numbers") {
  Generator generator(1);
  CHECK_THROWS_WITH_AS(Attention(C, {6, 4}, generator, {}),
                       "attention: 6 query heads cannot share 4 key/value heads evenly", Error);
  CHECK_THROWS_WITH_AS(Attention(C, {6, 0}, generator, {}),
                       "attention: 6 query heads cannot share 0 key/value heads evenly", Error);
  CHECK_THROWS_WITH_AS(Attention(C, multi_head(5), generator, {}),
                       "attention: d_model 12 does not split into 5 heads evenly", Error);
  CHECK_THROWS_WITH_AS(Attention(C, multi_head(0), generator, {}),
                       "attention: d_model 12 does not split into 0 heads evenly", Error);
}

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

TEST_CASE("attending position by position with a cache gives the same as attending to all at once") {
  for (const Size G : {1, 2, 6}) {
    CAPTURE(G);
    const Attention layer = random_layer({H, G});
    const Variable all(source_values());
    const Tensor whole = layer(all, all, {{}, causal}).value();
    for (const Size step : {1, 2}) {
      KeyValueCache cache(B, G, S + 3, D, float64);
      for (Size begin = 0; begin < S; begin += step) {
        const Size end = std::min(begin + step, S);
        const Variable x(source_values().slice(1, begin, end).clone());
        cache.append(layer.keys_values(x));
        const Tensor y = layer.attend(x, cache.keys_values(), {{}, causal}).value();
        CHECK(difference(y, whole.slice(1, begin, end)) < 1e-13);
      }
    }
  }
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
