#pragma once

#include "core/bfloat16.h"
#include "kernels/matmul_parts.h"

// The product of float32 matrices by the processor's matrix unit, where it has one (matrix_unit.h tells how float32
// gets there). matmul and matmul_packed take this way where it is faster; the order in which an element is summed
// depends on the sizes alone, never on the threads.
namespace headshare::kernels {

// Whether there is a unit, and packing and padding for it take less time than it saves.
bool suits_matrix_unit(Size m, Size n, Size k);

// C = activation(A B + bias).   packed_b: B as pack_for_unit leaves it, or null: then it is packed here, from p.b
// False: an element of A B + bias is not finite, and may be wrong: the pieces of an infinite number make NaN, and sums
// of pieces' products overflow where the exact sum does not. Vectors must do the product again.
bool multiply_by_unit(const Product<float>& p, const BFloat16* packed_b, Size threads);

Size packed_size_for_unit(Size k, Size n);  // in numbers
void pack_for_unit(Size k, Size n, const MatrixView<float>& b, BFloat16* packed);

}  // namespace headshare::kernels
