#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "core/random.h"
#include "kernels/matmul_by_unit.h"
#include "kernels/matrix_unit.h"

using namespace headshare;
using namespace headshare::kernels;

namespace {

std::vector<float> random_numbers(Size n, Generator& generator) {
  std::vector<float> numbers(static_cast<std::size_t>(n));
  for (float& x : numbers) x = static_cast<float>(generator.normal());
  return numbers;
}

float value(BFloat16 x) { return static_cast<float>(x); }

// The three pieces of element (line, step) in a packed group.
enum class Packed { rows, columns };
std::array<float, 3> pieces_of(const std::vector<BFloat16>& packed, Packed form, Size lines, Size line, Size step) {
  const Size tiles = lines > unit_lines ? 2 : 1, pair = step % 16, half = step % 32 / 16, side = line % 16;
  std::array<float, 3> pieces{};
  for (Size piece = 0; piece < 3; ++piece) {
    const Size tile = (step / 32 * 3 + piece) * tiles + line / 16;
    const Size at = form == Packed::rows ? side * 32 + 2 * pair + half : pair * 32 + 2 * side + half;
    pieces[static_cast<std::size_t>(piece)] = value(packed[static_cast<std::size_t>(tile * unit_tile + at)]);
  }
  return pieces;
}

std::vector<BFloat16> packed(Packed form, const Lines<float>& lines) {
  std::vector<BFloat16> to(static_cast<std::size_t>(packed_group_size(lines.lines, lines.steps)), BFloat16(7.0f));
  (form == Packed::rows ? pack_rows_for_unit : pack_columns_for_unit)(lines, to.data());
  return to;
}

constexpr MatmulSizes sizes_of(Size m, Size n, Size k) { return {1, m, n, k}; }

double root_mean_square_error(const std::vector<float>& x, const std::vector<double>& truth) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += std::pow(static_cast<double>(x[i]) - truth[i], 2);
  return std::sqrt(sum / static_cast<double>(x.size()));
}

double largest_difference(const std::vector<float>& x, const std::vector<float>& y) {
  double largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double difference = std::abs(static_cast<double>(x[i]) - static_cast<double>(y[i]));
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, difference);
  }
  return largest;
}

}  // namespace

TEST_CASE("a float32 number is exactly the sum of its three pieces, each where the tile wants it") {
  Generator generator(1);
  for (const Size lines : {1, 7, 16, 17, 32})
    for (const Size steps : {1, 15, 16, 17, 31, 32, 33, 70})
      for (const bool along_k : {true, false}) {
        CAPTURE(lines);
        CAPTURE(steps);
        CAPTURE(along_k);
        std::vector<float> numbers = random_numbers(lines * steps, generator);
        // All magnitudes, within the range that is promised.
        for (float& x : numbers) x = std::ldexp(x, static_cast<int>(generator.below(200)) - 100);
        const Size line_stride = along_k ? steps : 1, k_stride = along_k ? 1 : lines;
        for (const Packed form : {Packed::rows, Packed::columns}) {
          const std::vector<BFloat16> result = packed(form, {numbers.data(), line_stride, k_stride, lines, steps});
          const Size all_lines = lines > 16 ? 32 : 16, all_steps = (steps + 31) / 32 * 32;
          bool exact = true;
          for (Size line = 0; line < all_lines; ++line)
            for (Size step = 0; step < all_steps; ++step) {
              const bool there = line < lines && step < steps;
              const float x = there ? numbers[static_cast<std::size_t>(line * line_stride + step * k_stride)] : 0.0f;
              const auto [first, second, third] = pieces_of(result, form, lines, line, step);
              exact = exact && first + (second + third) == x;
              // Each piece is small beside the one before, or the products that are left out would not be.
              exact = exact && std::abs(second) <= std::ldexp(std::abs(x), -7) &&
                      std::abs(third) <= std::ldexp(std::abs(x), -15);
            }
          CHECK(exact);
        }
      }
}

