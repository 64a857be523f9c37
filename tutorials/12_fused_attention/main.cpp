#include <algorithm>
#include <cmath>
#include <iomanip>
#include <iostream>

#include "core/random.h"
#include "core/report/line_chart.h"
#include "core/report/table.h"
#include "lesson.h"
#include "tutorials/support/step.h"
#include "tutorials/support/traced.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

std::string fixed(double number, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << number;
  return out.str();
}
std::string kib(Size bytes) { return fixed(static_cast<double>(bytes) / 1024, 1); }
std::string ratio(Size a, Size b) { return fixed(static_cast<double>(a) / static_cast<double>(b), 1); }

template <class T>
std::vector<T> random_numbers(Size n, std::uint64_t seed) {
  Generator generator(seed);
  std::vector<T> numbers(n);
  for (T& number : numbers) number = static_cast<T>(generator.normal());
  return numbers;
}

// Random inputs and room for everything else, in the device's memory.
template <class T>
struct Arrays {
  Sizes sizes;
  Size queries, keys;
  DeviceArray<T> query, key, value, d_output, scores, output, log_sum_exp, delta, d_query, d_key, d_value;

  explicit Arrays(const Sizes& s)
      : sizes(s),
        queries(Size{s.batch} * s.heads * s.targets),
        keys(Size{s.batch} * s.kv_heads * s.sources),
        query("query", random_numbers<T>(queries * depth, 1)),
        key("key", random_numbers<T>(keys * depth, 2)),
        value("value", random_numbers<T>(keys * depth, 3)),
        d_output("d_output", random_numbers<T>(queries * depth, 4)),
        scores("scores", queries * s.sources),
        output("output", query.size()),
        log_sum_exp("log_sum_exp", queries),
        delta("delta", queries),
        d_query("d_query", query.size()),
        d_key("d_key", key.size()),
        d_value("d_value", key.size()) {}

  Traffic plain() {
    return trace([&] {
      attention_plain<T>(kernels::cuda(), sizes, query.data(), key.data(), value.data(), scores.data(), output.data());
    });
  }
  Traffic forward() {
    return trace([&] {
      attention_forward<T>(kernels::cuda(), sizes, query.data(), key.data(), value.data(), output.data(),
                           log_sum_exp.data());
    });
  }
  Traffic backward() {
    return trace([&] {
      attention_backward<T>(kernels::cuda(), sizes, query.data(), key.data(), value.data(), output.data(),
                            log_sum_exp.data(), d_output.data(), delta.data(), d_query.data(), d_key.data(),
                            d_value.data());
    });
  }
};

void step_1() {
  std::cout << "Bytes that attention moves, 8 heads of 64 numbers, one sentence (a prediction):\n\n";
  Table table({{"positions", Alignment::right},
               {"scores MiB", Alignment::right},
               {"plain MiB", Alignment::right},
               {"fused MiB", Alignment::right},
               {"plain / fused", Alignment::right}});
  for (const int n : {64, 128, 512, 2048, 8192}) {
    const Sizes sizes{1, 8, 8, n, n, Order::any, 64};
    const Size scores = Size{8} * n * n * 4, plain = plain_bytes(sizes), fused = fused_bytes(sizes);
    const auto mib = [](Size bytes) { return fixed(static_cast<double>(bytes) / (1 << 20), 2); };
    table.add_row({text(n), mib(scores), mib(plain), mib(fused), ratio(plain, fused)});
  }
  std::cout << table.plain();
}

