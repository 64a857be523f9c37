#pragma once

#include <algorithm>
#include <array>

#include "core/size.h"
#include "kernels/elementwise.h"

// Walking over several arrays at once that have the same extents and different strides.
namespace headshare::kernels {

template <std::size_t operands>
struct Strided {
  int rank;
  std::array<Size, max_rank> extents;
  std::array<std::array<Size, max_rank>, operands> strides;
};

inline Size element_count(int rank, const std::array<Size, max_rank>& extents) {
  Size count = 1;
  for (int d = 0; d < rank; ++d) count *= extents[d];
  return count;
}

inline std::array<Size, max_rank> contiguous_strides(int rank, const std::array<Size, max_rank>& extents) {
  std::array<Size, max_rank> strides{};
  Size stride = 1;
  for (int d = rank - 1; d >= 0; --d) {
    strides[d] = stride;
    stride *= extents[d];
  }
  return strides;
}

// The same elements with as few dimensions as possible, but at least two: neighbours that every operand walks through
// without a jump become one, dimensions of extent 1 vanish. Long inner loops are fast ones.
template <std::size_t operands>
Strided<operands> simplify(const Strided<operands>& from) {
  Strided<operands> to{};
  for (int d = 0; d < from.rank; ++d) {
    if (from.extents[d] == 1) continue;
    const int last = to.rank - 1;
    bool joins = to.rank > 0;
    for (std::size_t k = 0; k < operands && joins; ++k)
      joins = to.strides[k][last] == from.strides[k][d] * from.extents[d];
    const int into = joins ? last : to.rank++;
    to.extents[into] = joins ? to.extents[into] * from.extents[d] : from.extents[d];
    for (std::size_t k = 0; k < operands; ++k) to.strides[k][into] = from.strides[k][d];
  }
  for (; to.rank < 2; ++to.rank) {
    std::rotate(to.extents.begin(), to.extents.end() - 1, to.extents.end());
    to.extents[0] = 1;
    for (auto& strides : to.strides) std::rotate(strides.begin(), strides.end() - 1, strides.end());
  }
  return to;
}

}  // namespace headshare::kernels
