#include <algorithm>
#include <cmath>
#include <limits>

#include "lesson.h"
#include "tutorials/support/check.h"
#include "tutorials/support/traced.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

// Sizes stand in the order of lesson.h: B, H, G, T, S, order, D.
constexpr double infinity = std::numeric_limits<double>::infinity();
using Numbers = std::vector<double>;

// ---- Attention and its gradients in plain loops, in float64 ----

// Numbers that a float holds exactly, so that one reference serves float and double.
Numbers random_numbers(Size n, std::uint64_t seed) {
  Generator generator(seed);
  Numbers numbers(n);
  for (double& number : numbers) number = static_cast<float>(generator.normal());
  return numbers;
}

// What goes in and what must come out.         query, output: [B, H, T, D]   key, value: [B, G, S, D]   rest: [B, H, T]
struct Attention {
  Sizes sizes;
  Numbers query, key, value, d_output;
  Numbers output, log_sum_exp, d_query, d_key, d_value;

  Attention(const Sizes& s, std::uint64_t seed) : sizes(s) {
    query = random_numbers(queries() * depth, seed), key = random_numbers(keys() * depth, seed + 1);
    value = random_numbers(keys() * depth, seed + 2), d_output = random_numbers(queries() * depth, seed + 3);
    compute();
  }
  Size queries() const { return Size{sizes.batch} * sizes.heads * sizes.targets; }
  Size keys() const { return Size{sizes.batch} * sizes.kv_heads * sizes.sources; }

  void compute() {
    const auto [B, H, G, T, S, order, D] = sizes;
    output.assign(query.size(), 0), d_query.assign(query.size(), 0);
    d_key.assign(key.size(), 0), d_value.assign(key.size(), 0);
    log_sum_exp.assign(queries(), 0);
    Numbers weights(S);
    const double scale = 1 / std::sqrt(static_cast<double>(D));
    for (int row = 0; row < B * H * T; ++row) {
      const int t = row % T, h = row / T % H, b = row / (T * H), g = h / (H / G);
      const int seen = order == Order::causal ? t + 1 + S - T : S;
      const auto at = [&](int s, int d) { return ((b * G + g) * S + s) * D + d; };
      const auto own = [&](int d) { return row * D + d; };
      double max = -infinity, sum = 0;
      for (int s = 0; s < seen; ++s) {
        double score = 0;
        for (int d = 0; d < D; ++d) score += query[own(d)] * key[at(s, d)];
        weights[s] = score * scale;
        max = std::max(max, score * scale);
      }
      for (int s = 0; s < seen; ++s) sum += std::exp(weights[s] - max);
      log_sum_exp[row] = max + std::log(sum);
      double delta = 0;  // sum over s of weight dP
      for (int s = 0; s < seen; ++s) {
        double& weight = weights[s];
        weight = std::exp(weight - max) / sum;
        for (int d = 0; d < D; ++d) {
          output[own(d)] += weight * value[at(s, d)];
          d_value[at(s, d)] += weight * d_output[own(d)];
          delta += weight * d_output[own(d)] * value[at(s, d)];
        }
      }
      for (int s = 0; s < seen; ++s) {
        double d_weight = 0;
        for (int d = 0; d < D; ++d) d_weight += d_output[own(d)] * value[at(s, d)];
        const double d_score = weights[s] * (d_weight - delta) * scale;
        for (int d = 0; d < D; ++d) {
          d_query[own(d)] += d_score * key[at(s, d)];
          d_key[at(s, d)] += d_score * query[own(d)];
        }
      }
    }
  }
};

// ---- The student's kernels, run ----

template <class T>
std::vector<T> as(const Numbers& numbers) {
  return std::vector<T>(numbers.begin(), numbers.end());
}

// The arrays of one problem on the device.
template <class T>
struct OnDevice {
  Sizes sizes;
  DeviceArray<T> query, key, value, output, log_sum_exp, d_output, delta, d_query, d_key, d_value;