void step_2() {
  // 64 keys in tiles of 8, with scores that wander upwards.
  constexpr int n = 64, tile = 8;
  Generator generator(5);
  std::vector<double> scores(n), values(n);
  for (int s = 0; s < n; ++s)
    scores[s] = 1000 + 0.08 * s + generator.normal(), values[s] = std::sin(0.3 * s) + generator.normal();

  OnlineSoftmax softmax = nothing_seen(1);
  Table table({{"keys seen", Alignment::right},
               {"max", Alignment::right},
               {"sum", Alignment::right},
               {"output so far", Alignment::right}});
  Series max{.name = "largest score so far, less 1000"}, sum{.name = "sum of exp(score - largest)"};
  for (int first = 0; first < n; first += tile) {
    add_tile(softmax, {scores.begin() + first, scores.begin() + first + tile},
             {values.begin() + first, values.begin() + first + tile});
    table.add_row(
        {text(first + tile), fixed(softmax.max, 3), fixed(softmax.sum, 3), fixed(attention_of(softmax)[0], 4)});
    max.x.push_back(first + tile), max.y.push_back(softmax.max - 1000);
    sum.x.push_back(first + tile), sum.y.push_back(softmax.sum);
  }
  std::cout << table.plain() << '\n';

  const double largest = *std::max_element(scores.begin(), scores.end());
  double whole = 0, output = 0;
  for (const double score : scores) whole += std::exp(score - largest);
  for (int s = 0; s < n; ++s) output += std::exp(scores[s] - largest) / whole * values[s];
  std::cout << "two passes over all 64 scores: " << fixed(output, 4) << '\n';
  std::cout << "without subtracting the maximum: exp(1000) = " << std::exp(1000.0) << '\n';
  write_png(LineChart{.title = "A softmax that has not seen all its scores",
                      .x_label = "keys seen",
                      .y_label = "",
                      .series = {max, sum},
                      .width = 900,
                      .height = 480},
            "12_online.png");
  std::cout << "12_online.png\n";
}

void step_3() {
  Arrays<float> arrays({1, 2, 2, 97, 97});
  const Traffic plain = arrays.plain();
  const std::vector<float> expected = arrays.output.to_vector();
  const Traffic fused = arrays.forward();
  const std::vector<float> got = arrays.output.to_vector();
  double difference = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    difference = std::max<double>(difference, std::abs(got[i] - expected[i]));
  std::cout << "97 queries and keys, 2 heads. The first numbers of the output, plain and fused:\n ";
  for (int d = 0; d < 6; ++d) std::cout << ' ' << fixed(expected[d], 4);
  std::cout << "\n ";
  for (int d = 0; d < 6; ++d) std::cout << ' ' << fixed(got[d], 4);
  std::cout << "\nlargest difference of all " << got.size() << ": ~" << std::scientific << std::setprecision(1)
            << difference << std::defaultfloat << "\n\n";

  Table table({{"array"}, {"plain KiB", Alignment::right}, {"fused KiB", Alignment::right}});
  const auto moved = [](const Traffic& traffic, const std::string& array) {
    return traffic.traced ? kib(traffic.moved(array)) : "not traced";
  };
  for (const std::string array : {"query", "key", "value", "scores", "output", "log_sum_exp"})
    table.add_row({array, moved(plain, array), moved(fused, array)});
  std::cout << table.plain();
}

void step_4() {
  const Sizes sizes{1, 1, 1, 256, 256, Order::causal};
  std::cout << "256 queries and keys in causal order. A row is a block of 64 queries, a column a tile of 32 keys:\n\n";
  Size before = 0;
  for (int block = 0; block < 4; ++block) {
    // The keys read by the blocks up to this one, those of a shorter head whose last target sees as much.
    const int targets = block_rows * (block + 1);
    const Size all = keys_read({1, 1, 1, targets, targets, Order::causal});
    std::cout << "  ";
    for (int key = 0; key < sizes.sources; key += tile_rows) std::cout << (key < all - before ? '#' : '.');
    std::cout << '\n';
    before = all;
  }
  std::cout << "\nkeys that one head reads: " << keys_read(sizes) << " of " << 4 * 256 << "\n\n";

  Table table({{"order"},
               {"heads", Alignment::right},
               {"KV heads", Alignment::right},
               {"keys and values KiB", Alignment::right},
               {"bytes read KiB", Alignment::right},
               {"barriers", Alignment::right}});
  for (const Order order : {Order::any, Order::causal})
    for (const int kv_heads : {4, 2, 1}) {
      Arrays<float> arrays({1, 4, kv_heads, 256, 256, order});
      const Traffic traffic = arrays.forward();
      table.add_row({order == Order::any ? "any" : "causal", "4", text(kv_heads), kib(2 * arrays.keys * depth * 4),
                     traffic.traced ? kib(traffic.moved("key") + traffic.moved("value")) : "not traced",
                     traffic.traced ? text(traffic.barriers) : "not traced"});
    }
  std::cout << table.plain();
}

