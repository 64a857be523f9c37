#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "cli/tutor/console.h"
#include "cli/tutor/course.h"
#include "cli/tutor/gaps.h"
#include "cli/tutor/lesson_text.h"
#include "cli/tutor/tutor.h"
#include "core/error.h"
#include "core/file.h"

// What those who write lessons use, and the build.
namespace headshare::cli {

namespace fs = std::filesystem;

namespace {

// A text with its outputs: the course's own (lesson 0) or a lesson's.
struct Text {
  fs::path folder;
  int lesson;
};

std::vector<Text> chosen_texts(const Words& numbers) {
  const std::vector<Lesson> lessons = read_lessons(course_source());
  std::vector<Text> texts;
  if (numbers.empty()) {
    texts.push_back({course_source(), 0});
    for (const Lesson& lesson : lessons) texts.push_back({course_source() / lesson.folder, lesson.number});
  }
  for (const std::string& number : numbers) {
    if (number == "0") {
      texts.push_back({course_source(), 0});
      continue;
    }
    const Lesson& lesson = *find_place(lessons, number).lesson;
    texts.push_back({course_source() / lesson.folder, lesson.number});
  }
  return texts;
}

// A PNG's header: width and height are the eight bytes after "IHDR".
std::string size_of_picture(const fs::path& path) {
  const std::string bytes = read_file(path);
  if (bytes.size() < 24 || bytes.substr(1, 3) != "PNG") fail(path.string(), ": not a PNG picture");
  return bytes.substr(16, 8);
}

fs::path this_program() {
  std::error_code problem;
  const fs::path self = fs::read_symlink("/proc/self/exe", problem);
  if (problem) fail("tutor: cannot find this program itself: ", problem.message());
  return self;
}

// Runs what the text shows, and compares it with what the text says.
void check_text(const Text& what, const fs::path& folder) {
  const std::string readme = read_file(what.folder / "README.md");
  if (lesson_text(what.folder, what.lesson, Reader::everybody) != readme)
    fail((what.folder / "README.md").string(), " differs from its text.md and sources; headshare tutor text --update");
  const std::string source = read_file(what.folder / "text.md");
  const std::vector<Exchange> expected = fs::exists(what.folder / "expected.txt")
                                             ? parse_exchanges(read_file(what.folder / "expected.txt"))
                                             : std::vector<Exchange>();
  const std::vector<Exchange> got = run_commands(commands_of(source), folder, this_program());
  for (std::size_t i = 0; i < got.size(); ++i)
    if (const auto problem = difference(expected[i].output, got[i].output))
      fail((what.folder / "expected.txt").string(), ": $ ", got[i].command, ": ", *problem);
  for (const std::string& picture : pictures_of(source)) {
    if (picture.find('/') != std::string::npos) continue;  // another part's
    if (!fs::exists(folder / picture)) fail("no command of ", (what.folder / "text.md").string(), " makes ", picture);
    if (size_of_picture(folder / picture) != size_of_picture(what.folder / picture))
      fail((what.folder / picture).string(), ": the program's picture has another size; headshare tutor text --update");
  }
}

void update_text(const Text& what, const fs::path& folder) {
  const std::string source = read_file(what.folder / "text.md");
  const std::vector<std::string> commands = commands_of(source);
  const std::string outputs = to_text(run_commands(commands, folder, this_program()));
  for (const fs::path& here : {course_source(), folder})
    if (const std::size_t at = outputs.find(here.string()); at != std::string::npos)
      fail("an output names a folder of this machine: ", outputs.substr(outputs.rfind('\n', at) + 1, 200));
  if (!commands.empty()) write_file(what.folder / "expected.txt", outputs);
  for (const std::string& picture : pictures_of(source))
    if (fs::exists(folder / picture)) write_file(what.folder / picture, read_file(folder / picture));
  write_file(what.folder / "README.md", lesson_text(what.folder, what.lesson, Reader::everybody));
}

}  // namespace

void tutor_text(const Words& words) {
  CommandLine line(
      "tutor text", "Check that texts quote what their sources hold and their commands print",
      "  headshare tutor text              # every lesson, and the course's own text\n"
      "  headshare tutor text 4 --update   # run its commands, write expected.txt, README.md and pictures\n"
      "  headshare tutor text 4 --quote    # only write README.md anew, with the outputs as they are",
      {"LESSON..."});
  line.options()("update", "Write what is there now");
  line.options()("quote", "Write README.md alone; runs nothing");
  line.options()("folder", "Run the commands here, and keep what they make; default: a temporary folder",
                 cxxopts::value<std::string>());
  const auto arguments = line.parse(words);
  if (!arguments) return;
  fs::path folder = fs::temp_directory_path() / text("headshare-texts-", ::getpid());
  const bool is_temporary = arguments->count("folder") == 0;
  if (!is_temporary) folder = fs::absolute((*arguments)["folder"].as<std::string>());
  for (const Text& what : chosen_texts(all_words(*arguments, "LESSON"))) {
    if (arguments->count("quote") != 0)
      write_file(what.folder / "README.md", lesson_text(what.folder, what.lesson, Reader::everybody));
    else if (arguments->count("update") != 0)
      update_text(what, folder);
    else
      check_text(what, folder);
    std::cout << what.folder.filename().string() << ": text, sources and outputs agree\n" << std::flush;
  }
  if (is_temporary) fs::remove_all(folder);
}

void tutor_form(const Words& words) {
  CommandLine line("tutor form", "Write a lesson's source in another form: reference, student or switchable",
                   "  headshare tutor form student tutorials/04_attention/lesson.cpp lesson.cpp",
                   {"FORM", "SOURCE", "TARGET"});
  const auto arguments = line.parse(words);
  if (!arguments) return;
  const std::string form = (*arguments)["FORM"].as<std::string>();
  const fs::path source = (*arguments)["SOURCE"].as<std::string>();
  const std::vector<std::pair<std::string, Form>> forms = {
      {"reference", Form::reference}, {"student", Form::student}, {"switchable", Form::switchable}};
  const auto chosen = std::find_if(forms.begin(), forms.end(), [&](const auto& one) { return one.first == form; });
  if (chosen == forms.end())
    throw UsageError(text("tutor form: '", form, "'; choose reference, student or switchable"));
  const int lesson = std::atoi(fs::absolute(source).parent_path().filename().string().c_str());
  if (lesson < 1) fail("tutor form: ", source.string(), " is not in a folder such as 04_attention");
  write_file((*arguments)["TARGET"].as<std::string>(),
             in_form(read_file(source), lesson, chosen->second, source.string()));
}

}  // namespace headshare::cli
