#include "cli/tutor/grading/grade.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <sstream>

#include "cli/tutor/grading/child.h"
#include "cli/tutor/grading/submission.h"
#include "cli/tutor/grading/test_list.h"
#include "core/error.h"
#include "core/file.h"

namespace headshare::cli {

namespace fs = std::filesystem;

namespace {

constexpr double visible_share = 0.6;  // of a step's points

// The tests of one file, and how their results are shown.
struct TestFile {
  std::string name;  // "test.cpp"
  std::string title;
  std::string visibility;
  std::vector<ListedTest> tests;  // of the whole lesson
};

std::vector<TestFile> test_files(const fs::path& folder, const std::string& hidden_visibility) {
  std::vector<TestFile> files = {{"test.cpp", "tests", "visible", {}},
                                 {"hidden.cpp", "hidden tests", hidden_visibility, {}}};
  for (TestFile& file : files)
    if (fs::exists(folder / file.name)) file.tests = tests_in(read_file(folder / file.name));
  return files;
}

// The parts of one step in one file: its tests, then their awards.
struct StepPart {
  const Step* step;
  const TestFile* file;
  std::vector<ListedTest> tests;
  double max_score;

  std::string title() const { return text(step->title, " (", file->title, ')'); }
};

std::vector<StepPart> parts_of(const Lesson& lesson, const std::vector<TestFile>& files, double points) {
  std::vector<StepPart> parts;
  for (const Step& step : lesson.steps) {
    const std::size_t first = parts.size();
    for (const TestFile& file : files) {
      const std::vector<ListedTest> tests = tests_of_step(file.tests, name_of(step));
      const double share = file.visibility == "visible" ? visible_share : 1 - visible_share;
      if (!tests.empty()) parts.push_back({&step, &file, tests, points * share});
    }
    if (parts.size() == first) fail("grade: step ", name_of(step), " has no tests");
    if (parts.size() == first + 1) parts.back().max_score = points;  // the only part of its step
  }
  return parts;
}

// Why a run of tests is no success: a line for each test that did not pass, and how the program ended.
std::string account_of(const std::vector<ListedTest>& tests, const TestRun& run) {
  std::string words;
  std::size_t passed = 0;
  for (const ListedTest& test : tests) {
    const auto verdict = std::find_if(run.verdicts.begin(), run.verdicts.end(),
                                      [&test](const Verdict& each) { return each.name == test.name; });
    const bool ran = verdict != run.verdicts.end();
    passed += ran && verdict->passed ? 1 : 0;
    words += text(!ran ? "not run  " : verdict->passed ? "passed   " : "failed   ", test.name, '\n');
    if (ran && !verdict->message.empty()) words += "         " + verdict->message + '\n';
  }
  words = text(passed, " of ", tests.size(), tests.size() == 1 ? " test passes" : " tests pass", ".\n", words);
  if (!run.complete) words += "The program " + run.ending + ", so none of these tests counts.\n";
  if (!run.output.empty() && (!run.complete || passed < tests.size())) words += "It printed:\n" + run.output + '\n';
  return words;
}

bool all_passed(const std::vector<ListedTest>& tests, const TestRun& run) {
  return run.complete && run.verdicts.size() == tests.size() &&
         std::all_of(tests.begin(), tests.end(), [&run](const ListedTest& test) {
           return std::any_of(run.verdicts.begin(), run.verdicts.end(),
                              [&test](const Verdict& verdict) { return verdict.passed && verdict.name == test.name; });
         });
}

class Grader {
 public:
  Grader(const GradeOptions& options, const Workshop& workshop, const std::function<void(const Grade&)>& progress)
      : options_(options), workshop_(workshop), progress_(progress) {
    for (const Lesson& lesson : options_.lessons)
      files_.push_back(test_files(tree_of(lesson), options_.hidden_visibility));
    for (std::size_t i = 0; i < options_.lessons.size(); ++i)
      parts_.push_back(parts_of(options_.lessons[i], files_[i], options_.points));
    layout_ = options_.lessons.size() == 1 ? Layout::flat_too : Layout::folders;
  }

  Grade grade() {
    report("Grading began and has not come to its end; what is graded so far counts.", options_.lessons.size());
    for (std::size_t i = 0; i < options_.lessons.size(); ++i) {
      grade_lesson(options_.lessons[i], parts_[i]);
      report("Grading has not come to its end; what is graded so far counts.", options_.lessons.size() - i - 1);
    }
    grade_.output = text("Hidden tests drew their numbers from seed ", options_.seed, ".");
    grade_.seconds = seconds();
    return grade_;
  }

 private:
  fs::path tree_of(const Lesson& lesson) const { return workshop_.tree / lesson.folder; }

  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }

  // What is known after some lessons, with the last `open` ones without points.
  void report(const std::string& words, std::size_t open) {
    Grade known = grade_;
    const std::size_t done = options_.lessons.size() - open;
    for (std::size_t i = done; i < options_.lessons.size(); ++i)
      for (const StepPart& part : parts_[i]) add_without_points(known, part, "not graded");
    known.output = words;
    known.seconds = seconds();
    progress_(known);
  }

