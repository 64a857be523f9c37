#include "lesson.h"

#include <algorithm>

#include "core/error.h"
#include "tutorials/support/step.h"

namespace headshare::lesson {

// --- Step 1 ---

// [show row_major_strides]
Shape row_major_strides(const Shape& shape) {
  // [step 1] Fill in how far one step along each dimension goes.
  // [hint] One step along the last dimension goes to the next element: its stride is 1.
  // [hint] Go from the last dimension to the first: a step there jumps over all that the dimensions behind it hold.
  Shape strides = shape;
  Size stride = 1;
  for (int dimension = shape.rank() - 1; dimension >= 0; --dimension) {
    strides[dimension] = stride;
    stride *= shape[dimension];
  }
  return strides;
  // [end]
}
// [end show]

// [show position_of]
Size position_of(const View& x, const std::vector<Size>& index) {
  // [step 1] Find the place of one element, and refuse an index that lies outside.
  // The two messages stand in lesson.h; fail("words ", number, " words") throws them.
  // [hint] position_of: the formula stands above View in lesson.h. It starts at the offset.
  // [hint] An index is right when 0 <= index < extent. The type is signed, so check both sides.
  if (static_cast<int>(index.size()) != x.shape.rank())
    fail("position_of: ", index.size(), " indices for a view of shape ", x.shape);
  Size position = x.offset;
  for (int dimension = 0; dimension < x.shape.rank(); ++dimension) {
    const Size i = index[dimension];
    if (i < 0 || i >= x.shape[dimension])
      fail("position_of: index ", i, " of dimension ", dimension, " does not lie in ", x.shape);
    position += i * x.strides[dimension];
  }
  return position;
  // [end]
}
// [end show]

float& stored(const View& x, Size place) {
  const Size count = static_cast<Size>(x.storage->size());
  if (place < 0 || place >= count)
    fail("stored: place ", place, " lies outside the ", count, " numbers in memory; shape ", x.shape, ", strides ",
         x.strides, ", offset ", x.offset);
  return (*x.storage)[place];
}

float& at(const View& x, const std::vector<Size>& index) { return stored(x, position_of(x, index)); }

View make_view(const Shape& shape, std::vector<float> values) {
  if (static_cast<Size>(values.size()) != shape.count())
    fail("make_view: ", values.size(), " values do not fill the shape ", shape);
  return {std::make_shared<std::vector<float>>(std::move(values)), shape, row_major_strides(shape), 0};
}

View make_zeros(const Shape& shape) { return make_view(shape, std::vector<float>(shape.count())); }

// --- Step 2 ---

// [show transpose]
View transpose(const View& x, int a, int b) {
  // [step 2] Let dimensions a and b change places without moving a number.
  // [hint] Copy the handle. What of it says how long a dimension is, and what says how to step along it?
  View view = x;
  std::swap(view.shape[a], view.shape[b]);
  std::swap(view.strides[a], view.strides[b]);
  return view;
  // [end]
}
// [end show]

// [show slice]
View slice(const View& x, int dimension, Size begin, Size end) {
  // [step 2] See only positions begin .. end-1 of one dimension, without moving a number.
  // [hint] Where does the element lie that is now the first? The strides stay as they are.
  // [hint] x may be a slice itself: then its offset is not 0.
  if (begin < 0 || begin > end || end > x.shape[dimension])
    fail("slice: positions ", begin, " to ", end, " of dimension ", dimension, " do not lie in ", x.shape);
  View view = x;
  view.offset += begin * x.strides[dimension];
  view.shape[dimension] = end - begin;
  return view;
  // [end]
}
// [end show]

// [show diagonal]
View diagonal(const View& x) {
  // [step 2] See the diagonal of a matrix, without moving a number.
  // [hint] From element (i, i) to (i + 1, i + 1) is one step along each of the two dimensions.
  if (x.shape.rank() != 2) fail("diagonal: needs a matrix, not shape ", x.shape);
  View view = x;
  view.shape = {std::min(x.shape[0], x.shape[1])};
  view.strides = {x.strides[0] + x.strides[1]};
  return view;
  // [end]
}
// [end show]

// --- Step 3 ---

// [show positions]
std::vector<Size> positions(const View& x) {
  // [step 3] List the places of all elements in the order of their indices, for any number of dimensions.
  // [hint] Count like the odometer of a car: the last index runs fastest; full, it is 0 again and the one before moves.
  // [hint] A step along d adds strides[d], also the one too many; going back to 0 takes shape[d] * strides[d] away.
  std::vector<Size> result, index(x.shape.rank(), 0);
  Size position = x.offset;
  for (Size left = x.shape.count(); left > 0; --left) {
    result.push_back(position);
    for (int dimension = x.shape.rank() - 1; dimension >= 0; --dimension) {
      position += x.strides[dimension];
      if (++index[dimension] < x.shape[dimension]) break;
      position -= x.shape[dimension] * x.strides[dimension];
      index[dimension] = 0;
    }
  }
  return result;
  // [end]
}
// [end show]

std::vector<float> elements(const View& x) {
  std::vector<float> values;
  for (const Size place : positions(x)) values.push_back(stored(x, place));
  return values;
}

// [show is_contiguous]
bool is_contiguous(const View& x) {
  // [step 3] Find out, from shape and strides alone, whether the elements lie one behind the other.
  // [hint] is_contiguous: which strides would they have? Which of them may differ all the same?
  const Shape wanted = row_major_strides(x.shape);
  for (int dimension = 0; dimension < x.shape.rank(); ++dimension)
    if (x.shape[dimension] != 1 && x.strides[dimension] != wanted[dimension]) return x.shape.count() == 0;
  return true;
  // [end]
}
// [end show]

View contiguous(const View& x) { return is_contiguous(x) ? x : make_view(x.shape, elements(x)); }

// [show reshape]
View reshape(const View& x, const Shape& shape) {
  // [step 3] Give the same elements another shape, and copy them only where that cannot be helped.
  // [hint] reshape: one line decides about the copy, contiguous(x), which is given above.
  // [hint] reshape: x may be a contiguous slice, so keep its offset.
  if (shape.count() != x.shape.count())
    fail("reshape: ", x.shape, " has ", x.shape.count(), " elements, ", shape, " has ", shape.count());
  View view = contiguous(x);
  view.shape = shape;
  view.strides = row_major_strides(shape);
  return view;
  // [end]
}
// [end show]

// --- Step 4 ---

// [show common_shape]
Shape common_shape(const Shape& a, const Shape& b) {
  // [step 4] Find the shape that two operands take together, or refuse them.
  // [hint] Start from the shape with more dimensions. The last dimensions stand under each other: shape[-1], shape[-2].
  // [hint] For each dimension of the shorter shape there are three good cases: equal, the one is 1, the other is 1.
  Shape common = a.rank() >= b.rank() ? a : b;
  const Shape& shorter = a.rank() >= b.rank() ? b : a;
  for (int i = 1; i <= shorter.rank(); ++i) {
    if (common[-i] == 1)
      common[-i] = shorter[-i];
    else if (shorter[-i] != 1 && shorter[-i] != common[-i])
      fail("add: shapes ", a, " and ", b, " do not fit");
  }
  return common;
  // [end]
}
// [end show]

// [show broadcast_to]
View broadcast_to(const View& x, const Shape& shape) {
  // [step 4] See x under a larger shape in which its elements repeat, without moving a number.
  // [hint] broadcast_to: a step to the next repetition must arrive at the same number. How far does it go?
  // [hint] Two kinds of dimension repeat: those that x lacks, and those where x has extent 1 and shape has more.
  const int added = shape.rank() - x.shape.rank();
  if (added < 0) fail("broadcast_to: ", x.shape, " does not broadcast to ", shape);
  View view = x;
  view.shape = shape;
  view.strides = shape;
  for (int dimension = 0; dimension < shape.rank(); ++dimension) {
    const bool is_new = dimension < added;
    const Size extent = is_new ? 1 : x.shape[dimension - added];
    if (extent != 1 && extent != shape[dimension]) fail("broadcast_to: ", x.shape, " does not broadcast to ", shape);
    const bool repeats = is_new || extent != shape[dimension];
    view.strides[dimension] = repeats ? 0 : x.strides[dimension - added];
  }
  return view;
  // [end]
}
// [end show]

// [show add]
View add(const View& a, const View& b) {
  // [step 4] Add element by element, each operand seen under the common shape.
  // [hint] Everything is there: common_shape, broadcast_to, elements, make_view.
  const Shape shape = common_shape(a.shape, b.shape);
  std::vector<float> values = elements(broadcast_to(a, shape));
  const std::vector<float> others = elements(broadcast_to(b, shape));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += others[i];
  return make_view(shape, std::move(values));
  // [end]
}
// [end show]

// --- Step 5 ---

// [show sum_to]
View sum_to(const View& x, const Shape& shape) {
  // [step 5] Add up what a broadcast from `shape` had repeated.
  // [hint] Broadcast the RESULT to the shape of x: then many places of it are one place in memory.
  // [hint] Walk through x and through that view of the result side by side, and add.
  const View result = make_zeros(shape);
  const std::vector<Size> targets = positions(broadcast_to(result, x.shape));
  const std::vector<float> values = elements(x);
  for (std::size_t i = 0; i < values.size(); ++i) stored(result, targets[i]) += values[i];
  return result;
  // [end]
}
// [end show]

// [show sum]
View sum(const View& x, int dimension) {
  // [step 5] Add along one dimension, with the help of sum_to.
  // [hint] sum_to keeps the dimension as an extent of 1; shape.without(dimension) is the shape that the result has.
  Shape kept = x.shape;
  kept[dimension] = 1;
  return reshape(sum_to(x, kept), x.shape.without(dimension));
  // [end]
}
// [end show]

}  // namespace headshare::lesson
