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
  void* memory = nullptr;
  if (posix_memalign(&memory, static_cast<std::size_t>(alignment), static_cast<std::size_t>(bytes)) != 0)
    return nullptr;
#ifdef MADV_HUGEPAGE
  if (alignment == huge_page) madvise(memory, static_cast<std::size_t>(bytes), MADV_HUGEPAGE);  // a wish, no more
#endif
  return memory;
}

void free_memory(void* memory) { std::free(memory); }

}  // namespace headshare
