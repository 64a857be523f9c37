#include "kernels/machine_limits.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <memory>

#include "core/error.h"
#include "core/measure.h"
#include "core/memory.h"
#include "core/random.h"
#include "kernels/matrix_unit.h"
#include "kernels/vector.h"

namespace headshare::kernels {
namespace {

using Register = Vector<float>;

// Sixteen independent chains of multiply-adds keep both units of a core busy: one takes four cycles, two start in each.
constexpr Size chains = 16, rounds = 200'000;
volatile float sink = 0;  // so that the work cannot be left out

void multiply_add_in_registers() {
#pragma omp parallel
  {
    Register sums[chains];
    for (Size i = 0; i < chains; ++i) sums[i] = Register{} + static_cast<float>(i);
    const Register factor = Register{} + 0.999999f, addend = Register{} + 1e-6f;
    for (Size round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
      for (Size i = 0; i < chains; ++i) sums[i] = sums[i] * factor + addend;
    }
    Register total{};
    for (Size i = 0; i < chains; ++i) total += sums[i];
    sink = sum_of_lanes<float>(total);
  }
}

// Products of 32 x 128 by 128 x 32 numbers, all three pieces of which are 48 KiB.
constexpr Size unit_rounds = 5'000, unit_k_tiles = 4;

void multiply_in_matrix_unit() {
#pragma omp parallel
  {
    constexpr Size side = unit_group, steps = unit_k_tiles * unit_steps;
    alignas(64) std::array<BFloat16, packed_group_size(side, steps)> a, b;
    alignas(64) std::array<float, side * side> numbers, out;
    const std::array<float, side> bias{};
    Generator generator(1);  // the clock falls when many bits change, as they do in real numbers
    for (float& x : numbers) x = static_cast<float>(generator.uniform() - 0.5);
    for (Size k = 0; k < unit_k_tiles; ++k) {
      const Size at = packed_group_size(side, k * unit_steps);
      pack_rows_for_unit({numbers.data(), side, 1, side, unit_steps}, a.data() + at);
      pack_columns_for_unit({numbers.data(), 1, side, side, unit_steps}, b.data() + at);
    }
    use_matrix_unit();
    for (Size round = 0; round < unit_rounds; ++round)
      multiply_groups({a.data(), b.data(), bias.data(), 2, 2, unit_k_tiles}, out.data(), side);
    leave_matrix_unit();
    sink = out[0];
  }
}

void read_everything(const float* memory, Size n) {
#pragma omp parallel
  {
    Register sums[4]{};
#pragma omp for schedule(static)
    for (Size i = 0; i < n / (4 * lanes<float>); ++i)
      for (Size j = 0; j < 4; ++j) sums[j] += load(memory + (4 * i + j) * lanes<float>);
    sink = sum_of_lanes<float>(sums[0] + sums[1] + sums[2] + sums[3]);
  }
}

}  // namespace

double measure_arithmetic() {
  const double flops = 2.0 * static_cast<double>(chains * rounds * lanes<float> * omp_get_max_threads());
  return flops / least_seconds(multiply_add_in_registers);
}

double measure_matrix_unit() {
  if (matrix_unit() != MatrixUnit::tiles) return 0;
  const double flops = 2.0 * static_cast<double>(unit_rounds * unit_group * unit_group * unit_k_tiles * unit_steps *
                                                 omp_get_max_threads());
  return flops / least_seconds(multiply_in_matrix_unit);
}

double measure_reading(Size bytes) {
  // The kind of memory that tensors have: the processor finds the places of large pages faster than of many small ones.
  const std::unique_ptr<void, void (*)(void*)> memory(allocate_memory(bytes), free_memory);
  if (memory == nullptr) fail("machine limits: no ", bytes, " bytes of memory to read");
  float* numbers = static_cast<float*>(memory.get());
  const Size n = bytes / static_cast<Size>(sizeof(float));
  std::fill_n(numbers, n, 1.0f);
  return static_cast<double>(bytes) / least_seconds([&] { read_everything(numbers, n); });
}

double measure_parallel_region() {
  constexpr Size regions = 100;  // a single one is shorter than reading the clock takes
  return least_seconds(
             [] {
               for (Size i = 0; i < regions; ++i) {
#pragma omp parallel
                 { [[maybe_unused]] volatile int nothing = 0; }
               }
             },
             0.005) /
         static_cast<double>(regions);
}

}  // namespace headshare::kernels
