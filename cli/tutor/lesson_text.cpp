#include "cli/tutor/lesson_text.h"

#include <optional>
#include <sstream>

#include "cli/tutor/console.h"
#include "cli/tutor/course.h"
#include "cli/tutor/gaps.h"
#include "core/error.h"
#include "core/file.h"
#include "core/report/table.h"

namespace headshare::cli {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view fence = "```";

// What stands in a line "<!-- KIND WORDS -->"; nothing for other lines.
struct Directive {
  std::string kind, words;
};

std::optional<Directive> directive_of(const std::string& line) {
  constexpr std::string_view open = "<!-- ", close = " -->";
  if (!line.starts_with(open) || !line.ends_with(close)) return std::nullopt;
  const std::string inside = line.substr(open.size(), line.size() - open.size() - close.size());
  const std::size_t blank = inside.find(' ');
  Directive directive{inside.substr(0, blank), blank == std::string::npos ? "" : inside.substr(blank + 1)};
  for (const char* kind : {"code", "gap", "run", "lessons"})
    if (directive.kind == kind) return directive;
  return std::nullopt;
}

std::string block(std::string_view language, const std::string& contents) {
  return text(fence, language, '\n', contents, fence, '\n');
}

std::string quote(const fs::path& folder, int lesson, const Directive& directive) {
  std::istringstream words(directive.words);
  std::string file, name;
  if (!(words >> file >> std::ws) || !std::getline(words, name))
    fail("<!-- ", directive.kind, ' ', directive.words, " --> needs a file and a region");
  const Form form = directive.kind == "gap" ? Form::student : Form::quoted;
  return block("cpp", in_form(shown_region(read_file(folder / file), name, file), lesson, form, file));
}

std::string table_of_lessons(const fs::path& tutorials) {
  Table table({{"lesson", Alignment::right}, {"subject"}, {"steps", Alignment::right}, {"time", Alignment::right}});
  for (const Lesson& lesson : read_lessons(tutorials)) {
    int minutes = 0;
    for (const Step& step : lesson.steps) minutes += step.minutes;
    const std::string link = text('[', lesson.title, "](", lesson.folder, "/README.md)");
    table.add_row(
        {text(lesson.number), link, text(lesson.steps.size()), text(minutes / 60, " h ", minutes % 60, " min")});
  }
  return table.markdown();
}

// A line whose links to files of this project, "[the kernel](../../kernels/attention.cu)", are only their paths: a
// student's folder may be anywhere.
std::string without_links_out(std::string line) {
  constexpr std::string_view out = "](../../";
  for (std::size_t at = line.find(out); at != std::string::npos; at = line.find(out)) {
    const std::size_t open = line.rfind('[', at), close = line.find(')', at);
    if (open == std::string::npos || close == std::string::npos) break;
    const std::string path = line.substr(at + out.size(), close - at - out.size());
    line.replace(open, close + 1 - open, "`" + path + "`");
  }
  return line;
}

}  // namespace

std::string lesson_text(const fs::path& folder, int lesson, Reader reader) {
  const fs::path path = folder / "text.md";
  const std::vector<Exchange> exchanges = fs::exists(folder / "expected.txt")
                                              ? parse_exchanges(read_file(folder / "expected.txt"))
                                              : std::vector<Exchange>();
  std::string result;
  if (reader == Reader::everybody)
    result = "<!-- Written by: headshare tutor text. Change text.md or the sources instead. -->\n";
  std::size_t next = 0;
  bool skipping = false;  // a folded solution
  int number = 0;
  std::istringstream in(read_file(path));
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (reader == Reader::student && line.starts_with("<details>")) skipping = true;
    const bool skipped = skipping;
    if (line.starts_with("</details>")) skipping = false;
    const std::optional<Directive> directive = directive_of(line);
    const bool is_run = directive && directive->kind == "run";
    if (is_run && next == exchanges.size())
      fail(path.string(), ":", number, ": expected.txt has no output of this command; headshare tutor text --update");
    if (is_run && exchanges[next].command != directive->words)
      fail(path.string(), ":", number, ": expected.txt goes on with: $ ", exchanges[next].command,
           "; headshare tutor text --update");
    const std::size_t exchange = is_run ? next++ : next;
    if (skipped) continue;
    try {
      if (!directive)
        result += (reader == Reader::student ? without_links_out(line) : line) + '\n';
      else if (is_run)
        result += block("console", to_text({exchanges[exchange]}));
      else if (directive->kind == "lessons")
        result += table_of_lessons(folder);
      else
        result += quote(folder, lesson, *directive);
    } catch (const Error& error) {
      fail(path.string(), ":", number, ": ", error.what());
    }
  }
  if (next != exchanges.size()) fail(path.string(), ": expected.txt has the output of more commands");
  return result;
}

std::vector<std::string> commands_of(const std::string& text_md) {
  std::vector<std::string> commands;
  std::istringstream in(text_md);
  for (std::string line; std::getline(in, line);)
    if (const std::optional<Directive> directive = directive_of(line); directive && directive->kind == "run")
      commands.push_back(directive->words);
  return commands;
}

std::vector<std::string> pictures_of(const std::string& text_md) {
  std::vector<std::string> pictures;
  for (std::size_t at = text_md.find("!["); at != std::string::npos; at = text_md.find("![", at + 2)) {
    const std::size_t open = text_md.find("](", at), close = text_md.find(')', open);
    if (open == std::string::npos || close == std::string::npos) break;
    pictures.push_back(text_md.substr(open + 2, close - open - 2));
  }
  return pictures;
}

}  // namespace headshare::cli
