#pragma once

#include <vector>

#include "nn/attention.h"

namespace headshare {

// A change of basis inside the heads of one attention, written as matrices that its own weights take in. Nothing is
// added to the model: keys times a matrix A are the keys of a weight W_K A. float64, on the processor.
// H query heads, D numbers of a head, G key/value heads before and G' after.
struct HeadFolding {
  Tensor key;               // [G D, G' D]  new keys = keys of all heads side by side, times this
  Tensor query;             // [H, D, D]    new queries of head h = queries of head order[h], times this
  Tensor value;             // [G D, G' D]  as key
  Tensor output;            // [H, D, D]    new rows of W_O of head h = this times the rows of head order[h]
  Tensor output_bias;       // [C]          added to the output's bias; undefined: nothing
  std::vector<Size> order;  // [H]          query heads may change places, with their rows of W_O
};

// Writes the folded weights and biases of `from` into `to`, which has G' key/value heads.
void fold_heads(const Attention& from, const HeadFolding& folding, const Attention& to);

// Numbers of one head in a matrix whose rows, or columns, are those of all heads side by side: a view.
Tensor head_rows(const Tensor& matrix, Size head, Size head_size);
Tensor head_columns(const Tensor& matrix, Size head, Size head_size);

}  // namespace headshare
