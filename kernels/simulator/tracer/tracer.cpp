#include "kernels/simulator/tracer/tracer.h"

#include <algorithm>
#include <charconv>
#include <mutex>
#include <tuple>

#include "core/error.h"
#include "kernels/simulator/tracer/watch.h"

namespace headshare::simulator {
namespace {

using namespace tracer;

// Made when the program starts and never destroyed: device memory may be freed by static variables at the very end.
Watch* watch = nullptr;
// What the hooks of this host thread report to; null while it runs no kernel: host functions in .cu files have hooks
// too.
constinit thread_local Watch* watching = nullptr;
// Host threads may launch kernels side by side, and allocate memory meanwhile. One after the other, here.
std::mutex one_at_a_time;
Strictness strictness = Strictness::fail;
SeenLaunch last;
std::vector<SeenLaunch> recorded;
bool recording = false;

void launch_ends() {
  const std::lock_guard unlocks(one_at_a_time, std::adopt_lock);  // locked when the launch began
  last = watch->launch_ends();
  if (recording) recorded.push_back(last);
  if (strictness == Strictness::fail && !last.problems.empty())
    fail(function_name(last.kernel), ": ", last.problems[0].text);
}

[[maybe_unused]] const bool installed = [] {
  watch = new Watch;
  observer.launch_begins = [](const void* kernel, dim3 grid, dim3 block, const void* arguments, std::size_t bytes) {
    const auto begin = reinterpret_cast<std::uintptr_t>(arguments);
    one_at_a_time.lock();
    watch->launch_begins(kernel, grid, block, {begin, begin + bytes});
  };
  observer.launch_ends = &launch_ends;
  observer.block_begins = [](unsigned, unsigned, void* dynamic_shared, std::size_t bytes) {
    watch->block_begins(dynamic_shared, bytes);
  };
  observer.block_ends = [] { watch->block_ends(); };
  observer.thread_runs = [](unsigned thread, const void* stack_begin, const void* stack_end) {
    watching = watch;
    watch->thread_runs(thread,
                       {reinterpret_cast<std::uintptr_t>(stack_begin), reinterpret_cast<std::uintptr_t>(stack_end)});
  };
  observer.nobody_runs = [] { watching = nullptr; };
  observer.barrier = [] { watch->barrier(); };
  observer.warp_synchronized = [](unsigned warp, unsigned lanes) { watch->warp_synchronized(warp, lanes); };
  observer.copied = [](void* memory, std::size_t bytes) {
    watch->copied(reinterpret_cast<std::uintptr_t>(memory), bytes);
  };
  observer.fetched = [](const void* address, unsigned bytes, const void* code) {
    accessed(address, bytes, AccessKind::load, code, Alignment::any);
  };
  observer.atomic = [](const void* address, unsigned bytes, const void* code) {
    accessed(address, bytes, AccessKind::atomic, code, Alignment::natural);
  };
  observer.allocated = [](void* memory, std::size_t bytes, bool managed) {
    const std::lock_guard lock(one_at_a_time);
    watch->arrays.allocated(memory, bytes, managed);
  };
  observer.freed = [](void* memory) {
    const std::lock_guard lock(one_at_a_time);
    watch->arrays.freed(memory);
  };
  observer.host_wrote = [](void* memory, std::size_t bytes) {
    const std::lock_guard lock(one_at_a_time);
    watch->arrays.host_wrote(memory, bytes);
  };
  return true;
}();

// "softmax.cu:40" comes before "softmax.cu:117".
std::tuple<std::string, int> file_and_line(const std::string& line) {
  const std::size_t colon = line.rfind(':');
  if (colon == std::string::npos) return {line, 0};
  int number = 0;
  std::from_chars(line.data() + colon + 1, line.data() + line.size(), number);
  return {line.substr(0, colon), number};
}

bool same_row(const Site& a, const Site& b) {
  return std::tie(a.line, a.array, a.space, a.kind, a.bytes) == std::tie(b.line, b.array, b.space, b.kind, b.bytes);
}

void add(Site& sum, const Site& site) {
  sum.requests += site.requests;
  sum.lanes += site.lanes;
  sum.sectors += site.sectors;
  sum.least_sectors += site.least_sectors;
  sum.passes += site.passes;
  sum.least_passes += site.least_passes;
}

LaunchReport describe(const SeenLaunch& seen) {
  LaunchReport report;
  if (seen.kernel == nullptr) return report;
  report.kernel = function_name(seen.kernel);
  report.blocks = seen.blocks;
  report.threads = seen.threads;
  report.dynamic_shared_bytes = seen.dynamic_shared_bytes;
  report.barriers = seen.barriers;
  report.problems = seen.problems;
  const std::vector<std::string> lines = source_lines(seen.codes);
  for (std::size_t i = 0; i < seen.sites.size(); ++i) {
    Site site = seen.sites[i];
    site.line = lines[i];
    const auto found = std::find_if(report.sites.begin(), report.sites.end(),
                                    [&](const Site& other) { return same_row(site, other); });
    if (found == report.sites.end())
      report.sites.push_back(std::move(site));
    else
      add(*found, site);
  }
  std::stable_sort(report.sites.begin(), report.sites.end(),
                   [](const Site& a, const Site& b) { return file_and_line(a.line) < file_and_line(b.line); });
  return report;
}

}  // namespace

namespace tracer {

void accessed(const void* address, unsigned bytes, AccessKind kind, const void* code, Alignment alignment) {
  if (watching != nullptr) watching->accessed(reinterpret_cast<std::uintptr_t>(address), bytes, kind, code, alignment);
}

void index_out_of_bounds(const char* file, unsigned line, const char* type, std::int64_t index, const void* code) {
  if (watching != nullptr) watching->index_out_of_bounds(file, line, type, index, code);
}

}  // namespace tracer

void set_strictness(Strictness chosen) {
  strictness = chosen;
  watch->show_at_once = chosen == Strictness::fail;
}

LaunchReport last_launch() { return describe(last); }

void start_recording() {
  recorded.clear();
  recording = true;
}

std::vector<LaunchReport> stop_recording() {
  recording = false;
  std::vector<LaunchReport> reports;
  for (const SeenLaunch& seen : recorded) reports.push_back(describe(seen));
  return reports;
}

}  // namespace headshare::simulator
