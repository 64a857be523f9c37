#pragma once

#include <cuda.h>
#include <cudaTypedefs.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "core/error.h"
#include "kernels/hopper.h"

// What only Hopper has (compute capability 9.0, compiled for "sm_90a"): copies of whole boxes of a matrix, and products
// that four warps compute together from shared memory. Both run behind the threads' backs, and tell when they are done
// by a barrier in shared memory or by a number of groups. In PTX, because C++ has no word for it: PTX ISA,
// "mbarrier", "cp.async.bulk.tensor", "Asynchronous warpgroup level matrix instructions". For other GPUs the functions
// compile to nothing; the host asks for the GPU's compute capability first.
namespace headshare::kernels {

__device__ inline std::uint32_t shared_address(const void* memory) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(memory));
}

// Where a kernel for Hopper begins: one that was compiled for another GPU ends here, instead of computing nothing.
__device__ inline void require_hopper() {
#if !defined(__CUDA_ARCH_FEAT_SM90_ALL)
  __trap();
#endif
}

// ---- Barriers for copies --------------------------------------------------------------------------------------------

// In shared memory. It goes through phases, numbered from 0: one ends when `arrivals` threads have arrived and all
// bytes that they expect have come. Nobody waits by arriving, and who waits names the phase by its lowest bit, the
// parity: so a barrier may be at most one phase ahead of who waits at it. Waiting for the phase before the first one
// (parity 1) is over at once.
using CopyBarrier = std::uint64_t;

// One thread starts a barrier; all may use it after publish_barriers() by that thread and __syncthreads().
__device__ inline void start_barrier(CopyBarrier* barrier, unsigned arrivals) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
#else
  (void)barrier, (void)arrivals;
#endif
}

// The copy engine has a view of shared memory of its own ("async proxy"), which lags behind without a fence.
__device__ inline void publish_barriers() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

__device__ inline void arrive(CopyBarrier* barrier) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
#else
  (void)barrier;
#endif
}

__device__ inline void arrive_and_expect(CopyBarrier* barrier, unsigned bytes) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
#else
  (void)barrier, (void)bytes;
#endif
}

__device__ inline void wait_for_phase(CopyBarrier* barrier, unsigned parity) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  std::uint32_t over;
  do {  // the instruction itself waits for a while
    asm volatile(
        "{\n"
        ".reg .pred over;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2;\n"
        "selp.u32 %0, 1, 0, over;\n"
        "}"
        : "=r"(over)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
  } while (over == 0);
#else
  (void)barrier, (void)parity;
#endif
}

// ---- Copies of boxes ------------------------------------------------------------------------------------------------

// What the copy engine knows of a batch of matrices. A kernel takes it as `const __grid_constant__ TensorMap`.
using TensorMap = CUtensorMap;

// For boxes of 64 numbers of `box_lines` lines, at most 256. data and both strides must be whole 16 bytes.
inline TensorMap make_tensor_map(const LinesInMemory& from, int box_lines) {
  // The driver's function, found at run time: the program needs no library but CUDA's runtime.
  static const auto encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
    const cudaError_t status =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
#else
    const cudaError_t status = cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, cudaEnableDefault, &found);
#endif
    if (status != cudaSuccess || found != cudaDriverEntryPointSuccess)
      fail("cuda: the driver knows no tensor maps; it must be of CUDA 12 or later");
    return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function);
  }();
  constexpr cuuint64_t bytes = sizeof(BFloat16);
  const auto length = static_cast<cuuint64_t>(from.length), lines = static_cast<cuuint64_t>(from.lines),
             matrices = static_cast<cuuint64_t>(from.matrices);
  // The stride of a dimension of one element is not used, but must be a possible one.
  const cuuint64_t shortest = (length * bytes + 15) / 16 * 16;
  const cuuint64_t line = lines == 1 ? shortest : static_cast<cuuint64_t>(from.line_stride) * bytes;
  const cuuint64_t matrix = matrices == 1 ? line * lines : static_cast<cuuint64_t>(from.matrix_stride) * bytes;
  const cuuint64_t sizes[3] = {length, lines, matrices}, strides[2] = {line, matrix};
  const cuuint32_t box[3] = {line_numbers, static_cast<cuuint32_t>(box_lines), 1}, steps[3] = {1, 1, 1};
  TensorMap map;
  const CUresult result = encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<BFloat16*>(from.data), sizes,
                                 strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS)
    fail("cuda: a tensor map of ", from.matrices, " x ", from.lines, " x ", from.length, " numbers, strides ",
         from.matrix_stride, " and ", from.line_stride, ": error ", static_cast<int>(result));
  return map;
}

