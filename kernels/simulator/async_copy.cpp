#include "kernels/simulator/async_copy.h"

#include <deque>
#include <vector>

#include "kernels/simulator/cuda.h"

namespace headshare::simulator {
namespace {

struct CopiesOfThread {
  struct Entry {
    AsyncCopy copy;
    unsigned group;
  };
  std::deque<Entry> started;
  unsigned group = 0;  // that the next copy belongs to
};

thread_local std::vector<CopiesOfThread> copies;  // of the block that this host thread runs

CopiesOfThread& mine() {
  return copies[threadIdx.x + blockDim.x * (threadIdx.y + std::size_t{blockDim.y} * threadIdx.z)];
}

}  // namespace

void begin_copy(const AsyncCopy& copy) { mine().started.push_back({copy, mine().group}); }

void close_copy_group() { ++mine().group; }

bool next_copy(unsigned groups, AsyncCopy& copy) {
  CopiesOfThread& own = mine();
  if (own.started.empty() || own.started.front().group + groups >= own.group) return false;
  copy = own.started.front().copy;
  own.started.pop_front();
  return true;
}

void forget_copies(unsigned threads) {
  if (copies.size() < threads) copies.resize(threads);
  for (CopiesOfThread& of_thread : copies) {
    of_thread.started.clear();
    of_thread.group = 0;
  }
}

}  // namespace headshare::simulator
