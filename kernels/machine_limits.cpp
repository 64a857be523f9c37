#include "kernels/machine_limits.h"

#include <omp.h>

#include <vector>

#include "core/measure.h"
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

void read_everything(const std::vector<float>& memory) {
  const Size n = static_cast<Size>(memory.size());
#pragma omp parallel
  {
    Register sums[4]{};
#pragma omp for schedule(static)
    for (Size i = 0; i < n / (4 * lanes<float>); ++i)
      for (Size j = 0; j < 4; ++j) sums[j] += load(memory.data() + (4 * i + j) * lanes<float>);
    sink = sum_of_lanes<float>(sums[0] + sums[1] + sums[2] + sums[3]);
  }
}

}  // namespace

double measure_arithmetic() {
  const double flops = 2.0 * static_cast<double>(chains * rounds * lanes<float> * omp_get_max_threads());
  return flops / median_seconds(multiply_add_in_registers);
}

double measure_reading(Size bytes) {
  const std::vector<float> memory(static_cast<std::size_t>(bytes) / sizeof(float), 1.0f);
  return static_cast<double>(bytes) / median_seconds([&] { read_everything(memory); });
}

}  // namespace headshare::kernels
