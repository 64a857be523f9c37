#pragma once

#include "nn/attention.h"
#include "tensor/tensor.h"

// Lesson 4: attention, from a dot product to the layer. T positions ask (queries), S positions answer (keys and
// values), D numbers each. Everything is float32 on the CPU.
namespace headshare::lesson {

// [show matrix]
// Rows and columns somewhere in a tensor's memory: a view, never a copy. Works as the parameter of a function that is
// called with a tensor of rank 2.
struct Matrix {
  Tensor memory;       // keeps the numbers alive
  float* first;        // the number at (0, 0)
  Size rows, columns;  // extents
  Size row_stride;     // from one row to the next, in numbers
  Size column_stride;  // from one column to the next, in numbers

  // All of a float32 tensor of rank 2, whatever its strides. Fails on another rank or type.
  Matrix(const Tensor& x);  // NOLINT: meant to convert
  Matrix(const Tensor& memory, float* first, Size rows, Size columns, Size row_stride, Size column_stride);

  float& operator()(Size row, Size column) const { return first[row * row_stride + column * column_stride]; }
};
// [end show]

// --- Step 1 ---

// Every query with every key: result(t, s) = sum over d of query(t, d) key(s, d). Fails where they differ in D.
//                                                                       query: [T, D]   key: [S, D]   result: [T, S]
Tensor dot_products(const Matrix& query, const Matrix& key);

// --- Step 2 ---

// Each row as shares that sum to 1: exp(x_s) / sum over j of exp(x_j). Any size of numbers; minus infinity is a share
// of 0, and a row of nothing else is a row of zeros.                                        scores, result: [T, S]
Tensor softmax_rows(const Matrix& scores);

// output(t, d) = sum over s of weights(t, s) value(s, d), written where `output` lies. What was there does not count.
//                                                              weights: [T, S]   value: [S, D]   output: [T, D]
void mix_into(const Matrix& weights, const Matrix& value, const Matrix& output);

// --- Step 3 ---

// dot_products / sqrt(D).                                                query: [T, D]   key: [S, D]   result: [T, S]
Tensor scaled_scores(const Matrix& query, const Matrix& key);

// How decided some weights are: the mean over the rows of three numbers.
struct Sharpness {
  double largest;  // the largest weight
  double entropy;  // - sum over s of w_s log2 w_s, in bits: 0 for one word alone, log2 S for all alike
  double slope;    // sum over s of w_s (1 - w_s): how much the weights still answer to the scores; 0 is saturated
};
Sharpness sharpness(const Matrix& weights);  // [T, S]

// --- Step 4: a mask is added to the scores: 0 where a query may look, minus infinity where not ---

Tensor causal_mask(Size length);                                        // [length, length]: position t sees s <= t
Tensor padding_mask(Size targets, Size sources, Size sentence_length);  // [T, S]: keys from sentence_length on hidden
Tensor mask_of(const Mask& mask, Size b, Size targets, Size sources);   // [T, S]: both, as the library's Mask asks

// The weights of attention: the softmax of scaled scores plus mask.  query: [T, D]   key: [S, D]   mask, result: [T, S]
Tensor masked_weights(const Matrix& query, const Matrix& key, const Matrix& mask);

// --- Step 5 ---

// Head h of sentence b, as it lies in memory: no copy.                       x: [B, T, H, D], any strides   [T, D]
Matrix head_of(const Tensor& x, Size b, Size h);

// Attention of each head for itself.                   query: [B, T, H, D]   key, value: [B, S, H, D]   [B, T, H, D]
Tensor attend_heads(const Tensor& query, const Tensor& key, const Tensor& value, const Mask& mask);

// --- Step 6 ---

// What nn/attention.h computes with these parameters and as many key/value heads as query heads: `x` asks, `source`
// answers. Fails where the layer's heads share keys.                  x: [B, T, C]   source: [B, S, C]   [B, T, C]
Tensor attention_layer(const Tensor& x, const Tensor& source, const Attention& layer, const Mask& mask);

}  // namespace headshare::lesson
