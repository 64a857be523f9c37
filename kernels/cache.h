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

  // The place of position *first + `position`.
  constexpr Size of(Size position) const { return ((first != nullptr ? *first : 0) + position) % capacity; }
};

// For keys and for values, of the same strides or not: with x what comes and y the cache,
//   y[b, (*first + position) % capacity, head, d] = x[b, position, head, d]
// narrowed where Stored has fewer bits than T. positions: at most capacity. Both at once, because on a GPU that is one
// launch, not two, in each layer of a step.
//
// To int8, on Cuda: what lies in y is round(x / scale), ties to even, with scale = max_d |x| / 127 of each head vector,
// which y.scales keeps; 0 for a vector of zeros. So 127 steps reach to the largest number, and the error of a number is
// at most half a step (Jacob et al. 2018, "Quantization and Training of Neural Networks ...", symmetric). A vector
// with a number that is not finite gets a scale that is not finite.
template <class T, class Stored>
void copy_keys_values(Cpu, Size batch, Size positions, Size heads, Size head_size, HeadsView<const T> key,
                      HeadsView<Stored> key_cache, HeadsView<const T> value, HeadsView<Stored> value_cache,
                      RingPosition place);
template <class T, class Stored>
void copy_keys_values(Cuda, Size batch, Size positions, Size heads, Size head_size, HeadsView<const T> key,
                      HeadsView<Stored> key_cache, HeadsView<const T> value, HeadsView<Stored> value_cache,
                      RingPosition place);

struct RowMove {
  Size from, to;
};

// Copies rows within x, one move after the other. A row is the first `used` elements of each of its `pieces`: of a
// cache [rows, G, capacity, D], or of the scales [rows, G, capacity] of one of int8.
//                                                                          x: [rows, pieces, piece_size], contiguous
template <class Stored>
void move_rows(Cpu, std::span<const RowMove> moves, Size pieces, Size piece_size, Size used, Stored* x);
template <class Stored>
void move_rows(Cuda, std::span<const RowMove> moves, Size pieces, Size piece_size, Size used, Stored* x);

}  // namespace headshare::kernels
