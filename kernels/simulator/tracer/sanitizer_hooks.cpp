#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/simulator/tracer/accesses.h"

// The functions that code compiled with -fsanitize=thread,bounds calls. Their names and parameters are the compiler's
// (GCC: gcc/sanitizer.def; the thread sanitizer's library itself is not linked). Each passes on what it is told, with
// the address that it will return to: that is how the tracer finds the source line.
namespace {

using namespace headshare::simulator;
using tracer::Alignment;

[[gnu::always_inline]] inline void access(const void* address, unsigned bytes, AccessKind kind, Alignment alignment) {
  tracer::accessed(address, bytes, kind, __builtin_return_address(0), alignment);
}

// A structure that is copied as a whole: no instruction of a GPU moves more than 16 bytes per lane.
[[gnu::always_inline]] inline void access_range(const void* address, std::size_t bytes, AccessKind kind) {
  constexpr std::size_t most = 16;
  for (std::size_t done = 0; done < bytes; done += most)
    access(static_cast<const char*>(address) + done, static_cast<unsigned>(bytes - done < most ? bytes - done : most),
           kind, Alignment::any);
}

struct SourceLocation {
  const char* file;
  std::uint32_t line, column;
};
struct TypeDescription {
  std::uint16_t kind, information;
  char name[1];  // and on, to a zero
};
struct OutOfBounds {
  SourceLocation location;
  const TypeDescription* array;
  const TypeDescription* index;
};

}  // namespace

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}

// ---- Loads and stores of 1 to 16 bytes ------------------------------------------------------------------------------
#define HEADSHARE_HOOKS(bytes)                                                                                \
  void __tsan_read##bytes(void* p) { access(p, bytes, AccessKind::load, Alignment::natural); }                \
  void __tsan_write##bytes(void* p) { access(p, bytes, AccessKind::store, Alignment::natural); }              \
  void __tsan_unaligned_read##bytes(void* p) { access(p, bytes, AccessKind::load, Alignment::any); }          \
  void __tsan_unaligned_write##bytes(void* p) { access(p, bytes, AccessKind::store, Alignment::any); }        \
  void __tsan_volatile_read##bytes(void* p) { access(p, bytes, AccessKind::load, Alignment::natural); }       \
  void __tsan_volatile_write##bytes(void* p) { access(p, bytes, AccessKind::store, Alignment::natural); }     \
  void __tsan_unaligned_volatile_read##bytes(void* p) { access(p, bytes, AccessKind::load, Alignment::any); } \
  void __tsan_unaligned_volatile_write##bytes(void* p) { access(p, bytes, AccessKind::store, Alignment::any); }
HEADSHARE_HOOKS(1)
HEADSHARE_HOOKS(2)
HEADSHARE_HOOKS(4)
HEADSHARE_HOOKS(8)
HEADSHARE_HOOKS(16)
#undef HEADSHARE_HOOKS

void __tsan_read_range(void* p, std::size_t bytes) { access_range(p, bytes, AccessKind::load); }
void __tsan_write_range(void* p, std::size_t bytes) { access_range(p, bytes, AccessKind::store); }

// ---- Atomic operations of the language (those of CUDA come from cuda.h, without these hooks) ------------------------
// The host's functions in .cu files use them too: for static variables, for example.
#define HEADSHARE_ATOMIC_HOOKS(bits, T)                                                                \
  T __tsan_atomic##bits##_load(const volatile T* p, int) {                                             \
    access(const_cast<const T*>(p), sizeof(T), AccessKind::atomic, Alignment::natural);                \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                       \
  }                                                                                                    \
  void __tsan_atomic##bits##_store(volatile T* p, T value, int) {                                      \
    access(const_cast<const T*>(p), sizeof(T), AccessKind::atomic, Alignment::natural);                \
    __atomic_store_n(p, value, __ATOMIC_SEQ_CST);                                                      \
  }                                                                                                    \
  T __tsan_atomic##bits##_exchange(volatile T* p, T value, int) {                                      \
    access(const_cast<const T*>(p), sizeof(T), AccessKind::atomic, Alignment::natural);                \
    return __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST);                                            \
  }                                                                                                    \
  T __tsan_atomic##bits##_fetch_add(volatile T* p, T value, int) {                                     \
    access(const_cast<const T*>(p), sizeof(T), AccessKind::atomic, Alignment::natural);                \
    return __atomic_fetch_add(p, value, __ATOMIC_SEQ_CST);                                             \
  }                                                                                                    \
  bool __tsan_atomic##bits##_compare_exchange_strong(volatile T* p, T* expected, T value, int, int) {  \
    access(const_cast<const T*>(p), sizeof(T), AccessKind::atomic, Alignment::natural);                \
    return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }                                                                                                    \
  bool __tsan_atomic##bits##_compare_exchange_weak(volatile T* p, T* expected, T value, int, int) {    \
    access(const_cast<const T*>(p), sizeof(T), AccessKind::atomic, Alignment::natural);                \
    return __atomic_compare_exchange_n(p, expected, value, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);  \
  }
HEADSHARE_ATOMIC_HOOKS(8, std::uint8_t)
HEADSHARE_ATOMIC_HOOKS(32, std::uint32_t)
HEADSHARE_ATOMIC_HOOKS(64, std::uint64_t)
#undef HEADSHARE_ATOMIC_HOOKS

void __tsan_atomic_thread_fence(int) {}
void __tsan_atomic_signal_fence(int) {}

// ---- Indices into arrays of known size ------------------------------------------------------------------------------
void __ubsan_handle_out_of_bounds(const OutOfBounds* found, std::uintptr_t index) {
  tracer::index_out_of_bounds(found->location.file, found->location.line, found->array->name,
                              static_cast<std::int64_t>(index), __builtin_return_address(0));
}

}  // extern "C"
