#pragma once

#include <string>

#include "core/size.h"
#include "kernels/cuda.h"

// Memory of Device::cuda, and what the host may do with it. Each function throws Error where CUDA reports a problem,
// also one that an earlier kernel caused: kernels run behind the host's back.
namespace headshare::kernels {

// At least `bytes` bytes of device memory, 256-byte aligned, contents undefined; null when there are not enough.
// The host may not touch it: on the simulated device as on a GPU, that ends the program with a message.
void* allocate_device(Size bytes);
void free_device(void* memory);

// Memory that host and device may both touch, the host while no kernel runs (CUDA's managed memory); null when there is
// no more. Slower on a GPU: for tests and single numbers.
void* allocate_managed(Size bytes);
void free_managed(void* memory);

void copy_to_device(Cuda device, const void* host, void* memory, Size bytes);  // host may change after the call
void copy_to_host(Cuda device, const void* memory, void* host, Size bytes);    // waits for everything queued before
void copy_on_device(Cuda device, const void* from, void* to, Size bytes);
void fill_bytes(Cuda device, int value, void* memory, Size bytes);

// Waits until everything queued on the stream is done. Fails when a kernel met bad input on the way (fault.h).
void synchronize(Cuda device);

// Room for n values in the device buffer number `slot` (0 to 15), uninitialised; valid until the same slot is asked for
// again with a larger size. Kernels of one stream run in order, so the next user of a slot never disturbs the last one.
void* device_scratch_bytes(int slot, Size bytes);
template <class T>
T* device_scratch(int slot, Size n) {
  return static_cast<T*>(device_scratch_bytes(slot, n * static_cast<Size>(sizeof(T))));
}

bool cuda_is_simulated();
int compute_capability();      // of the GPU, times 10: 90 is 9.0; the simulated device says 90
std::string describe_cuda();  // "NVIDIA H200, compute capability 9.0, ..." or "simulated on the processor ..."

}  // namespace headshare::kernels
