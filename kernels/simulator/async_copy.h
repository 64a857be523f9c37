#pragma once

// Copies from memory to shared memory that a thread starts and waits for later (copy_async of cuda_mma.cuh). They are
// made when the thread waits, not earlier: who reads without waiting finds what was there before.
namespace headshare::simulator {

struct AsyncCopy {
  void* to;
  const void* from;
  int bytes;  // of 16; the rest becomes 0
};

// Of the simulated thread that runs.
void begin_copy(const AsyncCopy& copy);
void close_copy_group();
// The oldest copy that is not in the last `groups` closed groups leaves the list; false: there is none.
bool next_copy(unsigned groups, AsyncCopy& copy);

void forget_copies(unsigned threads);  // a block begins

}  // namespace headshare::simulator
