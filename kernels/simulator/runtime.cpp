#include <cstring>
#include <memory>
#include <vector>

#include "core/error.h"
#include "kernels/simulator/cuda.h"
#include "kernels/simulator/device_arena.h"
#include "kernels/simulator/observer.h"

// The runtime library's functions that kernels/ uses.
using namespace headshare::simulator;

struct CUgraph_st {
  std::vector<std::function<void()>> work;
};
struct CUgraphExec_st : CUgraph_st {};

namespace {
std::unique_ptr<CUgraph_st> capturing;  // null: work is done at once
}

void headshare::simulator::enqueue(std::function<void()> work) {
  if (capturing)
    capturing->work.push_back(std::move(work));
  else
    work();
}

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "out of memory" : "no error";
}

// ---- Memory
// ----------------------------------------------------------------------------------------------------------
cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  *memory = allocate_in_arena(bytes);
  return *memory == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaMallocManaged(void** memory, std::size_t bytes) {
  *memory = allocate_managed_memory(bytes);
  return *memory == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  free_in_arena(memory);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  enqueue([=] {
    const OpenArena open;
    if (bytes > 0) std::memmove(to, from, bytes);
    if (kind != cudaMemcpyDeviceToHost && observer.host_wrote) observer.host_wrote(to, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t) {
  enqueue([=] {
    const OpenArena open;
    if (bytes > 0) std::memset(memory, value, bytes);
    if (observer.host_wrote) observer.host_wrote(memory, bytes);
  });
  return cudaSuccess;
}

// ---- Graphs
// ----------------------------------------------------------------------------------------------------------
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  if (capturing) headshare::fail("cudaStreamBeginCapture: the stream is being captured already");
  capturing = std::make_unique<CUgraph_st>();
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  *graph = capturing.release();
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* runnable, cudaGraph_t graph, unsigned long long) {
  *runnable = new CUgraphExec_st{*graph};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t runnable, cudaStream_t) {
  for (const auto& work : runnable->work) work();
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t runnable) {
  delete runnable;
  return cudaSuccess;
}
