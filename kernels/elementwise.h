#pragma once

#include <array>

#include "core/size.h"
#include "kernels/cpu.h"
#include "kernels/cuda.h"
#include "kernels/elementwise_functions.h"
#include "kernels/wide.h"

// T is float or double; on Cuda, of what a model in bfloat16 needs, also BFloat16, computed in float and rounded once
// (at the end of elementwise.cu). Op is one of elementwise_functions.h: map<Add>(Cpu{}, n, a, b, y).
namespace headshare::kernels {

constexpr int max_rank = 8;

// y[i] = Op(x[i]).                                                                        x, y: [n]; y may be x
// In float32 Exp, Sigmoid and Gelu are computed a register at a time, within 4e-7 of the result for Exp and of 1 for
// Sigmoid; Gelu and GeluBackward within 4e-7 of max(1, |x|), times |dy|.
template <class Op, class T>
void map(Cpu, Size n, const T* x, T* y);
template <class Op, class T>
void map(Cuda, Size n, const T* x, T* y);

// y[i] = Op(a[i], b[i]).                                                                  a, b, y: [n]; y may be a or b
template <class Op, class T>
void map(Cpu, Size n, const T* a, const T* b, T* y);
template <class Op, class T>
void map(Cuda, Size n, const T* a, const T* b, T* y);

// How two operands stretch to one shape: strides in elements, 0 along a dimension that is repeated. Any strides,
// negative ones too; only y is contiguous. rank 0 is a single element.
struct BroadcastSizes {
  int rank;
  std::array<Size, max_rank> extents, a_strides, b_strides;
};

// y[i] = Op(a[i], b[i]) for every index i of the common shape.                            y: extents, contiguous
// y may be an operand that has the same strides as y; it may not overlap an operand otherwise.
template <class Op, class T>
void map(Cpu, const BroadcastSizes& sizes, const T* a, const T* b, T* y);
template <class Op, class T>
void map(Cuda, const BroadcastSizes& sizes, const T* a, const T* b, T* y);

// y[i] = scale x[i] + shift.                                                              x, y: [n]; y may be x
template <class T>
void affine(Cpu, Size n, const T* x, Wide<T> scale, Wide<T> shift, T* y);
template <class T>
void affine(Cuda, Size n, const T* x, Wide<T> scale, Wide<T> shift, T* y);

}  // namespace headshare::kernels
