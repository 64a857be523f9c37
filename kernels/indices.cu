#include "kernels/indices.h"

#include "kernels/cuda.cuh"
#include "kernels/device_memory.h"
#include "kernels/fault.h"

namespace headshare::kernels {
namespace {

struct Check {
  Size count, smallest, limit;
  const char* who;
  const char* what;
};

__global__ void check_indices_kernel(Check check, const std::int32_t* indices, IndexFault* fault) {
  const Size i = Size{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= check.count) return;
  const std::int32_t index = indices[i];
  if (index >= check.smallest && index < check.limit) return;
  if (atomicCAS(&fault->happened, 0, 1) != 0) return;  // another thread was first
  fault->index = index;
  fault->position = i;
  fault->limit = check.limit;
  fault->who = check.who;
  fault->what = check.what;
}

}  // namespace

void check_indices(Cuda device, const char* who, const char* what, Size count, const std::int32_t* indices,
                   Size smallest, Size limit) {
  constexpr int threads = 256;
  launch(check_indices_kernel, groups_of(count, threads), threads, 0, device.stream,
         Check{count, smallest, limit, who, what}, indices, fault_record());
  if (cuda_is_simulated()) throw_fault();
}

IndexFault* fault_record() {
  static IndexFault* const record = [] {
    auto* const made = static_cast<IndexFault*>(allocate_managed(sizeof(IndexFault)));
    *made = {};
    return made;
  }();
  return record;
}

void throw_fault() {
  const IndexFault fault = *fault_record();
  if (fault.happened == 0) return;
  *fault_record() = {};
  fail(fault.who, ": ", fault.what, " ", fault.index, " at position ", fault.position, " is outside 0 .. ",
       fault.limit - 1);
}

}  // namespace headshare::kernels
