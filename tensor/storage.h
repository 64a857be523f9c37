#pragma once

#include <cstddef>

#include "core/device.h"
#include "core/size.h"

namespace headshare {

// A block of memory on a device, returned to a cache of free blocks when it dies. A training step allocates the same
// sizes again and again, and a fresh page from the system costs more than writing it: after the second step nothing is
// asked of the system any more. 64-byte aligned. Contents are undefined. On Device::cuda a block may be given out again
// while kernels that use it are still queued: whoever gets it queues behind them.
class Storage {
 public:
  Storage(Size bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data() const { return data_; }
  Size bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  std::byte* data_;
  Size bytes_;
  Device device_;
};

struct MemoryStatistics {
  Size bytes_in_use;        // in live tensors
  Size peak_bytes_in_use;   // the most at any time since reset_peak_memory
  Size bytes_cached;        // in free blocks that are kept for reuse
  Size system_allocations;  // how often the system was asked, ever
};

MemoryStatistics memory_statistics(Device device);
void reset_peak_memory(Device device);
void release_cached_memory(Device device);  // gives the free blocks back to the system

// Waits until everything queued on the device is done; the processor never queues anything.
void wait_for(Device device);

}  // namespace headshare