  explicit OnDevice(const Attention& a)
      : sizes(a.sizes),
        query("query", as<T>(a.query)),
        key("key", as<T>(a.key)),
        value("value", as<T>(a.value)),
        output("output", query.size()),
        log_sum_exp("log_sum_exp", a.queries()),
        d_output("d_output", as<T>(a.d_output)),
        delta("delta", a.queries()),
        d_query("d_query", query.size()),
        d_key("d_key", key.size()),
        d_value("d_value", key.size()) {}

  void forward() {
    attention_forward<T>(kernels::cuda(), sizes, query.data(), key.data(), value.data(), output.data(),
                         log_sum_exp.data());
  }
  void backward() {
    attention_backward<T>(kernels::cuda(), sizes, query.data(), key.data(), value.data(), output.data(),
                          log_sum_exp.data(), d_output.data(), delta.data(), d_query.data(), d_key.data(),
                          d_value.data());
  }
};

template <class T>
void check_array(const DeviceArray<T>& got, const Numbers& expected, const Shape& shape, const std::string& what) {
  const double tolerance = sizeof(T) == 4 ? 2e-5 : 1e-12;
  check_close(from_values(got.to_vector(), shape, Device::cpu), from_values(expected, shape, Device::cpu), what,
              tolerance);
}

std::string name(const Sizes& sizes) {
  return text(sizes.targets, " targets, ", sizes.sources, " sources, ", sizes.heads, " heads on ", sizes.kv_heads,
              sizes.order == Order::causal ? ", causal" : "");
}
Shape query_shape(const Sizes& sizes) { return {sizes.batch, sizes.heads, sizes.targets, sizes.head_size}; }
Shape key_shape(const Sizes& sizes) { return {sizes.batch, sizes.kv_heads, sizes.sources, sizes.head_size}; }

template <class T = float>
void check_forward(const Attention& expected) {
  const Sizes& sizes = expected.sizes;
  in_every_order([&] {
    OnDevice<T> device(expected);
    device.forward();
    check_array(device.output, expected.output, query_shape(sizes), "output [B, H, T, D] for " + name(sizes));
    check_array(device.log_sum_exp, expected.log_sum_exp, {sizes.batch, sizes.heads, sizes.targets},
                "log_sum_exp [B, H, T] for " + name(sizes));
  });
}

void check_backward(const Attention& expected) {
  const Sizes& sizes = expected.sizes;
  in_every_order([&] {
    OnDevice<float> device(expected);
    device.forward();
    device.backward();
    check_array(device.d_value, expected.d_value, key_shape(sizes), "d_value [B, G, S, D] for " + name(sizes));
    check_array(device.d_query, expected.d_query, query_shape(sizes), "d_query [B, H, T, D] for " + name(sizes));
    check_array(device.d_key, expected.d_key, key_shape(sizes), "d_key [B, G, S, D] for " + name(sizes));
  });
}

// ---- Step 2's helpers ----

// Attention of one query in two passes, and its log-sum-exp as the last number.
Numbers two_passes(const Numbers& scores, const Numbers& values, std::size_t D) {
  Numbers result(D + 1);
  const double max = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (const double score : scores) sum += std::exp(score - max);
  for (std::size_t s = 0; s < scores.size(); ++s)
    for (std::size_t d = 0; d < D; ++d) result[d] += std::exp(scores[s] - max) / sum * values[s * D + d];
  result[D] = max + std::log(sum);
  return result;
}

Numbers in_tiles(const Numbers& scores, const Numbers& values, int D, Size tile) {
  OnlineSoftmax softmax = nothing_seen(D);
  for (Size first = 0, n = static_cast<Size>(scores.size()); first < n; first += tile) {
    const Size end = std::min(first + tile, n);
    add_tile(softmax, {scores.begin() + first, scores.begin() + end},
             {values.begin() + first * D, values.begin() + end * D});
  }
  Numbers result = attention_of(softmax);
  result.push_back(log_sum_exp(softmax));
  return result;
}

}  // namespace

