#pragma once

#include <algorithm>

#include "core/size.h"

// Work shared between the processor's cores. Which thread does a piece never changes what the piece computes: pieces
// have fixed sizes, so results are the same bits for any number of threads.
namespace headshare::kernels {

// Starting and joining a team of threads takes a few microseconds. Below this many simple element operations (a load or
// two, an addition, a store: about 0.2 ns each) one thread is done sooner than that.
constexpr Size parallel_threshold = 32 * 1024;

// body(row) for every row, in any order, on all cores when there is enough to do. cost_per_row is in element
// operations; an exp counts as about four.
template <class Body>
void parallel_rows(Size rows, Size cost_per_row, const Body& body) {
  if (rows <= 1 || rows * cost_per_row < parallel_threshold) {
    for (Size row = 0; row < rows; ++row) body(row);
    return;
  }
#pragma omp parallel for schedule(static)
  for (Size row = 0; row < rows; ++row) body(row);
}

// body(first, count) for consecutive blocks that cover 0 .. n - 1. All blocks but the last have the same size, a
// multiple of every vector width.
template <class Body>
void parallel_blocks(Size n, Size cost_per_element, const Body& body) {
  constexpr Size block = 4096;
  parallel_rows((n + block - 1) / block, block * cost_per_element,
                [&](Size i) { body(i * block, std::min(block, n - i * block)); });
}

}  // namespace headshare::kernels
