#include "kernels/device_memory.h"

#include <array>

#include "kernels/cuda.cuh"
#include "kernels/fault.h"

namespace headshare::kernels {
namespace {

void copy(Cuda device, void* to, const void* from, Size bytes, cudaMemcpyKind kind) {
  if (bytes > 0) check_cuda(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), kind, device.stream), "copy");
}

struct Buffer {
  void* memory = nullptr;
  Size bytes = 0;
};

}  // namespace

void* allocate_device(Size bytes) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, static_cast<std::size_t>(bytes));
  if (status == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();  // the caller knows now; the next check must not find it again
    return nullptr;
  }
  check_cuda(status, "device memory");
  return memory;
}

void free_device(void* memory) { check_cuda(cudaFree(memory), "device memory"); }

void* allocate_managed(Size bytes) {
  void* memory = nullptr;
  check_cuda(cudaMallocManaged(&memory, static_cast<std::size_t>(bytes)), "managed memory");
  return memory;
}

void free_managed(void* memory) { check_cuda(cudaFree(memory), "managed memory"); }

void copy_to_device(Cuda device, const void* host, void* memory, Size bytes) {
  // From ordinary memory CUDA copies to a buffer of its own before it returns, so the caller may go on at once.
  copy(device, memory, host, bytes, cudaMemcpyHostToDevice);
}

void copy_to_host(Cuda device, const void* memory, void* host, Size bytes) {
  copy(device, host, memory, bytes, cudaMemcpyDeviceToHost);
  synchronize(device);
}

void copy_on_device(Cuda device, const void* from, void* to, Size bytes) {
  copy(device, to, from, bytes, cudaMemcpyDeviceToDevice);
}

void fill_bytes(Cuda device, int value, void* memory, Size bytes) {
  if (bytes > 0)
    check_cuda(cudaMemsetAsync(memory, value, static_cast<std::size_t>(bytes), device.stream), "filling memory");
}

void synchronize(Cuda device) {
  check_cuda(cudaStreamSynchronize(device.stream), "an earlier kernel");
  throw_fault();
}

void* device_scratch_bytes(int slot, Size bytes) {
  static thread_local std::array<Buffer, 16> buffers;  // as long as the program lives: the driver takes them back
  Buffer& buffer = buffers[static_cast<std::size_t>(slot)];
  if (bytes > buffer.bytes) {
    // Freeing waits for the kernels that still use it.
    if (buffer.memory != nullptr) free_device(buffer.memory);
    buffer = {allocate_device(bytes), bytes};
    if (buffer.memory == nullptr) fail("out of device memory: a kernel needed ", bytes >> 20, " MiB to work in");
  }
  return buffer.memory;
}

#if HEADSHARE_SIMULATED_DEVICE
Cuda cuda() { return {}; }
bool cuda_is_simulated() { return true; }
int compute_capability() { return 90; }
std::string describe_cuda() {
  return "simulated: CUDA kernels run on the processor, to learn and to test, not to train";
}
#else
Cuda cuda() {
  static const Cuda device = [] {
    Cuda made;
    check_cuda(cudaStreamCreateWithFlags(&made.stream, cudaStreamNonBlocking), "a stream");
    return made;
  }();
  return device;
}

bool cuda_is_simulated() { return false; }

int compute_capability() {
  static const int capability = [] {
    int major = 0, minor = 0;
    check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "asking for the GPU");
    check_cuda(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0), "asking for the GPU");
    return 10 * major + minor;
  }();
  return capability;
}

std::string describe_cuda() {
  cudaDeviceProp properties;
  const cudaError_t status = cudaGetDeviceProperties(&properties, 0);
  if (status != cudaSuccess) return text("compiled for a GPU, but none answers: ", cudaGetErrorString(status));
  return text(properties.name, ", compute capability ", properties.major, ".", properties.minor, ", ",
              properties.totalGlobalMem >> 20, " MiB, ", properties.multiProcessorCount, " multiprocessors");
}
#endif

}  // namespace headshare::kernels
