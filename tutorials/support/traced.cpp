#include "tutorials/support/traced.h"

#include <cmath>
#include <iomanip>

#include "core/report/table.h"
#include "kernels/simulator/device_arena.h"
#include "kernels/simulator/simulator.h"
#include "kernels/simulator/tracer/tracer.h"

// Redeclared as weak: they are null in a program without the tracer, or without the simulated device.
namespace headshare::simulator {
[[gnu::weak]] void set_strictness(Strictness strictness);
[[gnu::weak]] void start_recording();
[[gnu::weak]] std::vector<LaunchReport> stop_recording();
[[gnu::weak]] void set_thread_order(ThreadOrder order);
[[gnu::weak]] ThreadOrder thread_order();
[[gnu::weak]] void name_memory(const void* memory, const std::string& name);
}  // namespace headshare::simulator

namespace headshare::lesson {
namespace {

using simulator::AccessKind;
using simulator::Site;
using simulator::Space;
using simulator::ThreadOrder;

double ratio(std::uint64_t a, std::uint64_t b) { return static_cast<double>(a) / static_cast<double>(b); }

std::string fixed(double number, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << number;
  return out.str();
}

std::string percent(double share) { return text(std::lround(std::floor(100 * share + 1e-9)), " %"); }

const char* verb(AccessKind kind) {
  return kind == AccessKind::load ? "loads" : kind == AccessKind::store ? "stores" : "changes atomically";
}

bool global(const Site& site) { return site.space == Space::global; }
std::uint64_t wasted(const Site& site) {
  return global(site) ? site.sectors - site.least_sectors : site.passes - site.least_passes;
}

// "lesson.cu:31 loads x with 32.0 sectors for each request of a warp, where 4.0 would do"
std::string worst_access(const Traffic& traffic, Space space) {
  const Site* worst = nullptr;
  for (const Site& site : traffic.sites)
    if (site.space == space && (worst == nullptr || wasted(site) > wasted(*worst))) worst = &site;
  if (worst == nullptr) return "";
  return text(worst->line, ' ', verb(worst->kind), ' ', worst->array, " with ",
              fixed(ratio(global(*worst) ? worst->sectors : worst->passes, worst->requests), 1),
              global(*worst) ? " sectors" : " passes", " for each request of a warp, where ",
              fixed(ratio(global(*worst) ? worst->least_sectors : worst->least_passes, worst->requests), 1),
              " would do");
}

// Whether problems are thrown or only noted, until the end of a scope.
class Strictly {
 public:
  explicit Strictly(simulator::Strictness strictness) { simulator::set_strictness(strictness); }
  ~Strictly() { simulator::set_strictness(simulator::Strictness::fail); }
  Strictly(const Strictly&) = delete;
  Strictly& operator=(const Strictly&) = delete;
};

class InOrder {
 public:
  explicit InOrder(ThreadOrder order) : before_(simulator::thread_order()) { simulator::set_thread_order(order); }
  ~InOrder() { simulator::set_thread_order(before_); }
  InOrder(const InOrder&) = delete;
  InOrder& operator=(const InOrder&) = delete;

