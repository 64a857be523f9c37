#pragma once

namespace headshare::cli {

// Of this program; all from the build (cmake/version.cmake), in one file of its own, so that a new commit recompiles
// nothing else.
const char* program_version();   // "0.1.0"
const char* program_commit();    // "1df8875c02aa"; "1df8875c02aa+changes"; "unknown" outside a checkout
const char* program_compiler();  // "GNU 12.2.0, Release"

}  // namespace headshare::cli
