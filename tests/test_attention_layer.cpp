#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "nn/key_value_cache.h"
#include "tests/tensor_helpers.h"

// The attention layer with its projections, alone and with a key/value cache.

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
    const Size query_heads = layer.mode.heads, kv_heads = layer.mode.kv_heads, size = layer.head_size();
    const Size targets = x.extent(1), sources = source.extent(1);
    const Values q = project(layer.query, x.to_vector<double>()), k = project(layer.key, source.to_vector<double>()),
                 v = project(layer.value, source.to_vector<double>());
    Values heads(q.size(), 0);
    for (Size b = 0; b < x.extent(0); ++b)
      for (Size h = 0; h < query_heads; ++h)
        for (Size t = 0; t < targets; ++t) {
          const auto at_q = [&](Size d) {
            return static_cast<std::size_t>(((b * targets + t) * query_heads + h) * size + d);
          };
          const auto at_k = [&](Size s, Size d) {
            return static_cast<std::size_t>(((b * sources + s) * kv_heads + kv_head_of(h)) * size + d);
          };
          Values weights;
          double total = 0;
          for (Size s = 0; s < sources; ++s) {
            double score = 0;
            for (Size d = 0; d < size; ++d) score += q[at_q(d)] * k[at_k(s, d)];
            const Size distance = t + (sources - targets) - s;  // from the query back to the key
            const bool hidden = mask.order == causal && (distance < 0 || (mask.window > 0 && distance >= mask.window));
            const bool visible = s < lengths[static_cast<std::size_t>(b)] && !hidden;
            weights.push_back(visible ? std::exp(score / std::sqrt(static_cast<double>(size))) : 0.0);
            total += weights.back();
          }
          for (Size s = 0; s < sources; ++s)
            for (Size d = 0; d < size; ++d)
              heads[at_q(d)] += weights[static_cast<std::size_t>(s)] / total * v[at_k(s, d)];
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

TEST_CASE("heads of another size than d_model / heads: the definition in plain loops, and the projections' shapes") {
  for (const auto& [heads, G, size] : std::vector<std::array<Size, 3>>{{5, 1, 3}, {4, 2, 7}, {1, 1, 12}, {2, 2, 1}}) {
    CAPTURE(heads);
    const Attention layer = random_layer(with_head_size(grouped_query(heads, G), size));  // 12 wide
    CHECK(layer.head_size() == size);
    CHECK(layer.query.weight.shape() == Shape{C, heads * size});
    CHECK(layer.key.weight.shape() == Shape{C, G * size});
    CHECK(layer.output.weight.shape() == Shape{heads * size, C});
    const Variable x(x_values()), source(source_values());
    CHECK(difference(layer(x, source, {}).value(), PlainAttention{layer}(x_values(), source_values())) < 1e-13);
  }
}

TEST_CASE("a window counts where the mask is causal, and nowhere else") {
  for (const Size window : {1, 2, 4, 100}) {
    CAPTURE(window);
    const Attention layer = random_layer(local_window(grouped_query(H, 2), window));
    const Variable x(x_values()), source(source_values());
    PlainAttention masked{layer};
    masked.mask = {{}, causal, window};
    CHECK(difference(layer(source, source, {{}, causal}).value(), masked(source_values(), source_values())) < 1e-13);
    CHECK(difference(layer(x, source, {{}, causal}).value(), masked(x_values(), source_values())) < 1e-13);
    CHECK(difference(layer(x, source, {}).value(), PlainAttention{layer}(x_values(), source_values())) < 1e-13);
    masked.mask.window = window + 1;
    if (window < S)
      CHECK(difference(layer(source, source, {{}, causal}).value(), masked(source_values(), source_values())) > 1e-3);
  }
  const Tensor q = random_tensor({1, 2, 1, 3}, 1), k = random_tensor({1, 2, 1, 3}, 2);
  CHECK_THROWS_WITH_AS(attention(q, k, k, {{}, any_order, 2}),
                       "attention: a window of 2 positions, needed 0 or more, and causal order", Error);
  CHECK_THROWS_WITH_AS(attention(q, k, k, {{}, causal, -1}),
                       "attention: a window of -1 positions, needed 0 or more, and causal order", Error);
}

TEST_CASE("a mode says what it is") {
  CHECK(name(multi_head(8)) == "multi-head(8)");
  CHECK(name(local_window(multi_head(8), 32)) == "multi-head(8), window 32");
  CHECK(name(with_head_size(multi_query(8), 16)) == "multi-query(8) of 16");
  CHECK(name(local_window(with_head_size(grouped_query(8, 2), 16), 32)) == "grouped-query(8, 2) of 16, window 32");
  CHECK(name(AttentionSites(multi_head(8), local_window(multi_head(8), 32), multi_query(8))) ==
        "encoder multi-head(8); decoder multi-head(8), window 32; cross multi-query(8)");
  CHECK(with_kv_heads(local_window(multi_head(8), 32), 2) == local_window(grouped_query(8, 2), 32));
  CHECK_FALSE(local_window(multi_head(8), 32) == multi_head(8));
  CHECK_FALSE(with_head_size(multi_head(8), 16) == multi_head(8));
}

TEST_CASE("a window or a size of heads that cannot be is refused with the numbers") {
  Generator generator(1);
  const AttentionMode all = multi_head(6);
  const auto refused = [&](const AttentionSites& sites, const char* message) {
    CHECK_THROWS_WITH_AS(check(sites, C), message, Error);
  };
  check({all, local_window(all, 1), all}, C);
  check(with_head_size(multi_head(5), 3), C);  // 5 does not divide 12, and need not
  refused(local_window(all, 3),
          "attention: a window of 3 positions in encoder self-attention, needed in decoder self-attention only");
  refused({all, all, local_window(all, 3)},
          "attention: a window of 3 positions in cross-attention, needed in decoder self-attention only");
  refused({all, local_window(all, -1), all}, "attention: a window of -1 positions, needed 1 or more, or 0 for all");
  refused(with_head_size(all, -4), "attention: 6 heads of -4 numbers cannot be built");
  refused(with_head_size(all, 1'000'000), "attention: 6 heads of 1000000 numbers cannot be built");
  refused(with_head_size(grouped_query(6, 4), 2), "attention: 6 query heads cannot share 4 key/value heads evenly");
  CHECK_THROWS_WITH_AS(Attention(C, with_head_size(all, -4), generator, {}),
                       "attention: 6 heads of -4 numbers cannot be built", Error);
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

TEST_CASE("attending position by position with a ring gives the same as attending with a window to all at once") {
  for (const Size window : {1, 2, 3, 9}) {
    CAPTURE(window);
    const Attention layer = random_layer(local_window(grouped_query(H, 2), window));
    const Variable all(source_values());
    const Tensor whole = layer(all, all, {{}, causal}).value();
    KeyValueCache cache(B, 2, S, D, float64, window);
    for (Size t = 0; t < S; ++t) {
      const Variable x(source_values().slice(1, t, t + 1).clone());
      cache.append(layer.keys_values(x));
      CHECK(difference(layer.attend(x, cache.keys_values(), {{}, causal}).value(), whole.slice(1, t, t + 1)) < 1e-13);
    }
  }
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
