#include <algorithm>
#include <cmath>
#include <functional>
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

const Cuda device = kernels::cuda();

std::vector<float> random_values(Size n, std::uint64_t seed = 10) {
  Generator generator(seed);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = static_cast<float>(generator.normal());
  return values;
}

// The first thing that the tracer finds.
std::string problem_of(const Traffic& traffic) {
  if (!traffic.traced) return not_traced;
  return traffic.problems.empty() ? "nothing wrong" : traffic.problems[0];
}

// ---- Step 1
void first_kernel() {
  constexpr Size n = 1000;
  std::vector<float> values(n);
  for (Size i = 0; i < n; ++i) values[static_cast<std::size_t>(i)] = static_cast<float>(i) - 500;
  DeviceArray<> x("x", values), y("y", n);
  const Traffic traffic = trace([&] { scaled_relu(device, n, 2, 1, x.data(), y.data()); });
  if (traffic.traced)
    std::cout << n << " elements: " << traffic.threads / block_threads << " blocks of " << block_threads << " threads, "
              << traffic.threads - n << " threads without an element\n";
  const std::vector<float> result = y.to_vector();
  for (const std::size_t i : {0, 500, 501, 999})
    std::cout << "x[" << i << "] = " << values[i] << ", y[" << i << "] = " << result[i] << '\n';
  if (!traffic.traced) return;  // the next kernel is wrong: not for a real GPU
  const Traffic wrong = trace_with_problems([&] { scaled_relu_unchecked(device, n, 2, 1, x.data(), y.data()); });
  std::cout << "Without the check: " << problem_of(wrong) << '\n';
}

// ---- Step 2
int counted_sectors(Size first, Size stride) {
  DeviceArray<> x("x", random_values(first + 31 * stride + 1)), y("y", warp_lanes);
  const Traffic traffic = trace([&] { copy_strided(device, warp_lanes, first, stride, x.data(), y.data()); });
  return static_cast<int>(traffic.moved("x") / 32);
}

void what_a_warp_fetches() {
  Table table({{"first", Alignment::right},
               {"stride", Alignment::right},
               {"sectors predicted", Alignment::right},
               {"counted", Alignment::right},
               {"bytes moved for 128", Alignment::right}});
  for (const auto& [first, stride] : {std::pair{0, 1}, {1, 1}, {0, 0}, {0, 2}, {0, 4}, {0, 8}, {0, 256}}) {
    const int predicted = sectors_of_warp(first, stride);
    table.add_row({text(first), text(stride), text(predicted),
                   tracing() ? text(counted_sectors(first, stride)) : "not traced", text(32 * predicted)});
  }
  std::cout << table.plain();
  if (!tracing()) std::cout << not_traced << '\n';

  Series efficiency;
  for (int stride = 1; stride <= 16; ++stride) {
    efficiency.x.push_back(stride);
    efficiency.y.push_back(100.0 * 4 / sectors_of_warp(0, stride));
  }
  write_png({.title = "How much of what a warp fetches does it use?",
             .x_label = "distance between the floats of neighbouring lanes",
             .y_label = "efficiency, %",
             .series = {efficiency},
             .width = 800,
             .height = 480},
            "10_stride.png");
  std::cout << "10_stride.png\n";
}

// ---- Steps 3 and 4
using Softmax = void (*)(Cuda, Size, Size, const float*, float*);

struct Run {
  Traffic traffic;
  std::vector<float> y;
};
Run run(Softmax softmax, Size rows, Size n) {
  DeviceArray<> x("x", random_values(rows * n)), y("y", rows * n);
  Traffic traffic = trace([&] { softmax(device, rows, n, x.data(), y.data()); });
  return {std::move(traffic), y.to_vector()};
}

constexpr Size rows = 64, columns = 256;

void a_thread_a_row() {
  const Run result = run(softmax_by_threads, rows, columns);
  double sum = 0;
  for (Size i = 0; i < columns; ++i) sum += result.y[static_cast<std::size_t>(i)];
  std::cout << "first row: " << result.y[0] << ' ' << result.y[1] << " ..., sum " << text(std::round(1e4 * sum) / 1e4)
            << '\n'
            << "needed: " << 2 * 4 * rows * columns / 1024 << " KiB, to read x and write y once\n"
            << summary(result.traffic) << '\n'
            << access_table(result.traffic);
}

void a_warp_a_row() {
  const Run threads = run(softmax_by_threads, rows, columns), warps = run(softmax_by_warps, rows, columns);
  double largest = 0;
  for (std::size_t i = 0; i < warps.y.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(warps.y[i]) - static_cast<double>(threads.y[i])));
  std::cout << "largest difference to step 3 below 0.000001: " << (largest < 1e-6 ? "yes" : "no") << '\n'
            << "a thread a row: " << summary(threads.traffic) << '\n'
            << "a warp a row:   " << summary(warps.traffic) << '\n'
            << access_table(warps.traffic);
}

// ---- Step 5
void missing_barrier() {
  std::cout << "difference[i] = x[i] - x[i - 1] without a barrier:\n";
  std::string found;
  std::uint64_t seed = 0;
  for_each_order([&](const std::string& order) {
    const std::vector<float> values = random_values(row_threads, ++seed);
    DeviceArray<> x("x", values), difference("difference", row_threads);
    const Traffic traffic =
        trace_with_problems([&] { differences_without_barrier(device, x.data(), difference.data()); });
    const std::vector<float> got = difference.to_vector();
    int wrong = 0;
    for (std::size_t i = 0; i < got.size(); ++i) wrong += got[i] != values[i] - (i == 0 ? 0 : values[i - 1]);
    std::cout << "  threads in " << order << " order: " << (wrong == 0 ? "right" : "wrong") << '\n';
    if (found.empty() && traffic.traced) found = problem_of(traffic);
  });
  std::cout << (found.empty() ? not_traced : "The tracer, in forward order: " + found) << "\n\n";
}

void a_block_a_row() {
  missing_barrier();
  constexpr Size few = 2, long_row = 4096;
  Table table({{"2 rows of 4096"},
               {"threads with work", Alignment::right},
               {"elements of a thread", Alignment::right},
               {"barriers of a block", Alignment::right},
               {"KiB moved", Alignment::right}});
  const auto add = [&](const std::string& name, Softmax softmax, Size threads) {
    const Traffic traffic = run(softmax, few, long_row).traffic;
    table.add_row({name, text(few * threads), text(long_row / threads),
                   traffic.traced ? text(traffic.barriers / few) : "not traced",
                   traffic.traced ? text(traffic.moved_bytes / 1024) : "not traced"});
  };
  add("a thread a row", softmax_by_threads, 1);
  add("a warp a row", softmax_by_warps, warp_lanes);
  add("a block a row", softmax_by_blocks, row_threads);
  std::cout << table.plain();
}

}  // namespace

int main(int count, char** arguments) {
  return lesson_program(10, {first_kernel, what_a_warp_fetches, a_thread_a_row, a_warp_a_row, a_block_a_row}, count,
                        arguments);
}
