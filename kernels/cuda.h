#pragma once

struct CUstream_st;  // what CUDA's cudaStream_t points to

namespace headshare::kernels {

// First parameter of the overloads that run on Device::cuda: a real GPU or the simulated one. All pointers that go with
// it are device memory (device_memory.h); the call returns once the work is queued on the stream.
struct Cuda {
  CUstream_st* stream = nullptr;
};

// The stream that all of the library uses: one queue, so that every operation sees the results of those before it.
Cuda cuda();

}  // namespace headshare::kernels
