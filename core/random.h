#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "core/size.h"

namespace headshare {

// Philox4x32-10, a counter-based generator: the numbers are a pure function of (counter, key), so any thread on any
// device can compute the i-th one without the ones before it.
// Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;
constexpr PhiloxCounter philox(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(p1),
               static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return counter;
}

// A sequence of random numbers: Philox at counter (position, stream) under the key `seed`. Two generators with the same
// seed and different streams are independent. The state is three integers, so saving and resuming it is exact.
class Generator {
 public:
  explicit Generator(std::uint64_t seed, std::uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  std::uint32_t next();  // uniform over all 32-bit values
  double uniform();      // in [0, 1), 53 random bits
  Size below(Size n);    // uniform over 0 .. n-1, without modulo bias; n >= 1
  double normal();       // mean 0, variance 1 (Box and Muller 1958)

  // Fisher-Yates: every order of the elements is equally likely.
  template <class Container>
  void shuffle(Container& items) {
    for (Size i = static_cast<Size>(items.size()) - 1; i > 0; --i) {
      const Size j = below(i + 1);
      std::swap(items[static_cast<std::size_t>(i)], items[static_cast<std::size_t>(j)]);
    }
  }

  std::uint64_t seed() const { return seed_; }
  std::uint64_t stream() const { return stream_; }
  std::uint64_t position() const { return position_; }  // 32-bit numbers drawn so far
  void set_position(std::uint64_t position) { position_ = position; }

 private:
  std::uint64_t seed_;
  std::uint64_t stream_;
  std::uint64_t position_ = 0;
};

}  // namespace headshare
