#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "core/error.h"
#include "core/random.h"

using namespace headshare;

namespace {

// Every statistical bound below is five standard deviations of the tested quantity: the seeds are fixed, so a case
// that passes keeps passing, and a wrong generator misses by far more.
constexpr int draws = 200'000;
constexpr double sigmas = 5.0;

// Pearson's sum over equally likely bins. It has a mean of bins - 1 and a variance of 2 (bins - 1).
double chi_square(const std::vector<int>& counts) {
  double total = 0;
  for (const int count : counts) total += count;
  const double expected = total / static_cast<double>(counts.size());
  double sum = 0;
  for (const int count : counts) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

double chi_square_bound(std::size_t bins) {
  const double freedom = static_cast<double>(bins) - 1;
  return freedom + sigmas * std::sqrt(2 * freedom);
}

double correlation(Generator& a, Generator& b) {
  double sum = 0;
  for (int i = 0; i < draws; ++i) sum += a.normal() * b.normal();
  return sum / draws;
}

}  // namespace

TEST_CASE("philox gives the published values") {
  // Philox4x32-10 in kat_vectors of the authors' Random123 library: all zeros, all ones, digits of pi.
  constexpr std::uint32_t ones = 0xffffffff;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({ones, ones, ones, ones}, {ones, ones}) ==
        PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a generator reads philox blocks in order, at counter (position, stream) under the key seed") {
  const std::uint64_t seed = 0x299f31d0a4093822;
  const std::uint64_t stream = 0x0370734413198a2e;
  Generator generator(seed, stream);
  const std::uint64_t block = 0x85a308d3243f6a88 % (std::uint64_t{1} << 62);
  generator.set_position(4 * block);
  const PhiloxCounter expected = philox({0x243f6a88, 0x05a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0});
  for (const std::uint32_t word : expected) CHECK(generator.next() == word);
  CHECK(generator.position() == 4 * block + 4);

  Generator first(0);
  for (const std::uint32_t word : {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}) CHECK(first.next() == word);
}

TEST_CASE("each of the 32 bits is set half of the time") {
  Generator generator(1);
  std::vector<int> set(32, 0);
  for (int i = 0; i < draws; ++i) {
    const std::uint32_t value = generator.next();
    for (std::size_t bit = 0; bit < 32; ++bit) set[bit] += static_cast<int>(value >> bit & 1);
  }
  for (const int count : set) CHECK(std::abs(count - draws / 2.0) < sigmas * std::sqrt(draws / 4.0));
}

TEST_CASE("uniform numbers fill [0, 1) evenly") {
  Generator generator(2);
  double sum = 0;
  std::vector<int> bins(97, 0);
  for (int i = 0; i < draws; ++i) {
    const double value = generator.uniform();
    REQUIRE(value >= 0.0);
    REQUIRE(value < 1.0);
    sum += value;
    ++bins[static_cast<std::size_t>(value * 97)];
  }
  CHECK(std::abs(sum / draws - 0.5) < sigmas * std::sqrt(1.0 / 12 / draws));
  CHECK(chi_square(bins) < chi_square_bound(bins.size()));
}

TEST_CASE("below(n) gives every value from 0 to n-1 equally often") {
  for (const Size n : {2, 3, 7, 33, 97}) {
    CAPTURE(n);
    Generator generator(3);
    std::vector<int> counts(static_cast<std::size_t>(n), 0);
    for (int i = 0; i < draws; ++i) {
      const Size value = generator.below(n);
      REQUIRE(value >= 0);
      REQUIRE(value < n);
      ++counts[static_cast<std::size_t>(value)];
    }
    CHECK(chi_square(counts) < chi_square_bound(counts.size()));
  }
  Generator generator(3);
  for (int i = 0; i < 10; ++i) CHECK(generator.below(1) == 0);
}

TEST_CASE("below(n) has no modulo bias") {
  // 2^64 holds this range 8/3 times, so a plain remainder would fall into the lower two thirds 6 times out of 8.
  const Size third = Size{1} << 61;
  Generator generator(4);
  int lower = 0;
  for (int i = 0; i < draws; ++i) lower += generator.below(3 * third) < 2 * third;
  CHECK(std::abs(lower - draws * 2.0 / 3) < sigmas * std::sqrt(draws * 2.0 / 9));
}

TEST_CASE("below(n) refuses an empty range") {
  Generator generator(5);
  CHECK_THROWS_WITH_AS(generator.below(0), "random: below(0) needs at least one value to choose from", Error);
  CHECK_THROWS_WITH_AS(generator.below(-3), "random: below(-3) needs at least one value to choose from", Error);
}

TEST_CASE("normal numbers have the moments 0, 1, 0, 3 and are not correlated with the one before") {
  Generator generator(6);
  double first = 0, second = 0, third = 0, fourth = 0, product = 0, before = 0;
  for (int i = 0; i < draws; ++i) {
    const double value = generator.normal();
    REQUIRE(std::isfinite(value));
    first += value;
    second += value * value;
    third += value * value * value;
    fourth += value * value * value * value;
    product += value * before;
    before = value;
  }
  // The variance of x^k is E x^2k - (E x^k)^2, and E x^2, x^4, x^6, x^8 are 1, 3, 15, 105.
  CHECK(std::abs(first / draws) < sigmas * std::sqrt(1.0 / draws));
  CHECK(std::abs(second / draws - 1) < sigmas * std::sqrt(2.0 / draws));
  CHECK(std::abs(third / draws) < sigmas * std::sqrt(15.0 / draws));
  CHECK(std::abs(fourth / draws - 3) < sigmas * std::sqrt(96.0 / draws));
  CHECK(std::abs(product / draws) < sigmas * std::sqrt(1.0 / draws));
}

TEST_CASE("the same seed and stream give the same numbers, any other gives independent ones") {
  const std::uint64_t high = std::uint64_t{1} << 32;
  Generator same(7, 8), again(7, 8);
  for (int i = 0; i < 1000; ++i) REQUIRE(same.next() == again.next());

  struct Pair {
    Generator a, b;
  };
  for (Pair pair : {Pair{Generator(7, 8), Generator(7, 9)}, Pair{Generator(7, 8), Generator(8, 8)},
                    Pair{Generator(7, 8), Generator(8, 7)}, Pair{Generator(7, 8), Generator(7, 8 + high)},
                    Pair{Generator(7, 8), Generator(7 + high, 8)}}) {
    CAPTURE(pair.b.seed());
    CAPTURE(pair.b.stream());
    CHECK(std::abs(correlation(pair.a, pair.b)) < sigmas * std::sqrt(1.0 / draws));
  }
}

TEST_CASE("a generator set to a saved position goes on exactly, in the middle of a block too") {
  for (const int drawn : {0, 1, 2, 3, 4, 7, 33, 97}) {
    CAPTURE(drawn);
    Generator original(9, 10);
    for (int i = 0; i < drawn; ++i) original.next();
    Generator resumed(original.seed(), original.stream());
    resumed.set_position(original.position());
    for (int i = 0; i < 100; ++i) {
      REQUIRE(resumed.normal() == original.normal());
      REQUIRE(resumed.uniform() == original.uniform());
      REQUIRE(resumed.below(97) == original.below(97));
      REQUIRE(resumed.next() == original.next());
    }
    CHECK(resumed.position() == original.position());
  }
}

TEST_CASE("shuffle keeps the elements and makes every order equally likely") {
  Generator generator(11);
  std::map<std::vector<int>, int> orders;
  for (int i = 0; i < 24'000; ++i) {
    std::vector<int> items = {1, 2, 3, 4};
    generator.shuffle(items);
    ++orders[items];
  }
  REQUIRE(orders.size() == 24);
  std::vector<int> counts;
  for (const auto& [order, count] : orders) {
    std::vector<int> sorted = order;
    std::sort(sorted.begin(), sorted.end());
    CHECK(sorted == std::vector<int>{1, 2, 3, 4});
    counts.push_back(count);
  }
  CHECK(chi_square(counts) < chi_square_bound(counts.size()));

  std::vector<int> empty;
  generator.shuffle(empty);
  CHECK(empty.empty());
}
