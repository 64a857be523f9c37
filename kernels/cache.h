#pragma once

#include <cstdint>
#include <span>

#include "core/size.h"
#include "kernels/attention.h"

// What decoding does with its caches besides reading them.
namespace headshare::kernels {

// A cache as a ring of `capacity` places: once all are full, the next position takes the place of the oldest.
struct RingPosition {
  Size capacity;
  const std::int32_t* first = nullptr;  // a number in the device's memory, as in embedding.h; null: 0
};

// y[b, (*first + position) % capacity, head, d] = x[b, position, head, d], narrowed where Stored has fewer bits than T.
// positions: at most capacity.
template <class T, class Stored>
void copy_heads(Cpu, Size batch, Size positions, Size heads, Size head_size, HeadsView<const T> x, HeadsView<Stored> y,
                RingPosition place);
template <class T, class Stored>
void copy_heads(Cuda, Size batch, Size positions, Size heads, Size head_size, HeadsView<const T> x, HeadsView<Stored> y,
                RingPosition place);

struct RowMove {
  Size from, to;
};

// Copies rows within x, one move after the other. A row is the first `used` elements of each of its `pieces`.
//                                                                          x: [rows, pieces, piece_size], contiguous
template <class Stored>
void move_rows(Cpu, std::span<const RowMove> moves, Size pieces, Size piece_size, Size used, Stored* x);
template <class Stored>
void move_rows(Cuda, std::span<const RowMove> moves, Size pieces, Size piece_size, Size used, Stored* x);

}  // namespace headshare::kernels
