#include "tensor/singular_values.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "tensor/matmul.h"

namespace headshare {
namespace {

using Column = std::vector<double>;

double dot(const Column& a, const Column& b) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

std::vector<Column> columns_of(const Tensor& matrix) {
  const Tensor rows = matrix.transpose(0, 1).contiguous();
  const double* first = rows.data<double>();
  std::vector<Column> columns;
  for (Size i = 0; i < rows.extent(0); ++i)
    columns.emplace_back(first + i * rows.extent(1), first + (i + 1) * rows.extent(1));
  return columns;
}

Tensor from_columns(const std::vector<Column>& columns, Size height) {
  Column values;
  for (const Column& column : columns) values.insert(values.end(), column.begin(), column.end());
  const Size count = static_cast<Size>(columns.size());
  return from_values(values, {count, height}, Device::cpu).transpose(0, 1).contiguous();
}

// (a, b) turned by an angle.
void rotate(Column& a, Column& b, double cosine, double sine) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = a[i], y = b[i];
    a[i] = cosine * x - sine * y;
    b[i] = sine * x + cosine * y;
  }
}

// Makes two columns of `a` orthogonal and turns those of `v` with them; false when they were already.
bool make_orthogonal(std::vector<Column>& a, std::vector<Column>& v, std::size_t p, std::size_t q) {
  const double pp = dot(a[p], a[p]), qq = dot(a[q], a[q]), pq = dot(a[p], a[q]);
  if (std::abs(pq) <= 1e-15 * std::sqrt(pp * qq)) return false;
  const double zeta = (qq - pp) / (2 * pq);
  const double tangent = std::copysign(1.0, zeta) / (std::abs(zeta) + std::hypot(1.0, zeta));
  const double cosine = 1 / std::hypot(1.0, tangent), sine = cosine * tangent;
  rotate(a[p], a[q], cosine, sine);
  rotate(v[p], v[q], cosine, sine);
  return true;
}

// A unit vector orthogonal to the columns: what is left of the axis that they cover least.
Column orthogonal_to(const std::vector<Column>& columns, std::size_t height) {
  std::vector<double> covered(height, 0);
  for (const Column& column : columns)
    for (std::size_t i = 0; i < height; ++i) covered[i] += column[i] * column[i];
  const auto axis = std::min_element(covered.begin(), covered.end()) - covered.begin();
  Column rest(height, 0);
  rest[static_cast<std::size_t>(axis)] = 1;
  for (int twice = 0; twice < 2; ++twice)  // the second time removes what rounding left
    for (const Column& column : columns) {
      const double part = dot(rest, column);
      for (std::size_t i = 0; i < height; ++i) rest[i] -= part * column[i];
    }
  const double length = std::sqrt(dot(rest, rest));
  for (double& x : rest) x /= length;
  return rest;
}

void check_matrix(const Tensor& a) {
  if (a.rank() != 2 || a.type() != ElementType::float64)
    fail("singular_values: needed a float64 matrix, not ", name(a.type()), " of shape ", a.shape());
}

}  // namespace

SingularValues singular_values(const Tensor& matrix) {
  check_matrix(matrix);
  if (matrix.extent(0) < matrix.extent(1)) {  // more rows than columns, so that at most n rotated columns are left over
    SingularValues turned = singular_values(matrix.transpose(0, 1));
    return {turned.v, turned.values, turned.u};
  }
  const Size m = matrix.extent(0), n = matrix.extent(1);
  std::vector<Column> a = columns_of(matrix.to(Device::cpu));
  for (const Column& column : a)
    if (!std::isfinite(dot(column, column)))
      fail("singular_values: a number of the matrix is not finite, or too large");
  std::vector<Column> v(a.size(), Column(a.size(), 0));
  for (std::size_t i = 0; i < v.size(); ++i) v[i][i] = 1;

  constexpr int sweeps_at_most = 60;  // about ten are needed
  bool turned = true;
  for (int sweep = 0; turned && sweep < sweeps_at_most; ++sweep) {
    turned = false;
    for (std::size_t p = 0; p + 1 < a.size(); ++p)
      for (std::size_t q = p + 1; q < a.size(); ++q) turned = make_orthogonal(a, v, p, q) || turned;
  }

  // Now A V = U diag(values): the columns' lengths, sorted.
  std::vector<double> lengths;
  for (const Column& column : a) lengths.push_back(std::sqrt(dot(column, column)));
  std::vector<std::size_t> order(a.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return lengths[i] > lengths[j]; });
  std::vector<Column> sorted_u, sorted_v;
  std::vector<double> values;
  for (const std::size_t i : order) {
    // A direction that is not stretched at all has no image; any that is orthogonal to the others will do.
    const bool none = lengths[i] <= 1e-14 * lengths[order[0]] || lengths[i] == 0;
    if (none) {
      sorted_u.push_back(orthogonal_to(sorted_u, static_cast<std::size_t>(m)));
    } else {
      for (double& x : a[i]) x /= lengths[i];
      sorted_u.push_back(a[i]);
    }
    values.push_back(lengths[i]);
    sorted_v.push_back(v[i]);
  }
  return {from_columns(sorted_u, m), from_values(values, {n}, Device::cpu), from_columns(sorted_v, n)};
}

Tensor nearest_orthogonal(const Tensor& a) {
  check_matrix(a);
  if (a.extent(0) != a.extent(1)) fail("nearest_orthogonal: needed a square matrix, not ", a.shape());
  const SingularValues parts = singular_values(a);
  return matmul(parts.u, parts.v.transpose(0, 1));
}

}  // namespace headshare
