#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "kernels/simulator/cuda.h"
#include "kernels/simulator/fiber.h"
#include "kernels/simulator/simulator.h"

namespace headshare::simulator {

// One launch, shared by the host threads that run its blocks.
struct Launch {
  dim3 grid, block;
  std::size_t shared_bytes;
  void (*thunk)(const void*);
  const void* arguments;
  std::atomic<bool> stopped = false;  // by a problem after which no block can go on
  std::mutex mutex = {};
  std::string problem = {};  // the first one; under the mutex
};

constexpr std::size_t most_shared_bytes = 227 * 1024;  // of a block on compute capability 9.0

struct alignas(128) SharedMemory {
  unsigned char bytes[most_shared_bytes];
};

// Runs the blocks of a launch, one at a time, on the calling host thread.
//
// A block's threads start one after the other on one fiber. Only a thread that has to wait (at a barrier, or for the
// other lanes of its warp) keeps that fiber, and the next thread starts on another one: a kernel without barriers costs
// a function call per thread. Threads that can go on wait in a queue; the thread order decides who is taken.
class BlockRunner {
 public:
  void run(Launch& launch, unsigned block);

  int barrier(Vote vote, int predicate, Place place);
  void warp(WarpOperation operation, unsigned mask, unsigned bytes, void* value, int argument, int width, Place place,
            void (*together)(void* const*));
  // Until somebody wakes those who sleep at this address. Whether that is what the thread waits for, it asks itself.
  void sleep(const void* address, Place place);
  void wake(const void* address);
  void report(const Place& place, const std::string& text);  // a problem of the running thread
  unsigned active_mask() const;
  void* dynamic_shared() { return dynamic_shared_->bytes; }
  // What every fiber runs. Two functions, since the address sanitizer must know the new stack before it meets the call
  // of one that never returns.
  void fiber_begins() { running_->started(); }
  void fiber_body();

 private:
  enum class State : std::uint8_t { not_started, running, ready, at_barrier, in_warp_function, asleep, returned };
  struct Thread {
    uint3 index{};
    State state = State::not_started;
    Fiber* fiber = nullptr;
    // While it waits:
    Place place;
    int predicate = 0;
    WarpOperation operation = WarpOperation::sync;
    unsigned mask = 0;
    unsigned bytes = 0;
    void* value = nullptr;
    int argument = 0, width = 32;
    void (*together)(void* const*) = nullptr;
    const void* address = nullptr;
  };

  void prepare(const Launch& launch);
  Fiber& free_fiber();
  void go_to(Fiber& fiber);
  void become(Thread& thread);
  Thread* next_ready();
  void wait();
  void after_return();
  void open_barrier();
  void try_warp(unsigned warp);
  void finish_warp(unsigned warp, unsigned lanes);
  void exchange(unsigned first, unsigned lanes);
  void stop_in_deadlock();
  unsigned number(const Thread& thread) const { return static_cast<unsigned>(&thread - threads_.data()); }

  Launch* launch_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<unsigned> order_;  // in which threads start
  dim3 shape_{0, 0, 0};
  ThreadOrder order_kind_ = ThreadOrder::forward;
  std::mt19937 random_;

  std::size_t started_ = 0;
  unsigned alive_ = 0, waiting_ = 0;  // threads that have not returned; of those, at the barrier
  std::vector<Thread*> at_barrier_, ready_;
  std::size_t first_ready_ = 0;
  std::vector<unsigned> warp_alive_, warp_waiting_;  // lane masks
  struct {
    int count = 0;
    bool all = true, any = false;
  } vote_;

  Fiber host_;
  Fiber* running_ = nullptr;
  Thread* current_ = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> free_fibers_;
  std::unique_ptr<SharedMemory> dynamic_shared_;
};

BlockRunner& block_runner();  // of the calling host thread

}  // namespace headshare::simulator
