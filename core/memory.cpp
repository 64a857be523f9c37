#include "core/memory.h"

#include <sys/mman.h>

#include <cstdlib>

namespace headshare {
namespace {

constexpr Size cache_line = 64;
constexpr Size huge_page = Size{2} << 20;

}  // namespace

void* allocate_memory(Size bytes) {
  const Size alignment = bytes >= huge_page ? huge_page : cache_line;
  const Size whole = (bytes + cache_line - 1) / cache_line * cache_line;
  void* const memory = std::aligned_alloc(static_cast<std::size_t>(alignment), static_cast<std::size_t>(whole));
#ifdef MADV_HUGEPAGE
  if (memory != nullptr && alignment == huge_page) madvise(memory, static_cast<std::size_t>(whole), MADV_HUGEPAGE);
#endif
  return memory;
}

void free_memory(void* memory) { std::free(memory); }

}  // namespace headshare
