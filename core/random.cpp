#include "core/random.h"

#include <cmath>
#include <numbers>

#include "core/error.h"

namespace headshare {

std::uint32_t Generator::next() {
  const std::uint64_t block = position_ / 4;
  const PhiloxCounter counter = {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                                 static_cast<std::uint32_t>(stream_), static_cast<std::uint32_t>(stream_ >> 32)};
  const PhiloxKey key = {static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)};
  return philox(counter, key)[position_++ % 4];
}

double Generator::uniform() {
  const std::uint64_t high = next() >> 5;  // 27 bits
  const std::uint64_t low = next() >> 6;   // 26 bits
  return static_cast<double>((high << 26) | low) * 0x1p-53;
}

Size Generator::below(Size n) {
  if (n < 1) fail("random: below(", n, ") needs at least one value to choose from");
  const auto range = static_cast<std::uint64_t>(n);
  // Values at or above the largest multiple of n would make the first remainders likelier: draw again.
  const std::uint64_t limit = ~std::uint64_t{0} - ~std::uint64_t{0} % range;
  for (;;) {
    const std::uint64_t value = (std::uint64_t{next()} << 32) | next();
    if (value < limit) return static_cast<Size>(value % range);
  }
}

double Generator::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

}  // namespace headshare