TEST_CASE("groups are multiplied as the plain loops do") {
  Generator generator(2);
  for (const Size rows : {16, 32})
    for (const Size columns : {16, 32})
      for (const Size k_tiles : {1, 2, 9}) {
        CAPTURE(rows);
        CAPTURE(columns);
        CAPTURE(k_tiles);
        const Size steps = k_tiles * unit_steps, stride = 40;
        const std::vector<float> a = random_numbers(rows * steps, generator),
                                 b = random_numbers(columns * steps, generator);
        const std::vector<float> bias = random_numbers(unit_group, generator);
        const std::vector<BFloat16> packed_a = packed(Packed::rows, {a.data(), steps, 1, rows, steps}),
                                    packed_b = packed(Packed::columns, {b.data(), 1, columns, columns, steps});
        const UnitOperands operands{packed_a.data(), packed_b.data(), bias.data(), rows / 16, columns / 16, k_tiles};
        const float untouched = -1234;
        std::vector<float> result(static_cast<std::size_t>(32 * stride), untouched), plain = result;
        use_matrix_unit();
        multiply_groups(operands, result.data(), stride);
        leave_matrix_unit();
        multiply_groups_plain(operands, plain.data(), stride);
        double largest = 0;
        for (Size r = 0; r < 32; ++r)
          for (Size c = 0; c < stride; ++c) {
            const auto at = static_cast<std::size_t>(r * stride + c);
            if (r >= rows || c >= columns) CHECK(result[at] == untouched);
            largest = std::max(largest, static_cast<double>(std::abs(result[at] - plain[at])));
          }
        CHECK(largest <= 2e-6 * std::sqrt(static_cast<double>(steps)));  // they sum in another order
      }
}

TEST_CASE("products by the matrix unit are no less exact than the plain ones in float32") {
  Generator generator(3);
  struct Case {
    Size m, n, k;
  };
  for (const Case& c : {Case{33, 40, 32}, {64, 48, 257}, {40, 70, 1100}}) {
    CAPTURE(c.m);
    CAPTURE(c.k);
    const auto elements = static_cast<std::size_t>(c.m * c.n);
    const std::vector<float> a = random_numbers(c.m * c.k, generator), b = random_numbers(c.k * c.n, generator);
    std::vector<double> truth(elements);
    const std::vector<double> a_double(a.begin(), a.end()), b_double(b.begin(), b.end());
    matmul_plain<double>(Cpu{}, sizes_of(c.m, c.n, c.k), {a_double.data(), c.k, 1}, {b_double.data(), c.n, 1},
                         truth.data(), {});
    std::vector<float> plain(elements), by_unit(elements), with_packed(elements);
    const MatrixView<float> left{a.data(), c.k, 1}, right{b.data(), c.n, 1};
    matmul_plain<float>(Cpu{}, sizes_of(c.m, c.n, c.k), left, right, plain.data(), {});
    Product<float> product{c.m, c.n, c.k, left, right, nullptr, by_unit.data(), c.n, {}};
    multiply_by_unit(product, nullptr, 2);
    CHECK(root_mean_square_error(by_unit, truth) <= root_mean_square_error(plain, truth));

    std::vector<BFloat16> ready(static_cast<std::size_t>(packed_size_for_unit(c.k, c.n)));
    pack_for_unit(c.k, c.n, right, ready.data());
    product.c = with_packed.data();
    multiply_by_unit(product, ready.data(), 1);
    CHECK(with_packed == by_unit);  // bit for bit: neither threads nor who packs change the order of a sum
  }
}