TEST_CASE("12.1 plain attention moves every score four times") {
  // One block of 64 queries, 64 keys of 16 numbers: 4 x 64 x 64 for scores, 4 x 64 x 16 for the rest.
  check_equal(plain_bytes({1, 1, 1, 64, 64}), 4 * (4 * 64 * 64 + 4 * 64 * 16), "bytes for 64 targets and 64 sources");
  // 65 targets are two blocks, which both read all keys and values.
  check_equal(plain_bytes({1, 1, 1, 65, 10}), 4 * (4 * 65 * 10 + 2 * 65 * 16 + 2 * 2 * 10 * 16),
              "bytes for 65 targets and 10 sources");
}

TEST_CASE("12.1 fused attention moves no score") {
  check_equal(fused_bytes({1, 1, 1, 64, 64}), 4 * (4 * 64 * 16 + 64), "bytes for 64 targets and 64 sources");
  check_equal(fused_bytes({1, 1, 1, 65, 10}), 4 * (2 * 65 * 16 + 2 * 2 * 10 * 16 + 65),
              "bytes for 65 targets and 10 sources");
}

TEST_CASE("12.1 every head of every sentence counts, and large numbers fit") {
  const Sizes one{1, 1, 1, 97, 33};
  const Sizes many{3, 4, 2, 97, 33};
  check_equal(plain_bytes(many), 12 * plain_bytes(one), "plain bytes of 3 sentences with 4 heads");
  check_equal(fused_bytes(many), 12 * fused_bytes(one), "fused bytes of 3 sentences with 4 heads");
  // 65,536 positions: the scores of one head alone are 17 GB.
  const Sizes book{1, 8, 8, 65536, 65536, Order::any, 64};
  check_equal(plain_bytes(book), 824902156288, "plain bytes for 65,536 positions, 8 heads of 64");
  check_equal(fused_bytes(book), 275148439552, "fused bytes for 65,536 positions, 8 heads of 64");
}

TEST_CASE("12.2 one tile is an ordinary softmax") {
  // Weights 1/4 and 3/4.
  const Numbers got = in_tiles({0, std::log(3.0)}, {4, 0, 8, 1}, 2, 2);
  check_close(got, Numbers{7, 0.75, std::log(4.0)}, "[output, log-sum-exp] of scores 0 and log 3");
}

TEST_CASE("12.2 tiles give what two passes give") {
  const Numbers values = random_numbers(97 * 3, 1);
  Numbers scores = random_numbers(97, 2);
  for (const std::string order : {"random", "rising", "falling"}) {
    if (order == "rising") std::sort(scores.begin(), scores.end());
    if (order == "falling") std::sort(scores.rbegin(), scores.rend());
    for (const Size tile : {1, 7, 33, 97})
      check_close(in_tiles(scores, values, 3, tile), two_passes(scores, values, 3),
                  text("[output, log-sum-exp] of 97 ", order, " scores in tiles of ", tile), 1e-12);
  }
}

TEST_CASE("12.2 a score of 1000 is no problem, nor is -1000") {
  const Numbers values = random_numbers(33 * 2, 3);
  for (const double shift : {1000.0, -1000.0}) {
    Numbers scores = random_numbers(33, 4);
    for (double& score : scores) score += shift;
    check_close(in_tiles(scores, values, 2, 7), two_passes(scores, values, 2),
                text("[output, log-sum-exp] of scores around ", shift), 1e-12);
  }
  // exp(-1000 - 1000) is 0; exp(1000 + 1000) is no number.
  check_close(in_tiles({1000, -1000, 1000}, {1, 7, 3}, 1, 1), Numbers{2, 1000 + std::log(2.0)},
              "[output, log-sum-exp] of scores 1000, -1000, 1000");
}

TEST_CASE("12.2 a tile that is masked changes nothing") {
  // Tiles of two; a masked one first, one in the middle.
  check_close(in_tiles({-infinity, -infinity, 0, std::log(3.0), -infinity, -infinity}, {9, 9, 4, 8, 9, 9}, 1, 2),
              Numbers{7, std::log(4.0)}, "[output, log-sum-exp] with masked tiles");
  const Numbers nothing = in_tiles({-infinity, -infinity}, {9, 9}, 1, 1);
  check_close(nothing, Numbers{0, -infinity}, "[output, log-sum-exp] when all is masked");
}

