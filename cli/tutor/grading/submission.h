#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "cli/tutor/course.h"

namespace headshare::cli {

// A file that a student handed in; or why it is not taken, in a line or a few.
struct HandedIn {
  std::string contents;
  std::string problem;  // empty: it is taken
};

// Whether a file may also lie in the submission's folder itself, as Gradescope hands over single files.
enum class Layout { folders, flat_too };

constexpr std::size_t longest_submission = std::size_t{256} << 10;  // bytes

// The file `name` of a lesson: SUBMISSION/04_attention/lesson.cpp, or the same one folder further down, as in a zip of
// a whole folder. Never followed: symbolic links, which could point at the solution. Refused: what is missing, too long
// or not text, or what is beyond the fence (fence.h) where `given` is the lesson's own file.
HandedIn take_file(const std::filesystem::path& submission, const Lesson& lesson, const std::string& name,
                   const std::string& given, Layout layout);

}  // namespace headshare::cli
