#pragma once

#include "cli/tutor/course.h"
#include "cli/tutor/gaps.h"

// The folders that the course hands out. Each holds, per lesson, README.md, lesson.h, lesson.cpp (or .cu), main.cpp,
// test.cpp and pictures, and CMakeLists.txt for all.
namespace headshare::cli {

// A student's: a stub in every gap, no hidden tests, no solutions in the texts, and course.json, which keeps the score.
// Fails where the folder exists and is not empty.
void write_student_tree(const std::filesystem::path& folder, const std::vector<Lesson>& lessons);

// An instructor's: the solutions, the hidden tests, and the sources of the texts.
void write_instructor_tree(const std::filesystem::path& folder, const std::vector<Lesson>& lessons);

}  // namespace headshare::cli
