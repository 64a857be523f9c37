#pragma once

#include <cublas_v2.h>

#include "core/bfloat16.h"
#include "core/error.h"
#include "kernels/device_memory.h"
#include "kernels/matmul.h"

namespace headshare::gpu_benchmarks {

// What its matrices hold.
template <class T>
constexpr cudaDataType_t cublas_type = std::is_same_v<T, BFloat16> ? CUDA_R_16BF : CUDA_R_32F;

// Lives as long as the program: at its end, CUDA may be gone already.
class Cublas {
 public:
  Cublas() : workspace_(kernels::allocate_device(workspace_bytes)) {
    if (cublasCreate(&handle_) != CUBLAS_STATUS_SUCCESS ||
        cublasSetStream(handle_, kernels::cuda().stream) != CUBLAS_STATUS_SUCCESS ||
        cublasSetWorkspace(handle_, workspace_, workspace_bytes) != CUBLAS_STATUS_SUCCESS)
      fail("cuBLAS does not start");
  }
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;

  // C = A B, C row-major. cuBLAS counts columns first: it computes C^T = B^T A^T, and the transpose of a row-major
  // matrix is what it sees by itself.
  template <class In, class Out>
  void multiply(const kernels::MatmulSizes& sizes, const kernels::MatrixView<In>& a, const kernels::MatrixView<In>& b,
                Out* c, cublasComputeType_t compute) const {
    const auto to_int = [](Size x) { return static_cast<int>(x); };
    const auto form = [](const kernels::MatrixView<In>& x) { return x.column_stride == 1 ? CUBLAS_OP_N : CUBLAS_OP_T; };
    const auto line = [&](const kernels::MatrixView<In>& x) {
      return to_int(x.column_stride == 1 ? x.row_stride : x.column_stride);
    };
    const float one = 1, zero = 0;
    if (cublasGemmEx(handle_, form(b), form(a), to_int(sizes.n), to_int(sizes.m), to_int(sizes.k), &one, b.data,
                     cublas_type<In>, line(b), a.data, cublas_type<In>, line(a), &zero, c, cublas_type<Out>,
                     to_int(sizes.n), compute, CUBLAS_GEMM_DEFAULT) != CUBLAS_STATUS_SUCCESS)
      fail("cuBLAS refuses ", sizes.m, " x ", sizes.n, " x ", sizes.k);
  }

 private:
  static constexpr Size workspace_bytes = Size{32} << 20;  // what NVIDIA recommends for Hopper
  cublasHandle_t handle_ = nullptr;
  void* workspace_;
};

// One for the whole program.
const Cublas& cublas();

}  // namespace headshare::gpu_benchmarks
