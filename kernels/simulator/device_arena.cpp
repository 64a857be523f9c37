#include "kernels/simulator/device_arena.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>

#include "core/error.h"
#include "kernels/simulator/observer.h"

namespace headshare::simulator {
namespace {

constexpr std::size_t arena_bytes = std::size_t{64} << 30;  // of addresses; memory is taken as it is used
constexpr std::size_t alignment = 256;                      // as on a GPU
constexpr std::size_t gap = 256;  // between allocations, so that one step too far is in none of them
constexpr std::size_t page = 4096;

struct Entry {
  std::size_t bytes;
  std::size_t room;  // with rounding and gap
  Owner owner;
  std::string name;
};

class Arena {
 public:
  Arena() {
    void* const memory = mmap(nullptr, arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail("simulated device: cannot reserve addresses for its memory");
    begin_ = reinterpret_cast<std::uintptr_t>(memory);
    free_[begin_] = arena_bytes;
    struct sigaction action {};
    action.sa_sigaction = &explain_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &before_);
  }

  void* allocate(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    const std::size_t room = (bytes + alignment - 1) / alignment * alignment + gap;
    for (auto block = free_.begin(); block != free_.end(); ++block) {
      if (block->second < room) continue;
      const std::uintptr_t address = block->first;
      if (block->second > room) free_[address + room] = block->second - room;
      free_.erase(block);
      used_ = std::max(used_, (address + room - begin_ + page - 1) / page * page);
      if (opened_ > 0) protect(PROT_READ | PROT_WRITE);
      remember(address, {bytes, room, Owner::device, text("allocation ", ++made_)});
      return reinterpret_cast<void*>(address);
    }
    return nullptr;
  }

  void release(void* memory) {
    const std::lock_guard lock(mutex_);
    const auto entry = entries_.find(reinterpret_cast<std::uintptr_t>(memory));
    if (entry == entries_.end()) fail("simulated device: cudaFree of ", memory, ", which is no allocation");
    if (entry->second.owner == Owner::managed)
      std::free(memory);
    else
      give_back(entry->first, entry->second.room);
    entries_.erase(entry);
  }

  void* allocate_managed(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    // Its end is the end of the allocation, so that the address sanitizer and the tracer see the first step too far.
    void* memory = nullptr;
    if (posix_memalign(&memory, 64, bytes) != 0) return nullptr;
    remember(reinterpret_cast<std::uintptr_t>(memory), {bytes, bytes, Owner::managed, text("array ", ++made_)});
    return memory;
  }

  Allocation find(std::uintptr_t address) {
    const std::lock_guard lock(mutex_);
    const auto after = entries_.upper_bound(address);
    if (after != entries_.begin()) {
      const auto& [begin, entry] = *std::prev(after);
      if (address - begin < entry.bytes) return {entry.owner, begin, entry.bytes, entry.name};
      if (address - begin < entry.room + page) return {Owner::host, begin, entry.bytes, entry.name};
    }
    if (after != entries_.end() && after->first - address <= page)
      return {Owner::host, after->first, after->second.bytes, after->second.name};
    return {};
  }

  void name(std::uintptr_t address, const std::string& name) {
    const std::lock_guard lock(mutex_);
    if (const auto entry = entries_.find(address); entry != entries_.end()) entry->second.name = name;
  }

  void open() {
    const std::lock_guard lock(mutex_);
    if (opened_++ == 0) protect(PROT_READ | PROT_WRITE);
  }
  void close() {
    const std::lock_guard lock(mutex_);
    if (--opened_ == 0) protect(PROT_NONE);
  }

 private:
  void protect(int access) {
    if (used_ > 0) mprotect(reinterpret_cast<void*>(begin_), used_, access);
  }

  void remember(std::uintptr_t address, Entry entry) { entries_[address] = std::move(entry); }

  void give_back(std::uintptr_t address, std::size_t room) {
    auto after = free_.lower_bound(address);
    if (after != free_.begin()) {
      const auto before = std::prev(after);
      if (before->first + before->second == address) {
        address = before->first;
        room += before->second;
        free_.erase(before);
      }
    }
    if (after != free_.end() && address + room == after->first) {
      room += after->second;
      free_.erase(after);
    }
    free_[address] = room;
  }

  static void explain_fault(int signal, siginfo_t* information, void* context);

  std::mutex mutex_;
  std::uintptr_t begin_ = 0;
  std::size_t used_ = 0;  // from the begin to the last byte that was ever given out
  int opened_ = 0, made_ = 0;
  std::map<std::uintptr_t, std::size_t> free_;
  std::map<std::uintptr_t, Entry> entries_;
  struct sigaction before_ {};
};

Arena& arena() {
  static Arena* const arena = new Arena;  // never destroyed: tensors in static variables may outlive it
  return *arena;
}

void Arena::explain_fault(int signal, siginfo_t* information, void* context) {
  Arena& self = arena();
  const auto address = reinterpret_cast<std::uintptr_t>(information->si_addr);
  if (address - self.begin_ >= arena_bytes) {  // not ours: whoever was asked before
    sigaction(signal, &self.before_, nullptr);
    if ((self.before_.sa_flags & SA_SIGINFO) != 0 && self.before_.sa_sigaction != nullptr)
      self.before_.sa_sigaction(signal, information, context);
    return;  // the faulting instruction runs again and meets the default action
  }
  // The program is about to end, and the lock is not held by code that touches the arena: building text is safe enough.
  const std::string message =
      text(self.opened_ > 0 ? "error: a kernel read or wrote memory that was never allocated: "
                            : "error: the host touched device memory outside a kernel: ",
           describe_address(information->si_addr),
           self.opened_ > 0 ? "\n" : "; copy it first, with Tensor::to(Device::cpu) or copy_to_host\n");
  [[maybe_unused]] const auto written = write(STDERR_FILENO, message.data(), message.size());
  _exit(1);
}

}  // namespace

void* allocate_in_arena(std::size_t bytes) {
  void* const memory = arena().allocate(bytes);
  if (memory == nullptr) return nullptr;
  {
    const OpenArena open;
    std::memset(memory, 0xff, bytes);
  }
  if (observer.allocated) observer.allocated(memory, bytes, false);
  return memory;
}

void* allocate_managed_memory(std::size_t bytes) {
  void* const memory = arena().allocate_managed(bytes);
  if (memory != nullptr && observer.allocated) observer.allocated(memory, bytes, true);
  return memory;
}

void free_in_arena(void* memory) {
  if (memory == nullptr) return;
  if (observer.freed) observer.freed(memory);
  arena().release(memory);
}

Allocation find_allocation(const void* address) { return arena().find(reinterpret_cast<std::uintptr_t>(address)); }

std::string describe_address(const void* address) {
  const Allocation owner = find_allocation(address);
  if (owner.bytes == 0 && owner.name.empty()) return text("address ", address, ", no memory of the device");
  const auto offset = static_cast<std::ptrdiff_t>(reinterpret_cast<std::uintptr_t>(address) - owner.begin);
  return text(owner.name, " (", owner.bytes, " bytes) ", offset < 0 ? "- " : "+ ", offset < 0 ? -offset : offset);
}

void name_memory(const void* memory, const std::string& name) {
  arena().name(reinterpret_cast<std::uintptr_t>(memory), name);
}

OpenArena::OpenArena() { arena().open(); }
OpenArena::~OpenArena() { arena().close(); }

}  // namespace headshare::simulator
