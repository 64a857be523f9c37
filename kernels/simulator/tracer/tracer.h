#pragma once

#include <vector>

#include "kernels/simulator/observer.h"
#include "kernels/simulator/tracer/report.h"

// The tracer watches every load and store of kernels on the simulated device. A program is traced when its .cu files
// were compiled with -fsanitize=thread (cmake/traced.cmake): the compiler then calls a function before each access
// (sanitizer_hooks.cpp), and the simulator tells of barriers, launches and allocations (observer.h). Linux only.
namespace headshare::simulator {

// Whether this program is traced; asking is possible in every program, the rest below only where the tracer is linked.
inline bool tracing() { return observer.launch_begins != nullptr; }

// Strict, as from the start: the first problem of a launch is thrown as an Error at its end. Otherwise problems only
// stand in the report.
enum class Strictness { report, fail };
void set_strictness(Strictness strictness);

LaunchReport last_launch();  // empty when there was none

void start_recording();
std::vector<LaunchReport> stop_recording();  // every launch since

}  // namespace headshare::simulator
