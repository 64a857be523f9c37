#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/attention.h"
#include "lesson.h"
#include "tutorials/support/check.h"
#include "tutorials/support/traced.h"

// The grader's tests: other sizes and other numbers each time, against the attention of the library on the processor.
// Sizes stand in the order of lesson.h: B, H, G, T, S, order, D.
using namespace headshare;
using namespace headshare::lesson;

namespace {

Generator generator_of(std::uint64_t stream) { return Generator(grading_seed(), stream); }

std::vector<double> random_numbers(Size n, Generator& generator) {
  std::vector<double> numbers(n);
  for (double& number : numbers) number = static_cast<float>(generator.normal());
  return numbers;
}

int between(Generator& generator, int least, int most) {
  return least + static_cast<int>(generator.below(most - least + 1));
}

// Sizes that nobody has seen; group and order are chosen by the caller.
Sizes random_sizes(Generator& generator, int group, Order order) {
  const int kv_heads = between(generator, 1, 2), targets = between(generator, 2, 80);
  const int sources = order == Order::causal ? targets + between(generator, 0, 40) : between(generator, 2, 110);
  return {between(generator, 1, 2), kv_heads * group, kv_heads, targets, sources, order};
}

// One problem: its inputs, and what the library makes of them in float64.
struct Expected {
  Sizes sizes;
  std::vector<double> query, key, value, d_output, output, log_sum_exp, d_query, d_key, d_value;

  Expected(const Sizes& s, Generator& generator, double factor = 1) : sizes(s) {
    const Size queries = Size{s.batch} * s.heads * s.targets, keys = Size{s.batch} * s.kv_heads * s.sources;
    query = random_numbers(queries * depth, generator);
    for (double& number : query) number *= factor;
    key = random_numbers(keys * depth, generator), value = random_numbers(keys * depth, generator);
    d_output = random_numbers(queries * depth, generator);
    output = d_query = query, d_key = d_value = key, log_sum_exp.resize(queries);
    const kernels::AttentionSizes sizes_there{s.batch, s.targets, s.sources, s.heads, s.kv_heads, depth};
    using Mask = kernels::AttentionMask;
    const Mask mask{.order = s.order == Order::causal ? Mask::Order::causal : Mask::Order::any};
    const auto of = [&](auto& numbers, int heads, int positions) {  // [B, heads, positions, D]
      return kernels::HeadsView{numbers.data(), Size{heads} * positions * depth, depth, Size{positions} * depth};
    };
    const auto in = [&](const std::vector<double>& numbers, int heads, int positions) {
      return of(numbers, heads, positions);
    };
    kernels::attention<double>(kernels::Cpu{}, sizes_there, mask, in(query, s.heads, s.targets),
                               in(key, s.kv_heads, s.sources), in(value, s.kv_heads, s.sources),
                               of(output, s.heads, s.targets), log_sum_exp.data());
    kernels::attention_backward<double>(kernels::Cpu{}, sizes_there, mask, in(query, s.heads, s.targets),
                                        in(key, s.kv_heads, s.sources), in(value, s.kv_heads, s.sources),
                                        in(output, s.heads, s.targets), log_sum_exp.data(),
                                        in(d_output, s.heads, s.targets), of(d_query, s.heads, s.targets),
                                        of(d_key, s.kv_heads, s.sources), of(d_value, s.kv_heads, s.sources));
  }
};

std::string name(const Sizes& s) {
  return text(" for sizes B ", s.batch, ", H ", s.heads, ", G ", s.kv_heads, ", T ", s.targets, ", S ", s.sources,
              s.order == Order::causal ? ", causal" : "");
}

template <class T>
struct OnDevice {
  Sizes sizes;
  DeviceArray<T> query, key, value, d_output, output, log_sum_exp, delta, d_query, d_key, d_value;

