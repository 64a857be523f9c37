#include "kernels/launch_graph.h"

#include <utility>

#include "kernels/cuda.cuh"

namespace headshare::kernels {

LaunchGraph& LaunchGraph::operator=(LaunchGraph&& other) noexcept {
  std::swap(recorded_, other.recorded_);
  return *this;
}

void LaunchGraph::record(Cuda device, const std::function<void()>& queue_work) {
  forget();
  check_cuda(cudaStreamBeginCapture(device.stream, cudaStreamCaptureModeThreadLocal), "recording a graph");
  cudaGraph_t graph = nullptr;
  try {
    queue_work();
  } catch (...) {  // the stream must not stay in this state
    (void)cudaStreamEndCapture(device.stream, &graph);
    if (graph != nullptr) (void)cudaGraphDestroy(graph);
    throw;
  }
  check_cuda(cudaStreamEndCapture(device.stream, &graph), "recording a graph");
  const cudaError_t status = cudaGraphInstantiate(&recorded_, graph, 0);
  check_cuda(cudaGraphDestroy(graph), "recording a graph");
  check_cuda(status, "preparing a graph");
}

void LaunchGraph::repeat(Cuda device) const { check_cuda(cudaGraphLaunch(recorded_, device.stream), "a graph"); }

void LaunchGraph::forget() {
  if (recorded_ != nullptr) (void)cudaGraphExecDestroy(recorded_);
  recorded_ = nullptr;
}

}  // namespace headshare::kernels
