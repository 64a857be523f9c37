#include "nn/alignment.h"

#include <cmath>
#include <numeric>

#include "tensor/elementwise.h"
#include "tensor/reduce.h"
#include "tensor/singular_values.h"

namespace headshare {
namespace {

constexpr TensorOptions exact{ElementType::float64, Device::cpu};

Tensor block(const Tensor& moments, Size row, Size column, Size D) {
  return head_columns(head_rows(moments, row, D), column, D).contiguous();
}

double trace(const Tensor& square) {
  double sum = 0;
  for (Size i = 0; i < square.extent(0); ++i) sum += square.at({i, i});
  return sum;
}

// How much of two heads can be turned onto each other, from 0 to 1: the sum of the singular values of X_i^T X_j over
// the heads' own sizes. Added to `total`.
void add_similarity(const Tensor& total, const Tensor& moments, Size heads, Size D) {
  for (Size i = 0; i < heads; ++i)
    for (Size j = 0; j < i; ++j) {
      const double sizes = std::sqrt(trace(block(moments, i, i, D)) * trace(block(moments, j, j, D)));
      const double both = sizes > 0 ? sum(singular_values(block(moments, i, j, D)).values).item() / sizes : 0;
      total.set({i, j}, total.at({i, j}) + both);
      total.set({j, i}, total.at({j, i}) + both);
    }
}

double alikeness(const Tensor& similarity, const std::vector<Size>& group, Size head) {
  double sum = 0;
  for (const Size other : group)
    if (other != head) sum += similarity.at({head, other});
  return sum;
}

}  // namespace

std::vector<std::vector<Size>> group_similar_heads(const Tensor& similarity, Size groups) {
  const Size heads = similarity.extent(0), size = heads / groups;
  std::vector<std::vector<Size>> result(static_cast<std::size_t>(groups));
  for (Size head = 0; head < heads; ++head) result[static_cast<std::size_t>(head / size)].push_back(head);
  bool traded = true;
  while (traded) {  // ends: every trade makes the sum larger, and there are finitely many groupings
    traded = false;
    for (std::size_t a = 0; a < result.size(); ++a)
      for (std::size_t b = a + 1; b < result.size(); ++b)
        for (Size& in_a : result[a])
          for (Size& in_b : result[b]) {
            const double now = alikeness(similarity, result[a], in_a) + alikeness(similarity, result[b], in_b);
            std::swap(in_a, in_b);
            const double then = alikeness(similarity, result[a], in_a) + alikeness(similarity, result[b], in_b);
            if (then > now + 1e-12)
              traded = true;
            else
              std::swap(in_a, in_b);
          }
  }
  return result;
}

std::vector<Tensor> align_group(const Tensor& moments, const std::vector<Size>& heads, Size D) {
  // Every head onto the first, then in turns each onto the sum of the others.
  std::vector<Tensor> turns;
  for (const Size head : heads) turns.push_back(nearest_orthogonal(block(moments, head, heads[0], D)));
  constexpr int rounds = 20;  // the fit then changes by less than 1 %
  for (int round = 0; round < rounds && heads.size() > 2; ++round)
    for (std::size_t i = 0; i < heads.size(); ++i) {
      const Tensor others = zeros({D, D}, exact);
      for (std::size_t j = 0; j < heads.size(); ++j)
        if (j != i) accumulate(matmul(block(moments, heads[i], heads[j], D), turns[j]), others);
      turns[i] = nearest_orthogonal(others);
    }
  return turns;
}

HeadFolding alignment_folding(const HeadStatistics& statistics, const AttentionMode& mode, Size groups) {
  const Size H = mode.heads, G = mode.kv_heads, D = statistics.queries.extent(-1), queries = H / G;
  const Tensor values = sum(statistics.attended, 0);  // [G D, G D]
  const Tensor similarity = zeros({G, G}, exact);
  add_similarity(similarity, statistics.keys, G, D);
  add_similarity(similarity, values, G, D);

  HeadFolding folding{zeros({G * D, G * D}, exact),
                      Tensor({H, D, D}, exact),
                      zeros({G * D, G * D}, exact),
                      Tensor({H, D, D}, exact),
                      {},
                      {}};
  Size place = 0;  // of a key/value head, afterwards
  for (const std::vector<Size>& group : group_similar_heads(similarity, groups)) {
    const std::vector<Tensor> key_turns = align_group(statistics.keys, group, D),
                              value_turns = align_group(values, group, D);
    for (std::size_t i = 0; i < group.size(); ++i, ++place) {
      head_columns(head_rows(folding.key, group[i], D), place, D).copy_from(key_turns[i]);
      head_columns(head_rows(folding.value, group[i], D), place, D).copy_from(value_turns[i]);
      for (Size query = 0; query < queries; ++query) {  // its query heads go with it
        const Size h = place * queries + query;
        folding.order.push_back(group[i] * queries + query);
        folding.query.slice(0, h, h + 1).copy_from(key_turns[i].reshape({1, D, D}));
        folding.output.slice(0, h, h + 1).copy_from(value_turns[i].transpose(0, 1).contiguous().reshape({1, D, D}));
      }
    }
  }
  return folding;
}

Transformer align_heads(const Transformer& model, const AttentionSites& attention, const Calibration& calibration) {
  Transformer aligned = clone(model);
  const std::vector<NamedAttention> before = attentions_of(model), after = attentions_of(aligned);
  for (std::size_t i = 0; i < before.size(); ++i) {
    const AttentionMode& mode = before[i].attention->mode;
    const Size kv_heads = attention.at(before[i].site).kv_heads;
    if (kv_heads == mode.kv_heads) continue;
    fold_heads(*before[i].attention, alignment_folding(calibration.at(before[i].name), mode, kv_heads),
               *after[i].attention);
  }
  return aligned;
}

}  // namespace headshare