  static std::vector<T> as(const std::vector<double>& numbers) { return {numbers.begin(), numbers.end()}; }
  explicit OnDevice(const Expected& e)
      : sizes(e.sizes),
        query("query", as(e.query)),
        key("key", as(e.key)),
        value("value", as(e.value)),
        d_output("d_output", as(e.d_output)),
        output("output", query.size()),
        log_sum_exp("log_sum_exp", static_cast<Size>(e.log_sum_exp.size())),
        delta("delta", log_sum_exp.size()),
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
void check_array(const DeviceArray<T>& got, const std::vector<double>& expected, const std::string& what) {
  const std::vector<T> numbers = got.to_vector();
  check_close(std::vector<double>(numbers.begin(), numbers.end()), expected, what, sizeof(T) == 4 ? 5e-5 : 1e-11);
}

template <class T>
void check_forward(const Expected& expected) {
  OnDevice<T> device(expected);
  trace([&] { device.forward(); });
  check_array(device.output, expected.output, "output" + name(expected.sizes));
  check_array(device.log_sum_exp, expected.log_sum_exp, "log_sum_exp" + name(expected.sizes));
}

template <class T>
void check_backward(const Expected& expected) {
  OnDevice<T> device(expected);
  device.forward();
  trace([&] { device.backward(); });
  check_array(device.d_query, expected.d_query, "d_query" + name(expected.sizes));
  check_array(device.d_key, expected.d_key, "d_key" + name(expected.sizes));
  check_array(device.d_value, expected.d_value, "d_value" + name(expected.sizes));
}

}  // namespace

TEST_CASE("12.1 predictions for sizes that nobody has seen") {
  Generator generator = generator_of(1);
  for (int round = 0; round < 5; ++round) {
    Sizes s = random_sizes(generator, between(generator, 1, 3), Order::any);
    s.targets *= 1000, s.sources *= 1000, s.head_size = between(generator, 1, 4) * 8;
    Size plain = 0, fused = 0;  // numbers of one head, block by block
    for (Size first = 0; first < s.targets; first += 64) {
      const Size rows = std::min<Size>(64, s.targets - first);
      plain += 2 * rows * s.head_size + 2 * Size{s.sources} * s.head_size + 4 * rows * s.sources;
      fused += 2 * rows * s.head_size + 2 * Size{s.sources} * s.head_size + rows;
    }
    const std::string sizes = text(name(s), ", D ", s.head_size);
    check_equal(plain_bytes(s), plain * s.batch * s.heads * 4, "plain_bytes" + sizes);
    check_equal(fused_bytes(s), fused * s.batch * s.heads * 4, "fused_bytes" + sizes);
  }
}

TEST_CASE("12.2 any scores in any tiles") {
  Generator generator = generator_of(2);
  for (int round = 0; round < 20; ++round) {
    const int n = between(generator, 1, 60), D = between(generator, 1, 5);
    const std::vector<double> values = random_numbers(n * D, generator);
    std::vector<double> scores = random_numbers(n, generator);
    const double shift = 900 * generator.normal();
    for (double& score : scores)
      score = generator.uniform() < 0.5 ? -std::numeric_limits<double>::infinity() : 400 * score + shift;
    OnlineSoftmax softmax = nothing_seen(D);
    for (int first = 0; first < n;) {
      const int end = std::min(n, first + between(generator, 1, 4));
      add_tile(softmax, {scores.begin() + first, scores.begin() + end},
               {values.begin() + first * D, values.begin() + end * D});
      first = end;
    }
    const double max = *std::max_element(scores.begin(), scores.end());
    std::vector<double> expected(D);
    double sum = 0;
    for (int s = 0; s < n && std::isfinite(max); ++s) sum += std::exp(scores[s] - max);
    for (int s = 0; s < n && std::isfinite(max); ++s)
      for (int d = 0; d < D; ++d) expected[d] += std::exp(scores[s] - max) / sum * values[s * D + d];
    check_close(attention_of(softmax), expected, text("attention_of ", n, " scores around ", shift), 1e-11);
    check_close(log_sum_exp(softmax), max + std::log(sum), text("log_sum_exp of ", n, " scores around ", shift), 1e-11);
  }
}

TEST_CASE("12.3 forward, other sizes") {
  Generator generator = generator_of(3);
  for (int round = 0; round < 3; ++round)
    check_forward<float>(Expected(random_sizes(generator, 1, Order::any), generator));
  check_forward<double>(Expected(random_sizes(generator, 1, Order::any), generator));
  check_forward<double>(Expected(random_sizes(generator, 1, Order::any), generator, 300));  // large scores
}

TEST_CASE("12.4 forward, other masks and groups") {
  Generator generator = generator_of(4);
  for (const Order order : {Order::any, Order::causal})
    for (const int group : {1, 3}) {
      check_forward<float>(Expected(random_sizes(generator, group, order), generator));
      check_forward<double>(Expected(random_sizes(generator, group, order), generator));
    }
}

TEST_CASE("12.4 no block reads more keys than it needs") {
  Generator generator = generator_of(5);
  const int targets = between(generator, 65, 190), sources = targets + 8 * between(generator, 0, 9);
  const Sizes sizes{1, 2, 1, targets, sources, Order::causal};
  Size keys = 0;
  for (int first = 0; first < targets; first += 64) keys += sources - targets + std::min(first + 64, targets);
  check_equal(keys_read(sizes), keys, "keys_read" + name(sizes));
  OnDevice<float> device(Expected(sizes, generator));
  const Traffic traffic = trace([&] { device.forward(); });
  if (!traffic.traced) return;
  // A row that begins in the middle of a sector moves a little more.
  check_close(static_cast<double>(traffic.moved("key")), static_cast<double>(keys * 2 * depth * 4),
              "bytes of keys read" + name(sizes), 0.02);
}

TEST_CASE("12.5 backward, other sizes, masks and groups") {
  Generator generator = generator_of(6);
  for (const Order order : {Order::any, Order::causal})
    for (const int group : {1, 2}) {
      check_backward<float>(Expected(random_sizes(generator, group, order), generator));
      check_backward<double>(Expected(random_sizes(generator, group, order), generator));
    }
}

TEST_CASE("12.6 predictions for sizes that nobody has seen") {
  Generator generator = generator_of(7);
  for (const Order order : {Order::any, Order::causal}) {
    // Multiples of 8, so that whole sectors are what is asked for.
    const int kv_heads = between(generator, 1, 2), targets = 8 * between(generator, 9, 20);
    const int sources = targets + 8 * between(generator, 0, 5);
    const Sizes sizes{between(generator, 1, 2), 2 * kv_heads, kv_heads, targets, sources, order};
    Size keys = 0, seeing = 0;  // of one query head: keys that its blocks read, targets that blocks of keys read
    for (int first = 0; first < targets; first += 64)
      keys += order == Order::causal ? sources - targets + std::min(first + 64, targets) : sources;
    for (int first = 0; first < sources; first += 64)
      seeing += order == Order::causal ? targets - std::max(0, first - (sources - targets)) : targets;
    const Size forward = sizes.heads * (2 * targets * depth + 2 * keys * depth + targets);
    const Size backward = sizes.heads * (4 * targets * depth + 2 * targets + 2 * keys * depth) +
                          sizes.heads * seeing * (2 * depth + 2) + sizes.kv_heads * 4 * sources * depth;
    check_equal(forward_bytes(sizes), sizes.batch * forward * 4, "forward_bytes" + name(sizes));
    check_equal(backward_bytes(sizes), sizes.batch * backward * 4, "backward_bytes" + name(sizes));
    OnDevice<float> device(Expected(sizes, generator));
    const Traffic there = trace([&] { device.forward(); }), back = trace([&] { device.backward(); });
    if (!there.traced) continue;
    check_close(static_cast<double>(there.moved_bytes), static_cast<double>(forward_bytes(sizes)),
                "bytes that the tracer counts in the forward" + name(sizes), 0.01);
    check_close(static_cast<double>(back.moved_bytes), static_cast<double>(backward_bytes(sizes)),
                "bytes that the tracer counts in the backward" + name(sizes), 0.01);
  }
}
