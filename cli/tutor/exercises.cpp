#include <unistd.h>

#include <filesystem>
#include <iostream>

#include "cli/tutor/build.h"
#include "cli/tutor/course.h"
#include "cli/tutor/gaps.h"
#include "cli/tutor/progress.h"
#include "cli/tutor/tree.h"
#include "cli/tutor/tutor.h"
#include "core/error.h"
#include "core/file.h"
#include "core/report/table.h"

// What a student does with exercises besides checking them.
namespace headshare::cli {

namespace fs = std::filesystem;

namespace {

fs::path student_folder(const std::string& action) {
  const std::optional<fs::path> folder = find_student_folder();
  if (!folder) fail("tutor: ", action, " needs your course folder; make one: headshare tutor start my_course");
  return *folder;
}

std::string state_of(const StepProgress& step) {
  const std::string hints = step.hints == 0 ? "" : text(step.hints, step.hints == 1 ? " hint" : " hints");
  if (step.revealed) return step.passed ? "done, revealed" : "revealed";
  if (!step.passed) return hints;
  return hints.empty() ? "done" : "done, " + hints;
}

// The step that the words name, or else the first that is not done.
const Step& chosen_step(const std::vector<Lesson>& lessons, const std::string& words) {
  const Place place = find_place(lessons, words);
  if (place.step == nullptr) throw UsageError("tutor: which step? write lesson and step, such as 4.2");
  return *place.step;
}

const Lesson& lesson_of(const std::vector<Lesson>& lessons, const Step& step) {
  return *find_place(lessons, std::to_string(step.lesson)).lesson;
}

void add_lessons_option(CommandLine& line) {
  line.options()("lessons", "Only these, such as 4,5", cxxopts::value<std::string>()->default_value(""));
}

}  // namespace

void tutor_list(const Words& words) {
  CommandLine line("tutor list", "The lessons, their steps, and what you have done", "  headshare tutor list");
  if (!line.parse(words)) return;
  const std::optional<fs::path> student = find_student_folder();
  const Progress progress = student ? Progress::load(*student) : Progress();
  Table table({{"step"}, {"question"}, {"minutes", Alignment::right}, {"yours"}});
  int steps = 0, done = 0;
  for (const Lesson& lesson : read_lessons(student ? *student : course_source())) {
    table.add_row({text(lesson.number), lesson.title, "", ""});
    for (const Step& step : lesson.steps) {
      table.add_row({name_of(step), "  " + step.title, text(step.minutes), state_of(progress.at(step))});
      ++steps;
      done += progress.at(step).passed ? 1 : 0;
    }
  }
  std::cout << table.plain() << '\n';
  if (student)
    std::cout << done << " of " << steps << " steps done\n";
  else
    std::cout << "To work on them: headshare tutor start my_course\n";
}

void tutor_start(const Words& words) {
  CommandLine line("tutor start", "Make a folder of exercises to work in",
                   "  headshare tutor start my_course\n"
                   "  headshare tutor start homework --lessons 4,5",
                   {"DIR"});
  add_lessons_option(line);
  const auto arguments = line.parse(words);
  if (!arguments) return;
  const fs::path folder = (*arguments)["DIR"].as<std::string>();
  const std::vector<Lesson> lessons = choose_lessons((*arguments)["lessons"].as<std::string>());
  write_student_tree(folder, lessons);
  const Step& first = lessons.front().steps.front();
  std::cout << "Made " << folder.string() << " with " << lessons.size()
            << (lessons.size() == 1 ? " lesson" : " lessons") << ".\nRead "
            << (folder / lessons.front().folder / "README.md").string() << ", then:\n  cd " << folder.string()
            << "\n  headshare tutor check " << name_of(first) << '\n';
}

void tutor_run(const Words& words) {
  CommandLine line("tutor run", "Show what a step, or a whole lesson, shows",
                   "  headshare tutor run 4.2           # in your folder with your code, elsewhere with the solutions",
                   {"PLACE"});
  const auto arguments = line.parse(words);
  if (!arguments) return;
  const std::optional<fs::path> student = find_student_folder();
  const std::vector<Lesson> lessons = read_lessons(student ? *student : course_source());
  const Place place = find_place(lessons, (*arguments)["PLACE"].as<std::string>());
  const Built built = student ? build_lesson(*student, *place.lesson, LessonProgram::steps)
                              : build_solutions(*place.lesson, LessonProgram::steps);
  if (!built.problem.empty()) {
    std::cerr << first_complaint(built.problem);
    fail("tutor: lesson ", place.lesson->number, " does not compile");
  }
  ::unsetenv("HEADSHARE_SOLVED");
  const std::string step = place.step != nullptr ? std::to_string(place.step->number) : "";
  const char* none = nullptr;
  ::execl(built.program.c_str(), built.program.c_str(), step.empty() ? none : step.c_str(), none);  // ends this program
  fail("tutor: cannot start ", built.program.string());
}

void tutor_hint(const Words& words) {
  CommandLine line("tutor hint", "One more hint for a step", "  headshare tutor hint 4.2", {"STEP"});
  const auto arguments = line.parse(words);
  if (!arguments) return;
  const fs::path folder = student_folder("hint");
  const std::vector<Lesson> lessons = read_lessons(course_source());
  const Step& step = chosen_step(lessons, (*arguments)["STEP"].as<std::string>());
  struct Hint {
    std::string task, words;
  };
  std::vector<Hint> hints;
  for (const fs::path& file : gap_files(course_source() / lesson_of(lessons, step).folder))
    for (const Gap& gap : find_gaps(read_file(file), file.string()))
      if (gap.step == step.number)
        for (const std::string& hint : gap.hints) hints.push_back({gap.task, hint});
  Progress progress = Progress::load(folder);
  int& shown = progress.at(step).hints;
  const int all = static_cast<int>(hints.size());
  if (shown < all) ++shown;
  for (int i = 0; i < shown; ++i) {
    if (i == 0 || hints[i].task != hints[i - 1].task) std::cout << hints[i].task << '\n';
    std::cout << "  " << i + 1 << ". " << hints[i].words << '\n';
  }
  std::cout << (shown < all ? text(all - shown, all - shown == 1 ? " more hint" : " more hints")
                            : text("No more hints; the solution: headshare tutor reveal ", name_of(step)))
            << '\n';
  progress.save(folder);
}

void tutor_reveal(const Words& words) {
  CommandLine line("tutor reveal", "Put the solution of a step into your file; what was there is kept beside it",
                   "  headshare tutor reveal 4.2", {"STEP"});
  const auto arguments = line.parse(words);
  if (!arguments) return;
  const fs::path folder = student_folder("reveal");
  const std::vector<Lesson> lessons = read_lessons(course_source());
  const Step& step = chosen_step(lessons, (*arguments)["STEP"].as<std::string>());
  const Lesson& lesson = lesson_of(lessons, step);
  struct Change {
    fs::path file;
    std::string before, after;
  };
  std::vector<Change> changes;  // all are made, or none
  for (const fs::path& source : gap_files(course_source() / lesson.folder)) {
    const fs::path file = folder / lesson.folder / source.filename();
    const std::string before = read_file(file);
    const std::string after = revealed(before, read_file(source), step.number, file.string());
    if (after != before) changes.push_back({file, before, after});
  }
  for (const Change& change : changes) {
    fs::path kept;
    for (int number = 1; number == 1 || fs::exists(kept); ++number)
      kept = change.file.parent_path() / text(change.file.filename().string(), ".before_", name_of(step), '_', number);
    write_file(kept, change.before);
    write_file(change.file, change.after);
    std::cout << change.file.string() << " now holds the solution of step " << name_of(step)
              << "; what was there is in " << kept.filename().string() << '\n';
  }
  if (changes.empty()) std::cout << "Your file holds that solution already.\n";
  Progress progress = Progress::load(folder);
  progress.at(step).revealed = true;
  progress.save(folder);
}

void tutor_export(const Words& words) {
  CommandLine line("tutor export", "Make the folder to hand out, or the instructor's",
                   "  headshare tutor export --student handout --lessons 4,5\n"
                   "  headshare tutor export --instructor solutions --lessons 4,5");
  line.options()("student", "Folder with stubs and visible tests", cxxopts::value<std::string>());
  line.options()("instructor", "Folder with solutions and hidden tests", cxxopts::value<std::string>());
  add_lessons_option(line);
  const auto arguments = line.parse(words);
  if (!arguments) return;
  const std::vector<Lesson> lessons = choose_lessons((*arguments)["lessons"].as<std::string>());
  if (arguments->count("student") + arguments->count("instructor") == 0)
    throw UsageError("tutor export: needs --student DIR or --instructor DIR");
  const auto make = [&](const std::string& kind, auto&& write) {
    if (arguments->count(kind) == 0) return;
    const fs::path folder = (*arguments)[kind].as<std::string>();
    write(folder, lessons);
    std::cout << "Made " << folder.string() << ": the " << kind << "'s folder, " << lessons.size()
              << (lessons.size() == 1 ? " lesson\n" : " lessons\n");
  };
  make("student", write_student_tree);
  make("instructor", write_instructor_tree);
}

}  // namespace headshare::cli
