#include "kernels/simulator/tracer/report.h"

#include <algorithm>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>

namespace headshare::simulator {
namespace {

// What a reader should look at first: half as much again as necessary.
bool wasteful(const Site& site) { return 2 * site.sectors > 3 * site.least_sectors; }

std::string name(Space space) { return space == Space::global ? "global" : "shared"; }

std::string name(AccessKind kind) {
  return kind == AccessKind::load ? "load" : kind == AccessKind::store ? "store" : "atomic";
}

double per_request(std::uint64_t count, const Site& site) {
  return static_cast<double>(count) / static_cast<double>(site.requests);
}

template <class Count>
std::uint64_t sum_over(const std::vector<Site>& sites, Space space, Count count) {
  std::uint64_t sum = 0;
  for (const Site& site : sites)
    if (site.space == space) sum += count(site);
  return sum;
}

void write_row(std::ostream& out, const Site& site, int line_width, int array_width) {
  const bool global = site.space == Space::global;
  out << "  " << std::left << std::setw(line_width) << site.line << "  " << name(site.space) << ' ' << std::setw(6)
      << name(site.kind) << ' ' << std::setw(array_width) << site.array << std::right << ' ' << std::setw(2)
      << site.bytes << " B " << std::setw(9) << site.requests << " requests " << std::setw(5)
      << per_request(site.lanes, site) << " lanes " << std::setw(6)
      << per_request(global ? site.sectors : site.passes, site) << (global ? " sectors" : " passes ") << " (least "
      << std::setw(5) << per_request(global ? site.least_sectors : site.least_passes, site) << ')';
  if (global && wasteful(site)) out << "  <- not coalesced";
  if (!global && site.passes > site.least_passes) out << "  <- bank conflicts";
  out << '\n';
}

}  // namespace

std::string name(ProblemKind kind) {
  switch (kind) {
    case ProblemKind::race:
      return "race";
    case ProblemKind::out_of_bounds:
      return "out of bounds";
    case ProblemKind::uninitialised:
      return "uninitialised";
    case ProblemKind::misaligned:
      return "misaligned";
    default:
      return "host memory";
  }
}

std::uint64_t LaunchReport::moved_bytes() const {
  return sum_over(sites, Space::global, [](const Site& site) { return site.moved_bytes(); });
}

std::uint64_t LaunchReport::requested_bytes() const {
  return sum_over(sites, Space::global, [](const Site& site) { return site.requested_bytes(); });
}

double LaunchReport::efficiency() const {
  const std::uint64_t sectors = sum_over(sites, Space::global, [](const Site& site) { return site.sectors; });
  const std::uint64_t least = sum_over(sites, Space::global, [](const Site& site) { return site.least_sectors; });
  return sectors == 0 ? 1 : static_cast<double>(least) / static_cast<double>(sectors);
}

std::uint64_t LaunchReport::bank_conflicts() const {
  return sum_over(sites, Space::shared, [](const Site& site) { return site.passes - site.least_passes; });
}

std::vector<ArrayTraffic> LaunchReport::arrays() const {
  std::vector<ArrayTraffic> all;
  for (const Site& site : sites) {
    auto found = std::find_if(all.begin(), all.end(), [&](const ArrayTraffic& traffic) {
      return traffic.array == site.array && traffic.space == site.space;
    });
    if (found == all.end())
      found = all.insert(all.end(), {.array = site.array, .space = site.space, .array_bytes = site.array_bytes});
    if (site.kind != AccessKind::store) {
      found->requested_load_bytes += site.requested_bytes();
      found->moved_load_bytes += site.moved_bytes();
    }
    if (site.kind != AccessKind::load) {
      found->requested_store_bytes += site.requested_bytes();
      found->moved_store_bytes += site.moved_bytes();
    }
  }
  return all;
}

ArrayTraffic LaunchReport::array(const std::string& name) const {
  for (const ArrayTraffic& traffic : arrays())
    if (traffic.array == name) return traffic;
  return {.array = name};
}

std::string to_text(const LaunchReport& report) {
  std::size_t line_width = 0, array_width = 0;
  for (const Site& site : report.sites) {
    line_width = std::max(line_width, site.line.size());
    array_width = std::max(array_width, site.array.size());
  }
  std::ostringstream out;
  out << std::fixed << std::setprecision(1);
  out << report.kernel << ": " << report.blocks << (report.blocks == 1 ? " block, " : " blocks, ") << report.threads
      << " threads, " << report.barriers << (report.barriers == 1 ? " barrier\n" : " barriers\n");
  out << "  global memory: " << static_cast<double>(report.moved_bytes()) / 1024 << " KiB in sectors of "
      << sector_bytes << " bytes, efficiency " << std::setprecision(0) << 100 * report.efficiency() << " %\n"
      << "  shared memory: " << report.bank_conflicts() << " bank conflicts\n"
      << std::setprecision(2);
  for (const Site& site : report.sites)
    write_row(out, site, static_cast<int>(line_width), static_cast<int>(array_width));
  for (const Problem& problem : report.problems) out << "  !! " << problem.text << '\n';
  return out.str();
}

std::string to_json(const LaunchReport& report) {
  nlohmann::ordered_json root = {{"kernel", report.kernel},
                                 {"blocks", report.blocks},
                                 {"threads", report.threads},
                                 {"dynamic_shared_bytes", report.dynamic_shared_bytes},
                                 {"barriers", report.barriers},
                                 {"moved_bytes", report.moved_bytes()},
                                 {"requested_bytes", report.requested_bytes()},
                                 {"efficiency", report.efficiency()},
                                 {"bank_conflicts", report.bank_conflicts()},
                                 {"sites", nlohmann::ordered_json::array()},
                                 {"arrays", nlohmann::ordered_json::array()},
                                 {"problems", nlohmann::ordered_json::array()}};
  for (const Site& site : report.sites)
    root["sites"].push_back({{"line", site.line},
                             {"array", site.array},
                             {"space", name(site.space)},
                             {"kind", name(site.kind)},
                             {"bytes", site.bytes},
                             {"requests", site.requests},
                             {"lanes", site.lanes},
                             {"sectors", site.sectors},
                             {"least_sectors", site.least_sectors},
                             {"passes", site.passes},
                             {"least_passes", site.least_passes}});
  for (const ArrayTraffic& traffic : report.arrays())
    root["arrays"].push_back({{"array", traffic.array},
                              {"space", name(traffic.space)},
                              {"array_bytes", traffic.array_bytes},
                              {"requested_load_bytes", traffic.requested_load_bytes},
                              {"requested_store_bytes", traffic.requested_store_bytes},
                              {"moved_load_bytes", traffic.moved_load_bytes},
                              {"moved_store_bytes", traffic.moved_store_bytes}});
  for (const Problem& problem : report.problems)
    root["problems"].push_back({{"kind", name(problem.kind)}, {"text", problem.text}});
  return root.dump(2);
}

}  // namespace headshare::simulator
