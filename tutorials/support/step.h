#pragma once

#include <functional>
#include <vector>

#include "core/error.h"

// What every lesson's code needs. Each lesson is a small program of its own: lesson.h (the contract), lesson.cpp or
// lesson.cu (the gaps, with their solutions between markers), main.cpp (shows each step), test.cpp and hidden.cpp.
namespace headshare::lesson {

// A gap that nobody has filled yet.
class NotImplemented : public Error {
 public:
  using Error::Error;
};

// What stands in a student's gap: throws "not implemented: lesson 4, step 2: TASK".
[[noreturn]] void not_implemented(int lesson, int step, const char* task);

// In the form of a lesson that holds solutions and gaps at once, which the course's own tests compile: whether this run
// takes the solution. Environment variable HEADSHARE_SOLVED=L.S says that all up to lesson L, step S are solved, and
// none after; without it all are.
bool solved(int lesson, int step);

// main() of a lesson's program: runs the step that the command line names, 1 for the first, or all in order. Returns 1
// and prints one line when a step fails, 2 on a wrong command line.
int lesson_program(int lesson, const std::vector<std::function<void()>>& steps, int count, char** arguments);

}  // namespace headshare::lesson
