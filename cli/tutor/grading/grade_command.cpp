#include <unistd.h>

#include <cmath>
#include <iostream>
#include <random>

#include "cli/tutor/grading/grade.h"
#include "cli/tutor/grading/process.h"
#include "cli/tutor/tree.h"
#include "cli/tutor/tutor.h"
#include "core/file.h"

namespace headshare::cli {

namespace fs = std::filesystem;

namespace {

constexpr BuildLimits build_limits = {.seconds = 240, .memory_mib = 4096};

// A number that must be above 0.
double positive(const cxxopts::ParseResult& arguments, const std::string& option, double most) {
  const double value = arguments[option].as<double>();
  if (!(value > 0) || value > most)
    throw UsageError(text("tutor grade: --", option, ' ', value, " must be above 0 and at most ", most));
  return value;
}

GradeOptions options_from(const cxxopts::ParseResult& arguments) {
  GradeOptions options;
  options.submission = required(arguments, "submission", "tutor grade");
  if (!fs::is_directory(options.submission))
    throw UsageError(text("tutor grade: --submission ", options.submission.string(), " is not a folder"));
  options.lessons = choose_lessons(arguments["lessons"].as<std::string>());
  // Short enough to be typed again.
  options.seed = arguments.count("seed") > 0 ? arguments["seed"].as<std::uint64_t>() : std::random_device()() >> 1;
  options.limits.seconds = positive(arguments, "seconds", 86400);
  options.limits.memory = static_cast<std::size_t>(positive(arguments, "memory", 1 << 24)) << 20;
  options.points = positive(arguments, "points", 1e6);
  options.award_points = options.points / 2;
  options.hidden_visibility = arguments["hidden-visibility"].as<std::string>();
  const std::string& visibility = options.hidden_visibility;
  if (visibility != "hidden" && visibility != "after_due_date" && visibility != "after_published")
    throw UsageError("tutor grade: --hidden-visibility must be hidden, after_due_date or after_published, not " +
                     visibility);
  return options;
}

}  // namespace

void tutor_grade(const Words& words) {
  CommandLine line("tutor grade", "Grade a submission; writes Gradescope's results.json",
                   "  headshare tutor grade --submission handed_in --json results.json --lessons 4,5");
  line.options()("submission", "Folder with 04_attention/lesson.cpp and so on; of one lesson also lesson.cpp alone",
                 cxxopts::value<std::string>())("json", "File to write", cxxopts::value<std::string>())(
      "lessons", "Which lessons: 4,5; without it, all", cxxopts::value<std::string>()->default_value(""))(
      "seed", "Of the hidden tests' numbers; without it, a new one", cxxopts::value<std::uint64_t>())(
      "seconds", "Time for the visible, and again for the hidden tests of a step",
      cxxopts::value<double>()->default_value("20"))("memory", "Memory for them, in MiB",
                                                     cxxopts::value<double>()->default_value("2048"))(
      "hidden-visibility", "When students see hidden tests: hidden, after_due_date, after_published",
      cxxopts::value<std::string>()->default_value("after_published"))("points", "Of a step; an award has half as many",
                                                                       cxxopts::value<double>()->default_value("10"));
  const auto arguments = line.parse(words);
  if (!arguments) return;
  const fs::path json = required(*arguments, "json", "tutor grade");
  Grade grade;
  const auto keep = [&grade, &json](const Grade& known) {
    grade = known;
    write_file(json, results_json(known));
  };
  if (::geteuid() == 0 && !can_run_as_nobody())
    std::cerr << "tutor grade: only root may enter /, so the submission runs as root, not as the user nobody\n";
  try {
    const GradeOptions options = options_from(*arguments);
    const ScratchFolder scratch;
    const Workshop workshop{scratch.path() / "course", [&scratch](const Lesson& lesson) {
                              return build_lesson(scratch.path() / "course", lesson, LessonProgram::tests,
                                                  build_limits);
                            }};
    write_instructor_tree(workshop.tree, options.lessons);
    keep(grade_submission(options, workshop, keep));
    std::cout << grade_table(grade) << grade.output << " To grade again with it: --seed " << options.seed << '\n';
  } catch (const UsageError&) {
    throw;
  } catch (const std::exception& error) {
    grade.output = text("The grader failed, which is not the fault of this submission; please tell your instructor. ",
                        "Points below are of what was graded before: ", error.what());
    write_file(json, results_json(grade));
    throw;
  }
}

}  // namespace headshare::cli
