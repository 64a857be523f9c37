#pragma once

#include <cstdint>
#include <string>
#include <vector>

// What the running program knows about itself: the names in its ELF file and, by way of addr2line, its debug
// information. Linux only.
namespace headshare::simulator::tracer {

// A variable with thread-local storage, which is what __shared__ arrays are on the simulated device.
struct ThreadLocal {
  std::uintptr_t offset;  // from the begin of a thread's block of such variables
  std::size_t bytes;
  std::string name;  // without namespaces and the function around it
};
const std::vector<ThreadLocal>& thread_locals();  // in the order of their offsets

struct AddressRange {
  std::uintptr_t begin = 0, end = 0;
  // One comparison for both ends: what lies before the begin wraps around to a large number.
  bool contains(std::uintptr_t address) const { return address - begin < end - begin; }
};
AddressRange thread_local_block();  // of the calling thread, in this program (not in its libraries)
AddressRange program();             // code, constants and global variables

std::string function_name(const void* address);  // "softmax_kernel<float>"

// "softmax.cu:40" for each return address, as the compiler's hooks get it; "unknown line" without debug information.
std::vector<std::string> source_lines(const std::vector<const void*>& return_addresses);
std::string source_line(const void* return_address);

}  // namespace headshare::simulator::tracer
