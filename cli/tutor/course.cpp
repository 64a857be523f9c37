#include "cli/tutor/course.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "core/error.h"
#include "core/file.h"

namespace headshare::cli {

namespace fs = std::filesystem;

namespace {

// Reads a number from the front of `words` and removes it; -1 where there is none.
int take_number(std::string_view& words) {
  int number = -1;
  const auto [end, problem] = std::from_chars(words.data(), words.data() + words.size(), number);
  if (problem != std::errc()) return -1;
  words.remove_prefix(static_cast<std::size_t>(end - words.data()));
  return number;
}

bool take(std::string_view& words, std::string_view part) {
  if (!words.starts_with(part)) return false;
  words.remove_prefix(part.size());
  return true;
}

// "## Step 4.2: How is the future hidden? (20 minutes)"
Step read_step(std::string_view line, const std::string& file) {
  const std::string whole(line);
  Step step;
  take(line, "## Step ");
  step.lesson = take_number(line);
  const bool dot = take(line, ".");
  step.number = take_number(line);
  const bool colon = take(line, ": ");
  const std::size_t bracket = line.rfind(" (");
  if (step.lesson < 1 || !dot || step.number < 1 || !colon || bracket == std::string_view::npos)
    fail(file, ": \"", whole, "\" is not a step's heading: ## Step 4.2: Question? (20 minutes)");
  step.title = line.substr(0, bracket);
  line.remove_prefix(bracket + 2);
  step.minutes = take_number(line);
  if (step.minutes < 1 || line != " minutes)") fail(file, ": step ", name_of(step), " does not end in (20 minutes)");
  return step;
}

Lesson read_lesson(const fs::path& folder) {
  fs::path file = folder / "text.md";
  if (!fs::exists(file)) file = folder / "README.md";
  Lesson lesson{.folder = folder.filename().string()};
  std::istringstream in(read_file(file));
  for (std::string line; std::getline(in, line);) {
    std::string_view words = line;
    if (lesson.number == 0 && take(words, "# Lesson ")) {
      lesson.number = take_number(words);
      if (lesson.number < 1 || !take(words, ": "))
        fail(file.string(), ": needs a heading such as # Lesson 4: Attention");
      lesson.title = words;
    } else if (words.starts_with("## Step ")) {
      const Step step = read_step(words, file.string());
      if (step.lesson != lesson.number || step.number != static_cast<int>(lesson.steps.size()) + 1)
        fail(file.string(), ": step ", name_of(step), " is out of order");
      lesson.steps.push_back(step);
    }
  }
  if (lesson.number == 0 || lesson.steps.empty()) fail(file.string(), ": holds no lesson");
  return lesson;
}

// A lesson's folder begins with two digits: 04_attention.
bool is_lesson(const fs::directory_entry& entry) {
  const std::string name = entry.path().filename().string();
  return entry.is_directory() && name.size() > 3 && std::isdigit(static_cast<unsigned char>(name[0])) != 0 &&
         std::isdigit(static_cast<unsigned char>(name[1])) != 0 && name[2] == '_' &&
         (fs::exists(entry.path() / "text.md") || fs::exists(entry.path() / "README.md"));
}

}  // namespace

std::vector<Lesson> read_lessons(const fs::path& tutorials) {
  std::vector<Lesson> lessons;
  for (const fs::directory_entry& entry : fs::directory_iterator(tutorials))
    if (is_lesson(entry)) lessons.push_back(read_lesson(entry.path()));
  std::sort(lessons.begin(), lessons.end(), [](const Lesson& a, const Lesson& b) { return a.number < b.number; });
  for (std::size_t i = 1; i < lessons.size(); ++i)
    if (lessons[i].number == lessons[i - 1].number)
      fail("tutor: ", lessons[i - 1].folder, " and ", lessons[i].folder, " are both lesson ", lessons[i].number);
  if (lessons.empty()) fail("tutor: there are no lessons in ", tutorials.string());
  return lessons;
}

Place find_place(const std::vector<Lesson>& lessons, const std::string& words) {
  std::string_view rest = words;
  const int lesson_number = take_number(rest);
  const int step_number = take(rest, ".") ? take_number(rest) : 0;
  if (lesson_number < 0 || step_number < 0 || !rest.empty())
    throw UsageError(text("tutor: '", words, "' is not a lesson or a step; write 4 or 4.2"));
  for (const Lesson& lesson : lessons) {
    if (lesson.number != lesson_number) continue;
    if (step_number == 0) return {&lesson, nullptr};
    if (step_number <= static_cast<int>(lesson.steps.size())) return {&lesson, &lesson.steps[step_number - 1]};
    fail("tutor: lesson ", lesson.number, " has steps 1 to ", lesson.steps.size(), ", none ", step_number);
  }
  fail("tutor: there is no lesson ", lesson_number, "; see: headshare tutor list");
}

std::vector<Lesson> choose_lessons(const std::string& numbers) {
  const std::vector<Lesson> all = read_lessons(course_source());
  if (numbers.empty()) return all;
  std::vector<Lesson> chosen;
  std::istringstream in(numbers);
  for (std::string number; std::getline(in, number, ',');) {
    const Place place = find_place(all, number);
    if (place.step != nullptr) throw UsageError(text("tutor: --lessons takes whole lessons, not ", number));
    for (const Lesson& lesson : chosen)
      if (lesson.number == place.lesson->number) throw UsageError(text("tutor: --lessons names ", number, " twice"));
    chosen.push_back(*place.lesson);
  }
  return chosen;
}

std::string name_of(const Step& step) { return text(step.lesson, '.', step.number); }

std::vector<fs::path> gap_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const char* name : {"lesson.cpp", "lesson.cu"})
    if (fs::exists(folder / name)) files.push_back(folder / name);
  return files;
}

fs::path course_source() {
  const fs::path folder = fs::path(HEADSHARE_SOURCE_DIR) / "tutorials";
  if (!fs::exists(folder / "support" / "step.h"))
    fail("tutor: the sources this program was built from are gone: ", folder.string(), "; build it again");
  return folder;
}

fs::path course_build() {
  const fs::path folder = HEADSHARE_BUILD_DIR;
  if (!fs::exists(folder / "headshare_course.cmake"))
    fail("tutor: the folder this program was built in is gone: ", folder.string(), "; build it again");
  return folder;
}

}  // namespace headshare::cli
