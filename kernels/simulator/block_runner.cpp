#include "kernels/simulator/block_runner.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "kernels/simulator/async_copy.h"
#include "kernels/simulator/hopper.h"
#include "kernels/simulator/observer.h"

namespace headshare::simulator {
namespace {

constexpr unsigned warp_lanes = 32;

const char* file_name(const char* path) {
  const char* const slash = std::strrchr(path, '/');
  return slash == nullptr ? path : slash + 1;
}

std::string position(const Place& place) { return text(file_name(place.file), ":", place.line); }

void run_fiber() {
  BlockRunner& runner = block_runner();
  runner.fiber_begins();
  runner.fiber_body();
}

}  // namespace

BlockRunner& block_runner() {
  static thread_local BlockRunner runner;
  return runner;
}

// ---- A block from start to end
// ---------------------------------------------------------------------------------------
void BlockRunner::run(Launch& launch, unsigned block) {
  launch_ = &launch;
  prepare(launch);
  blockIdx = {block % launch.grid.x, block / launch.grid.x % launch.grid.y, block / launch.grid.x / launch.grid.y};
  blockDim = launch.block;
  gridDim = launch.grid;
  if (observer.block_begins)
    observer.block_begins(block, static_cast<unsigned>(threads_.size()), dynamic_shared(), launch.shared_bytes);
  running_ = &host_;
  go_to(free_fiber());
  if (!launch.stopped) report_unfinished_copies();
  if (observer.nobody_runs) observer.nobody_runs();
  if (observer.block_ends) observer.block_ends();
}

void BlockRunner::prepare(const Launch& launch) {
  const dim3& shape = launch.block;
  const unsigned count = shape.x * shape.y * shape.z;
  if (threads_.size() != count || std::memcmp(&shape_, &shape, sizeof shape) != 0) {
    shape_ = shape;
    threads_.assign(count, {});
    for (unsigned i = 0; i < count; ++i)
      threads_[i].index = {i % shape.x, i / shape.x % shape.y, i / shape.x / shape.y};
    order_.clear();
  }
  if (order_.empty() || order_kind_ != thread_order()) {
    order_kind_ = thread_order();
    order_.resize(count);
    for (unsigned i = 0; i < count; ++i) order_[i] = order_kind_ == ThreadOrder::reverse ? count - 1 - i : i;
  }
  if (order_kind_ == ThreadOrder::shuffled) std::shuffle(order_.begin(), order_.end(), random_);
  const unsigned warps = (count + warp_lanes - 1) / warp_lanes;
  warp_waiting_.assign(warps, 0);
  warp_alive_.assign(warps, ~0u);
  if (count % warp_lanes != 0) warp_alive_.back() = (1u << count % warp_lanes) - 1;
  at_barrier_.clear();
  ready_.clear();
  first_ready_ = 0;
  started_ = 0;
  waiting_ = 0;
  alive_ = count;
  vote_ = {};
  forget_copies(count);
  forget_copies_and_products(count);
  if (!dynamic_shared_) dynamic_shared_ = std::make_unique<SharedMemory>();
  // A GPU does not clear it either; NaN shows sooner than a value that happens to be right.
  std::memset(dynamic_shared_->bytes, 0xff, launch.shared_bytes);
}

void BlockRunner::fiber_body() {
  for (;;) {
    while (started_ < threads_.size()) {
      Thread& thread = threads_[order_[started_++]];
      thread.fiber = running_;
      become(thread);
      launch_->thunk(launch_->arguments);
      after_return();
    }
    free_fibers_.push_back(running_);
    if (Thread* const next = next_ready())
      go_to(*next->fiber);
    else if (alive_ == 0)
      go_to(host_);
    else
      stop_in_deadlock();
  }
}

void BlockRunner::after_return() {
  current_->state = State::returned;
  --alive_;
  const unsigned warp = number(*current_) / warp_lanes;
  warp_alive_[warp] &= ~(1u << number(*current_) % warp_lanes);
  // Those who wait for this thread need not wait any longer.
  if (warp_waiting_[warp] != 0) try_warp(warp);
  if (alive_ > 0 && waiting_ == alive_) open_barrier();
}

// ---- Taking turns
// ----------------------------------------------------------------------------------------------------
Fiber& BlockRunner::free_fiber() {
  if (free_fibers_.empty()) {
    fibers_.push_back(std::make_unique<Fiber>(fibers_.size(), &run_fiber));
    return *fibers_.back();
  }
  Fiber* const fiber = free_fibers_.back();
  free_fibers_.pop_back();
  return *fiber;
}

void BlockRunner::go_to(Fiber& fiber) {
  Fiber& from = *running_;
  running_ = &fiber;
  Fiber::switch_to(from, fiber);
}

void BlockRunner::become(Thread& thread) {
  current_ = &thread;
  thread.state = State::running;
  threadIdx = thread.index;
  if (observer.thread_runs)
    observer.thread_runs(number(thread), thread.fiber->stack_begin(), thread.fiber->stack_end());
}

BlockRunner::Thread* BlockRunner::next_ready() {
  if (first_ready_ == ready_.size()) {
    ready_.clear();
    first_ready_ = 0;
    return nullptr;
  }
  if (order_kind_ == ThreadOrder::shuffled)
    std::swap(ready_[first_ready_], ready_[first_ready_ + random_() % (ready_.size() - first_ready_)]);
  else if (order_kind_ == ThreadOrder::reverse)
    std::swap(ready_[first_ready_], ready_.back());
  return ready_[first_ready_++];
}

// The current thread cannot go on; returns when another one has let it.
void BlockRunner::wait() {
  Thread& me = *current_;
  if (Thread* const next = next_ready())
    go_to(*next->fiber);
  else if (started_ < threads_.size())
    go_to(free_fiber());
  else
    stop_in_deadlock();
  become(me);
}

void BlockRunner::sleep(const void* address, Place place) {
  current_->place = place;
  current_->address = address;
  current_->state = State::asleep;
  wait();
}

void BlockRunner::wake(const void* address) {
  for (Thread& thread : threads_) {
    if (thread.state != State::asleep || thread.address != address) continue;
    thread.state = State::ready;
    ready_.push_back(&thread);
  }
}

void BlockRunner::report(const Place& place, const std::string& what) {
  const std::lock_guard lock(launch_->mutex);
  if (launch_->problem.empty())
    launch_->problem = text(position(place), ": ", what, " (thread ", threadIdx.x, " ", threadIdx.y, " ", threadIdx.z,
                            " of block ", blockIdx.x, " ", blockIdx.y, " ", blockIdx.z, ")");
}

// Nobody can run: the launch ends here. The threads' stacks hold nothing that would need to be given back.
void BlockRunner::stop_in_deadlock() {
  unsigned at_barrier = 0, in_warp = 0, asleep = 0;
  std::string places;
  const Thread* shown = nullptr;
  for (const Thread& thread : threads_) {
    at_barrier += thread.state == State::at_barrier;
    in_warp += thread.state == State::in_warp_function;
    asleep += thread.state == State::asleep;
    const bool waits =
        thread.state == State::at_barrier || thread.state == State::in_warp_function || thread.state == State::asleep;
    if (!waits) continue;
    if (shown == nullptr || shown->place.line != thread.place.line) {
      places += text(shown == nullptr ? "" : ", ", position(thread.place));
      if (thread.state == State::asleep) places += text(" (for ", barrier_lacks(thread.address), ')');
    }
    shown = &thread;
  }
  report(shown->place, text("deadlock: ", at_barrier, " threads wait at __syncthreads, ", in_warp,
                            " in a warp function, ", asleep == 0 ? "" : text(asleep, " at a barrier for copies, "),
                            threads_.size() - alive_, " have returned; they wait at ", places));
  launch_->stopped = true;
  free_fibers_.clear();
  for (const auto& fiber : fibers_) free_fibers_.push_back(fiber.get());
  // The fiber that runs now will not be resumed here either; it starts afresh with all the others.
  for (const auto& fiber : fibers_)
    if (fiber.get() != running_) fiber->restart();
  Fiber& abandoned = *running_;
  running_ = &host_;
  Fiber unused;
  abandoned.restart();
  Fiber::switch_to(unused, host_);
}

// ---- Barriers
// --------------------------------------------------------------------------------------------------------
int BlockRunner::barrier(Vote vote, int predicate, Place place) {
  Thread& me = *current_;
  me.place = place;
  me.state = State::at_barrier;
  if (!at_barrier_.empty()) {
    const Place& first = at_barrier_[0]->place;
    if (first.line != place.line || std::strcmp(first.file, place.file) != 0)
      report(place, text("divergent barrier: this thread waits here while thread ", number(*at_barrier_[0]),
                         " waits at ", position(first), "; all threads of a block must reach the same __syncthreads"));
  }
  me.predicate = predicate;
  at_barrier_.push_back(&me);
  if (++waiting_ == alive_) {
    open_barrier();
    me.state = State::running;
  } else {
    wait();
  }
  switch (vote) {
    case Vote::count:
      return vote_.count;
    case Vote::all:
      return vote_.all;
    case Vote::any:
      return vote_.any;
    default:
      return 0;
  }
}

void BlockRunner::open_barrier() {
  vote_ = {};
  for (const Thread* thread : at_barrier_) {
    const bool yes = thread->predicate != 0;
    vote_.count += yes;
    vote_.all = vote_.all && yes;
    vote_.any = vote_.any || yes;
  }
  waiting_ = 0;
  if (observer.barrier) observer.barrier();
  for (Thread* thread : at_barrier_) {
    if (thread == current_) continue;  // it is running, or has returned
    thread->state = State::ready;
    ready_.push_back(thread);
  }
  at_barrier_.clear();
}

// ---- Warp functions
// --------------------------------------------------------------------------------------------------
void BlockRunner::warp(WarpOperation operation, unsigned mask, unsigned bytes, void* value, int argument, int width,
                       Place place, void (*together)(void* const*)) {
  Thread& me = *current_;
  const unsigned warp = number(me) / warp_lanes, lane = number(me) % warp_lanes;
  const std::size_t last = threads_.size() - warp * warp_lanes;
  if (last < warp_lanes) mask &= (1u << last) - 1;  // lanes that never existed
  if ((mask >> lane & 1) == 0) {
    report(place, text("lane ", lane, " calls a warp function whose mask does not name it"));
    return;
  }
  me.place = place;
  me.operation = operation;
  me.mask = mask;
  me.bytes = bytes;
  me.value = value;
  me.argument = argument;
  me.width = width;
  me.together = together;
  me.state = State::in_warp_function;
  warp_waiting_[warp] |= 1u << lane;
  const unsigned needed = mask & warp_alive_[warp];
  if ((warp_waiting_[warp] & needed) == needed) try_warp(warp);
  if (me.state == State::in_warp_function) wait();
}

// Completes every warp function of this warp whose lanes have all arrived.
void BlockRunner::try_warp(unsigned warp) {
  const unsigned first = warp * warp_lanes;
  for (unsigned lane = 0; lane < warp_lanes && first + lane < threads_.size(); ++lane) {
    const Thread& a = threads_[first + lane];
    if (a.state != State::in_warp_function) continue;
    const unsigned needed = a.mask & warp_alive_[warp];
    bool complete = true;
    for (unsigned k = 0; k < warp_lanes && complete; ++k) {
      if ((needed >> k & 1) == 0) continue;
      const Thread& b = threads_[first + k];
      complete = b.state == State::in_warp_function && b.operation == a.operation && b.mask == a.mask;
    }
    if (!complete) continue;
    if (needed != a.mask)
      report(a.place, text("the mask of a warp function names lanes that have returned: ", std::popcount(a.mask),
                           " named, ", std::popcount(needed), " left"));
    finish_warp(warp, needed);
  }
}

void BlockRunner::finish_warp(unsigned warp, unsigned lanes) {
  const unsigned first = warp * warp_lanes;
  exchange(first, lanes);
  warp_waiting_[warp] &= ~lanes;
  // Votes and shuffles bring lanes together too, but order no memory accesses (Programming Guide, "Warp Shuffle").
  const bool orders_memory =
      threads_[first + static_cast<unsigned>(std::countr_zero(lanes))].operation == WarpOperation::sync;
  if (orders_memory && observer.warp_synchronized) observer.warp_synchronized(warp, lanes);
  for (unsigned k = 0; k < warp_lanes; ++k) {
    if ((lanes >> k & 1) == 0) continue;
    Thread& thread = threads_[first + k];
    thread.state = &thread == current_ ? State::running : State::ready;
    if (&thread != current_) ready_.push_back(&thread);
  }
}

// What the lanes tell each other.
void BlockRunner::exchange(unsigned first, unsigned lanes) {
  const Thread& any = threads_[first + static_cast<unsigned>(std::countr_zero(lanes))];
  if (any.operation == WarpOperation::sync) return;
  if (any.operation == WarpOperation::together) {
    void* values[warp_lanes];
    for (unsigned k = 0; k < warp_lanes; ++k) values[k] = threads_[first + k].value;
    any.together(values);
    return;
  }
  alignas(16) unsigned char before[warp_lanes][16];
  unsigned votes = 0;
  for (unsigned k = 0; k < warp_lanes; ++k) {
    if ((lanes >> k & 1) == 0) continue;
    std::memcpy(before[k], threads_[first + k].value, any.bytes);
    unsigned vote = 0;
    std::memcpy(&vote, before[k], std::min<std::size_t>(any.bytes, sizeof vote));
    votes |= (vote != 0 ? 1u : 0u) << k;
  }
  for (unsigned k = 0; k < warp_lanes; ++k) {
    if ((lanes >> k & 1) == 0) continue;
    Thread& thread = threads_[first + k];
    if (thread.operation == WarpOperation::ballot) {
      std::memcpy(thread.value, &votes, sizeof votes);
      continue;
    }
    // Lanes are grouped by `width`; who would be outside the group keeps its own value.
    const int lane = static_cast<int>(k), low = lane & ~(thread.width - 1), high = low + thread.width - 1;
    int source = lane;
    if (thread.operation == WarpOperation::shuffle) source = low | (thread.argument & (thread.width - 1));
    if (thread.operation == WarpOperation::shuffle_up && lane - thread.argument >= low) source = lane - thread.argument;
    if (thread.operation == WarpOperation::shuffle_down && lane + thread.argument <= high)
      source = lane + thread.argument;
    if (thread.operation == WarpOperation::shuffle_xor && (lane ^ thread.argument) <= high)
      source = lane ^ thread.argument;
    if ((lanes >> source & 1) == 0) {
      report(thread.place, text("lane ", lane, " reads lane ", source, ", which takes no part in this shuffle"));
      source = lane;
    }
    std::memcpy(thread.value, before[source], any.bytes);
  }
}

unsigned BlockRunner::active_mask() const { return warp_alive_[number(*current_) / warp_lanes]; }

// ---- What kernels call
// -----------------------------------------------------------------------------------------------
int block_barrier(Vote vote, int predicate, Place place) { return block_runner().barrier(vote, predicate, place); }
void warp_collective(WarpOperation operation, unsigned mask, unsigned bytes, void* value, int argument, int width,
                     Place place, void (*together)(void* const*)) {
  block_runner().warp(operation, mask, bytes, value, argument, width, place, together);
}
unsigned active_mask() { return block_runner().active_mask(); }
void* dynamic_shared() { return block_runner().dynamic_shared(); }
void note_atomic(const void* address, unsigned bytes, const void* code) {
  if (observer.atomic) observer.atomic(address, bytes, code);
}

}  // namespace headshare::simulator
