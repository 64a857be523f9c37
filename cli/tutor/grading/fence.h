#pragma once

#include <string>
#include <vector>

namespace headshare::cli {

// What stands in a student's file that no solution needs: what is wrong, a line each, "line 12: ...", at most five.
//
// Refused are preprocessor directives other than #include of a common standard header and #pragma omp, once or unroll;
// inline assembly and compiler attributes; functions that start, watch or end processes, load code, open files, read
// standard input or the environment; the test's own names; and paths of the system in string literals. Whatever
// `given`, the file as it was handed out or its reference solution, contains is allowed.
//
// A fence, not a wall: it tells the honest what to leave out and stops copied tricks. Code that wants to get past it
// can; what is beyond it has limits too (process.h).
std::vector<std::string> beyond_the_fence(const std::string& source, const std::string& given);

// The standard headers that every solution may include.
const std::vector<std::string>& allowed_headers();

}  // namespace headshare::cli
