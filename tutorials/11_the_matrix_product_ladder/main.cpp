#include <algorithm>
#include <cmath>
#include <functional>
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

const Cuda device = kernels::cuda();
constexpr Sizes shown = {128, 128, 128};
constexpr double multiply_adds = 128.0 * 128 * 128;

using Product = void (*)(Cuda, const Sizes&, const float*, const float*, float*);

std::vector<float> random_values(Size n, std::uint64_t seed) {
  Generator generator(seed);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = static_cast<float>(generator.normal());
  return values;
}

struct Run {
  Traffic traffic;
  std::vector<float> c;
};
// The factors have the same numbers for every product; where B is stored transposed, C is another matrix.
Run run(Product product, const Sizes& sizes = shown) {
  DeviceArray<> a("A", random_values(sizes.m * sizes.k, 1)), b("B", random_values(sizes.k * sizes.n, 2));
  DeviceArray<> c("C", sizes.m * sizes.n);
  Traffic traffic = trace([&] { product(device, sizes, a.data(), b.data(), c.data()); });
  return {std::move(traffic), c.to_vector()};
}

std::string fixed(double number, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << number;
  return out.str();
}

std::string kib(Size bytes) { return fixed(static_cast<double>(bytes) / 1024, 1); }
std::string counted(const Traffic& traffic, const std::string& number) {
  return traffic.traced ? number : "not traced";
}

Size loads_from_shared(const Traffic& traffic) {
  Size requests = 0;
  for (const simulator::Site& site : traffic.sites)
    if (site.space == simulator::Space::shared && site.kind == simulator::AccessKind::load)
      requests += static_cast<Size>(site.requests);
  return requests;
}

void print_bytes(Table& table, const std::string& name, Size predicted, const Traffic& traffic) {
  table.add_row({name, kib(predicted), counted(traffic, kib(traffic.moved_bytes)),
                 fixed(static_cast<double>(predicted) / multiply_adds, 2),
                 fixed(2 * multiply_adds / static_cast<double>(predicted), 2)});
}
Table table_of_bytes() {
  return Table({{"128 x 128 x 128"},
                {"KiB predicted", Alignment::right},
                {"KiB counted", Alignment::right},
                {"bytes per multiply-add", Alignment::right},
                {"FLOP per byte", Alignment::right}});
}

// ---- Step 1
void order_of_lanes() {
  const Traffic down = run(matmul_down).traffic, across = run(matmul_across).traffic;
  Table table = table_of_bytes();
  print_bytes(table, "lanes down a column", bytes_of_naive(shown, Lanes::down), down);
  print_bytes(table, "lanes across a row", bytes_of_naive(shown, Lanes::across), across);
  std::cout << table.plain() << "\nLanes across a row, access by access:\n" << access_table(across);
}

// ---- Step 2
void tiles() {
  const Traffic across = run(matmul_across).traffic, tiled = run(matmul_tiled).traffic;
  Table table = table_of_bytes();
  print_bytes(table, "lanes across a row", bytes_of_naive(shown, Lanes::across), across);
  print_bytes(table, "tiles of 32 x 32", bytes_of_tiles(shown, side, side), tiled);
  std::cout << table.plain() << '\n';
  for (const Sizes& sizes : {Sizes{33, 65, 97}, Sizes{1, 1, 1}}) {
    const std::vector<float> expected = run(matmul_across, sizes).c, got = run(matmul_tiled, sizes).c;
    double largest = 0;
    for (std::size_t i = 0; i < got.size(); ++i)
      largest = std::max(largest, std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i])));
    std::cout << sizes.m << " x " << sizes.n << " x " << sizes.k
              << ": differs from step 1 by less than 0.0001: " << (largest < 1e-4 ? "yes" : "no") << '\n';
  }
}

