#pragma once

// What every .cu file includes: CUDA from nvcc, or from the simulator where the compiler is an ordinary one. The only
// file with an #if on the compiler: kernels themselves are one source for both.
#include <cstddef>
#include <cstdint>
#include <type_traits>

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "kernels/cuda_hopper.cuh"
#include "kernels/cuda_mma.cuh"
#define HEADSHARE_SIMULATED_DEVICE 0

// Shared memory whose size the launch decides. Two kernels may want different types, and CUDA has one symbol for both.
#define DYNAMIC_SHARED(T, name)                                        \
  extern __shared__ __align__(16) unsigned char headshare_dynamic_[];  \
  T* const name = reinterpret_cast<T*>(headshare_dynamic_)
#else
#include "kernels/simulator/cuda.h"
#include "kernels/simulator/half.h"
#include "kernels/simulator/hopper.h"
#include "kernels/simulator/mma.h"
#define HEADSHARE_SIMULATED_DEVICE 1
#define DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(headshare::simulator::dynamic_shared())
#endif

#include "core/error.h"
#include "core/size.h"

namespace headshare::kernels {

inline void check_cuda(cudaError_t status, const char* what) {
  if (status != cudaSuccess) fail("cuda: ", what, ": ", cudaGetErrorString(status));
}

// Runs kernel(args...) with one thread per index of grid x block. The one spelling that nvcc and other compilers
// accept: kernel<<<...>>> is CUDA's own. A grid of no blocks does nothing. Throws Error when the launch is refused.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream,
            Arguments&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
#if HEADSHARE_SIMULATED_DEVICE
  (void)stream;  // kernels are done when launch returns: one queue or many makes no difference
  simulator::launch(kernel, grid, block, shared_bytes, std::forward<Arguments>(arguments)...);
#else
  // A block may have 48 KB without asking, what the kernel declares itself included. How much that is the host does not
  // know, so it always asks.
  if (shared_bytes > 0)
    check_cuda(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
        "shared memory of a kernel");
  kernel<<<grid, block, shared_bytes, stream>>>(static_cast<Parameters>(arguments)...);
  check_cuda(cudaGetLastError(), "launch of a kernel");
#endif
}

// How many groups of `size` cover n.
constexpr unsigned groups_of(Size n, Size size) { return static_cast<unsigned>((n + size - 1) / size); }

}  // namespace headshare::kernels
