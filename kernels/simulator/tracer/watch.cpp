#include "kernels/simulator/tracer/watch.h"

#include <algorithm>
#include <utility>

#include "kernels/simulator/device_arena.h"

namespace headshare::simulator::tracer {

// ---- From the launch's begin to its end -----------------------------------------------------------------------------
void Watch::launch_begins(const void* kernel, dim3 grid, dim3 block, AddressRange arguments) {
  seen_ = {};
  seen_.kernel = kernel;
  seen_.blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  seen_.threads = seen_.blocks * block.x * block.y * block.z;
  grid_ = grid;
  block_ = block;
  arguments_ = arguments;
  program_ = program();
  sites_.clear();
  sites_of_code_.clear();
  recent_.fill({});
  reported_.clear();
  arrays.launch_begins();
  ordering_.launch_begins();
}

SeenLaunch Watch::launch_ends() {
  for (const auto& state : sites_) {
    Site site{.line = "", .array = state->array->shown_name(), .space = state->array->space, .kind = state->kind};
    site.array_bytes = state->array->bytes();
    site.bytes = state->bytes;
    state->requests.add_to(site);
    seen_.sites.push_back(std::move(site));
    seen_.codes.push_back(state->code);
  }
  return std::move(seen_);
}

void Watch::block_begins(void* dynamic_shared, std::size_t bytes) {
  seen_.dynamic_shared_bytes = bytes;
  arrays.set_dynamic_shared(dynamic_shared, bytes);
  ordering_.block_begins();
  stacks_.fill({});
}

void Watch::block_ends() {
  pending_index_.reset();
  for (const auto& site : sites_) site->requests.finish();
}

void Watch::barrier() {
  ++seen_.barriers;
  ordering_.barrier();
  for (const auto& site : sites_) site->requests.finish();
}

void Watch::thread_runs(unsigned thread, AddressRange stack) {
  thread_ = thread;
  stack_ = stacks_[thread] = stack;
}

// ---- An access ------------------------------------------------------------------------------------------------------
// Accesses are built and handed on by value, in one piece: half of the tracer's time went into waiting for a structure
// whose fields had just been written one by one.
[[gnu::always_inline]] inline void Watch::check_word(SiteState& site, std::size_t index, Access now,
                                                     std::uint32_t oldest) {
  Array& array = *site.array;
  Word& word = array.word(index);
  if (site.kind != AccessKind::store && !array.initialised(index, now.bytes)) report_uninitialised(site, index);
  if (ordering_.unordered(word.write, now, oldest)) report_race(site, word.write, now, index);
  if (site.kind == AccessKind::load) {
    // The first reader stays until it is ordered before another: whoever writes must be ordered with both.
    const Access all_of_it{now.phase, now.clock, now.site, now.thread, 0xf, 0};
    Access& read = ordering_.unordered(word.reads[0], all_of_it, oldest) ? word.reads[1] : word.reads[0];
    read = now;
    return;
  }
  for (Access& read : word.reads) {
    if (ordering_.unordered(read, now, oldest)) report_race(site, read, now, index);
    read = {};
  }
  word.write = now;
  array.set_initialised(index, now.bytes);
}

// Every load and store of every thread comes through here: the common case is short.
void Watch::accessed(std::uintptr_t address, unsigned bytes, AccessKind kind, const void* code, Alignment alignment) {
  if (stack_.contains(address)) return;  // the thread's own variables: registers, on a GPU
  const Recent& known = recent(code);
  if (known.code != code || known.bytes != bytes || address - known.begin > known.last)
    if (!resolve(address, bytes, kind, code)) return;
  if (known.site == nullptr) return;
  if (pending_index_) name_pending_index(address, bytes);
  if (alignment == Alignment::natural && address % bytes != 0) return report_misaligned(address, bytes, kind, code);

  SiteState& site = *known.site;
  Array& array = *site.array;
  if (array.space == Space::shared && array.life != ordering_.first_phase_of_block()) begin_life(array);
  const std::size_t offset = address - array.range.begin;
  site.requests.add(thread_, static_cast<std::uint32_t>(offset));
  const std::uint32_t phase = ordering_.phase(), clock = ordering_.clock(thread_);
  const std::uint32_t oldest = array.space == Space::shared ? array.life : ordering_.first_phase_of_launch();
  const auto thread = static_cast<std::uint16_t>(thread_);
  const auto atomic = static_cast<std::uint8_t>(kind == AccessKind::atomic);
  for (std::size_t at = offset; at < offset + bytes;) {
    const std::size_t in_word = at % word_bytes, here = std::min(word_bytes - in_word, offset + bytes - at);
    const auto mask = static_cast<std::uint8_t>(((1u << here) - 1) << in_word);
    check_word(site, at / word_bytes, {phase, clock, site.number, thread, mask, atomic}, oldest);
    at += here;
  }
}

// A copy that no thread made: it is ordered with what came before and after by the barrier that it completes, so
// whoever accessed its bytes before is forgotten.
void Watch::copied(std::uintptr_t address, std::size_t bytes) {
  Array* const array = arrays.find(address);
  if (array == nullptr || array->range.end - address < bytes) return;
  if (array->space == Space::shared && array->life != ordering_.first_phase_of_block()) begin_life(*array);
  const std::size_t offset = address - array->range.begin;
  array->set_range_initialised(offset, bytes);
  for (std::size_t at = offset; at < offset + bytes; at += word_bytes) array->word(at / word_bytes) = {};
}

// Finds out what the instruction accesses, for this time and the next. False: a problem, and it has been reported.
bool Watch::resolve(std::uintptr_t address, unsigned bytes, AccessKind kind, const void* code) {
  Recent& known = recent(code);
  AddressRange range;
  if (untraced(address, range)) {
    known = {
        .code = code, .bytes = bytes, .begin = range.begin, .last = range.end - range.begin - bytes, .site = nullptr};
    return true;
  }
  Array* array = arrays.find(address);
  if (array == nullptr) {
    // Perhaps it is older than the tracer.
    const Allocation allocation = find_allocation(reinterpret_cast<const void*>(address));
    if (allocation.owner == Owner::host) {
      report_outside(address, kind, code);
      return false;
    }
    arrays.allocated(reinterpret_cast<void*>(allocation.begin), allocation.bytes, true);
    array = arrays.find(address);
  }
  if (array->range.end - address < bytes) {
    report_crossing(*array, address, bytes, kind, code);
    return false;
  }
  known = {.code = code,
           .bytes = bytes,
           .begin = array->range.begin,
           .last = array->bytes() - bytes,
           .site = &site(code, *array, bytes, kind)};
  return true;
}

// Memory of which a GPU has no counterpart, or one that costs nothing: threadIdx and the like, the kernel's arguments,
// constants of the program, and the variables of other lanes that a warp's functions read.
bool Watch::untraced(std::uintptr_t address, AddressRange& range) const {
  const auto begin = [](const auto& variable) { return reinterpret_cast<std::uintptr_t>(&variable); };
  const AddressRange candidates[] = {
      {begin(threadIdx), begin(threadIdx) + sizeof threadIdx},
      {begin(blockIdx), begin(blockIdx) + sizeof blockIdx},
      {begin(blockDim), begin(blockDim) + sizeof blockDim},
      {begin(gridDim), begin(gridDim) + sizeof gridDim},
      arguments_,
      program_,
  };
  for (const AddressRange& candidate : candidates) {
    if (!candidate.contains(address)) continue;
    range = candidate;
    return true;
  }
  const unsigned first_lane = thread_ / lanes_of_warp * lanes_of_warp;
  for (unsigned lane = first_lane; lane < first_lane + lanes_of_warp; ++lane) {
    if (!stacks_[lane].contains(address)) continue;
    range = stacks_[lane];
    return true;
  }
  return false;
}

Watch::SiteState& Watch::site(const void* code, Array& array, unsigned bytes, AccessKind kind) {
  auto& same_code = sites_of_code_[reinterpret_cast<std::uintptr_t>(code)];
  for (SiteState* state : same_code)
    if (state->array == &array && state->bytes == bytes) return *state;
  const auto number = static_cast<std::uint32_t>(sites_.size());
  sites_.push_back(std::make_unique<SiteState>(code, array, bytes, kind, number));
  same_code.push_back(sites_.back().get());
  return *sites_.back();
}

// Shared memory holds nothing when a block begins.
void Watch::begin_life(Array& shared) {
  shared.life = ordering_.first_phase_of_block();
  shared.forget_contents();
}

// ---- Indices --------------------------------------------------------------------------------------------------------
// The compiler's check of an index knows the array's type, but not its name. The access that follows does: a lane that
// steps `index` elements back from it is at the begin of the array, or of a row of it.
void Watch::name_pending_index(std::uintptr_t address, unsigned bytes) {
  if (pending_index_->thread != thread_) {
    pending_index_.reset();
    return;
  }
  const std::uintptr_t begin = address - static_cast<std::uintptr_t>(pending_index_->index) * bytes;
  const Array* const array = arrays.in_thread_locals(begin) ? arrays.find_shared_variable(begin) : nullptr;
  if (array == nullptr || (begin != array->range.begin && array->range.contains(address))) return;
  seen_.problems[pending_index_->problem].text += ", shared array " + array->name;
  pending_index_.reset();
}

}  // namespace headshare::simulator::tracer
