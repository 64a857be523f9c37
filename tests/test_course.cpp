#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "cli/tutor/course.h"
#include "cli/tutor/gaps.h"
#include "cli/tutor/grading/child.h"
#include "core/error.h"
#include "core/file.h"

// The promise of every lesson: a step's tests need nothing that comes later. The lesson's test program holds solutions
// and stubs (tutorials/support/step.h), so one program serves all k. Environment variable HEADSHARE_LESSON chooses the
// lesson, so that lessons run side by side; without it, all.

using namespace headshare;
using namespace headshare::cli;

namespace {

constexpr Limits limits = {.seconds = 120};

std::vector<Lesson> chosen_lessons() {
  const std::vector<Lesson> all = read_lessons(course_source());
  const char* number = std::getenv("HEADSHARE_LESSON");
  if (number == nullptr) return all;
  return {*find_place(all, number).lesson};
}

// The tests of one step from test.cpp ("test") or hidden.cpp ("hidden"), with solutions up to step `solved`.
TestRun run_step(const Lesson& lesson, const Step& step, int solved, const std::string& file) {
  const std::filesystem::path program =
      course_build() / "tutorials" / ("lesson_" + lesson.folder.substr(0, 2) + "_tests");
  return run_tests(program, {text("--test-case=", name_of(step), " *"), text("--source-file=*/", file, ".cpp")}, limits,
                   {text("HEADSHARE_SOLVED=", lesson.number, '.', solved), "HEADSHARE_GRADING_SEED=1"});
}

// All must pass; a message for each that does not.
void check_passes(const TestRun& run, const std::string& what) {
  CHECK_MESSAGE(run.complete, what, ": ", run.ending, '\n', run.output);
  CHECK_MESSAGE(!run.verdicts.empty(), what, ": no tests");
  for (const Verdict& verdict : run.verdicts)
    CHECK_MESSAGE(verdict.passed, what, ": ", verdict.name, ": ", verdict.message);
}

// Every test must fail: one that a stub passes tests nothing. The messages never ask for a later step.
void check_fails(const TestRun& run, const Lesson& lesson, const Step& step, const std::string& what) {
  CHECK_MESSAGE(!run.verdicts.empty(), what, ": no tests");
  for (const Verdict& verdict : run.verdicts) {
    CHECK_MESSAGE(!verdict.passed, what, ": a stub passes: ", verdict.name);
    for (const Step& later : lesson.steps) {
      const std::string message = text("not implemented: lesson ", lesson.number, ", step ", later.number, ":");
      if (later.number > step.number)
        CHECK_MESSAGE(verdict.message.find(message) == std::string::npos, verdict.name, ": ", verdict.message);
    }
  }
}

}  // namespace

TEST_CASE(
    "for every k: with solutions up to step k all tests up to k pass, and those of k+1 fail with their own message") {
  for (const Lesson& lesson : chosen_lessons()) {
    const int steps = static_cast<int>(lesson.steps.size());
    for (int solved = 0; solved <= steps; ++solved) {
      for (const Step& step : lesson.steps) {
        const std::string what = text("lesson ", lesson.number, ", solved up to ", solved, ", tests of ", step.number);
        if (step.number <= solved) {
          check_passes(run_step(lesson, step, solved, "test"), what);
          if (step.number == solved) check_passes(run_step(lesson, step, solved, "hidden"), what + ", hidden");
        } else if (step.number == solved + 1) {
          check_fails(run_step(lesson, step, solved, "test"), lesson, step, what);
        }
      }
    }
  }
}

TEST_CASE("a gap that throws names its lesson and step") {
  for (const Lesson& lesson : chosen_lessons()) {
    std::vector<Gap> gaps;
    for (const std::filesystem::path& file : gap_files(course_source() / lesson.folder))
      for (const Gap& gap : find_gaps(read_file(file), file.string())) gaps.push_back(gap);
    for (const Step& step : lesson.steps) {
      const auto count = [&](auto&& is) {
        return std::count_if(gaps.begin(), gaps.end(),
                             [&](const Gap& gap) { return gap.step == step.number && is(gap); });
      };
      CHECK_MESSAGE(count([](const Gap&) { return true; }) > 0, name_of(step), " has nothing to do");
      if (count([](const Gap& gap) { return !gap.has_stub; }) == 0) continue;  // code that runs, and is wrong
      const TestRun run = run_step(lesson, step, step.number - 1, "test");
      const std::string message = text("not implemented: lesson ", lesson.number, ", step ", step.number, ": ");
      const bool named = std::any_of(run.verdicts.begin(), run.verdicts.end(), [&](const Verdict& verdict) {
        return verdict.message.find(message) != std::string::npos;
      });
      CHECK_MESSAGE(named, "no test of ", name_of(step), " says: ", message);
    }
  }
}
