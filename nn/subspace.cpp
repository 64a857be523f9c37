#include "nn/subspace.h"

#include <cmath>
#include <numeric>

#include "tensor/elementwise.h"
#include "tensor/reduce.h"
#include "tensor/singular_values.h"

namespace headshare {
namespace {

constexpr TensorOptions exact{ElementType::float64, Device::cpu};

// M^(1/2) and M^(-1/2) of a matrix of second moments. Directions in which there is next to nothing count as very little
// rather than nothing, so that the inverse stays finite.
struct Roots {
  Tensor root, inverse;
};
Roots roots(const Tensor& moments) {
  const SingularValues parts = singular_values(moments);  // symmetric, without negative values: U = V
  const Size n = moments.extent(0);
  const double least = std::max(1e-9 * parts.values.at({0}), 1e-30);
  const Tensor scaled = empty_like(parts.values), unscaled = empty_like(parts.values);
  for (Size i = 0; i < n; ++i) {
    const double root = std::sqrt(std::max(parts.values.at({i}), least));
    scaled.set({i}, root);
    unscaled.set({i}, 1 / root);
  }
  const Tensor back = parts.v.transpose(0, 1);
  return {matmul(multiply(parts.v, scaled), back), matmul(multiply(parts.v, unscaled), back)};
}

// The directions in which a sum of squares is largest.                                    squares: [n, n]   [n, count]
Tensor largest_directions(const Tensor& squares, Size count) {
  return singular_values(squares).v.slice(1, 0, count).contiguous();
}

// A typical number of these heads: the root of the mean square over their own parts.
double typical_size(const Tensor& moments, Size first, Size count) {
  double sum = 0;
  for (Size i = first; i < first + count; ++i) sum += moments.at({i, i});
  return std::sqrt(std::max(sum / static_cast<double>(count), 1e-30));
}

Tensor part(const Tensor& stacked, Size index) {
  return stacked.slice(0, index, index + 1).reshape({stacked.extent(1), stacked.extent(2)});
}

}  // namespace

HeadFolding subspace_folding(const Attention& attention, const HeadStatistics& statistics, Size groups) {
  const Size H = attention.mode.heads, G = attention.mode.kv_heads, D = attention.head_size();
  const Size width = G * D, heads = H / groups, queries = H / G;  // query heads of a new group, of an old head
  const Tensor output = attention.output.weight.value().to(Device::cpu).to(ElementType::float64);  // [H D, C]
  HeadFolding folding{Tensor({width, groups * D}, exact), Tensor({H, D, D}, exact),
                      Tensor({width, groups * D}, exact), Tensor({H, D, D}, exact),
                      zeros({output.extent(1)}, exact),   std::vector<Size>(static_cast<std::size_t>(H))};
  std::iota(folding.order.begin(), folding.order.end(), Size{0});
  const Roots keys = roots(statistics.keys);

  for (Size group = 0; group < groups; ++group) {
    const Tensor score_squares = zeros({width, width}, exact), output_squares = zeros({width, width}, exact),
                 attended = zeros({width, width}, exact);
    for (Size h = group * heads; h < (group + 1) * heads; ++h) accumulate(part(statistics.attended, h), attended);
    const Roots values = roots(attended);
    for (Size h = group * heads; h < (group + 1) * heads; ++h) {
      const Tensor of_keys = head_columns(keys.root, h / queries, D).contiguous(),
                   of_values = head_columns(values.root, h / queries, D).contiguous(),  // [G D, D]
          rows = head_rows(output, h, D).contiguous();                                  // [D, C]
      accumulate(matmul(matmul(of_keys, part(statistics.queries, h)), of_keys.transpose(0, 1)), score_squares);
      accumulate(matmul(matmul(of_values, matmul(rows, rows.transpose(0, 1))), of_values.transpose(0, 1)),
                 output_squares);
    }
    // New keys and values get the size of the old: the learning rate was tuned for that.
    const Size first = group * heads / queries * D, count = std::max(heads / queries, Size{1}) * D;
    const double key_size = typical_size(statistics.keys, first, count),
                 value_size = typical_size(attended, first, count);
    const Tensor key_directions = largest_directions(score_squares, D),  // [G D, D]
        value_directions = largest_directions(output_squares, D);
    // Directions have unit moments in the coordinates of the roots; sums over positions become sizes by their count,
    // which cancels between the two factors.
    const Tensor new_keys = affine(matmul(keys.inverse, key_directions), key_size, 0),
                 new_values = affine(matmul(values.inverse, value_directions), value_size, 0);
    head_columns(folding.key, group, D).copy_from(new_keys);
    head_columns(folding.value, group, D).copy_from(new_values);
    for (Size h = group * heads; h < (group + 1) * heads; ++h) {
      const Tensor query = matmul(head_rows(keys.root, h / queries, D).contiguous(), key_directions),  // [D, D]
          back = matmul(value_directions.transpose(0, 1), head_columns(values.root, h / queries, D).contiguous());
      folding.query.slice(0, h, h + 1).copy_from(affine(query, 1 / key_size, 0).reshape({1, D, D}));
      folding.output.slice(0, h, h + 1).copy_from(affine(back, 1 / value_size, 0).reshape({1, D, D}));
      // What head h sees on average must come out as before; only what varies is approximated.
      const Tensor seen = statistics.attended_mean.slice(0, h, h + 1).contiguous(),  // [1, G D]
          rows = head_rows(output, h, D).contiguous();
      const Tensor before = matmul(head_columns(seen, h / queries, D).contiguous(), rows),
                   after = matmul(matmul(seen, new_values), matmul(part(folding.output, h), rows));
      accumulate(subtract(before, after).reshape(folding.output_bias.shape()), folding.output_bias);
    }
  }
  return folding;
}

}  // namespace headshare
