#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace headshare::simulator {

// The simulated device's own memory: one range of addresses that nobody may touch while no kernel runs. A host that
// reads a device pointer is stopped with a message that names the allocation, instead of working by luck here and
// crashing on a GPU. Managed allocations (cudaMallocManaged) are ordinary memory that is known to be the device's.

void* allocate_in_arena(std::size_t bytes);  // null when the arena is full; 256-byte aligned, filled with NaN patterns
void free_in_arena(void* memory);
void* allocate_managed_memory(std::size_t bytes);

enum class Owner { device, managed, host };
struct Allocation {
  Owner owner = Owner::host;  // host: of no allocation of the device
  std::uintptr_t begin = 0;
  std::size_t bytes = 0;
  std::string name;  // as given by name_memory, or "allocation 7"
};
// Of the allocation that holds the address; with owner host and a name when it lies close to one.
Allocation find_allocation(const void* address);
std::string describe_address(const void* address);  // "allocation 7 (400 bytes) + 32"

void name_memory(const void* memory, const std::string& name);  // for messages; forgotten when it is freed

// While one lives, the arena can be read and written.
class OpenArena {
 public:
  OpenArena();
  ~OpenArena();
  OpenArena(const OpenArena&) = delete;
  OpenArena& operator=(const OpenArena&) = delete;
};

}  // namespace headshare::simulator