 private:
  ThreadOrder before_;
};

Traffic watched(const std::function<void()>& work, simulator::Strictness strictness) {
  Traffic traffic;
  if (!tracing()) {
    work();
    return traffic;
  }
  std::vector<simulator::LaunchReport> launches;
  {
    const Strictly strictly(strictness);
    simulator::start_recording();
    try {
      work();
    } catch (...) {
      simulator::stop_recording();
      throw;
    }
    launches = simulator::stop_recording();
  }
  traffic.traced = true;
  std::uint64_t sectors = 0, least_sectors = 0;
  for (const auto& launch : launches) {
    traffic.threads += static_cast<Size>(launch.threads);
    traffic.barriers += static_cast<Size>(launch.barriers);
    for (const auto& problem : launch.problems) traffic.problems.push_back(problem.text);
    for (const Site& site : launch.sites) {
      traffic.sites.push_back(site);
      traffic.shared_passes += static_cast<Size>(site.passes);
      if (global(site)) {
        sectors += site.sectors;
        least_sectors += site.least_sectors;
        traffic.requested_bytes += static_cast<Size>(site.requested_bytes());
      } else {
        traffic.bank_conflicts += static_cast<Size>(wasted(site));
      }
    }
  }
  traffic.moved_bytes = static_cast<Size>(sectors * simulator::sector_bytes);
  traffic.efficiency = sectors == 0 ? 1 : ratio(least_sectors, sectors);
  return traffic;
}

// A kernel that reads or writes far outside of its arrays would end the program, where its memory ends, before the
// tracer's message can become a failed test. With so much memory before and behind them that is rare.
bool make_surroundings() {
  constexpr Size before = 1 << 20, behind = 1 << 24;
  static void* const first = kernels::allocate_device(before);  // for ever
  kernels::free_device(kernels::allocate_device(behind));       // what was memory once can be touched
  return first != nullptr;
}

}  // namespace

const char* const not_traced = "not traced: this needs the simulated device (-DHEADSHARE_DEVICE=simulated) on Linux";

void* traced::allocate(const std::string& name, Size bytes) {
  if (kernels::cuda_is_simulated()) {
    [[maybe_unused]] static const bool made = make_surroundings();
  }
  void* const memory = kernels::allocate_device(bytes);
  if (memory == nullptr) fail("out of device memory: ", name, " needs ", bytes, " bytes");
  if (simulator::name_memory != nullptr) simulator::name_memory(memory, name);
  return memory;
}

Size Traffic::moved(const std::string& array) const {
  Size sum = 0;
  for (const Site& site : sites)
    if (global(site) && site.array == array) sum += static_cast<Size>(site.moved_bytes());
  return sum;
}

bool tracing() { return simulator::start_recording != nullptr && simulator::tracing(); }

Traffic trace(const std::function<void()>& work) { return watched(work, simulator::Strictness::fail); }
Traffic trace_with_problems(const std::function<void()>& work) { return watched(work, simulator::Strictness::report); }

void for_each_order(const std::function<void(const std::string& order)>& work) {
  if (simulator::set_thread_order == nullptr || simulator::thread_order == nullptr) return work("unknown");
  const std::pair<ThreadOrder, const char*> orders[] = {
      {ThreadOrder::forward, "forward"}, {ThreadOrder::reverse, "reverse"}, {ThreadOrder::shuffled, "shuffled"}};
  for (const auto& [order, order_name] : orders) {
    const InOrder in_order(order);
    work(order_name);
  }
}

void in_every_order(const std::function<void()>& work) {
  for_each_order([&](const std::string& order) {
    try {
      work();
    } catch (const Error& error) {
      if (order == "forward" || order == "unknown") throw;  // nothing to add, and the error keeps its type
      fail(error.what(), " (threads in ", order, " order)");
    }
  });
}

void check_efficiency(const Traffic& traffic, double at_least) {
  if (traffic.traced && traffic.efficiency < at_least)
    fail("efficiency of global memory: expected at least ", percent(at_least), ", got ", percent(traffic.efficiency),
         "; ", worst_access(traffic, Space::global));
}

void check_no_bank_conflicts(const Traffic& traffic) {
  if (traffic.bank_conflicts > 0)
    fail("bank conflicts: expected 0, got ", traffic.bank_conflicts, "; ", worst_access(traffic, Space::shared));
}

std::string summary(const Traffic& traffic) {
  if (!traffic.traced) return not_traced;
  return text(fixed(static_cast<double>(traffic.moved_bytes) / 1024, 1), " KiB moved, efficiency ",
              percent(traffic.efficiency), ", ", traffic.bank_conflicts,
              traffic.bank_conflicts == 1 ? " bank conflict" : " bank conflicts");
}

std::string access_table(const Traffic& traffic) {
  if (!traffic.traced) return std::string(not_traced) + '\n';
  Table table({{"array"},
               {"access"},
               {"requests", Alignment::right},
               {"lanes", Alignment::right},
               {"sectors", Alignment::right},
               {"passes", Alignment::right},
               {"at least", Alignment::right}});
  for (const Site& site : traffic.sites) {
    const std::string count = fixed(ratio(global(site) ? site.sectors : site.passes, site.requests), 1);
    const std::string least = fixed(ratio(global(site) ? site.least_sectors : site.least_passes, site.requests), 1);
    table.add_row({site.array,
                   text(global(site) ? "global " : "shared ", site.kind == AccessKind::load    ? "load"
                                                              : site.kind == AccessKind::store ? "store"
                                                                                               : "atomic"),
                   text(site.requests), fixed(ratio(site.lanes, site.requests), 1), global(site) ? count : "",
                   global(site) ? "" : count, least});
  }
  return table.plain();
}

}  // namespace headshare::lesson