// The sum of output x d_output after `change` is added to one number of an input.
double loss(Arrays<double>& arrays, DeviceArray<double>& input, Size index, double change) {
  const std::vector<double> before = input.to_vector(), upstream = arrays.d_output.to_vector();
  std::vector<double> changed = before;
  changed[index] += change;
  kernels::copy_to_device(kernels::cuda(), changed.data(), input.data(), input.size() * 8);
  arrays.forward();
  kernels::copy_to_device(kernels::cuda(), before.data(), input.data(), input.size() * 8);
  const std::vector<double> output = arrays.output.to_vector();
  double sum = 0;
  for (std::size_t i = 0; i < output.size(); ++i) sum += output[i] * upstream[i];
  return sum;
}

void step_5() {
  Arrays<double> arrays({1, 4, 2, 33, 33, Order::causal});
  arrays.forward();
  arrays.backward();
  std::cout << "33 positions, 4 query heads on 2 key/value heads, causal, in float64:\n\n";
  Table table({{"gradient of"},
               {"number", Alignment::right},
               {"kernel", Alignment::right},
               {"(loss above - loss below) / 2e-05", Alignment::right}});
  const auto row = [&](const std::string& name, DeviceArray<double>& input, DeviceArray<double>& gradient, Size index) {
    const double above = loss(arrays, input, index, 1e-5), below = loss(arrays, input, index, -1e-5);
    table.add_row({name, text(index), fixed(gradient.to_vector()[index], 6), fixed((above - below) / 2e-5, 6)});
  };
  for (const Size index : {40, 999}) {
    row("query", arrays.query, arrays.d_query, index);
    row("key", arrays.key, arrays.d_key, index);
    row("value", arrays.value, arrays.d_value, index);
  }
  std::cout << table.plain();
}

void step_6() {
  std::cout << "256 positions, 4 query heads on 2 key/value heads of 16 numbers:\n\n";
  Table table({{"kernels"},
               {"order"},
               {"predicted KiB", Alignment::right},
               {"counted KiB", Alignment::right},
               {"plain / this", Alignment::right}});
  for (const Order order : {Order::any, Order::causal}) {
    const Sizes sizes{1, 4, 2, 256, 256, order};
    const std::string word = order == Order::any ? "any" : "causal";
    Arrays<float> arrays(sizes);
    const Traffic plain = arrays.plain(), forward = arrays.forward(), backward = arrays.backward();
    const auto counted = [](const Traffic& traffic) {
      return traffic.traced ? kib(traffic.moved_bytes) : "not traced";
    };
    table.add_row({"plain forward", word, kib(plain_bytes(sizes)), counted(plain), "1.0"});
    table.add_row({"fused forward", word, kib(forward_bytes(sizes)), counted(forward),
                   ratio(plain_bytes(sizes), forward_bytes(sizes))});
    table.add_row({"fused backward", word, kib(backward_bytes(sizes)), counted(backward), ""});
  }
  std::cout << table.plain();

  Series plain{.name = "plain, predicted"}, fused{.name = "fused, predicted"};
  Series plain_counted{.name = "plain, counted"}, fused_counted{.name = "fused, counted"};
  for (int n = 32; n <= 4096; n *= 2) {
    const Sizes sizes{1, 1, 1, n, n, Order::causal};
    const auto add = [n](Series& series, Size bytes) {
      series.x.push_back(n);
      series.y.push_back(static_cast<double>(bytes) / 1024);
    };
    add(plain, plain_bytes(sizes));
    add(fused, forward_bytes(sizes));
    if (n > 256) continue;
    Arrays<float> arrays(sizes);
    const Traffic of_plain = arrays.plain(), of_fused = arrays.forward();
    if (!of_plain.traced) continue;
    for (Series* series : {&plain_counted, &fused_counted})
      series->x.push_back(n), series->y.push_back(NAN);  // no line
    add(plain_counted, of_plain.moved_bytes);
    add(fused_counted, of_fused.moved_bytes);
  }
  write_png(LineChart{.title = "Bytes of causal attention, one head of 16",
                      .x_label = "positions",
                      .y_label = "KiB",
                      .series = {plain, fused, plain_counted, fused_counted},
                      .x_scale = AxisScale::logarithmic,
                      .y_scale = AxisScale::logarithmic,
                      .width = 900,
                      .height = 600},
            "12_bytes.png");
  std::cout << "12_bytes.png\n";
}

}  // namespace

int main(int count, char** arguments) {
  return lesson_program(12, {step_1, step_2, step_3, step_4, step_5, step_6}, count, arguments);
}
