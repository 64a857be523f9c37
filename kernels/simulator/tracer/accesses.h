#pragma once

#include <cstdint>

#include "kernels/simulator/tracer/report.h"

// What the compiler's hooks tell the tracer.
namespace headshare::simulator::tracer {

enum class Alignment { natural, any };  // natural: the instruction needs an address that is a multiple of `bytes`

// The thread that runs is about to access memory; `code` is the address after the call of the hook.
void accessed(const void* address, unsigned bytes, AccessKind kind, const void* code, Alignment alignment);

// It uses an index that is outside an array of known size. `type` is the array's: "'float [32]'".
void index_out_of_bounds(const char* file, unsigned line, const char* type, std::int64_t index, const void* code);

}  // namespace headshare::simulator::tracer
