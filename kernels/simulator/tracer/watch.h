#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "kernels/simulator/cuda.h"
#include "kernels/simulator/tracer/accesses.h"
#include "kernels/simulator/tracer/arrays.h"
#include "kernels/simulator/tracer/ordering.h"
#include "kernels/simulator/tracer/report.h"
#include "kernels/simulator/tracer/requests.h"

namespace headshare::simulator::tracer {

// A launch as it was seen. Source lines are looked up later, if somebody wants to read it: that takes long.
struct SeenLaunch {
  const void* kernel = nullptr;
  std::uint64_t blocks = 0, threads = 0, dynamic_shared_bytes = 0, barriers = 0;
  std::vector<Site> sites;         // without their lines
  std::vector<const void*> codes;  // of each site, where the hook returned to
  std::vector<Problem> problems;
};

// Follows one launch after the other: which thread runs, what it accesses, and whether it may.
class Watch {
 public:
  void launch_begins(const void* kernel, dim3 grid, dim3 block, AddressRange arguments);
  SeenLaunch launch_ends();
  void block_begins(void* dynamic_shared, std::size_t bytes);
  void block_ends();
  void thread_runs(unsigned thread, AddressRange stack);
  void barrier();
  void warp_synchronized(unsigned warp, unsigned lanes) { ordering_.warp_synchronized(warp, lanes); }

  void accessed(std::uintptr_t address, unsigned bytes, AccessKind kind, const void* code, Alignment alignment);
  void copied(std::uintptr_t address, std::size_t bytes);
  void index_out_of_bounds(const char* file, unsigned line, const char* type, std::int64_t index, const void* code);

  Arrays arrays;
  // Whether some problems are shown at once as well: a kernel that leaves its memory may end the program before the
  // report.
  bool show_at_once = true;

 private:
  // An instruction together with an array that it accessed.
  struct SiteState {
    SiteState(const void* code_, Array& array_, unsigned bytes_, AccessKind kind_, std::uint32_t number_)
        : code(code_), array(&array_), bytes(bytes_), kind(kind_), number(number_), requests(array_.space, bytes_) {}
    const void* code;
    Array* array;
    unsigned bytes;
    AccessKind kind;
    std::uint32_t number;
    WarpRequests requests;
  };

  // What an instruction accessed last; mostly it is the same array again.
  struct Recent {
    const void* code = nullptr;
    unsigned bytes = 0;
    std::uintptr_t begin = 0;
    std::uintptr_t last = 0;    // the last address from the begin where all its bytes are inside
    SiteState* site = nullptr;  // null: memory that is not traced, such as threadIdx
  };
  Recent& recent(const void* code) { return recent_[reinterpret_cast<std::uintptr_t>(code) / 4 % recent_.size()]; }

  bool resolve(std::uintptr_t address, unsigned bytes, AccessKind kind, const void* code);
  bool untraced(std::uintptr_t address, AddressRange& range) const;
  SiteState& site(const void* code, Array& array, unsigned bytes, AccessKind kind);
  void begin_life(Array& shared);
  void check_word(SiteState& site, std::size_t index, Access now, std::uint32_t oldest);
  void name_pending_index(std::uintptr_t address, unsigned bytes);

  // In problem.cpp: what is wrong, in words.
  bool new_problem(ProblemKind kind, const void* code, const void* other);
  void report(ProblemKind kind, std::string text);
  void report_outside(std::uintptr_t address, AccessKind kind, const void* code);
  void report_crossing(const Array& array, std::uintptr_t address, unsigned bytes, AccessKind kind, const void* code);
  void report_misaligned(std::uintptr_t address, unsigned bytes, AccessKind kind, const void* code);
  void report_uninitialised(const SiteState& site, std::size_t word);
  void report_race(const SiteState& site, Access before, Access now, std::size_t word);
  std::string thread_name(unsigned thread, unsigned block) const;
  std::string this_thread() const;
  std::string place(const Array* array, std::uintptr_t address) const;

  unsigned thread_ = 0;
  AddressRange stack_;
  AddressRange arguments_, program_;
  std::array<AddressRange, lanes_of_warp * most_warps> stacks_;  // of all threads of the block
  dim3 grid_, block_;

  Ordering ordering_;
  std::vector<std::unique_ptr<SiteState>> sites_;
  std::unordered_map<std::uintptr_t, std::vector<SiteState*>> sites_of_code_;
  std::array<Recent, 2048> recent_;

  SeenLaunch seen_;
  std::set<std::tuple<ProblemKind, const void*, const void*>> reported_;
  struct PendingIndex {
    std::size_t problem;
    unsigned thread;
    std::int64_t index;
  };
  std::optional<PendingIndex> pending_index_;
};

}  // namespace headshare::simulator::tracer
