#pragma once

#include <cstddef>

#include "kernels/simulator/cuda.h"

namespace headshare::simulator {

// Who wants to know what happens on the simulated device: the tracer, where it is linked in. Null: nobody asked.
struct Observer {
  void (*launch_begins)(const void* kernel, dim3 grid, dim3 block, const void* arguments, std::size_t argument_bytes);
  void (*launch_ends)();  // may throw
  void (*block_begins)(unsigned block, unsigned threads, void* dynamic_shared, std::size_t bytes);
  void (*block_ends)();
  void (*thread_runs)(unsigned thread, const void* stack_begin, const void* stack_end);  // this one, from now on
  void (*nobody_runs)();                                                                 // until a thread does
  void (*barrier)();
  void (*warp_synchronized)(unsigned warp, unsigned lanes);  // by __syncwarp
  void (*copied)(void* memory, std::size_t bytes);           // to shared memory; a barrier orders it with all threads
  // By a copy that the running thread waits for; asked for at `code`.
  void (*fetched)(const void* address, unsigned bytes, const void* code);
  void (*atomic)(const void* address, unsigned bytes, const void* code);
  void (*allocated)(void* memory, std::size_t bytes, bool managed);
  void (*freed)(void* memory);
  void (*host_wrote)(void* memory, std::size_t bytes);
};

inline Observer observer{};

}  // namespace headshare::simulator