  static std::vector<std::string> tags_of(const StepPart& part) { return {text("lesson ", part.step->lesson)}; }

  static std::string award_title(const StepPart& part, const std::string& what) {
    return what + (part.file->visibility == "visible" ? " (award)" : " (hidden award)");
  }

  // The entries that the part has in every grade, so that what can be reached does not depend on the submission.
  void add(Grade& grade, const StepPart& part, double score, const std::string& output) const {
    grade.parts.push_back(
        {name_of(*part.step), part.title(), score, part.max_score, output, part.file->visibility, tags_of(part)});
  }

  void add_award(Grade& grade, const StepPart& part, const std::string& what, double share, double gain,
                 const std::string& output) const {
    grade.parts.push_back({name_of(*part.step), award_title(part, what), share * options_.award_points,
                           options_.award_points, output, part.file->visibility, tags_of(part)});
    if (part.file->visibility == "visible") grade.leaderboard.push_back({text(name_of(*part.step), ' ', what), gain});
  }

  void add_without_points(Grade& grade, const StepPart& part, const std::string& output) const {
    add(grade, part, 0, output);
    for (const ListedTest& test : part.tests)
      for (const std::string& what : test.awards) add_award(grade, part, what, 0, 0, output);
  }

  void grade_lesson(const Lesson& lesson, const std::vector<StepPart>& parts) {
    std::string problem = take_files(lesson);
    Built built;
    if (problem.empty()) {
      built = workshop_.build_tests(lesson);
      if (!built.problem.empty()) problem = "It does not compile:\n" + without_tree(first_error(built.problem));
    }
    for (const StepPart& part : parts)
      if (problem.empty())
        grade_part(part, built.program);
      else
        add_without_points(grade_, part, problem);
  }

  // Paths as a student knows them.
  std::string without_tree(std::string words) const {
    const std::string tree = workshop_.tree.string() + '/';
    for (std::size_t at = words.find(tree); at != std::string::npos; at = words.find(tree))
      words.erase(at, tree.size());
    return words;
  }

  // Puts the student's files where the solutions were. Why one is not taken, or nothing.
  std::string take_files(const Lesson& lesson) const {
    for (const fs::path& file : gap_files(tree_of(lesson))) {
      const HandedIn handed_in =
          take_file(options_.submission, lesson, file.filename().string(), read_file(file), layout_);
      if (!handed_in.problem.empty()) return handed_in.problem;
      write_file(file, handed_in.contents);
    }
    return "";
  }

  void grade_part(const StepPart& part, const fs::path& program) {
    const TestRun run =
        run_tests(program, {text("--test-case=", name_of(*part.step), " *"), "--source-file=*/" + part.file->name},
                  options_.limits, {text("HEADSHARE_GRADING_SEED=", options_.seed)});
    const bool passed = all_passed(part.tests, run);
    add(grade_, part, passed ? part.max_score : 0, account_of(part.tests, run));
    for (const ListedTest& test : part.tests)
      for (const std::string& what : test.awards) grade_award(part, what, run, passed);
  }

  void grade_award(const StepPart& part, const std::string& what, const TestRun& run, bool passed) {
    const auto given = std::find_if(run.awards.begin(), run.awards.end(),
                                    [&what](const AwardVerdict& award) { return award.what == what; });
    if (!passed) return add_award(grade_, part, what, 0, 0, "No points before the tests of this step pass.");
    if (given == run.awards.end() || !std::isfinite(given->gain))
      return add_award(grade_, part, what, 0, 0, "It was not measured.");
    add_award(grade_, part, what, given->share, given->gain,
              text("~", std::round(given->gain * 100) / 100, " times better than the naive version; all points at ",
                   given->full_gain, '.'));
  }

  const GradeOptions& options_;
  const Workshop& workshop_;
  const std::function<void(const Grade&)>& progress_;
  std::vector<std::vector<TestFile>> files_;  // of each lesson
  std::vector<std::vector<StepPart>> parts_;
  Layout layout_ = Layout::folders;
  Grade grade_ = {};
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace

Grade grade_submission(const GradeOptions& options, const Workshop& workshop,
                       const std::function<void(const Grade&)>& progress) {
  return Grader(options, workshop, progress).grade();
}

std::string first_error(const std::string& log) {
  constexpr int most = 12;  // lines
  std::istringstream in(log);
  std::string found, last;
  int lines = 0;
  for (std::string line; std::getline(in, line) && lines < most;) {
    if (!line.empty()) last = line;
    const bool is_error =
        line.find("error") != std::string::npos || line.find("undefined reference") != std::string::npos;
    if (lines > 0 && is_error && line.find(": error") != std::string::npos) break;  // the next one
    if (lines == 0 && !is_error) continue;
    found += line.substr(0, 300) + '\n';
    ++lines;
  }
  return found.empty() ? "(the compiler gave no reason; it may take too long or need too much memory)\n" + last : found;
}

}  // namespace headshare::cli
