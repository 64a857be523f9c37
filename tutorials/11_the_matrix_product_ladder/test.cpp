#include <algorithm>
#include <cmath>
#include <iostream>

#include "lesson.h"
#include "tutorials/support/check.h"
#include "tutorials/support/traced.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

const Cuda device = kernels::cuda();
constexpr float untouched = 12345;  // stands behind the end of C, and must stay there
constexpr Size behind = 5000;

using Product = void (*)(Cuda, const Sizes&, const float*, const float*, float*);
enum class Layout { plain, transposed };  // of B

std::vector<float> normal(Size n, std::uint64_t seed) {
  return random_tensor({n}, seed, {.type = ElementType::float32, .device = Device::cpu}).to_vector<float>();
}
// Whole numbers from -8 to 8: neither floats nor tensor cores round their products.
std::vector<float> whole(Size n, std::uint64_t seed) {
  Generator generator(seed);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = static_cast<float>(generator.below(17)) - 8;
  return values;
}

std::vector<float> product_in_plain_loops(const Sizes& sizes, const std::vector<float>& a, const std::vector<float>& b,
                                          Layout layout) {
  std::vector<float> c(static_cast<std::size_t>(sizes.m * sizes.n));
  for (Size row = 0; row < sizes.m; ++row)
    for (Size column = 0; column < sizes.n; ++column) {
      double sum = 0;
      for (Size k = 0; k < sizes.k; ++k) {
        const Size of_b = layout == Layout::plain ? k * sizes.n + column : column * sizes.k + k;
        sum += double{a[static_cast<std::size_t>(row * sizes.k + k)]} * double{b[static_cast<std::size_t>(of_b)]};
      }
      c[static_cast<std::size_t>(row * sizes.n + column)] = static_cast<float>(sum);
    }
  return c;
}

std::string words(const Sizes& sizes) { return text("M = ", sizes.m, ", N = ", sizes.n, ", K = ", sizes.k); }

void check_product(Product product, const Sizes& sizes, const std::vector<float>& a_values,
                   const std::vector<float>& b_values, Layout layout, double tolerance) {
  DeviceArray<> a("A", a_values), b("B", b_values);
  const std::vector<float> before(static_cast<std::size_t>(sizes.m * sizes.n + behind), untouched);
  DeviceArray<> c("C", before);
  product(device, sizes, a.data(), b.data(), c.data());
  std::vector<float> got = c.to_vector();
  for (Size i = sizes.m * sizes.n; i < sizes.m * sizes.n + behind; ++i)
    if (got[static_cast<std::size_t>(i)] != untouched) fail("element ", i, " of C was written; C ends before it");
  got.resize(static_cast<std::size_t>(sizes.m * sizes.n));
  const std::vector<float> expected = product_in_plain_loops(sizes, a_values, b_values, layout);
  for (std::size_t i = 0; i < got.size(); ++i)
    check_close(
        got[i], expected[i],
        text("C[", static_cast<Size>(i) / sizes.n, ", ", static_cast<Size>(i) % sizes.n, "] for ", words(sizes)),
        tolerance);
}

void check_products(Product product, std::initializer_list<Sizes> all, Layout layout = Layout::plain) {
  in_every_order([&] {
    for (const Sizes& sizes : all)
      check_product(product, sizes, normal(sizes.m * sizes.k, 1), normal(sizes.k * sizes.n, 2), layout, 1e-4);
  });
}

Traffic traffic_of(Product product, const Sizes& sizes) {
  DeviceArray<> a("A", normal(sizes.m * sizes.k, 1)), b("B", normal(sizes.k * sizes.n, 2));
  DeviceArray<> c("C", sizes.m * sizes.n);
  return trace([&] { product(device, sizes, a.data(), b.data(), c.data()); });
}

// How much more the rung "lanes across a row" moves. Counted by hand, so that no change of that kernel changes points.
double gain_over_naive(const Traffic& traffic, const Sizes& sizes) {
  const Size naive = sizes.m * sizes.n / 32 * (sizes.k * (1 + 4) + 4) * 32;
  return static_cast<double>(naive) / static_cast<double>(traffic.moved_bytes);
}

Size loads_from_shared(const Traffic& traffic) {
  Size requests = 0;
  for (const simulator::Site& site : traffic.sites)
    if (site.space == simulator::Space::shared && site.kind == simulator::AccessKind::load)
      requests += static_cast<Size>(site.requests);
  return requests;
}

// Whether there are the tensor cores of step 5. Older GPUs are refused; then this says so, and checks that they are.
bool has_tensor_cores() {
  if (kernels::compute_capability() >= 80) return true;
  std::cout << "not tested: step 5 needs a GPU of compute capability 8.0 or later, or the simulated device\n";
  DeviceArray<> a("A", std::vector<float>{1}), b("B", std::vector<float>{1}), c("C", 1);
  check_fails([&] { matmul_tensor_cores(device, {1, 1, 1}, a.data(), b.data(), c.data()); }, "8.0", "an older GPU");
  return false;
}

}  // namespace

