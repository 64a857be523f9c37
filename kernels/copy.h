#pragma once

#include <array>
#include <cstdint>

#include "core/size.h"
#include "kernels/cpu.h"
#include "kernels/cuda.h"
#include "kernels/elementwise.h"

// Moving elements without computing on them. T is float, double, int32_t or BFloat16. Source and destination may not
// overlap.
namespace headshare::kernels {

// A view: element (i0, i1, ...) lies i0 strides[0] + i1 strides[1] + ... elements after its first.
// rank 0 is one element.
struct StridedSizes {
  int rank;
  std::array<Size, max_rank> extents, strides;
};

// Reads a view into contiguous memory.                                                  x: view; y: extents, contiguous
// Strides may be 0 (repeated) or negative.
template <class T>
void copy_strided(Cpu, const StridedSizes& sizes, const T* x, T* y);
template <class T>
void copy_strided(Cuda, const StridedSizes& sizes, const T* x, T* y);

// Writes contiguous memory into a view.                                                 x: extents, contiguous; y: view
// No two elements of the view may share an address: no stride of 0 along an extent above 1.
template <class T>
void scatter_strided(Cpu, const StridedSizes& sizes, const T* x, T* y);
template <class T>
void scatter_strided(Cuda, const StridedSizes& sizes, const T* x, T* y);

// y[i] = value.                                                                           y: [n]
template <class T>
void fill(Cpu, Size n, T value, T* y);
template <class T>
void fill(Cuda, Size n, T value, T* y);

// y[i] = x[i] in another type: any two different ones of those four.       x, y: [n]
// To int32_t: the fraction is dropped; values outside its range become its smallest or largest one, NaN becomes 0.
template <class From, class To>
void convert(Cpu, Size n, const From* x, To* y);
template <class From, class To>
void convert(Cuda, Size n, const From* x, To* y);

// y[i] += x[i], added in Wide<T> and rounded once; BFloat16 on Cuda only.                 x, y: [n]
template <class T>
void accumulate(Cpu, Size n, const T* x, T* y);
template <class T>
void accumulate(Cuda, Size n, const T* x, T* y);

// y[i, :] = x[index[i], :].                            index: [rows]; x: [x_rows, row_size]; y: [rows, row_size]
// Throws Error when an index is not in 0 .. x_rows - 1; on a GPU later (indices.h), and that row of y is not written.
template <class T>
void gather_rows(Cpu, Size rows, Size x_rows, Size row_size, const std::int32_t* index, const T* x, T* y);
template <class T>
void gather_rows(Cuda, Size rows, Size x_rows, Size row_size, const std::int32_t* index, const T* x, T* y);

}  // namespace headshare::kernels
