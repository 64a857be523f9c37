#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "lesson.h"
#include "tutorials/support/check.h"
#include "tutorials/support/traced.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

const Cuda device = kernels::cuda();
constexpr float minus_infinity = -std::numeric_limits<float>::infinity();
constexpr float untouched = 12345;  // stands behind the end of an output, and must stay there
constexpr Size behind = 300;

std::vector<float> normal(Size n, std::uint64_t seed) {
  return random_tensor({n}, seed, {.type = ElementType::float32, .device = Device::cpu}).to_vector<float>();
}

// What `work` leaves in an array of n elements. Fails where it writes behind the end, tracer or not.
template <class Work>
std::vector<float> output_of(Size n, const Work& work) {
  const std::vector<float> before(static_cast<std::size_t>(n + behind), untouched);
  DeviceArray<> y("y", before);
  work(y.data());
  std::vector<float> values = y.to_vector();
  for (Size i = n; i < n + behind; ++i)
    if (values[static_cast<std::size_t>(i)] != untouched) fail("y[", i, "] was written, but y ends at ", n);
  values.resize(static_cast<std::size_t>(n));
  return values;
}

void check_scaled_relu(Size n, float scale, float shift) {
  const std::vector<float> values = normal(n, 1);
  std::vector<float> expected;
  for (const float x : values) expected.push_back(std::max(0.0f, scale * x + shift));
  DeviceArray<> x("x", values);
  const auto got = output_of(n, [&](float* y) { scaled_relu(device, n, scale, shift, x.data(), y); });
  check_close(got, expected, text("y for n = ", n));
}

std::vector<float> softmax_in_plain_loops(Size rows, Size n, const std::vector<float>& x) {
  std::vector<float> y(x.size());
  for (Size row = 0; row < rows; ++row) {
    const auto begin = x.begin() + row * n;
    const double maximum = *std::max_element(begin, begin + n);
    double sum = 0;
    for (Size i = 0; i < n; ++i) sum += std::exp(double{begin[i]} - maximum);
    for (Size i = 0; i < n; ++i)
      y[static_cast<std::size_t>(row * n + i)] = static_cast<float>(std::exp(double{begin[i]} - maximum) / sum);
  }
  return y;
}

using Softmax = void (*)(Cuda, Size, Size, const float*, float*);

void check_softmax(Softmax softmax, Size rows, Size n, const std::vector<float>& values) {
  DeviceArray<> x("x", values);
  const auto got = output_of(rows * n, [&](float* y) { softmax(device, rows, n, x.data(), y); });
  check_close(got, softmax_in_plain_loops(rows, n, values), text("y of ", rows, " rows of ", n));
}

void check_softmax(Softmax softmax, std::initializer_list<std::pair<Size, Size>> shapes) {
  in_every_order([&] {
    for (const auto& [rows, n] : shapes) check_softmax(softmax, rows, n, normal(rows * n, 2));
  });
}

// Large numbers, and a row of which only one element is not masked.
void check_hard_rows(Softmax softmax) {
  constexpr Size rows = 3, n = 70;
  std::vector<float> values = normal(rows * n, 3);
  for (Size i = 0; i < n; ++i) {
    values[static_cast<std::size_t>(i)] += 1000;
    values[static_cast<std::size_t>(n + i)] = i == 69 ? -500 : minus_infinity;
    if (i >= 5) values[static_cast<std::size_t>(2 * n + i)] = minus_infinity;
  }
  check_softmax(softmax, rows, n, values);
}

Traffic traffic_of(Softmax softmax, Size rows, Size n) {
  DeviceArray<> x("x", normal(rows * n, 4)), y("y", rows * n);
  return trace([&] { softmax(device, rows, n, x.data(), y.data()); });
}

void check_threads(const Traffic& traffic, Size expected, const std::string& what) {
  if (traffic.traced) check_equal(traffic.threads, expected, what);
}

// That n threads with work fill their warps, but for the last: in blocks of a few threads each warp has a few lanes.
void check_lanes(const Traffic& traffic, Size n, const std::string& what) {
  if (!traffic.traced) return;
  const double expected = static_cast<double>(n) / static_cast<double>((n + warp_lanes - 1) / warp_lanes);
  double most = 0;  // of all accesses: where threads part ways, some have fewer
  for (const simulator::Site& site : traffic.sites)
    most = std::max(most, static_cast<double>(site.lanes) / static_cast<double>(site.requests));
  if (most < 0.99 * expected)
    fail(what, ": expected ", expected, ", got ", most, " (are blocks and threads of a block exchanged?)");
}

// One thread a row reads x three times and writes y, and each access moves a sector of its own.
double bytes_of_naive_softmax(Size rows, Size n) { return 4.0 * 32 * static_cast<double>(rows * n); }

}  // namespace

// ---- Step 1

TEST_CASE("10.1 every element is computed, and nothing behind the last") {
  in_every_order([] {
    for (const Size n : {1000, 1, 7, 128, 129, 255}) check_scaled_relu(n, 2, 0.5);
  });
}

TEST_CASE("10.1 the kernel reads and writes only what is there") {
  DeviceArray<> x("x", normal(200, 1)), y("y", 200);  // the tracer sees the first element behind the end
  scaled_relu(device, 200, 1, 1, x.data(), y.data());
  check_close(y.to_vector().back(), std::max(0.0f, x.to_vector().back() + 1), "y[199]");
}

