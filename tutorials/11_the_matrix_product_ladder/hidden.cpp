#include <algorithm>
#include <iostream>
#include <set>

#include "lesson.h"
#include "tutorials/support/check.h"
#include "tutorials/support/traced.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

const Cuda device = kernels::cuda();

// A number from 0 to below - 1 that is another one in every grading.
Size chosen(Size below, std::uint64_t which) { return Generator(grading_seed() + 1000 * which).below(below); }

// Whole numbers from -8 to 8, so that every order of additions gives the same sum, on tensor cores too.
std::vector<float> whole(Size n, std::uint64_t which) {
  Generator generator(grading_seed() + which);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = static_cast<float>(generator.below(17)) - 8;
  return values;
}

enum class Layout { plain, transposed };  // of B

using Product = void (*)(Cuda, const Sizes&, const float*, const float*, float*);

// Exactly, in plain loops, with the threads in every order.
void check_product(Product product, const Sizes& sizes, Layout layout = Layout::plain) {
  const std::vector<float> a_values = whole(sizes.m * sizes.k, 1), b_values = whole(sizes.k * sizes.n, 2);
  in_every_order([&] {
    DeviceArray<> a("A", a_values), b("B", b_values), c("C", sizes.m * sizes.n);
    product(device, sizes, a.data(), b.data(), c.data());
    const std::vector<float> got = c.to_vector();
    for (Size row = 0; row < sizes.m; ++row)
      for (Size column = 0; column < sizes.n; ++column) {
        float sum = 0;
        for (Size k = 0; k < sizes.k; ++k) {
          const Size of_b = layout == Layout::plain ? k * sizes.n + column : column * sizes.k + k;
          sum += a_values[static_cast<std::size_t>(row * sizes.k + k)] * b_values[static_cast<std::size_t>(of_b)];
        }
        check_close(got[static_cast<std::size_t>(row * sizes.n + column)], sum,
                    text("C[", row, ", ", column, "] for M = ", sizes.m, ", N = ", sizes.n, ", K = ", sizes.k), 0);
      }
  });
}

void check_product(Product product, std::uint64_t which, Layout layout = Layout::plain) {
  check_product(product, Sizes{1 + chosen(90, which), 1 + chosen(90, which + 1), 1 + chosen(90, which + 2)}, layout);
}

// One row of blocks, but two columns of them: an exchanged grid leaves the second column of C to nobody.
void check_wide_product(Product product, std::uint64_t which) {
  check_product(product, Sizes{1 + chosen(64, which), 65 + chosen(50, which + 1), 1 + chosen(90, which + 2)});
}

Sizes round_sizes(std::uint64_t which) {
  return {64 * (1 + chosen(20, which)), 64 * (1 + chosen(20, which + 1)), 32 * (1 + chosen(40, which + 2))};
}

std::string words(const Sizes& sizes) { return text("M = ", sizes.m, ", N = ", sizes.n, ", K = ", sizes.k); }

// Whether there are the tensor cores of step 5. Older GPUs are refused; then this says so, and checks that they are.
bool has_tensor_cores() {
  if (kernels::compute_capability() >= 80) return true;
  std::cout << "not tested: step 5 needs a GPU of compute capability 8.0 or later, or the simulated device\n";
  DeviceArray<> a("A", std::vector<float>{1}), b("B", std::vector<float>{1}), c("C", 1);
  check_fails([&] { matmul_tensor_cores(device, {1, 1, 1}, a.data(), b.data(), c.data()); }, "8.0", "an older GPU");
  return false;
}

}  // namespace

TEST_CASE("11.1 the prediction, for other sizes") {
  const Sizes sizes = round_sizes(1);
  Size across = 0, down = 0;  // warp by warp
  for (Size warp = 0; warp < sizes.m * sizes.n / 32; ++warp) {
    across += 32 * (4 + 5 * sizes.k);
    down += 32 * (32 + 33 * sizes.k);
  }
  check_equal(bytes_of_naive(sizes, Lanes::across), across, "bytes across for " + words(sizes));
  check_equal(bytes_of_naive(sizes, Lanes::down), down, "bytes down for " + words(sizes));
}

TEST_CASE("11.1 other sizes") {
  (void)bytes_of_naive({64, 64, 32}, Lanes::across);
  check_product(matmul_across, 10);
  DeviceArray<> a("A", whole(64 * 64, 1)), b("B", whole(64 * 64, 2)), c("C", 64 * 64);
  check_efficiency(trace([&] { matmul_across(device, {64, 64, 64}, a.data(), b.data(), c.data()); }), 0.95);
}

TEST_CASE("11.2 the prediction, for other sizes") {
  const Sizes sizes = round_sizes(20);
  for (const auto& [rows, columns] : {std::pair<Size, Size>{32, 32}, {64, 32}, {16, 64}}) {
    Size bytes = 0;  // block by block
    for (Size row = 0; row < sizes.m; row += rows)
      for (Size column = 0; column < sizes.n; column += columns)
        bytes += 4 * (rows * sizes.k + sizes.k * columns + rows * columns);
    check_equal(bytes_of_tiles(sizes, rows, columns), bytes,
                text("bytes of tiles of ", rows, " x ", columns, " for ", words(sizes)));
  }
}

TEST_CASE("11.2 other sizes") {
  check_product(matmul_tiled, 30);
  check_product(matmul_tiled, 40);
}

TEST_CASE("11.3 other distances") {
  for (std::uint64_t which = 1; which <= 20; ++which) {
    const int stride = static_cast<int>(chosen(200, which));
    int passes = 0;
    for (int bank = 0; bank < 32; ++bank) {
      std::set<int> wanted;
      for (int lane = 0; lane < 32; ++lane)
        if (lane * stride % 32 == bank) wanted.insert(lane * stride);
      passes = std::max(passes, static_cast<int>(wanted.size()));
    }
    check_equal(passes_of_warp(stride), passes, text("passes for a distance of ", stride));
  }
}

TEST_CASE("11.3 other sizes") {
  (void)passes_of_warp(33);
  check_product(matmul_transposed, 50, Layout::transposed);
  DeviceArray<> a("A", whole(96 * 32, 1)), b("B", whole(32 * 64, 2)), c("C", 96 * 64);
  const Traffic traffic = trace([&] { matmul_transposed(device, {96, 64, 32}, a.data(), b.data(), c.data()); });
  check_efficiency(traffic, 0.95);
  check_no_bank_conflicts(traffic);
}

TEST_CASE("11.4 the prediction, for other sizes") {
  const Sizes sizes = round_sizes(60);
  for (const int side_of_thread : {1, 2, 4, 8})
    check_equal(loads_of_shared(sizes, side_of_thread), sizes.m * sizes.n / side_of_thread * sizes.k / 16,
                text("loads for ", words(sizes), ", ", side_of_thread, " x ", side_of_thread, " elements a thread"));
}

TEST_CASE("11.4 other sizes") {
  check_product(matmul_registers, 70);
  check_wide_product(matmul_registers, 80);
}

TEST_CASE("11.5 other sizes") {
  if (!has_tensor_cores()) return;
  check_product(matmul_tensor_cores, 90);
  check_wide_product(matmul_tensor_cores, 100);
}
