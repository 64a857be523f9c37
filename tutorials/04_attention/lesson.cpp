#include "lesson.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/elementwise.h"
#include "tensor/matmul.h"
#include "tutorials/support/step.h"

namespace headshare::lesson {
namespace {

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

}  // namespace

Matrix::Matrix(const Tensor& memory_, float* first_, Size rows_, Size columns_, Size row_stride_, Size column_stride_)
    : memory(memory_),
      first(first_),
      rows(rows_),
      columns(columns_),
      row_stride(row_stride_),
      column_stride(column_stride_) {}

Matrix::Matrix(const Tensor& x) : memory(x) {
  if (x.rank() != 2) fail("matrix: a tensor of shape ", x.shape(), ", needed rank 2");
  first = x.strided_data<float>();
  rows = x.extent(0);
  columns = x.extent(1);
  row_stride = x.stride(0);
  column_stride = x.stride(1);
}

// --- Step 1: how alike? ---

// [show scores]
Tensor dot_products(const Matrix& query, const Matrix& key) {
  if (query.columns != key.columns)
    fail("dot_products: queries of ", query.columns, " numbers, keys of ", key.columns, ", needed as many");
  const Tensor result = zeros({query.rows, key.rows});  // [T, S]
  const Matrix scores = result;
  // [step 1] Fill scores(t, s) with the dot product of query row t and key row s.
  // [hint] Three loops: over t, over s, and over the numbers d of a row.
  // [hint] scores(t, s) += query(t, d) * key(s, d): both rows are read along d. It starts at 0.
  for (Size t = 0; t < query.rows; ++t)
    for (Size s = 0; s < key.rows; ++s)
      for (Size d = 0; d < query.columns; ++d) scores(t, s) += query(t, d) * key(s, d);
  // [end]
  return result;
}
// [end show]

// --- Step 2: shares, and a mixture ---

// [show softmax]
Tensor softmax_rows(const Matrix& scores) {
  const Tensor result = zeros({scores.rows, scores.columns});  // [T, S]
  const Matrix weights = result;
  // [step 2] Turn each row of scores into shares that are positive and sum to 1.
  // exp of a large number is infinity. Subtract the row's largest score first: the shares stay the same.
  // A row of nothing but minus infinity stays as it is: zeros.
  // [hint] Three passes over a row: find the largest; write exp(score - largest) and sum it; divide by the sum.
  // [hint] Minus infinity minus minus infinity is not a number: skip a row whose largest is minus infinity.
  for (Size t = 0; t < scores.rows; ++t) {
    float largest = minus_infinity;
    for (Size s = 0; s < scores.columns; ++s) largest = std::max(largest, scores(t, s));
    if (largest == minus_infinity) continue;
    float sum = 0;
    for (Size s = 0; s < scores.columns; ++s) sum += weights(t, s) = std::exp(scores(t, s) - largest);
    for (Size s = 0; s < scores.columns; ++s) weights(t, s) /= sum;
  }
  // [end]
  return result;
}
// [end show]

// [show mix]
void mix_into(const Matrix& weights, const Matrix& value, const Matrix& output) {
  if (weights.columns != value.rows || output.rows != weights.rows || output.columns != value.columns)
    fail("mix_into: weights [", weights.rows, ", ", weights.columns, "], values [", value.rows, ", ", value.columns,
         "] and output [", output.rows, ", ", output.columns, "] do not fit");
  // [step 2] Write into output row t the mixture of all value rows, each in its share weights(t, s).
  // [hint] For each number of the output a sum over s. Start it at 0: old numbers may lie in the output.
  for (Size t = 0; t < weights.rows; ++t)
    for (Size d = 0; d < value.columns; ++d) {
      float sum = 0;
      for (Size s = 0; s < value.rows; ++s) sum += weights(t, s) * value(s, d);
      output(t, d) = sum;
    }
  // [end]
}
// [end show]

// --- Step 3: scaling ---

// [show scaling]
Tensor scaled_scores(const Matrix& query, const Matrix& key) {
  const Tensor result = dot_products(query, key);
  // [step 3] Divide every score by the number that keeps their variance at 1, whatever D is.
  // A Matrix of `result` reaches its numbers, as in step 1.
  // [hint] If the numbers of q and k have variance 1, a sum of D products has variance D. And its deviation?
  // [hint] Divide by the square root of query.columns.
  const Matrix scores = result;
  const float scale = 1 / std::sqrt(static_cast<float>(query.columns));
  for (Size t = 0; t < scores.rows; ++t)
    for (Size s = 0; s < scores.columns; ++s) scores(t, s) *= scale;
  // [end]
  return result;
}
// [end show]

// [show sharpness]
Sharpness sharpness(const Matrix& weights) {
  Sharpness mean{0, 0, 0};
  // [step 3] Average over the rows: the largest weight, the entropy in bits, and the slope.
  // The three formulas stand in lesson.h. A weight of 0 adds nothing to the entropy.
  // [hint] 0 log2 0 is not a number in C++, but its limit is 0: leave such a weight out.
  // [hint] Add over all rows, divide by weights.rows at the end.
  for (Size t = 0; t < weights.rows; ++t) {
    double largest = 0;
    for (Size s = 0; s < weights.columns; ++s) {
      const double w = weights(t, s);
      largest = std::max(largest, w);
      if (w > 0) mean.entropy -= w * std::log2(w);
      mean.slope += w * (1 - w);
    }
    mean.largest += largest;
  }
  for (double* number : {&mean.largest, &mean.entropy, &mean.slope}) *number /= static_cast<double>(weights.rows);
  // [end]
  return mean;
}
// [end show]

// --- Step 4: masks ---

// [show causal]
Tensor causal_mask(Size length) {
  const Tensor result = zeros({length, length});
  // [step 4] Hide the future: position t may look at position s only where s <= t.
  // [hint] The matrix starts with zeros. Which numbers of row t must become minus_infinity?
  // [hint] Those from s = t + 1 on: a word sees itself.
  const Matrix mask = result;
  for (Size t = 0; t < length; ++t)
    for (Size s = t + 1; s < length; ++s) mask(t, s) = minus_infinity;
  // [end]
  return result;
}
// [end show]

// [show padding]
Tensor padding_mask(Size targets, Size sources, Size sentence_length) {
  const Tensor result = zeros({targets, sources});
  // [step 4] Hide the padding: no query may look at a key from position sentence_length on.
  // [hint] Whole columns: the same for every query. A sentence_length above `sources` hides nothing.
  const Matrix mask = result;
  for (Size t = 0; t < targets; ++t)
    for (Size s = sentence_length; s < sources; ++s) mask(t, s) = minus_infinity;
  // [end]
  return result;
}
// [end show]

// Two masks on top of each other: minus infinity plus anything is minus infinity.
Tensor mask_of(const Mask& mask, Size b, Size targets, Size sources) {
  const Size length = mask.source_lengths.defined() ? mask.source_lengths.data<std::int32_t>()[b] : sources;
  const Tensor result = padding_mask(targets, sources, length);
  if (mask.order == causal) {
    if (targets != sources) fail("mask_of: a causal mask of ", targets, " queries and ", sources, " keys");
    accumulate(causal_mask(targets), result);
  }
  return result;
}

// [show weights]
Tensor masked_weights(const Matrix& query, const Matrix& key, const Matrix& mask) {
  if (mask.rows != query.rows || mask.columns != key.rows)
    fail("masked_weights: a mask of [", mask.rows, ", ", mask.columns, "], needed [", query.rows, ", ", key.rows, "]");
  // [step 4] Return the weights: scaled scores, plus the mask, through the softmax.
  // [hint] The mask goes in before the softmax. Zeroing weights after it would leave rows that do not sum to 1.
  const Tensor result = scaled_scores(query, key);
  const Matrix scores = result;
  for (Size t = 0; t < scores.rows; ++t)
    for (Size s = 0; s < scores.columns; ++s) scores(t, s) += mask(t, s);
  return softmax_rows(scores);
  // [end]
}
// [end show]

// --- Step 5: heads ---

// [show head]
Matrix head_of(const Tensor& x, Size b, Size h) {
  if (x.rank() != 4) fail("head_of: a tensor of shape ", x.shape(), ", needed [B, T, H, D]");
  // [step 5] Return the matrix [T, D] of head h of sentence b, in place: where it begins, and its two strides.
  // Element (b, t, h, d) lies at x.strided_data<float>()[b * x.stride(0) + t * x.stride(1) + ...].
  // [hint] Put t = 0 and d = 0: that is where the head begins. Then: how far is it to the next t? To the next d?
  // [hint] Matrix(x, first, rows, columns, row stride, column stride); the rows are the positions t.
  float* first = x.strided_data<float>() + b * x.stride(0) + h * x.stride(2);
  return Matrix(x, first, x.extent(1), x.extent(3), x.stride(1), x.stride(3));
  // [end]
}
// [end show]

// [show attend]
Tensor attend_heads(const Tensor& query, const Tensor& key, const Tensor& value, const Mask& mask) {
  const Tensor output(query.shape(), query.options());  // [B, T, H, D]
  // [step 5] For each sentence and each head: its weights, then the mixture of its values, written in place.
  // The mask belongs to the sentence, mask_of(mask, b, T, S), and is the same for all of its heads.
  // [hint] Two loops, b and h. masked_weights() of two heads, then mix_into() into head_of(output, b, h).
  for (Size b = 0; b < query.extent(0); ++b) {
    const Tensor hidden = mask_of(mask, b, query.extent(1), key.extent(1));  // [T, S]
    for (Size h = 0; h < query.extent(2); ++h) {
      const Tensor weights = masked_weights(head_of(query, b, h), head_of(key, b, h), hidden);  // [T, S]
      mix_into(weights, head_of(value, b, h), head_of(output, b, h));
    }
  }
  // [end]
  return output;
}
// [end show]

// --- Step 6: the layer ---

namespace {

Tensor project(const Tensor& x, const Linear& by) {
  return linear(x, by.weight.value(), by.bias.value(), Activation::none).y;
}

}  // namespace

// [show layer]
Tensor attention_layer(const Tensor& x, const Tensor& source, const Attention& layer, const Mask& mask) {
  const Size B = x.extent(0), T = x.extent(1), S = source.extent(1), H = layer.mode.heads, D = layer.head_size();
  if (layer.mode.kv_heads != H) fail("attention_layer: ", H, " heads share ", layer.mode.kv_heads, " key/value heads");
  // [step 6] Project to queries, keys and values, split into heads, attend, put the heads together, project back.
  // project(x, layer.query) is x W + b. Splitting is y.reshape({B, T, H, D}) of a [B, T, H * D]: a view.
  // [hint] Who asks? Only the queries come from x. Keys and values both come from source.
  // [hint] Together again: reshape({B, T, H * D}); then layer.output.
  const Tensor query = project(x, layer.query).reshape({B, T, H, D});
  const Tensor key = project(source, layer.key).reshape({B, S, H, D});
  const Tensor value = project(source, layer.value).reshape({B, S, H, D});
  const Tensor heads = attend_heads(query, key, value, mask);  // [B, T, H, D]
  return project(heads.reshape({B, T, H * D}), layer.output);  // [B, T, C]
  // [end]
}
// [end show]

}  // namespace headshare::lesson