TEST_CASE("12.3 a handful of keys") { check_forward(Attention({1, 1, 1, 7, 7}, 1)); }

TEST_CASE("12.3 several tiles, several blocks, several heads") {
  for (const auto& [targets, sources] : {std::pair(33, 97), std::pair(97, 33), std::pair(64, 64)})
    check_forward(Attention({2, 2, 2, targets, sources}, 2));
}

TEST_CASE("12.3 scores that grow from tile to tile") {
  // Score 25 s for key s: exp(2400) is no float, and each tile makes all before it worthless.
  Attention rising({1, 1, 1, 7, 97}, 3);
  for (int i = 0; i < 7 * depth; ++i) rising.query[i] = i % depth == 0 ? 100 : 0;
  for (int i = 0; i < 97 * depth; ++i) rising.key[i] = i % depth == 0 ? i / depth : 0;
  rising.compute();
  check_forward(rising);
}

TEST_CASE("12.3 in float64 it is exact to twelve digits") { check_forward<double>(Attention({1, 2, 2, 65, 65}, 4)); }

TEST_CASE("12.3 neighbouring threads touch neighbouring memory") {
  OnDevice<float> device(Attention({1, 1, 1, 64, 64}, 5));
  const Traffic traffic = trace([&] { device.forward(); });
  check_efficiency(traffic, 1);
}

TEST_CASE("12.4 blocks read the keys that one of their queries sees") {
  const auto read = [](int targets, int sources, Order order) { return keys_read({2, 4, 2, targets, sources, order}); };
  check_equal(read(97, 33, Order::any), 33 + 33, "keys read: 97 targets, 33 sources, any order");
  check_equal(read(64, 64, Order::causal), 64, "keys read: 64 targets, 64 sources, causal");
  check_equal(read(128, 128, Order::causal), 64 + 128, "keys read: 128 targets, 128 sources, causal");
  check_equal(read(97, 97, Order::causal), 64 + 97, "keys read: 97 targets, 97 sources, causal");
  check_equal(read(7, 33, Order::causal), 33, "keys read: 7 targets, 33 sources, causal");
  check_equal(read(65, 100, Order::causal), 99 + 100, "keys read: 65 targets, 100 sources, causal");
}

TEST_CASE("12.4 neighbouring heads share keys and values") {
  for (const int kv_heads : {1, 2, 6}) check_forward(Attention({2, 6, kv_heads, 7, 33}, 6));
}

TEST_CASE("12.4 nobody sees what comes later") {
  for (const auto& [targets, sources] : {std::pair(7, 7), std::pair(97, 97), std::pair(33, 97)})
    check_forward(Attention({1, 4, 2, targets, sources, Order::causal}, 7));
}

TEST_CASE("12.4 tiles that nobody sees are not read") {
  const Sizes sizes{1, 2, 1, 192, 192, Order::causal};
  OnDevice<float> device(Attention(sizes, 8));
  const Traffic traffic = trace([&] { device.forward(); });
  if (!traffic.traced) return;
  const Size expected = 2 * (64 + 128 + 192) * depth * 4;  // of two heads
  check_equal(traffic.moved("key"), expected, "bytes of keys read: 192 targets and sources, 2 heads, causal");
  check_equal(traffic.moved("value"), expected, "bytes of values read: 192 targets and sources, 2 heads, causal");
}

TEST_CASE("12.5 the gradients of a handful of keys") { check_backward(Attention({1, 1, 1, 7, 7}, 9)); }

TEST_CASE("12.5 the gradients over several tiles and blocks") {
  check_backward(Attention({2, 1, 1, 33, 97}, 10));
  check_backward(Attention({1, 2, 2, 97, 33}, 11));
}

TEST_CASE("12.5 the gradients with masks and groups") {
  check_backward(Attention({2, 6, 2, 33, 40, Order::causal}, 12));
  check_backward(Attention({1, 2, 1, 97, 97, Order::causal}, 13));
}

