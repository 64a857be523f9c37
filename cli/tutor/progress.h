#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "cli/tutor/course.h"

namespace headshare::cli {

// What a student has done: course.json in the course's folder, which also marks it as one.
struct StepProgress {
  bool passed = false;    // at its last check
  bool revealed = false;  // the solution was asked for
  int hints = 0;          // shown so far
};

class Progress {
 public:
  // Fails on a file that is not one of these.
  static Progress load(const std::filesystem::path& course);
  void save(const std::filesystem::path& course) const;

  StepProgress& at(const Step& step) { return steps_[name_of(step)]; }
  StepProgress at(const Step& step) const;

 private:
  std::map<std::string, StepProgress> steps_;  // by name: "4.2"
};

// The student's folder that the current folder is, or is in. Nothing where there is none.
std::optional<std::filesystem::path> find_student_folder();

}  // namespace headshare::cli
