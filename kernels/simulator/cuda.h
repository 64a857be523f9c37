#pragma once

// What CUDA adds to C++, for a compiler that knows nothing of CUDA: kernels compiled with this header run on the
// processor. Names, values and rules are those of the CUDA C++ Programming Guide; only what is noted here differs.
//
// A block runs from start to end on one thread of the host, so thread-local memory is block-local memory: that is what
// __shared__ becomes. Threads of a block run one after the other, each until it has to wait (block_runner.h). Code that
// relies on lanes of a warp running in lock step breaks here, as it does on GPUs since Volta.
#include <atomic>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ thread_local
// The libraries' own headers write __attribute__((__noinline__)), so this one stays what the compiler makes of it.

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct __align__(8) float2 {
  float x, y;
};
struct __align__(16) float4 {
  float x, y, z, w;
};
struct __align__(16) double2 {
  double x, y;
};
struct __align__(8) uint2 {
  unsigned x, y;
};
struct __align__(16) uint4 {
  unsigned x, y, z, w;
};
constexpr float2 make_float2(float x, float y) { return {x, y}; }
constexpr uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
constexpr float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
constexpr int warpSize = 32;

// Real variables: a debugger stops at `break softmax.cu:18 if threadIdx.x == 3`.
inline constinit thread_local uint3 threadIdx{}, blockIdx{};
inline constinit thread_local dim3 blockDim{}, gridDim{};

using cudaStream_t = struct CUstream_st*;

namespace headshare::simulator {

// Where a kernel calls a function that waits. std::source_location is missing in older compilers.
struct Place {
  const char* file = "";
  unsigned line = 0;
  static constexpr Place here(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
    return {file, line};
  }
};

// The compiler option that traces a kernel's memory accesses (tracer.h) must leave the simulator's own alone.
#define HEADSHARE_NOT_TRACED __attribute__((no_sanitize("thread")))

enum class Vote { none, count, all, any };
int block_barrier(Vote vote, int predicate, Place place);

enum class WarpOperation { sync, shuffle, shuffle_up, shuffle_down, shuffle_xor, ballot, together };
// `value` is replaced by the result; `together` is called once with the values of all 32 lanes instead.
void warp_collective(WarpOperation operation, unsigned mask, unsigned bytes, void* value, int argument, int width,
                     Place place, void (*together)(void* const* values) = nullptr);
unsigned active_mask();
void* dynamic_shared();
void note_atomic(const void* address, unsigned bytes, const void* code);

// Does the work now, or records it while a stream is being captured (cudaStreamBeginCapture).
void enqueue(std::function<void()> work);

// Runs thunk(arguments) once per thread. Throws Error for a refused launch and for what went wrong in it.
void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes, void (*thunk)(const void*), const void* arguments,
              std::size_t argument_bytes, const void* kernel);
void check_pointer(int position, const void* pointer);  // throws Error unless the device may read it

template <class... Parameters>
struct Payload {
  void (*kernel)(Parameters...);
  std::tuple<std::decay_t<Parameters>...> arguments;
};

template <class... Parameters>
HEADSHARE_NOT_TRACED void call_kernel(const void* payload) {
  const auto& call = *static_cast<const Payload<Parameters...>*>(payload);
  [&]<std::size_t... i>(std::index_sequence<i...>) HEADSHARE_NOT_TRACED { call.kernel(std::get<i>(call.arguments)...); }
  (std::index_sequence_for<Parameters...>{});
}

template <class T>
void check_argument(int position, const T& argument) {
  if constexpr (std::is_pointer_v<T>) check_pointer(position, argument);
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, Arguments&&... arguments) {
  const Payload<Parameters...> payload{kernel, {static_cast<Parameters>(std::forward<Arguments>(arguments))...}};
  int position = 0;
  std::apply([&](const auto&... argument) { (check_argument(++position, argument), ...); }, payload.arguments);
  enqueue([=] {
    run_grid(grid, block, shared_bytes, &call_kernel<Parameters...>, &payload, sizeof payload,
             reinterpret_cast<const void*>(kernel));
  });
}

