#include <cstdio>
#include <cstring>

#include "core/error.h"
#include "kernels/simulator/device_arena.h"
#include "kernels/simulator/tracer/watch.h"

// What is wrong with a kernel, in words: one line each, with thread, block, array and source line.
namespace headshare::simulator::tracer {
namespace {

const char* verb(AccessKind kind) {
  return kind == AccessKind::load ? "reads" : kind == AccessKind::store ? "writes" : "atomically changes";
}

// "5", or "(5, 2, 0)" where the grid or the block has more than one dimension.
std::string position(unsigned number, dim3 sizes) {
  if (sizes.y == 1 && sizes.z == 1) return text(number);
  const unsigned x = number % sizes.x, y = number / sizes.x % sizes.y, z = number / sizes.x / sizes.y;
  return sizes.z == 1 ? text('(', x, ", ", y, ')') : text('(', x, ", ", y, ", ", z, ')');
}

}  // namespace

bool Watch::new_problem(ProblemKind kind, const void* code, const void* other) {
  return reported_.insert({kind, code, other}).second;
}

void Watch::report(ProblemKind kind, std::string text) {
  const bool may_end_the_program = kind == ProblemKind::out_of_bounds || kind == ProblemKind::host_memory;
  if (show_at_once && may_end_the_program) std::fprintf(stderr, "simulated device: %s\n", text.c_str());
  seen_.problems.push_back({kind, std::move(text)});
}

std::string Watch::thread_name(unsigned thread, unsigned block) const {
  return text("thread ", position(thread, block_), " of block ", position(block, grid_));
}

std::string Watch::this_thread() const { return thread_name(thread_, ordering_.block(ordering_.phase())); }

std::string Watch::place(const Array* array, std::uintptr_t address) const {
  if (array == nullptr || array->space == Space::global)
    return describe_address(reinterpret_cast<const void*>(address));
  return text(array == &arrays.dynamic_shared() ? "" : "shared array ", array->name, " (", array->bytes(), " bytes) + ",
              address - array->range.begin);
}

void Watch::report_outside(std::uintptr_t address, AccessKind kind, const void* code) {
  if (arrays.in_thread_locals(address) && pending_index_) return;  // the index has been reported already
  const bool shared = arrays.in_thread_locals(address) || arrays.in_dynamic_room(address);
  const bool near = shared || find_allocation(reinterpret_cast<const void*>(address)).bytes > 0;
  const ProblemKind problem = near ? ProblemKind::out_of_bounds : ProblemKind::host_memory;
  if (!new_problem(problem, code, nullptr)) return;
  const std::string who = text(this_thread(), ' ', verb(kind), ' ');
  const std::string line = source_line(code);
  if (arrays.in_dynamic_room(address))
    report(problem, text("out of bounds: ", who, place(&arrays.dynamic_shared(), address), " at ", line,
                         "; the launch asked for ", arrays.dynamic_shared().bytes(), " bytes"));
  else if (shared)
    report(problem, text("out of bounds: ", who, "shared memory outside every array at ", line));
  else if (near)
    report(problem, text("out of bounds: ", who, place(nullptr, address), " at ", line));
  else
    report(problem, text("host memory: ", who, place(nullptr, address), ", at ", line,
                         "; kernels can only use device memory that has not been freed"));
}

void Watch::report_crossing(const Array& array, std::uintptr_t address, unsigned bytes, AccessKind kind,
                            const void* code) {
  if (!new_problem(ProblemKind::out_of_bounds, code, nullptr)) return;
  report(ProblemKind::out_of_bounds, text("out of bounds: ", this_thread(), ' ', verb(kind), ' ', bytes, " bytes at ",
                                          place(&array, address), " at ", source_line(code), "; not all are inside"));
}

void Watch::report_misaligned(std::uintptr_t address, unsigned bytes, AccessKind kind, const void* code) {
  if (!new_problem(ProblemKind::misaligned, code, nullptr)) return;
  report(ProblemKind::misaligned,
         text("misaligned: ", this_thread(), ' ', verb(kind), ' ', bytes, " bytes at ",
              place(arrays.find(address), address), " at ", source_line(code), "; a GPU stops the kernel here"));
}

void Watch::report_uninitialised(const SiteState& site, std::size_t word) {
  if (!new_problem(ProblemKind::uninitialised, site.code, site.array)) return;
  report(ProblemKind::uninitialised, text("uninitialised: ", this_thread(), ' ', verb(site.kind), ' ',
                                          place(site.array, site.array->range.begin + word * word_bytes), " at ",
                                          source_line(site.code), ", which nobody has written"));
}

void Watch::report_race(const SiteState& site, Access before, Access now, std::size_t word) {
  const SiteState& other = *sites_[before.site];
  if (!new_problem(ProblemKind::race, other.code, site.code)) return;
  const bool same_block = before.phase >= ordering_.first_phase_of_block();
  const bool same_warp = before.thread / lanes_of_warp == now.thread / lanes_of_warp;
  const auto lines = source_lines({other.code, site.code});
  report(ProblemKind::race, text(same_block && site.array->space == Space::shared ? "missing barrier: " : "race: ",
                                 thread_name(before.thread, ordering_.block(before.phase)), ' ', verb(other.kind), ' ',
                                 place(site.array, site.array->range.begin + word * word_bytes), " at ", lines[0], ", ",
                                 this_thread(), ' ', verb(site.kind), " it at ", lines[1],
                                 !same_block ? ", and nothing orders the blocks of a launch"
                                 : same_warp ? ", no barrier between them and no __syncwarp either"
                                             : ", no barrier between them"));
}

void Watch::index_out_of_bounds(const char* file, unsigned line, const char* type, std::int64_t index,
                                const void* code) {
  if (!new_problem(ProblemKind::out_of_bounds, code, nullptr)) return;
  const char* const slash = std::strrchr(file, '/');
  report(ProblemKind::out_of_bounds, text("out of bounds: ", this_thread(), " uses index ", index, " of ", type, " at ",
                                          slash == nullptr ? file : slash + 1, ':', line));
  pending_index_ = {seen_.problems.size() - 1, thread_, index};
}

}  // namespace headshare::simulator::tracer
