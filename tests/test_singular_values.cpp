#include <doctest/doctest.h>

#include <cmath>

#include "core/random.h"
#include "nn/parameter.h"
#include "tensor/elementwise.h"
#include "tensor/matmul.h"
#include "tensor/reduce.h"
#include "tensor/singular_values.h"

// The singular value decomposition and the nearest orthogonal matrix, against their definitions and against values
// known by hand.

using namespace headshare;

namespace {

constexpr TensorOptions exact{ElementType::float64, Device::cpu};

Tensor random_matrix(Size rows, Size columns, std::uint64_t seed) {
  Generator generator(seed);
  return random_normal({rows, columns}, 1, generator, exact);
}

double largest(const Tensor& x) {
  double most = 0;
  for (const double value : x.to_vector<double>()) most = std::max(most, std::abs(value));
  return most;
}

Tensor identity(Size n) {
  const Tensor result = zeros({n, n}, exact);
  for (Size i = 0; i < n; ++i) result.set({i, i}, 1);
  return result;
}

double distance_from_orthonormal(const Tensor& columns) {
  return largest(subtract(matmul(columns.transpose(0, 1), columns), identity(columns.extent(1))));
}

Tensor product(const SingularValues& parts) { return matmul(multiply(parts.u, parts.values), parts.v.transpose(0, 1)); }

double trace_of_product(const Tensor& a, const Tensor& b) { return sum(multiply(a, b)).item(); }  // trace(a^T b)

}  // namespace

TEST_CASE("the parts multiply to the matrix, with orthonormal columns and descending values") {
  for (const auto& [rows, columns] :
       {std::pair<Size, Size>{1, 1}, {7, 7}, {33, 7}, {7, 33}, {40, 39}, {3, 1}, {1, 5}}) {
    CAPTURE(rows);
    CAPTURE(columns);
    const Tensor a = random_matrix(rows, columns, 5);
    const SingularValues parts = singular_values(a);
    const Size k = std::min(rows, columns);
    CHECK(parts.u.shape() == Shape{rows, k});
    CHECK(parts.v.shape() == Shape{columns, k});
    CHECK(largest(subtract(product(parts), a)) < 1e-12);
    CHECK(distance_from_orthonormal(parts.u) < 1e-12);
    CHECK(distance_from_orthonormal(parts.v) < 1e-12);
    const std::vector<double> values = parts.values.to_vector<double>();
    CHECK(std::is_sorted(values.rbegin(), values.rend()));
    CHECK(values.back() >= 0);
  }
}

TEST_CASE("values known by hand, small ones to nearly all digits") {
  const SingularValues parts = singular_values(from_values<double>({3, 0, 4, 5}, {2, 2}, Device::cpu));
  CHECK(parts.values.at({0}) == doctest::Approx(std::sqrt(45.0)).epsilon(1e-14));
  CHECK(parts.values.at({1}) == doctest::Approx(std::sqrt(5.0)).epsilon(1e-14));
  const SingularValues graded = singular_values(from_values<double>({1, 1e-9, 0, 1e-9}, {2, 2}, Device::cpu));
  CHECK(graded.values.at({1}) == doctest::Approx(1e-9).epsilon(1e-12));
}

TEST_CASE("a matrix of lower rank still gets orthonormal columns") {
  const Tensor thin = matmul(random_matrix(9, 2, 1), random_matrix(2, 6, 2));
  for (const Tensor& a : {thin, zeros({4, 4}, exact)}) {
    const SingularValues parts = singular_values(a);
    CHECK(largest(subtract(product(parts), a)) < 1e-12);
    CHECK(distance_from_orthonormal(parts.u) < 1e-12);
    CHECK(distance_from_orthonormal(parts.v) < 1e-12);
  }
  CHECK(singular_values(thin).values.at({2}) < 1e-12);
}

TEST_CASE("the nearest orthogonal matrix undoes a rotation, and no other orthogonal matrix has a larger trace") {
  const Tensor x = random_matrix(50, 5, 3), turn = nearest_orthogonal(random_matrix(5, 5, 4));
  CHECK(distance_from_orthonormal(turn) < 1e-12);
  const Tensor y = matmul(x, turn);
  CHECK(largest(subtract(nearest_orthogonal(matmul(x.transpose(0, 1), y)), turn)) < 1e-12);
  const Tensor a = random_matrix(5, 5, 6);
  const double best = trace_of_product(nearest_orthogonal(a), a);
  for (std::uint64_t seed = 10; seed < 30; ++seed)
    CHECK(trace_of_product(nearest_orthogonal(random_matrix(5, 5, seed)), a) < best);
}

TEST_CASE("what is not a float64 matrix, or not finite, is refused") {
  CHECK_THROWS_WITH_AS(singular_values(zeros({2, 2}, {ElementType::float32, Device::cpu})),
                       doctest::Contains("needed a float64 matrix"), Error);
  CHECK_THROWS_WITH_AS(singular_values(full({2, 2}, std::nan(""), exact)), doctest::Contains("not finite"), Error);
  CHECK_THROWS_WITH_AS(nearest_orthogonal(zeros({2, 3}, exact)), doctest::Contains("square"), Error);
}