TEST_CASE("12.5 the gradients are what changes when an input changes") {
  Attention a({1, 4, 2, 9, 11, Order::causal}, 14);
  // The sum of output x d_output, by the forward kernel.
  const auto loss = [&] {
    OnDevice<double> device(a);
    device.forward();
    const std::vector<double> output = device.output.to_vector();
    double sum = 0;
    for (std::size_t i = 0; i < output.size(); ++i) sum += output[i] * a.d_output[i];
    return sum;
  };
  OnDevice<double> device(a);
  device.forward();
  device.backward();
  const auto check = [&](Numbers& input, const DeviceArray<double>& gradient, const std::string& what) {
    const std::vector<double> got = gradient.to_vector();
    constexpr double step = 1e-5;
    for (std::size_t i = 3; i < input.size(); i += input.size() / 9) {
      const double before = input[i];
      input[i] = before + step;
      const double above = loss();
      input[i] = before - step;
      const double below = loss();
      input[i] = before;
      check_close(got[i], (above - below) / (2 * step), text(what, ", number ", i, ", against central differences"),
                  1e-8);
    }
  };
  check(a.value, device.d_value, "d_value");
  check(a.query, device.d_query, "d_query");
  check(a.key, device.d_key, "d_key");
}

TEST_CASE("12.6 the forward moves what you predicted") {
  for (const Order order : {Order::any, Order::causal}) {
    const Sizes sizes{1, 2, 1, 128, 192, order};
    // Queries and outputs, keys and values of both blocks, and a log-sum-exp for each query.
    const Size keys = order == Order::any ? 192 + 192 : 128 + 192;
    check_equal(forward_bytes(sizes), 2 * 4 * (2 * 128 * 16 + 2 * keys * 16 + 128), "forward_bytes for " + name(sizes));
    OnDevice<float> device(Attention(sizes, 15));
    const Traffic traffic = trace([&] { device.forward(); });
    if (traffic.traced)
      check_equal(traffic.moved_bytes, forward_bytes(sizes), "bytes that the tracer counts for " + name(sizes));
  }
}

TEST_CASE("12.6 the backward moves what you predicted") {
  for (const Order order : {Order::any, Order::causal}) {
    const Sizes sizes{1, 2, 1, 128, 192, order};
    OnDevice<float> device(Attention(sizes, 16));
    device.forward();
    const Traffic traffic = trace([&] { device.backward(); });
    if (traffic.traced)
      check_equal(backward_bytes(sizes), traffic.moved_bytes, "backward_bytes against the tracer, " + name(sizes));
  }
  // By hand, for one block of each: q, O, dO, dQ, K, V; then q, dO, K, V, dK, dV; each query four numbers more.
  check_equal(backward_bytes({3, 1, 1, 10, 20}),
              3 * 4 * (4 * 10 * 16 + 2 * 20 * 16 + 2 * 10 * 16 + 4 * 20 * 16 + 4 * 10),
              "backward_bytes for 3 sentences, 10 targets, 20 sources");
}

TEST_CASE("12.6 fused attention moves a tenth of the bytes") {
  const Sizes sizes{1, 2, 1, 256, 256, Order::causal};
  const Attention a(sizes, 17);
  OnDevice<float> device(a);
  DeviceArray<float> scores("scores", a.queries() * sizes.sources);
  const Traffic plain = trace([&] {
    attention_plain<float>(kernels::cuda(), sizes, device.query.data(), device.key.data(), device.value.data(),
                           scores.data(), device.output.data());
  });
  check_array(device.output, a.output, query_shape(sizes), "output of plain attention for " + name(sizes));
  const Traffic fused = trace([&] { device.forward(); });
  check_array(device.output, a.output, query_shape(sizes), "output of fused attention for " + name(sizes));
  // The prediction must say what the tracer will.
  check_equal(forward_bytes(sizes), 2 * 4 * (2 * 256 * 16 + 2 * (64 + 128 + 192 + 256) * 16 + 256),
              "forward_bytes for " + name(sizes));
  if (fused.traced)
    award("bytes of global memory: plain over yours",
          static_cast<double>(plain.moved_bytes) / static_cast<double>(fused.moved_bytes), 10);
}
