#pragma once

#include "tensor/tensor.h"

namespace headshare {

// Over one dimension, which disappears from the shape. Sums of bfloat16 numbers are float32.
Tensor sum(const Tensor& x, int dimension);
Tensor mean(const Tensor& x, int dimension);

// The largest along a dimension and where it first stands (int32), which the backward needs.
struct Maximum {
  Tensor value;
  Tensor index;
};
Maximum max(const Tensor& x, int dimension);
Tensor max_backward(const Tensor& index, const Tensor& dy, int dimension, const Shape& x_shape);

// Position of the first maximum of each row.                                   x: [..., n]   result: int32 [...]
Tensor argmax(const Tensor& x);
void argmax_into(const Tensor& x, const Tensor& index);  // the same into contiguous memory that is there already

// The `count` largest numbers of each row in order, and where they stand; of equal ones the first comes first.
//                                                                  x: [..., n]   value: [..., count]   index: int32
struct Largest {
  Tensor value;
  Tensor index;
};
Largest top_k(const Tensor& x, Size count);

// Over all elements, to rank 0.
Tensor sum(const Tensor& x);
Tensor mean(const Tensor& x);
double sum_of_squares(const Tensor& x);  // in float64, for norms

// Undoes a broadcast: adds up the repeated elements until x has this shape. The backward of every broadcasting
// operation.
Tensor sum_to(const Tensor& x, const Shape& shape);

}  // namespace headshare
