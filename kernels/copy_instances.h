#pragma once

// Included at the end of copy.cpp and copy.cu, after `using Here = Cpu` or `Cuda`: every function of copy.h, in every
// element type that it knows. Left out of every other file.
namespace headshare::kernels {

template void copy_strided(Here, const StridedSizes&, const float*, float*);
template void scatter_strided(Here, const StridedSizes&, const float*, float*);
template void fill(Here, Size, float, float*);
template void gather_rows(Here, Size, Size, Size, const std::int32_t*, const float*, float*);
template void convert(Here, Size, const float*, double*);
template void convert(Here, Size, const float*, std::int32_t*);
template void convert(Here, Size, const float*, BFloat16*);

template void copy_strided(Here, const StridedSizes&, const double*, double*);
template void scatter_strided(Here, const StridedSizes&, const double*, double*);
template void fill(Here, Size, double, double*);
template void gather_rows(Here, Size, Size, Size, const std::int32_t*, const double*, double*);
template void convert(Here, Size, const double*, float*);
template void convert(Here, Size, const double*, std::int32_t*);
template void convert(Here, Size, const double*, BFloat16*);

template void copy_strided(Here, const StridedSizes&, const std::int32_t*, std::int32_t*);
template void scatter_strided(Here, const StridedSizes&, const std::int32_t*, std::int32_t*);
template void fill(Here, Size, std::int32_t, std::int32_t*);
template void accumulate(Here, Size, const std::int32_t*, std::int32_t*);
template void gather_rows(Here, Size, Size, Size, const std::int32_t*, const std::int32_t*, std::int32_t*);
template void convert(Here, Size, const std::int32_t*, float*);
template void convert(Here, Size, const std::int32_t*, double*);
template void convert(Here, Size, const std::int32_t*, BFloat16*);

template void copy_strided(Here, const StridedSizes&, const BFloat16*, BFloat16*);
template void scatter_strided(Here, const StridedSizes&, const BFloat16*, BFloat16*);
template void fill(Here, Size, BFloat16, BFloat16*);
template void gather_rows(Here, Size, Size, Size, const std::int32_t*, const BFloat16*, BFloat16*);
template void convert(Here, Size, const BFloat16*, float*);
template void convert(Here, Size, const BFloat16*, double*);
template void convert(Here, Size, const BFloat16*, std::int32_t*);

template void accumulate(Here, Size, const float*, float*);
template void accumulate(Here, Size, const double*, double*);

}  // namespace headshare::kernels
