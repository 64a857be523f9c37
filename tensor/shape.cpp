#include "tensor/shape.h"

#include <algorithm>
#include <limits>

#include "core/error.h"

namespace headshare {

Shape::Shape(std::initializer_list<Size> extents) : Shape(std::span(extents.begin(), extents.size())) {}

Shape::Shape(std::span<const Size> extents) {
  for (const Size extent : extents) append(extent);
}

void Shape::append(Size extent) {
  if (rank_ == max_rank) fail("shape: more than ", max_rank, " dimensions");
  if (extent < 0) fail("shape: an extent of ", extent, " is negative");
  extents_[static_cast<std::size_t>(rank_++)] = extent;
}

Size Shape::count() const {
  Size count = 1;
  for (const Size extent : *this) {
    if (extent > 0 && count > std::numeric_limits<Size>::max() / 8 / extent)
      fail("shape: ", *this, " has too many elements");
    count *= extent;
  }
  return count;
}

int Shape::index(int dimension) const {
  const int from_front = dimension < 0 ? dimension + rank_ : dimension;
  if (from_front < 0 || from_front >= rank_) fail("shape: ", *this, " has no dimension ", dimension);
  return from_front;
}

Shape Shape::without(int dimension) const {
  Shape rest;
  for (int i = 0; i < rank_; ++i)
    if (i != index(dimension)) rest.append((*this)[i]);
  return rest;
}

bool operator==(const Shape& a, const Shape& b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

std::string to_string(const Shape& shape) { return text(shape); }

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '[';
  for (const Size* extent = shape.begin(); extent != shape.end(); ++extent)
    out << (extent == shape.begin() ? "" : ", ") << *extent;
  return out << ']';
}

Shape contiguous_strides(const Shape& shape) {
  Shape strides = shape;
  Size stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

Shape broadcast_shape(const Shape& a, const Shape& b, const std::string& who) {
  Shape result = a.rank() >= b.rank() ? a : b;
  const Shape& shorter = a.rank() >= b.rank() ? b : a;
  for (int i = 1; i <= shorter.rank(); ++i) {
    Size& extent = result[-i];
    if (extent == 1)
      extent = shorter[-i];
    else if (shorter[-i] != 1 && shorter[-i] != extent)
      fail(who, ": shapes ", a, " and ", b, " do not fit: an extent must be equal or 1");
  }
  return result;
}

}  // namespace headshare
