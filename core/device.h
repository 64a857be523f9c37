#pragma once

#include <string>

namespace headshare {

// Where a tensor's memory lies and its kernels run.
enum class Device { cpu, cuda };

std::string name(Device device);                 // "cpu", "cuda"
Device parse_device(const std::string& name);    // fails on any other word
std::string describe_devices();                  // what this machine and this build offer, a line per device

}  // namespace headshare
