#pragma once

#include "kernels/attention.h"
#include "kernels/cuda.cuh"

namespace headshare::kernels {

// Neighbouring keys: begin, ..., end - 1; none where end = begin.
struct KeyRange {
  int begin, end;

  __device__ bool contains(int key) const { return key >= begin && key < end; }
};

// The keys that query `target` of sentence `b` sees: padding stands at the end, the future behind the query's own
// position, and what left its window before all others. A later target's begin and end not earlier.
__device__ inline KeyRange visible_keys(const AttentionSizes& sizes, const AttentionMask& mask, Size b, Size target) {
  Size begin = 0, end = sizes.sources;
  if (mask.source_lengths != nullptr && mask.source_lengths[b] < end) end = mask.source_lengths[b];
  if (mask.order == AttentionMask::Order::causal) {
    const Size past = target + (sizes.sources - sizes.targets) + 1;
    if (past < end) end = past;
    if (mask.window > 0 && past > mask.window) begin = past - mask.window;
  }
  if (end < 0) end = 0;
  return {static_cast<int>(begin < end ? begin : end), static_cast<int>(end)};
}

}  // namespace headshare::kernels
