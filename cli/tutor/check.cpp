#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <thread>

#include "cli/tutor/build.h"
#include "cli/tutor/course.h"
#include "cli/tutor/gaps.h"
#include "cli/tutor/grading/child.h"
#include "cli/tutor/grading/fence.h"
#include "cli/tutor/progress.h"
#include "cli/tutor/tutor.h"
#include "core/error.h"
#include "core/file.h"

namespace headshare::cli {

namespace fs = std::filesystem;

namespace {

// Generous: a student's first version may be slow. Grading has its own.
constexpr Limits check_limits = {.seconds = 120};

// Where the course is worked on: a student's folder, or this checkout with all solutions.
struct Workplace {
  std::optional<fs::path> student;
  std::vector<Lesson> lessons = read_lessons(student ? *student : course_source());

  fs::path program(const Lesson& lesson, LessonProgram which) const {
    const Built built = student ? build_lesson(*student, lesson, which) : build_solutions(lesson, which);
    if (!built.problem.empty()) {
      std::cout << "Lesson " << lesson.number << " does not compile:\n" << first_complaint(built.problem);
      fail("tutor: lesson ", lesson.number, " does not compile");
    }
    return built.program;
  }
};

void print_failure(const Workplace& place, const Lesson& lesson, const Step& step, const TestRun& run) {
  const auto failed =
      std::find_if(run.verdicts.begin(), run.verdicts.end(), [](const Verdict& v) { return !v.passed; });
  if (failed != run.verdicts.end()) std::cout << "  " << failed->name << "\n    " << failed->message << '\n';
  if (!run.complete) std::cout << "  the program " << run.ending << '\n';
  if (!run.output.empty()) std::cout << "  It printed:\n" << run.output << (run.output.back() == '\n' ? "" : "\n");
  if (!place.student) return;
  // An earlier step may be what is missing.
  Step missing = step;
  for (const Step& other : lesson.steps)
    if (failed != run.verdicts.end() &&
        failed->message.find(text("not implemented: lesson ", lesson.number, ", step ", other.number, ":")) == 0)
      missing = other;
  for (const fs::path& file : gap_files(*place.student / lesson.folder))
    if (read_file(file).find(text("// [step ", missing.number, "] ")) != std::string::npos)
      std::cout << "  Look for [step " << missing.number << "] in " << fs::relative(file).string()
                << "; for a hint: headshare tutor hint " << name_of(missing) << '\n';
}

// Whether every test of the step passes; prints a line, and what went wrong.
bool check_step(const Workplace& place, const Lesson& lesson, const Step& step, const fs::path& tests) {
  // In the checkout the program holds the hidden tests too.
  const TestRun run =
      run_tests(tests, {text("--test-case=", name_of(step), " *"), "--source-file=*test.cpp"}, check_limits, {});
  const auto passed =
      std::count_if(run.verdicts.begin(), run.verdicts.end(), [](const Verdict& v) { return v.passed; });
  const auto all = static_cast<std::ptrdiff_t>(run.verdicts.size());
  if (run.complete && all == 0) fail("tutor: step ", name_of(step), " has no tests");
  const bool done = run.complete && passed == all;
  std::cout << name_of(step) << ' ' << step.title << "  ";
  if (run.complete)
    std::cout << passed << " of " << all << " tests pass\n";
  else
    std::cout << "not finished\n";
  if (done)
    for (const AwardVerdict& award : run.awards)
      std::cout << "  " << award.what << ": ~" << std::setprecision(3) << award.gain
                << " times better than the naive version, "
                << "all points at " << award.full_gain << '\n';
  if (!done) print_failure(place, lesson, step, run);
  std::cout.flush();
  if (place.student) {
    Progress progress = Progress::load(*place.student);
    progress.at(step).passed = done;
    progress.save(*place.student);
  }
  return done;
}

// What the grader would not take: better known now than after handing in.
void print_refusals(const Workplace& place, const Lesson& lesson) {
  if (!place.student) return;
  for (const fs::path& file : gap_files(*place.student / lesson.folder)) {
    const fs::path given = course_source() / lesson.folder / file.filename();
    for (const std::string& problem : beyond_the_fence(read_file(file), read_file(given)))
      std::cout << "  The grader would refuse " << file.filename().string() << ", " << problem << '\n';
  }
}

// Checks the step, the steps of a lesson, or everything, in order, up to the first that is not done. Its name, or
// nothing.
std::optional<std::string> check(const Workplace& place, const Words& what) {
  Place only{nullptr, nullptr};
  if (!what.empty()) only = find_place(place.lessons, what[0]);
  for (const Lesson& lesson : place.lessons) {
    if (only.lesson != nullptr && only.lesson != &lesson) continue;
    const fs::path tests = place.program(lesson, LessonProgram::tests);
    print_refusals(place, lesson);
    for (const Step& step : lesson.steps)
      if (only.step == nullptr || only.step == &step)
        if (!check_step(place, lesson, step, tests)) return name_of(step);
  }
  return std::nullopt;
}

fs::file_time_type last_change(const fs::path& folder) {
  fs::file_time_type last = fs::file_time_type::min();
  for (const fs::directory_entry& lesson : fs::directory_iterator(folder)) {
    if (!lesson.is_directory() || lesson.path().filename() == "build") continue;
    for (const fs::directory_entry& file : fs::directory_iterator(lesson))
      last = std::max(last, file.last_write_time());
  }
  return last;
}

const std::vector<std::string> place_words = {"PLACE..."};

Words one_place(const cxxopts::ParseResult& arguments) {
  const Words places = all_words(arguments, "PLACE");
  if (places.size() > 1) throw UsageError("tutor: one lesson or step at a time, such as 4 or 4.2");
  return places;
}

}  // namespace

void tutor_check(const Words& words) {
  CommandLine line("tutor check", "Compile and test, up to the first step that is not done",
                   "  headshare tutor check             # everything, in order\n"
                   "  headshare tutor check 4           # lesson 4\n"
                   "  headshare tutor check 4.2         # its second step",
                   place_words);
  const auto arguments = line.parse(words);
  if (!arguments) return;
  const Workplace place{find_student_folder()};
  const Words what = one_place(*arguments);
  if (const std::optional<std::string> open = check(place, what)) fail("tutor: step ", *open, " is not done yet");
  if (what.empty()) std::cout << "All steps are done.\n";
}

void tutor_watch(const Words& words) {
  CommandLine line("tutor watch", "Check again whenever a file changes; Ctrl+C ends",
                   "  headshare tutor watch             # up to the first step that is not done\n"
                   "  headshare tutor watch 4.2",
                   place_words);
  line.options()("changes", "End after this many changes; 0: never", cxxopts::value<int>()->default_value("0"));
  const auto arguments = line.parse(words);
  if (!arguments) return;
  const std::optional<fs::path> student = find_student_folder();
  if (!student) fail("tutor: watch needs your course folder; make one: headshare tutor start my_course");
  const Words what = one_place(*arguments);
  const int limit = (*arguments)["changes"].as<int>();
  for (int changes = 0;; ++changes) {
    const fs::file_time_type seen = last_change(*student);
    try {
      check(Workplace{student}, what);
    } catch (const Error& error) {
      std::cout << error.what() << '\n';
    }
    if (limit > 0 && changes == limit) return;
    std::cout << "Waiting for a change; Ctrl+C ends\n" << std::flush;
    while (last_change(*student) == seen) std::this_thread::sleep_for(std::chrono::milliseconds(300));
    std::cout << '\n';
  }
}

}  // namespace headshare::cli