TEST_CASE("every way through the blocks gives the same sums, with any epilogue") {
  Generator generator(4);
  struct Case {
    Size m, n, k;
    bool a_by_columns;  // so that rows are dearer to pack
    const char* way;
  };
  const std::vector<Case> cases = {{40, 90, 70, false, "few rows, the threads share columns"},
                                   {80, 100, 70, true, "few rows, the threads share rows"},
                                   {90, 40, 530, true, "many rows, each thread packs B, two blocks of k"},
                                   {540, 35, 33, false, "more than one block of rows for a thread"},
                                   {513, 520, 700, false, "B packed together, in two parts"}};
  for (const Case& c : cases) {
    CAPTURE(c.way);
    const auto elements = static_cast<std::size_t>(c.m * c.n);
    const std::vector<float> a = random_numbers(c.m * c.k, generator), b = random_numbers(c.k * c.n, generator),
                             bias = random_numbers(c.n, generator);
    const MatrixView<float> left{a.data(), c.a_by_columns ? 1 : c.k, c.a_by_columns ? c.m : 1}, right{b.data(), 1, c.k};
    std::vector<float> plain(elements), plain_before(elements);
    matmul_plain<float>(Cpu{}, sizes_of(c.m, c.n, c.k), left, right, plain.data(),
                        {bias.data(), Activation::gelu, plain_before.data()});
    std::vector<BFloat16> ready(static_cast<std::size_t>(packed_size_for_unit(c.k, c.n)));
    pack_for_unit(c.k, c.n, right, ready.data());
    for (const bool packed_ahead : {false, true}) {
      CAPTURE(packed_ahead);
      const float unwritten = std::numeric_limits<float>::quiet_NaN();
      std::vector<float> result(elements, unwritten), before(elements, unwritten);
      const Epilogue<float> epilogue{bias.data(), Activation::gelu, before.data()};
      CHECK(multiply_by_unit({c.m, c.n, c.k, left, right, nullptr, result.data(), c.n, epilogue},
                             packed_ahead ? ready.data() : nullptr, 2));
      CHECK(largest_difference(result, plain) <= 1e-5 * std::sqrt(static_cast<double>(c.k)));
      CHECK(largest_difference(before, plain_before) <= 1e-5 * std::sqrt(static_cast<double>(c.k)));
    }
  }
}

TEST_CASE("the unit says when an element is not finite") {
  constexpr Size n = 40;
  const float infinity = std::numeric_limits<float>::infinity(), largest = std::numeric_limits<float>::max();
  const auto product = [&](float special, float other, Activation activation, std::vector<float>& c) {
    std::vector<float> a(n * n, 1.0f), b(n * n, other);
    a[5 * n + 7] = special;
    Epilogue<float> epilogue;
    epilogue.activation = activation;
    return multiply_by_unit({n, n, n, {a.data(), n, 1}, {b.data(), n, 1}, nullptr, c.data(), n, epilogue}, nullptr, 1);
  };
  std::vector<float> c(n * n);
  for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu}) {
    for (const float special : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()})
      CHECK_FALSE(product(special, 0.5f, activation, c));
    CHECK_FALSE(product(-largest, 2.0f, activation, c));  // overflows, which ReLU must not hide
    CHECK(product(largest, 0.5f, activation, c));
  }
  CHECK(product(largest, 0.5f, Activation::none, c));
  CHECK(c[5 * n] == largest / 2);
}

TEST_CASE("where the unit overflows and the exact sum does not, vectors have the last word") {
  constexpr Size n = 96;  // the unit adds up 32 products at a time, the plain loops one
  std::vector<float> a(n * n), b(n * n, 1.0f), c(n * n), before(n * n);
  for (Size row = 0; row < n; ++row) {
    float* x = a.data() + row * n;
    x[0] = x[40] = 3e38f;
    x[16] = x[17] = -3e38f;
    x[72] = 1e38f;
  }
  for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu}) {
    const Epilogue<float> epilogue{nullptr, activation, before.data()};
    const MatrixView<float> left{a.data(), n, 1}, right{b.data(), n, 1};
    matmul<float>(Cpu{}, sizes_of(n, n, n), left, right, c.data(), epilogue);
    CHECK(std::all_of(c.begin(), c.end(), [](float x) { return x == 1e38f; }));
    CHECK(std::all_of(before.begin(), before.end(), [](float x) { return x == 1e38f; }));
    std::vector<float> packed_b(static_cast<std::size_t>(packed_size<float>(n, n)));
    pack_matrix<float>(Cpu{}, n, n, right, packed_b.data());
    std::fill(c.begin(), c.end(), 0.0f);
    matmul_packed<float>(Cpu{}, n, n, n, left, packed_b.data(), c.data(), epilogue);
    CHECK(std::all_of(c.begin(), c.end(), [](float x) { return x == 1e38f; }));
  }
}

TEST_CASE("products of which most would be padding are left to vectors") {
  CHECK_FALSE(suits_matrix_unit(33, 33, 33));
  CHECK_FALSE(suits_matrix_unit(1000, 1000, 31));
  CHECK_FALSE(suits_matrix_unit(8, 1000, 1000));
  for (const Size size : {32, 48, 100, 1000}) CHECK(suits_matrix_unit(size, size, 64) == has_matrix_unit());
}
