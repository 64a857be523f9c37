#pragma once

#include "nn/calibration.h"
#include "nn/head_folding.h"

namespace headshare {

// The first half of "align, then merge" (arXiv 2412.20677). Two heads may compute the same thing in different
// coordinates, and then their mean is neither. Scores q . k do not change when a head's queries and keys are turned by
// the same orthogonal matrix, nor does the output when values are turned and the rows of W_O turned back. So: put heads
// together that resemble each other, and turn the heads of each group onto each other, before anything is averaged.

// Which of `heads` key/value heads belong together, in `groups` groups of equal size: pairs of heads trade places as
// long as that makes the groups more alike. similarity: [heads, heads], symmetric.
std::vector<std::vector<Size>> group_similar_heads(const Tensor& similarity, Size groups);

// Orthogonal matrices, one for each listed head, that turn the heads onto their common mean (generalized Procrustes,
// Gower 1975). moments: [G D, G D], of what the heads hold side by side.                                each [D, D]
std::vector<Tensor> align_group(const Tensor& moments, const std::vector<Size>& heads, Size head_size);

// The folding that regroups and turns the heads of one attention. It computes the same as before: no head is merged.
HeadFolding alignment_folding(const HeadStatistics& statistics, const AttentionMode& mode, Size groups);

// The same model, to rounding, with the heads of every attention that is to be converted to `attention` aligned for it.
Transformer align_heads(const Transformer& model, const AttentionSites& attention, const Calibration& calibration);

}  // namespace headshare
