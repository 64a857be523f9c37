#include "kernels/dropout.h"

#include <algorithm>
#include <array>

#include "core/random.h"
#include "kernels/dropout_rule.h"
#include "kernels/parallel.h"
#include "kernels/vector.h"

namespace headshare::kernels {

namespace {

constexpr Size block = 512;  // elements per round: their random numbers fit the nearest cache beside them

using Words =
    Vector<std::uint64_t>;  // a 32-bit word of one Philox counter in each lane, so that products keep all bits

// The 16-bit numbers of elements 8 first_counter .. 8 first_counter + block - 1. This is philox() of core/random.h with
// a counter in each lane; the test compares the two.
std::array<std::uint16_t, block> random_numbers(std::uint64_t first_counter, const DropoutMask& mask) {
  constexpr std::uint64_t low_half = 0xFFFFFFFFu;
  std::array<std::uint16_t, block> numbers;
  for (Size start = 0; start < block / 8; start += lanes<std::uint64_t>) {
    Words counter{};
    for (Size lane = 0; lane < lanes<std::uint64_t>; ++lane)
      counter[lane] = first_counter + static_cast<std::uint64_t>(start + lane);
    Words c0 = counter & low_half, c1 = counter >> 32;
    Words c2 = Words{} + (mask.site & low_half), c3 = Words{} + (mask.site >> 32);
    std::uint64_t k0 = mask.seed & low_half, k1 = mask.seed >> 32;
    for (int round = 0; round < 10; ++round) {
      const Words p0 = c0 * 0xD2511F53u, p1 = c2 * 0xCD9E8D57u;
      c0 = (p1 >> 32) ^ c1 ^ k0;
      c1 = p1 & low_half;
      c2 = (p0 >> 32) ^ c3 ^ k1;
      c3 = p0 & low_half;
      k0 = (k0 + 0x9E3779B9u) & low_half;
      k1 = (k1 + 0xBB67AE85u) & low_half;
    }
    const Words first_four = c0 | (c1 << 32), last_four = c2 | (c3 << 32);
    for (Size lane = 0; lane < lanes<std::uint64_t>; ++lane) {
      const std::array<std::uint64_t, 2> eight = {first_four[lane], last_four[lane]};
      std::memcpy(numbers.data() + 8 * (start + lane), eight.data(),
                  sizeof(eight));  // little-endian, as all our machines
    }
  }
  return numbers;
}

}  // namespace

template <class T>
void dropout(Cpu, Size n, const DropoutMask& mask, const T* x, T* y) {
  const DropoutRule<T> rule = dropout_rule<T>(mask);
  parallel_rows((n + block - 1) / block, 2 * block, [&](Size b) {
    const std::array<std::uint16_t, block> numbers = random_numbers(static_cast<std::uint64_t>(b * block / 8), mask);
    const T* from = x + b * block;
    T* to = y + b * block;
    const Size count = std::min(block, n - b * block);
#pragma omp simd
    for (Size i = 0; i < count; ++i) {
      const T scaled = from[i] * rule.scale;  // computed in any case, so that no branch stands in the loop
      to[i] = numbers[i] >= rule.threshold ? scaled : T(0);
    }
  });
}

template void dropout(Cpu, Size, const DropoutMask&, const float*, float*);
template void dropout(Cpu, Size, const DropoutMask&, const double*, double*);

}  // namespace headshare::kernels
