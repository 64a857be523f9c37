#pragma once

#include <cstdint>
#include <string>
#include <vector>

// What the tracer says about one launch of a kernel: numbers for tests, text for people, JSON for programs.
//
// All counts are of what the kernel asks for, after the compiler's optimization and without any cache: a GPU answers
// part of it from its caches, so memory itself moves less.
namespace headshare::simulator {

enum class Space { global, shared };
enum class AccessKind { load, store, atomic };

constexpr unsigned sector_bytes = 32;  // what a GPU fetches from global memory, at least
constexpr unsigned shared_banks = 32;  // each hands out one 4-byte word at a time

// The loads, or the stores, or the atomic operations, of one source line on one array.
struct Site {
  std::string line;   // "softmax.cu:40"
  std::string array;  // as given by name_memory, or the name of the __shared__ array
  Space space = Space::global;
  AccessKind kind = AccessKind::load;
  std::uint64_t array_bytes = 0;    // how large the array is
  unsigned bytes = 0;               // per lane
  std::uint64_t requests = 0;       // instructions of a warp
  std::uint64_t lanes = 0;          // that took part in them, summed
  std::uint64_t sectors = 0;        // global: 32-byte sectors that the requests touch
  std::uint64_t least_sectors = 0;  // global: if the same bytes lay side by side
  std::uint64_t passes = 0;         // shared: through the banks, as many as words asked of one bank
  std::uint64_t least_passes = 0;   // shared: if no two words were in the same bank

  std::uint64_t requested_bytes() const { return lanes * bytes; }
  std::uint64_t moved_bytes() const { return sectors * sector_bytes; }
};

enum class ProblemKind { race, out_of_bounds, uninitialised, misaligned, host_memory };
std::string name(ProblemKind kind);  // "race", "out of bounds", ...

struct Problem {
  ProblemKind kind = ProblemKind::race;
  std::string text;  // one line: who, where, what
};

// What one array had to give or take. Atomic operations count as loads and as stores.
struct ArrayTraffic {
  std::string array;
  Space space = Space::global;
  std::uint64_t array_bytes = 0;                                      // how large it is
  std::uint64_t requested_load_bytes = 0, requested_store_bytes = 0;  // by all lanes, summed
  std::uint64_t moved_load_bytes = 0, moved_store_bytes = 0;          // global: in whole sectors
};

struct LaunchReport {
  std::string kernel;                      // "softmax_kernel<float>"
  std::uint64_t blocks = 0, threads = 0;   // threads of all blocks
  std::uint64_t dynamic_shared_bytes = 0;  // of each block
  std::uint64_t barriers = 0;              // summed over the blocks
  std::vector<Site> sites;                 // in the order of their lines
  std::vector<Problem> problems;           // each pair of lines once

  std::uint64_t moved_bytes() const;      // of global memory
  std::uint64_t requested_bytes() const;  // of global memory
  double efficiency() const;              // of global memory: sectors needed at least / sectors asked for
  std::uint64_t bank_conflicts() const;   // passes that different banks would have saved
  std::vector<ArrayTraffic> arrays() const;
  ArrayTraffic array(const std::string& name) const;  // zeros when the kernel left it alone
};

std::string to_text(const LaunchReport& report);
std::string to_json(const LaunchReport& report);

}  // namespace headshare::simulator
