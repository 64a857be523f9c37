#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/trace/kernels.h"

// The kernels where training and decoding spend their time, and how much more they ask of memory than they must.
namespace headshare::trace {

struct HotKernel {
  std::string name;                        // of a traced kernel
  std::vector<NamedSize> sizes;            // at least a few blocks' worth of work; few enough for the tracer
  std::vector<std::string> reads, writes;  // its arrays
};
const std::vector<HotKernel>& hot_kernels();

// What a kernel asks of global memory, in whole sectors and before any cache, and the least it could: each array that
// it reads once, and each that it writes once.
struct HotTraffic {
  std::string name, sizes;
  std::uint64_t least_bytes = 0, asked_bytes = 0;
};

// Runs the kernel. Fails when it leaves one of its arrays alone, or touches one that is not in its list.
HotTraffic traffic_of(const HotKernel& kernel);

// A row for each hot kernel, as Markdown: it stands in the README.
std::string hot_table();

}  // namespace headshare::trace
