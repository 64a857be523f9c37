#pragma once

#include <array>
#include <initializer_list>
#include <ostream>
#include <span>
#include <string>

#include "core/size.h"

namespace headshare {

constexpr int max_rank = 8;

// The extents of a tensor, outermost first: [B, T, C]. A small value: no allocation, compared by ==.
// Strides, which are also one Size per dimension, use the same type.
class Shape {
 public:
  Shape() = default;  // rank 0: a single number
  Shape(std::initializer_list<Size> extents);
  explicit Shape(std::span<const Size> extents);

  int rank() const { return rank_; }
  Size count() const;  // product of all extents; 1 for rank 0

  // dimension: 0 .. rank-1 from the front, -1 .. -rank from the back. Fails outside.
  Size operator[](int dimension) const { return extents_[static_cast<std::size_t>(index(dimension))]; }
  Size& operator[](int dimension) { return extents_[static_cast<std::size_t>(index(dimension))]; }
  int index(int dimension) const;  // the same dimension, counted from the front

  void append(Size extent);
  Shape without(int dimension) const;  // that dimension removed
  const std::array<Size, max_rank>& array() const { return extents_; }
  const Size* begin() const { return extents_.data(); }
  const Size* end() const { return extents_.data() + rank_; }

  friend bool operator==(const Shape& a, const Shape& b);

 private:
  std::array<Size, max_rank> extents_{};
  int rank_ = 0;
};

std::string to_string(const Shape& shape);  // "[2, 3]"
std::ostream& operator<<(std::ostream& out, const Shape& shape);

// Strides of a contiguous tensor: the last dimension has stride 1.
Shape contiguous_strides(const Shape& shape);

// The shape two operands take together, as NumPy does: aligned at the right, an extent of 1 repeats. Fails otherwise.
Shape broadcast_shape(const Shape& a, const Shape& b, const std::string& who);

}  // namespace headshare