// ---- Step 1

TEST_CASE("11.1 the prediction: a column of sectors, or a row") {
  check_equal(bytes_of_naive({64, 64, 32}, Lanes::across), 671'744, "bytes across for 64 x 64 x 32");
  check_equal(bytes_of_naive({64, 64, 32}, Lanes::down), 4'456'448, "bytes down for 64 x 64 x 32");
}

TEST_CASE("11.1 the tracer counts what you predict") {
  for (const Sizes& sizes : {Sizes{64, 64, 32}, Sizes{64, 128, 64}}) {
    const Size predicted = bytes_of_naive(sizes, Lanes::down);
    const Traffic traffic = traffic_of(matmul_down, sizes);
    if (traffic.traced)
      check_equal(predicted, traffic.moved_bytes,
                  text("bytes down for ", words(sizes), " (expected is what the tracer counts)"));
  }
}

TEST_CASE("11.1 the lanes of a warp take neighbours of a row") {
  const Sizes sizes{64, 128, 64};
  const Traffic traffic = traffic_of(matmul_across, sizes);
  check_efficiency(traffic, 0.95);
  if (traffic.traced)
    award("bytes of global memory: lanes down over lanes across",
          static_cast<double>(sizes.m * sizes.n / 32 * (sizes.k * 33 + 32) * 32) /
              static_cast<double>(traffic.moved_bytes),
          6);
}

TEST_CASE("11.1 the product is right at odd sizes") {
  (void)bytes_of_naive({64, 64, 32}, Lanes::across);  // the kernel alone is right from the start
  check_products(matmul_across, {{33, 65, 97}, {1, 1, 1}, {7, 40, 3}, {64, 64, 32}});
}

// ---- Step 2

TEST_CASE("11.2 the prediction: tiles") {
  check_equal(bytes_of_tiles({64, 64, 32}, 32, 32), 49'152, "bytes of tiles of 32 x 32 for 64 x 64 x 32");
  check_equal(bytes_of_tiles({64, 64, 32}, 64, 64), 32'768, "bytes of tiles of 64 x 64 for 64 x 64 x 32");
  check_equal(bytes_of_tiles({128, 64, 32}, 64, 32), 81'920, "bytes of tiles of 64 x 32 for 128 x 64 x 32");
}

TEST_CASE("11.2 no barrier is missing") {
  const Sizes sizes{64, 64, 96};
  DeviceArray<> a("A", normal(sizes.m * sizes.k, 1)), b("B", normal(sizes.k * sizes.n, 2));
  DeviceArray<> c("C", sizes.m * sizes.n);
  const Traffic traffic = trace_with_problems([&] { matmul_tiled(device, sizes, a.data(), b.data(), c.data()); });
  for (const std::string& problem : traffic.problems)
    if (problem.starts_with("missing barrier")) fail(problem);
  if (!traffic.problems.empty()) fail(traffic.problems[0]);
}

TEST_CASE("11.2 the product is right at odd sizes, in every order of the threads") {
  check_products(matmul_tiled, {{64, 64, 64}, {33, 65, 97}, {1, 1, 1}, {7, 40, 3}});
}

TEST_CASE("11.2 the tracer counts what you predict") {
  const Sizes sizes{64, 128, 64};
  const Size predicted = bytes_of_tiles(sizes, side, side);
  const Traffic traffic = traffic_of(matmul_tiled, sizes);
  if (traffic.traced)
    check_equal(predicted, traffic.moved_bytes,
                text("bytes of tiles of 32 x 32 for ", words(sizes), " (expected is what the tracer counts)"));
  if (traffic.traced) award("bytes of global memory: naive product over tiles", gain_over_naive(traffic, sizes), 12);
}

// ---- Step 3

TEST_CASE("11.3 the prediction: the busiest bank") {
  check_equal(passes_of_warp(1), 1, "passes for a distance of 1");
  check_equal(passes_of_warp(32), 32, "passes for a distance of 32");
  check_equal(passes_of_warp(33), 1, "passes for a distance of 33");
  check_equal(passes_of_warp(12), 4, "passes for a distance of 12");
  check_equal(passes_of_warp(0), 1, "passes for a distance of 0");
}

TEST_CASE("11.3 the tracer counts what you predict") {
  for (int stride = 0; stride <= 40; ++stride) {
    const int predicted = passes_of_warp(stride);
    if (stride == 0) continue;  // 32 lanes that write the same word would be a race
    DeviceArray<> y("y", 32);
    const Traffic traffic = trace([&] { store_column(device, stride, y.data()); });
    if (traffic.traced)
      check_equal(predicted, traffic.shared_passes / 2,  // a store and a load
                  text("passes for a distance of ", stride, " (expected is what the tracer counts)"));
  }
}

TEST_CASE("11.3 the lanes read neighbours of B") {
  const Traffic traffic = traffic_of(matmul_transposed, {64, 64, 64});
  check_efficiency(traffic, 0.95);
  if (traffic.traced)
    award("bytes of global memory: naive product over tiles of a transposed B", gain_over_naive(traffic, {64, 64, 64}),
          12);
}

TEST_CASE("11.3 no two lanes want the same bank") {
  (void)passes_of_warp(33);  // the kernel alone has none from the start
  check_no_bank_conflicts(traffic_of(matmul_transposed, {64, 64, 64}));
}

TEST_CASE("11.3 the product is right at odd sizes, in every order of the threads") {
  (void)passes_of_warp(33);  // and is right
  check_products(matmul_transposed, {{64, 64, 64}, {33, 65, 97}, {1, 1, 1}, {7, 40, 3}}, Layout::transposed);
}

// ---- Step 4

TEST_CASE("11.4 the prediction: loads from shared memory") {
  check_equal(loads_of_shared({64, 64, 32}, 1), 8'192, "loads for 64 x 64 x 32, 1 element a thread");
  check_equal(loads_of_shared({64, 64, 32}, 4), 2'048, "loads for 64 x 64 x 32, 4 x 4 elements a thread");
  check_equal(loads_of_shared({128, 64, 32}, 8), 2'048, "loads for 128 x 64 x 32, 8 x 8 elements a thread");
}

TEST_CASE("11.4 the product is right at odd sizes, in every order of the threads") {
  check_products(matmul_registers, {{64, 64, 64}, {33, 65, 97}, {1, 1, 1}, {130, 70, 17}});
}

TEST_CASE("11.4 a thread loads eight numbers for sixteen multiply-adds") {
  const Sizes sizes{64, 128, 64};
  const Traffic traffic = traffic_of(matmul_registers, sizes);
  check_no_bank_conflicts(traffic);
  check_efficiency(traffic, 0.95);
  if (traffic.traced && loads_from_shared(traffic) > sizes.m * sizes.n * sizes.k * 2 / 4 / 32)
    fail("loads from shared memory, in requests of warps: expected at most ", sizes.m * sizes.n * sizes.k * 2 / 4 / 32,
         ", got ", loads_from_shared(traffic));
  if (traffic.traced)
    award("bytes of global memory: naive product over registers", gain_over_naive(traffic, sizes), 20);
}

// ---- Step 5

TEST_CASE("11.5 every fragment has its place: whole numbers, no rounding") {
  if (!has_tensor_cores()) return;
  for (const Sizes& sizes : {Sizes{64, 64, 16}, Sizes{64, 64, 80}})
    check_product(matmul_tensor_cores, sizes, whole(sizes.m * sizes.k, 3), whole(sizes.k * sizes.n, 4), Layout::plain,
                  0);
}

TEST_CASE("11.5 the product is right at odd sizes, in every order of the threads") {
  if (!has_tensor_cores()) return;
  in_every_order([] {
    for (const Sizes& sizes : {Sizes{33, 65, 97}, Sizes{1, 1, 1}, Sizes{130, 70, 17}})
      check_product(matmul_tensor_cores, sizes, normal(sizes.m * sizes.k, 1), normal(sizes.k * sizes.n, 2),
                    Layout::plain, 0.03);
  });
}

TEST_CASE("11.5 factors are rounded to ten bits of fraction") {
  if (!has_tensor_cores()) return;
  const Sizes sizes{1, 1, 1};
  check_product(matmul_tensor_cores, sizes, {1.5f}, {2.0f}, Layout::plain, 0);
  DeviceArray<> a("A", std::vector<float>{1 + 1.0f / 4096}), b("B", std::vector<float>{1}), c("C", 1);
  matmul_tensor_cores(device, sizes, a.data(), b.data(), c.data());
  check_close(c.to_vector()[0], 1, "(1 + 1 / 4096) * 1 on tensor cores", 0);
}

TEST_CASE("11.5 a warp loads each fragment once") {
  if (!has_tensor_cores()) return;
  const Sizes sizes{64, 128, 64};
  const Traffic traffic = traffic_of(matmul_tensor_cores, sizes);
  const Size most = sizes.m * sizes.n * sizes.k / (16 * 32 * 8) * (4 + 4 * 2);
  check_efficiency(traffic, 0.95);
  if (traffic.traced && loads_from_shared(traffic) > most)
    fail("loads from shared memory, in requests of warps: expected at most ", most, ", got ",
         loads_from_shared(traffic));
  if (traffic.traced)
    award("bytes of global memory: naive product over tensor cores", gain_over_naive(traffic, sizes), 20);
  if (traffic.traced) {
    const double of_registers = static_cast<double>(sizes.m * sizes.n * sizes.k) * (1.0 / 64 + 1.0 / 1024);
    award("passes through shared memory: 4 x 4 elements a thread over yours",
          of_registers / static_cast<double>(traffic.shared_passes), 4);
  }
}