// The value before the change. A loop because floating-point numbers have no atomic instructions on a processor.
template <class T, class Change>
HEADSHARE_NOT_TRACED inline __attribute__((always_inline)) T change_atomically(T* address, Change change) {
  using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  static_assert(sizeof(T) == sizeof(Bits));
  note_atomic(address, sizeof(T), __builtin_return_address(0));
  Bits* const bits = reinterpret_cast<Bits*>(address);
  Bits before = __atomic_load_n(bits, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(bits, &before, std::bit_cast<Bits>(change(std::bit_cast<T>(before))), false,
                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return std::bit_cast<T>(before);
}

}  // namespace headshare::simulator

// ---- Synchronization and warp functions (Programming Guide, sections "Synchronization", "Warp Shuffle", "Warp Vote")
// -
#define HEADSHARE_PLACE headshare::simulator::Place place = headshare::simulator::Place::here()

inline void __syncthreads(HEADSHARE_PLACE) {
  headshare::simulator::block_barrier(headshare::simulator::Vote::none, 0, place);
}
inline int __syncthreads_count(int predicate, HEADSHARE_PLACE) {
  return headshare::simulator::block_barrier(headshare::simulator::Vote::count, predicate, place);
}
inline int __syncthreads_and(int predicate, HEADSHARE_PLACE) {
  return headshare::simulator::block_barrier(headshare::simulator::Vote::all, predicate, place);
}
inline int __syncthreads_or(int predicate, HEADSHARE_PLACE) {
  return headshare::simulator::block_barrier(headshare::simulator::Vote::any, predicate, place);
}
inline void __syncwarp(unsigned mask = ~0u, HEADSHARE_PLACE) {
  using enum headshare::simulator::WarpOperation;
  headshare::simulator::warp_collective(sync, mask, 0, nullptr, 0, 32, place);
}

namespace headshare::simulator {
template <class T>
HEADSHARE_NOT_TRACED T shuffled(WarpOperation operation, unsigned mask, T value, int argument, int width, Place place) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 16);
  warp_collective(operation, mask, sizeof(T), &value, argument, width, place);
  return value;
}
}  // namespace headshare::simulator

template <class T>
HEADSHARE_NOT_TRACED T __shfl_sync(unsigned mask, T value, int lane, int width = 32, HEADSHARE_PLACE) {
  using enum headshare::simulator::WarpOperation;
  return headshare::simulator::shuffled(shuffle, mask, value, lane, width, place);
}
template <class T>
HEADSHARE_NOT_TRACED T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, HEADSHARE_PLACE) {
  using enum headshare::simulator::WarpOperation;
  return headshare::simulator::shuffled(shuffle_up, mask, value, static_cast<int>(delta), width, place);
}
template <class T>
HEADSHARE_NOT_TRACED T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, HEADSHARE_PLACE) {
  using enum headshare::simulator::WarpOperation;
  return headshare::simulator::shuffled(shuffle_down, mask, value, static_cast<int>(delta), width, place);
}
template <class T>
HEADSHARE_NOT_TRACED T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, HEADSHARE_PLACE) {
  using enum headshare::simulator::WarpOperation;
  return headshare::simulator::shuffled(shuffle_xor, mask, value, lane_mask, width, place);
}
HEADSHARE_NOT_TRACED inline unsigned __ballot_sync(unsigned mask, int predicate, HEADSHARE_PLACE) {
  using enum headshare::simulator::WarpOperation;
  return headshare::simulator::shuffled(ballot, mask, predicate != 0 ? 1u : 0u, 0, 32, place);
}
inline int __any_sync(unsigned mask, int predicate, HEADSHARE_PLACE) {
  return __ballot_sync(mask, predicate, place) != 0;
}
inline int __all_sync(unsigned mask, int predicate, HEADSHARE_PLACE) {
  return __ballot_sync(mask, predicate == 0, place) == 0;
}
inline unsigned __activemask() { return headshare::simulator::active_mask(); }
inline void __threadfence() { __sync_synchronize(); }
inline void __threadfence_block() {}

// ---- Atomic functions: real ones, because blocks may run side by side. They return the value before.
// -----------------
#define HEADSHARE_ATOMIC \
  template <class T>     \
  HEADSHARE_NOT_TRACED __attribute__((noinline)) T
HEADSHARE_ATOMIC atomicAdd(T* address, std::type_identity_t<T> value) {
  return headshare::simulator::change_atomically(
      address, [value](T before) HEADSHARE_NOT_TRACED { return static_cast<T>(before + value); });
}
HEADSHARE_ATOMIC atomicMax(T* address, std::type_identity_t<T> value) {
  return headshare::simulator::change_atomically(
      address, [value](T before) HEADSHARE_NOT_TRACED { return before < value ? value : before; });
}
HEADSHARE_ATOMIC atomicMin(T* address, std::type_identity_t<T> value) {
  return headshare::simulator::change_atomically(
      address, [value](T before) HEADSHARE_NOT_TRACED { return value < before ? value : before; });
}
HEADSHARE_ATOMIC atomicExch(T* address, std::type_identity_t<T> value) {
  return headshare::simulator::change_atomically(address, [value](T) HEADSHARE_NOT_TRACED { return value; });
}
HEADSHARE_ATOMIC atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return headshare::simulator::change_atomically(
      address, [expected, value](T before) HEADSHARE_NOT_TRACED { return before == expected ? value : before; });
}

// ---- Device functions that C++ has under another name or not at all
// ---------------------------------------------------
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(std::uint64_t{a} * b >> 32); }
template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
void __stwb(T* address, T value) {
  *address = value;
}

// ---- The part of the runtime library that kernels/ uses
// ---------------------------------------------------------------
enum cudaError_t { cudaSuccess = 0, cudaErrorMemoryAllocation = 2 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaMalloc(void** memory, std::size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMallocManaged(void** memory, std::size_t bytes);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream);
// A graph is a list of work that was recorded instead of done.
using cudaGraph_t = struct CUgraph_st*;
using cudaGraphExec_t = struct CUgraphExec_st*;
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* runnable, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t runnable, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t runnable);
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
