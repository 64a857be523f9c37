#pragma once

#include "core/size.h"

namespace headshare {

// Memory of the system, at the start of a cache line, contents undefined; null when there is none left. 2 MiB and more
// come in huge pages where the system has them: the processor remembers the places of only so many pages, and with
// pages of 4 KiB a training step spends a fifteenth of its time looking them up.
void* allocate_memory(Size bytes);
void free_memory(void* memory);

}  // namespace headshare
