#pragma once

#include "kernels/attention.h"
#include "kernels/cuda.cuh"

namespace headshare::kernels {

// How many keys query `target` of sentence `b` sees: always the first ones, since padding stands at the end and the
// future behind the query's own position.
__device__ inline Size visible_keys(const AttentionSizes& sizes, const AttentionMask& mask, Size b, Size target) {
  Size count = sizes.sources;
  if (mask.source_lengths != nullptr && mask.source_lengths[b] < count) count = mask.source_lengths[b];
  if (mask.order == AttentionMask::Order::causal) {
    const Size past = target + (sizes.sources - sizes.targets) + 1;
    if (past < count) count = past;
  }
  return count > 0 ? count : 0;
}

}  // namespace headshare::kernels