// ---- Step 3
void banks() {
  Table table({{"distance", Alignment::right}, {"passes predicted", Alignment::right}, {"counted", Alignment::right}});
  DeviceArray<> y("y", 32);
  for (const int stride : {1, 2, 8, 32, 33, 34, 36, 40}) {
    const Traffic traffic = trace([&] { store_column(device, stride, y.data()); });
    Size passes = 0;
    for (const simulator::Site& site : traffic.sites)
      if (site.space == simulator::Space::shared && site.kind == simulator::AccessKind::store)
        passes += static_cast<Size>(site.passes);
    table.add_row({text(stride), text(passes_of_warp(stride)), counted(traffic, text(passes))});
  }
  const Traffic transposed = run(matmul_transposed).traffic;
  std::cout << table.plain() << "\nThe product with B stored transposed: " << summary(transposed) << '\n'
            << access_table(transposed);
}

// ---- Step 4
void registers() {
  const Traffic tiled = run(matmul_tiled).traffic, registers = run(matmul_registers).traffic;
  Table table = table_of_bytes();
  print_bytes(table, "tiles of 32 x 32", bytes_of_tiles(shown, side, side), tiled);
  print_bytes(table, "64 x 64, registers", bytes_of_tiles(shown, tile, tile), registers);
  std::cout << table.plain() << '\n';
  Table loads({{"loads from shared memory"}, {"predicted", Alignment::right}, {"counted", Alignment::right}});
  loads.add_row(
      {"1 element a thread", text(loads_of_shared(shown, 1)), counted(tiled, text(loads_from_shared(tiled)))});
  loads.add_row(
      {"4 x 4 a thread", text(loads_of_shared(shown, mine)), counted(registers, text(loads_from_shared(registers)))});
  std::cout << loads.plain() << "bank conflicts: " << counted(registers, text(registers.bank_conflicts)) << '\n';
}

// ---- Step 5
void ladder() {
  struct Rung {
    const char* name;
    Product product;
    Size instructions;  // of a warp, for the multiply-adds
  };
  constexpr Size by_threads = shown.m * shown.n * shown.k / 32, by_tensor_cores = shown.m * shown.n * shown.k / 1024;
  const Rung rungs[] = {
      {"1 lanes down a column", matmul_down, by_threads},     {"2 lanes across a row", matmul_across, by_threads},
      {"3 tiles of 32 x 32", matmul_tiled, by_threads},       {"4 with B transposed", matmul_transposed, by_threads},
      {"5 64 x 64, registers", matmul_registers, by_threads}, {"6 tensor cores", matmul_tensor_cores, by_tensor_cores}};
  Table table({{"rung"},
               {"KiB moved", Alignment::right},
               {"efficiency", Alignment::right},
               {"FLOP per byte", Alignment::right},
               {"passes of shared memory", Alignment::right},
               {"conflicts", Alignment::right},
               {"multiply instructions", Alignment::right}});
  Series global{.name = "global memory"}, shared{.name = "shared memory"};
  for (const Rung& rung : rungs) {
    const Traffic traffic = run(rung.product).traffic;
    if (!traffic.traced) {
      std::cout << not_traced << '\n';
      return;
    }
    const auto bytes = static_cast<double>(traffic.moved_bytes), passes = static_cast<double>(traffic.shared_passes);
    table.add_row({rung.name, kib(traffic.moved_bytes), text(std::floor(100 * traffic.efficiency), " %"),
                   fixed(2 * multiply_adds / bytes, 2), text(traffic.shared_passes), text(traffic.bank_conflicts),
                   text(rung.instructions)});
    global.x.push_back(static_cast<double>(global.x.size() + 1));
    global.y.push_back(bytes / multiply_adds);
    shared.x.push_back(static_cast<double>(shared.x.size() + 1));
    shared.y.push_back(128 * passes / multiply_adds);  // a pass hands out 32 words
  }
  std::cout << table.plain();
  write_png({.title = "The ladder: bytes for each multiply-add",
             .x_label = "rung",
             .y_label = "bytes",
             .series = {global, shared},
             .y_scale = AxisScale::logarithmic,
             .width = 800,
             .height = 480},
            "11_ladder.png");
  std::cout << "11_ladder.png\n";
}

}  // namespace

int main(int count, char** arguments) {
  return lesson_program(11, {order_of_lanes, tiles, banks, registers, ladder}, count, arguments);
}
