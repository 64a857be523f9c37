#pragma once

#include <string>

namespace headshare {

// Where a tensor's memory lies and its kernels run.
enum class Device { cpu, cuda };

std::string name(Device device);               // "cpu", "cuda"
Device parse_device(const std::string& name);  // fails on any other word
std::string describe_processor();              // name, threads and the instruction set of this build

// Where new tensors live when nothing else is said: the processor, unless a DefaultDevice lives.
Device default_device();

// Makes another device the default, for the whole program, until the end of its scope.
class DefaultDevice {
 public:
  explicit DefaultDevice(Device device);
  ~DefaultDevice();
  DefaultDevice(const DefaultDevice&) = delete;
  DefaultDevice& operator=(const DefaultDevice&) = delete;

 private:
  Device before_;
};

}  // namespace headshare
