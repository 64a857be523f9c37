#pragma once

#include <functional>

#include "kernels/cuda.h"

struct CUgraphExec_st;

namespace headshare::kernels {

// Work on the device that is recorded once and repeated: the host pays for one launch instead of one per kernel (CUDA
// Programming Guide, "CUDA Graphs"). Repeating uses the same addresses and the same numbers that the recorded calls
// were given: what changes from one time to the next must be in device memory.
class LaunchGraph {
 public:
  LaunchGraph() = default;
  LaunchGraph(LaunchGraph&& other) noexcept : recorded_(other.recorded_) { other.recorded_ = nullptr; }
  LaunchGraph& operator=(LaunchGraph&& other) noexcept;
  ~LaunchGraph() { forget(); }

  bool recorded() const { return recorded_ != nullptr; }
  // Notes what `queue_work` queues, and queues nothing. It may not allocate device memory, wait or read from the
  // device: let it run once without recording, so that all buffers are there.
  void record(Cuda device, const std::function<void()>& queue_work);
  void repeat(Cuda device) const;
  void forget();

 private:
  CUgraphExec_st* recorded_ = nullptr;
};

}  // namespace headshare::kernels
