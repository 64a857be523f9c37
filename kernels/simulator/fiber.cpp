#include "kernels/simulator/fiber.h"

#include <pthread.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstring>

#include "core/error.h"

#if defined(__SANITIZE_ADDRESS__)
#define HEADSHARE_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HEADSHARE_ADDRESS_SANITIZER 1
#endif
#endif
#ifdef HEADSHARE_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace headshare::simulator {
namespace {

constexpr std::size_t stack_bytes = 128 * 1024;
constexpr std::size_t guard_bytes = 64 * 1024;  // never accessible: a stack that overflows stops instead of spreading

}  // namespace

// ---- The switch
// ------------------------------------------------------------------------------------------------------
#if defined(__x86_64__)
// Saves what a called function must preserve, exchanges stacks, and returns into the other fiber. `ret` and not a jump:
// all fibers run the same code, so the processor's prediction of where it returns to is right.
extern "C" void headshare_switch_fiber(void** from, void* to);
asm(R"(
.text
.p2align 4
.globl headshare_switch_fiber
.type headshare_switch_fiber,@function
headshare_switch_fiber:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size headshare_switch_fiber,.-headshare_switch_fiber
)");

void Fiber::restart() {
  // What the switch expects on the stack: six registers and an address to return to. At a function's first instruction
  // the stack pointer is 8 below a multiple of 16, as if a call had pushed the address above it.
  void** top = reinterpret_cast<void**>(reinterpret_cast<std::uintptr_t>(end_) & ~std::uintptr_t{15});
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(body_);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  stack_pointer_ = top;
}

void Fiber::switch_to(Fiber& from, Fiber& to) {
  from.prepare_sanitizer(to);
  headshare_switch_fiber(&from.stack_pointer_, to.stack_pointer_);
  from.started();
}
#else
namespace {
ucontext_t* context(void*& pointer) {
  if (pointer == nullptr) pointer = new ucontext_t;
  return static_cast<ucontext_t*>(pointer);
}
}  // namespace

void Fiber::restart() {
  ucontext_t* const start = context(stack_pointer_);
  getcontext(start);
  start->uc_stack.ss_sp = begin_;
  start->uc_stack.ss_size = static_cast<std::size_t>(end_ - begin_);
  start->uc_link = nullptr;
  makecontext(start, body_, 0);
}

void Fiber::switch_to(Fiber& from, Fiber& to) {
  from.prepare_sanitizer(to);
  swapcontext(context(from.stack_pointer_), context(to.stack_pointer_));
  from.started();
}
#endif

// ---- Stacks
// ----------------------------------------------------------------------------------------------------------
Fiber::Fiber(std::size_t number, void (*body)()) : body_(body) {
  void* const memory = mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) fail("simulated device: no memory for the stack of one more thread");
  mapping_ = static_cast<char*>(memory);
  mprotect(mapping_, guard_bytes, PROT_NONE);
  begin_ = mapping_ + guard_bytes;
  // Stacks that all start at the same place within a page would compete for one set of the first cache.
  end_ = begin_ + stack_bytes - number * 192 % 4096;
#ifdef HEADSHARE_ADDRESS_SANITIZER
  // An earlier stack at the same addresses may have left its marks.
  __asan_unpoison_memory_region(begin_, stack_bytes);
#endif
  restart();
}

Fiber::~Fiber() {
  if (mapping_ != nullptr) munmap(mapping_, guard_bytes + stack_bytes);
#if !defined(__x86_64__)
  delete static_cast<ucontext_t*>(stack_pointer_);
#endif
}

#ifdef HEADSHARE_ADDRESS_SANITIZER
void Fiber::prepare_sanitizer(Fiber& to) {
  if (to.begin_ == nullptr) {  // a host thread's own stack
    pthread_attr_t attributes;
    void* begin;
    std::size_t bytes;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &begin, &bytes);
    pthread_attr_destroy(&attributes);
    to.begin_ = static_cast<char*>(begin);
    to.end_ = to.begin_ + bytes;
  }
  __sanitizer_start_switch_fiber(&sanitizer_state_, to.begin_, static_cast<std::size_t>(to.end_ - to.begin_));
}
void Fiber::started() { __sanitizer_finish_switch_fiber(sanitizer_state_, nullptr, nullptr); }
#else
void Fiber::prepare_sanitizer(Fiber&) {}
void Fiber::started() {}
#endif

}  // namespace headshare::simulator