TEST_CASE("10.1 just enough blocks") {
  for (const auto& [n, blocks] : {std::pair<Size, Size>{1000, 8}, {1, 1}, {128, 1}, {129, 2}, {1024, 8}}) {
    DeviceArray<> x("x", normal(n, 1)), y("y", n);
    const Traffic traffic = trace([&] { scaled_relu(device, n, 1, 0, x.data(), y.data()); });
    check_close(y.to_vector()[0], std::max(0.0f, x.to_vector()[0]), "y[0]");
    check_threads(traffic, blocks * block_threads, text("threads for ", n, " elements"));
    check_lanes(traffic, n, text("lanes of a warp with work, for ", n, " elements"));
  }
}

// ---- Step 2

TEST_CASE("10.2 neighbours share sectors") {
  check_equal(sectors_of_warp(0, 1), 4, "sectors for first 0, stride 1");
  check_equal(sectors_of_warp(0, 2), 8, "sectors for first 0, stride 2");
  check_equal(sectors_of_warp(0, 8), 32, "sectors for first 0, stride 8");
}

TEST_CASE("10.2 a sector counts once, and no warp touches more than 32") {
  check_equal(sectors_of_warp(5, 0), 1, "sectors for first 5, stride 0");
  check_equal(sectors_of_warp(0, 1000), 32, "sectors for first 0, stride 1000");
}

TEST_CASE("10.2 where the first float lies matters") {
  check_equal(sectors_of_warp(1, 1), 5, "sectors for first 1, stride 1");
  check_equal(sectors_of_warp(16, 1), 4, "sectors for first 16, stride 1");
  check_equal(sectors_of_warp(7, 3), 13, "sectors for first 7, stride 3");
}

TEST_CASE("10.2 the tracer counts what you predict") {
  for (Size stride = 0; stride < 12; ++stride) {
    const Size first = stride % 5;
    const int predicted = sectors_of_warp(first, stride);
    DeviceArray<> x("x", normal(first + 31 * stride + 1, 5)), y("y", warp_lanes);
    const Traffic traffic = trace([&] { copy_strided(device, warp_lanes, first, stride, x.data(), y.data()); });
    if (traffic.traced)
      check_equal(predicted, traffic.moved("x") / 32,
                  text("sectors for first ", first, ", stride ", stride, " (expected is what the tracer counts)"));
  }
}

// ---- Step 3

TEST_CASE("10.3 a softmax of every row, at odd sizes") {
  check_softmax(softmax_by_threads, {{1, 1}, {7, 33}, {33, 97}, {129, 5}, {128, 2}});
}

TEST_CASE("10.3 large numbers do not overflow, and masked ones become 0") { check_hard_rows(softmax_by_threads); }

TEST_CASE("10.3 a thread has a row") {
  const Traffic traffic = traffic_of(softmax_by_threads, 130, 64);
  check_threads(traffic, 256, "threads for 130 rows");
  check_lanes(traffic, 130, "lanes of a warp with work, for 130 rows");
}

// ---- Step 4

TEST_CASE("10.4 a softmax of every row, at odd sizes") {
  check_softmax(softmax_by_warps, {{1, 1}, {7, 33}, {33, 97}, {5, 300}, {4, 31}});
}

TEST_CASE("10.4 large numbers do not overflow, and masked ones become 0") { check_hard_rows(softmax_by_warps); }

TEST_CASE("10.4 a warp has a row, and its lanes read neighbours") {
  const Traffic traffic = traffic_of(softmax_by_warps, 64, 256);
  check_threads(traffic, 64 * 32, "threads for 64 rows");
  check_efficiency(traffic, 0.95);
  if (traffic.traced)
    award("bytes of global memory: naive softmax over yours",
          bytes_of_naive_softmax(64, 256) / static_cast<double>(traffic.moved_bytes), 8);
}

// ---- Step 5

TEST_CASE("10.5 no barrier is missing") {
  DeviceArray<> x("x", normal(2 * 700, 6)), y("y", 2 * 700);
  const Traffic traffic = trace_with_problems([&] { softmax_by_blocks(device, 2, 700, x.data(), y.data()); });
  for (const std::string& problem : traffic.problems)
    if (problem.starts_with("missing barrier")) fail(problem);
  if (!traffic.problems.empty()) fail(traffic.problems[0]);
  check_close(y.to_vector(), softmax_in_plain_loops(2, 700, x.to_vector()), "y of 2 rows of 700");
}

TEST_CASE("10.5 a softmax of every row, in every order of the threads") {
  check_softmax(softmax_by_blocks, {{1, 1}, {3, 255}, {2, 1000}, {5, 257}});
}

TEST_CASE("10.5 large numbers do not overflow, and masked ones become 0") { check_hard_rows(softmax_by_blocks); }

TEST_CASE("10.5 a block has a row, and its threads read neighbours") {
  const Traffic traffic = traffic_of(softmax_by_blocks, 4, 4096);
  check_threads(traffic, 4 * row_threads, "threads for 4 rows");
  check_efficiency(traffic, 0.95);
}
