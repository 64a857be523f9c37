#pragma once

#include <filesystem>
#include <string>

#include "cli/tutor/course.h"

namespace headshare::cli {

// Which of a lesson's two programs.
enum class LessonProgram { steps, tests };

struct BuildLimits {
  int seconds = 0;     // of wall time; 0: none
  int memory_mib = 0;  // of each process; 0: none
};

// A compiled program; or, where it could not be compiled, what the compiler said.
struct Built {
  std::filesystem::path program;
  std::string problem;  // empty: it was built
};

// Compiles a lesson of a student's or an instructor's folder, in its folder build/. Fails only where the fault is not
// in the lesson: no cmake, no space.
Built build_lesson(const std::filesystem::path& folder, const Lesson& lesson, LessonProgram which,
                   const BuildLimits& limits = {});

// The same with this checkout's solutions, in this program's own build folder.
Built build_solutions(const Lesson& lesson, LessonProgram which);

// The first complaint in what a compiler said, with the lines that show where; all of it where there is none.
std::string first_complaint(const std::string& log);

}  // namespace headshare::cli
