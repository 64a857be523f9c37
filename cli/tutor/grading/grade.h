#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cli/tutor/build.h"
#include "cli/tutor/grading/process.h"
#include "cli/tutor/grading/results.h"

namespace headshare::cli {

struct GradeOptions {
  std::filesystem::path submission;  // what a student handed in
  std::vector<Lesson> lessons;       // what is graded
  std::uint64_t seed = 0;            // of the numbers that hidden tests draw
  Limits limits = {};                // of each run of tests: every step has two, visible and hidden
  std::string hidden_visibility = "after_published";
  double points = 10;  // of a step: 60 % for the visible tests, 40 % for the hidden ones, each all or nothing
  double award_points = 5;
};

// Where lessons are built: an instructor's tree, in which a student's file takes the place of the solution.
struct Workshop {
  std::filesystem::path tree;
  std::function<Built(const Lesson&)> build_tests;
};

// Grades lesson after lesson; `progress` gets the grade as it is after each, parts not yet graded without points. What
// is wrong with one lesson of a submission costs that lesson; what is wrong with the workshop is an Error.
Grade grade_submission(const GradeOptions& options, const Workshop& workshop,
                       const std::function<void(const Grade&)>& progress);

// The first complaint in a compiler's output, with the lines that belong to it.
std::string first_error(const std::string& log);

}  // namespace headshare::cli