inline int multiprocessors() {
  static const int count = [] {
    int found = 0;
    if (cudaDeviceGetAttribute(&found, cudaDevAttrMultiProcessorCount, 0) != cudaSuccess) found = 1;
    return found;
  }();
  return count;
}

// Fetches the map itself, which else the first copy would wait for.
__device__ inline void prefetch(const TensorMap& map) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
#else
  (void)map;
#endif
}

// One thread asks for the box whose first number is number `at` of line `line` of a matrix. It comes to shared memory,
// swizzled; what lies outside of the matrix is 0, and counts. The bytes go to the barrier's current phase.
__device__ inline void copy_box(void* to, const TensorMap& map, int at, int line, int matrix, CopyBarrier* barrier) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], "
      "[%5];" ::"r"(shared_address(to)),
      "l"(&map), "r"(at), "r"(line), "r"(matrix), "r"(shared_address(barrier))
      : "memory");
#else
  (void)to, (void)map, (void)at, (void)line, (void)matrix, (void)barrier;
#endif
}

// ---- Registers ------------------------------------------------------------------------------------------------------

// Registers are dealt to all warps of a block alike. Those that only ask for copies can leave theirs to those that
// multiply: all four warps of a group call one of these, with the number of registers for a thread from now on.
template <int registers>
__device__ inline void give_registers() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}
template <int registers>
__device__ inline void take_registers() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}

// ---- Products, of the 128 threads of four warps together ------------------------------------------------------------

// Before the first product of a group: what the threads did to d is done.
__device__ inline void begin_products() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

// The products since the last call make a group.
__device__ inline void close_product_group() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

// Waits until at most the last `groups` groups are still being computed: what the others read may be overwritten, and
// if groups is 0, d is there.
template <int groups, int count>
__device__ inline void wait_for_products(float (&d)[count]) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groups) : "memory");
  for (int i = 0; i < count; ++i) asm volatile("" : "+f"(d[i])::"memory");  // d is not looked at before
#else
  (void)d;
#endif
}

// d += a b, with a: [64, 16] and b: [16, N] of bfloat16 in shared memory, by their matrix_descriptors; d: [64, N] of
// float. Warp w = 0 .. 3 of the group has rows 16 w .. 16 w + 15, of those lane 4 r + c holds in
//   d[4 i], d[4 i + 1]: row r, columns 8 i + 2 c and the next;  d[4 i + 2], d[4 i + 3]: row r + 8
// The products of one d are computed in order; d is not there before wait_for_products<0>. For N = 256 and N = 128.
template <Major a_major, Major b_major>
__device__ inline void multiply_matrices(float (&d)[128], std::uint64_t a, std::uint64_t b) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile(
      "{\n"
      ".reg .pred add;\n"
      "setp.eq.u32 add, 1, 1;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, "
      "%23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, "
      "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, "
      "%65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, "
      "%86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, "
      "%106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, "
      "%123, %124, %125, %126, %127"
      "}, %128, %129, add, 1, 1, %130, %131;\n"
      "}"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]),
        "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]),
        "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]),
        "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]),
        "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]),
        "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]),
        "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]),
        "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]), "+f"(d[64]),
        "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]), "+f"(d[72]),
        "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]), "+f"(d[80]),
        "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), "+f"(d[88]),
        "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]), "+f"(d[96]),
        "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]), "+f"(d[104]),
        "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]), "+f"(d[112]),
        "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]), "+f"(d[120]),
        "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])
      : "l"(a), "l"(b), "n"(a_major == Major::other), "n"(b_major == Major::other));
#else
  (void)d, (void)a, (void)b;
#endif
}
template <Major a_major, Major b_major>
__device__ inline void multiply_matrices(float (&d)[64], std::uint64_t a, std::uint64_t b) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile(
      "{\n"
      ".reg .pred add;\n"
      "setp.eq.u32 add, 1, 1;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, "
      "%23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, "
      "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, %64, %65, add, 1, 1, %66, %67;\n"
      "}"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]),
        "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]),
        "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]),
        "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]),
        "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]),
        "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]),
        "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]),
        "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
      : "l"(a), "l"(b), "n"(a_major == Major::other), "n"(b_major == Major::other));
#else
  (void)d, (void)a, (void)b;
#endif
}

}  // namespace headshare::kernels
