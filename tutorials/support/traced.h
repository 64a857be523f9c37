#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "kernels/device_memory.h"
#include "kernels/simulator/tracer/report.h"

// For lessons about kernels: arrays in the device's memory, and what the tracer (kernels/simulator/tracer/tracer.h) saw
// of a launch. The tracer is there when a lesson's .cu files were compiled for it and it is linked in: on the simulated
// device under Linux. Everywhere else, on a real GPU too, kernels run all the same and are not watched.
namespace headshare::lesson {

namespace traced {
void* allocate(const std::string& name, Size bytes);  // what lies in it is undefined; the tracer's messages name it
}

// Numbers in the device's memory.
template <class T = float>
class DeviceArray {
 public:
  // Uninitialised: the tracer notices who reads an element before it is written.
  DeviceArray(const std::string& name, Size n) : n_(n), memory_(static_cast<T*>(traced::allocate(name, n * bytes))) {}
  DeviceArray(const std::string& name, const std::vector<T>& values)
      : DeviceArray(name, static_cast<Size>(values.size())) {
    kernels::copy_to_device(kernels::cuda(), values.data(), memory_, n_ * bytes);
  }
  ~DeviceArray() { kernels::free_device(memory_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() { return memory_; }
  Size size() const { return n_; }
  std::vector<T> to_vector() const {
    std::vector<T> values(static_cast<std::size_t>(n_));
    kernels::copy_to_host(kernels::cuda(), memory_, values.data(), n_ * bytes);
    return values;
  }

 private:
  static constexpr Size bytes = sizeof(T);
  Size n_;
  T* memory_;
};

// What one or more launches asked of memory. All counts are of requests, without any cache.
struct Traffic {
  bool traced = false;                 // false: nobody watched, and everything else is 0
  Size moved_bytes = 0;                // of global memory, in whole sectors of 32 bytes
  Size requested_bytes = 0;            // of global memory, by all threads
  double efficiency = 0;               // sectors needed at least / sectors asked for; 1 is best
  Size shared_passes = 0;              // through the banks of shared memory, by all warps
  Size bank_conflicts = 0;             // those of them that other addresses would have saved
  Size threads = 0;                    // launched, in whole blocks
  Size barriers = 0;                   // __syncthreads, once for each block
  std::vector<simulator::Site> sites;  // each access of the source: its line, its array, its counts
  std::vector<std::string> problems;   // races, missing barriers, accesses out of bounds, ...: one line each

  Size moved(const std::string& array) const;  // bytes of global memory, of one array
};

// Whether this program is watched.
bool tracing();
// What an untraced program says instead of its numbers: "not traced: this needs the simulated device ..."
extern const char* const not_traced;

// Runs `work`, which launches kernels. Throws Error with the tracer's words at the first thing that is wrong with one.
Traffic trace(const std::function<void()>& work);
// The same for kernels that are wrong on purpose: what the tracer finds stands in `problems`.
Traffic trace_with_problems(const std::function<void()>& work);

// Runs `work` with the threads of each block taking their turns in three orders: forward, reverse and shuffled. A right
// kernel does not notice. An Error says in which order it happened. On a real GPU: once.
void in_every_order(const std::function<void()>& work);
// The same, telling `work` the order: "forward", "reverse" or "shuffled"; "unknown" on a real GPU.
void for_each_order(const std::function<void(const std::string& order)>& work);

// Throw Error, with line, array and counts of the worst access, unless the launches did well. Untraced: nothing.
void check_efficiency(const Traffic& traffic, double at_least);
void check_no_bank_conflicts(const Traffic& traffic);

// For people: "256.0 KiB moved, efficiency 12 %, 0 bank conflicts"; not_traced where that is so.
std::string summary(const Traffic& traffic);
// A table with a row for each access: array, what is done, lanes, sectors or passes for one request of a warp.
std::string access_table(const Traffic& traffic);

}  // namespace headshare::lesson
