#pragma once

#include <span>

#include "core/size.h"
#include "kernels/attention.h"

// What decoding does with its caches besides reading them.
namespace headshare::kernels {

// y[b, position, head, d] = x[b, position, head, d], narrowed where Stored has fewer bits than T.
template <class T, class Stored>
void copy_heads(Cpu, Size batch, Size positions, Size heads, Size head_size, HeadsView<const T> x, HeadsView<Stored> y);

struct RowMove {
  Size from, to;
};

// Copies rows within x, one move after the other. A row is the first `used` elements of each of its `pieces`.
//                                                                          x: [rows, pieces, piece_size], contiguous
template <class Stored>
void move_rows(Cpu, std::span<const RowMove> moves, Size pieces, Size piece_size, Size used, Stored* x);

}  // namespace headshare::kernels
