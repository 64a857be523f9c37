#pragma once

#include <memory>
#include <vector>

#include "tensor/shape.h"

// Lesson 1: a tensor is a row of numbers and a way to find them. Shape is the library's: up to eight numbers, one for
// each dimension, that compare with == and print as "[2, 3]". Every dimension may also be counted from the back, -1 is
// the last one; Shape does that by itself and fails where there is no such dimension.
namespace headshare::lesson {

// [show view]
// A handle on shared memory. Element (i, j, ...) is (*storage)[offset + i * strides[0] + j * strides[1] + ...].
// Copying a View shares the numbers, it does not copy them.
struct View {
  std::shared_ptr<std::vector<float>> storage;
  Shape shape;      // how many elements along each dimension
  Shape strides;    // how far one step along each dimension goes, in elements; may be 0, and larger than needed
  Size offset = 0;  // where element (0, 0, ...) lies
};
// [end show]

// --- Step 1: where does element (i, j) live? ---

// Strides of elements that lie one behind the other in the order of their indices, the last index running fastest.
//   [2, 3, 4] -> [12, 4, 1]
Shape row_major_strides(const Shape& shape);

// The place of one element in the storage. Fails unless there is one index for each dimension:
//   "position_of: 2 indices for a view of shape [2, 3, 4]"
// and each lies inside:
//   "position_of: index 3 of dimension 1 does not lie in [2, 3]"
Size position_of(const View& x, const std::vector<Size>& index);

// Given: the number at one place of the storage (outside it fails and says so, where C++ would read garbage), the
// element with these indices, a view of new numbers (as many as the shape holds), and a view of zeros.
float& stored(const View& x, Size place);
float& at(const View& x, const std::vector<Size>& index);
View make_view(const Shape& shape, std::vector<float> values);
View make_zeros(const Shape& shape);

// --- Step 2: why does a transpose cost nothing? All of these see the storage of x. ---

// Dimensions a and b change places.                                                     x: [.., n, .., m, ..]
//                                                                                       result: [.., m, .., n, ..]
View transpose(const View& x, int a, int b);

// Positions begin .. end-1 of one dimension. Fails unless 0 <= begin <= end <= extent:
//   "slice: positions 2 to 5 of dimension 1 do not lie in [3, 4]"
View slice(const View& x, int dimension, Size begin, Size end);

// Elements (0, 0), (1, 1), ... of a matrix.                                             x: [n, m]; result: [min(n, m)]
// Fails for another rank: "diagonal: needs a matrix, not shape [2, 3, 4]"
View diagonal(const View& x);

// --- Step 3: when does it cost after all? ---

// The places of all elements in the storage, in the order of their indices, the last index running fastest.
// Nothing for a view without elements; one place for a view of rank 0.
std::vector<Size> positions(const View& x);

// Do the elements lie one behind the other in the order of their indices? Where they start does not matter, nor does
// the stride of a dimension with one element: nobody ever takes that step. A view without elements is contiguous.
bool is_contiguous(const View& x);

// x itself where it is contiguous, otherwise a contiguous copy.
View contiguous(const View& x);

// The same elements in the same order under another shape; copies only where x is not contiguous. Fails unless both
// shapes hold as many elements: "reshape: [2, 3] has 6 elements, [4] has 4"
View reshape(const View& x, const Shape& shape);

// Given: all elements in the order of their indices.
std::vector<float> elements(const View& x);

// --- Step 4: how do you add one row to every row? ---

// The shape that two operands take together. They are aligned at the right; an extent of 1, or a missing dimension,
// repeats to match the other.   [4, 1], [3] -> [4, 3]
// Fails otherwise: "add: shapes [2, 3] and [4] do not fit"
Shape common_shape(const Shape& a, const Shape& b);

// x seen under the common shape: repeats extents of 1 and adds dimensions at the front. Sees the storage of x.
// Fails where x does not fit: "broadcast_to: [3] does not broadcast to [3, 4]"
View broadcast_to(const View& x, const Shape& shape);

// Element by element, shapes broadcast against each other; new numbers.                 result: common_shape
View add(const View& a, const View& b);

// --- Step 5: what undoes a broadcast? ---

// Adds up the elements that a broadcast from `shape` to the shape of x had made of one; x stays as it is.
// Fails where x is not a broadcast of that shape.
View sum_to(const View& x, const Shape& shape);

// The sum along one dimension, which disappears from the shape.                     x: [.., n, ..]; result: [.., ..]
View sum(const View& x, int dimension);

}  // namespace headshare::lesson
