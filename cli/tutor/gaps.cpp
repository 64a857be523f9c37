#include "cli/tutor/gaps.h"

#include <charconv>
#include <sstream>

#include "core/error.h"

namespace headshare::cli {

namespace {

// One line of a lesson's source: what its marker is, if it is one.
enum class Marker { none, step, hint, solution, stub, end, show, end_show };

struct Line {
  std::string words;  // as written
  Marker marker = Marker::none;
  std::string rest = {};  // what follows the marker
  int step = 0;
  std::string indent() const { return words.substr(0, words.find_first_not_of(' ')); }
  // The words of a comment line, or nothing.
  bool is_comment() const { return words.compare(indent().size(), 2, "//") == 0; }
  std::string comment() const {
    const std::string inside = words.substr(indent().size() + 2);
    return inside.starts_with(' ') ? inside.substr(1) : inside;
  }
};

Line read_line(std::string words) {
  Line line{.words = std::move(words)};
  if (line.words.find_first_not_of(' ') == std::string::npos || !line.is_comment()) return line;
  const std::string comment = line.comment();
  const auto begins = [&](std::string_view marker, Marker kind) {
    if (!comment.starts_with(marker)) return false;
    line.marker = kind;
    line.rest = comment.substr(marker.size());
    return true;
  };
  if (begins("[step ", Marker::step)) {
    const std::size_t close = line.rest.find("] ");
    const auto [end, problem] = std::from_chars(line.rest.data(), line.rest.data() + line.rest.size(), line.step);
    if (problem != std::errc() || close == std::string::npos || end != line.rest.data() + close)
      fail("\"", comment, "\" is not a step's marker: // [step 2] What to do.");
    line.rest = line.rest.substr(close + 2);
  } else if (begins("[show ", Marker::show)) {
    line.rest = line.rest.substr(0, line.rest.find(']'));
  } else {
    begins("[hint] ", Marker::hint) || begins("[solution]", Marker::solution) || begins("[stub]", Marker::stub) ||
        begins("[end show]", Marker::end_show) || begins("[end]", Marker::end);
  }
  return line;
}

// What one line is for, after the lines before it.
enum class Role { code, marker, task, hint, solution, stub, show };

struct Placed {
  Line line;
  Role role = Role::code;
  int gap = -1;  // its index in order; -1 outside
  int step = 0;  // of the gap
};

std::vector<Placed> read_source(const std::string& source, const std::string& file) {
  std::vector<Placed> placed;
  Role role = Role::code;
  int gaps = 0, step = 0, number = 0;
  std::istringstream in(source);
  for (std::string words; std::getline(in, words);) {
    ++number;
    const auto refuse = [&](const std::string& problem) { fail(file, ":", number, ": ", problem); };
    Line line;
    try {
      line = read_line(words);
    } catch (const Error& error) {
      refuse(error.what());
    }
    const bool inside = role != Role::code;
    Placed here{.line = line, .gap = inside ? gaps - 1 : -1, .step = step};
    switch (line.marker) {
      case Marker::none:
        // Comments directly below a task or a hint go on with it; anything else begins the solution.
        if ((role == Role::task || role == Role::hint) && !line.is_comment()) role = Role::solution;
        here.role = role;
        break;
      case Marker::step:
        if (inside) refuse("a gap begins inside another; write // [end] before it");
        role = Role::task;
        here.role = Role::marker;
        here.gap = gaps++;
        here.step = step = line.step;
        break;
      case Marker::hint:
        if (role != Role::task && role != Role::hint) refuse("a [hint] stands directly below its [step]");
        here.role = role = Role::hint;
        break;
      case Marker::solution:
        if (role != Role::task && role != Role::hint) refuse("a [solution] follows a [step] or a [hint]");
        here.role = Role::show;
        role = Role::solution;
        break;
      case Marker::stub:
        if (role != Role::solution) refuse("a [stub] follows a solution");
        here.role = Role::show;
        role = Role::stub;
        break;
      case Marker::end:
        if (role != Role::solution && role != Role::stub) refuse("an [end] without a solution before it");
        role = Role::code;
        here.role = Role::marker;
        break;
      case Marker::show:
      case Marker::end_show:
        if (inside) refuse("a region begins or ends inside a gap");
        here.role = Role::show;
        break;
    }
    if (here.role == Role::stub && line.marker == Marker::none && !line.is_comment())
      refuse("a line of a [stub] begins with //");
    placed.push_back(here);
  }
  if (role != Role::code) fail(file, ": the last gap has no // [end]");
  return placed;
}

bool has_stub(const std::vector<Placed>& lines, int gap) {
  for (const Placed& placed : lines)
    if (placed.gap == gap && placed.line.marker == Marker::stub) return true;
  return false;
}

std::string quoted(const std::string& words) {
  std::string result = "\"";
  for (const char letter : words) {
    if (letter == '"' || letter == '\\') result += '\\';
    result += letter;
  }
  return result + '"';
}

std::string stub_line(const Line& line) {
  const std::string words = line.comment();
  return words.empty() ? "" : line.indent() + words;
}

// Writes the lines of a source in one of the forms.
class Writer {
 public:
  Writer(int lesson, Form form, const std::vector<Placed>& lines) : lesson_(lesson), form_(form), lines_(lines) {}

  std::string write() {
    for (const Placed& placed : lines_) {
      if (form_ == Form::student)
        write_student(placed);
      else if (form_ == Form::switchable)
        write_switchable(placed);
      else if (placed.role == Role::code || placed.role == Role::solution)
        put(placed.line.words);
    }
    return out_;
  }

 private:
  void put(const std::string& words) { out_ += words + '\n'; }

  std::string call(const Line& marker) const {
    return text("not_implemented(", lesson_, ", ", marker.step, ", ", quoted(marker.rest), ");");
  }

  void write_student(const Placed& placed) {
    const Line& line = placed.line;
    if (placed.role == Role::code || placed.role == Role::task) put(line.words);
    if (placed.role == Role::stub) put(stub_line(line));
    if (line.marker == Marker::step) {
      put(line.words);
      open_ = has_stub(lines_, placed.gap) ? "" : line.indent() + call(line);
    }
    if (line.marker == Marker::end) {
      if (!open_.empty()) put(open_);
      put(line.words);
    }
  }

  // One line for every line of the source, so that compilers and tracers name the same lines.
  void write_switchable(const Placed& placed) {
    const Line& line = placed.line;
    const bool stub = placed.gap >= 0 && has_stub(lines_, placed.gap);
    if (line.marker == Marker::step) {
      const std::string question = text("solved(", lesson_, ", ", line.step, ")");
      put(line.indent() + (stub ? "if (" + question + ") {" : "if (!" + question + ") " + call(line)));
    } else if (line.marker == Marker::stub) {
      put(line.indent() + "} else {");
    } else if (line.marker == Marker::end && stub) {
      put(line.indent() + "}");
    } else if (placed.role == Role::stub) {
      put(stub_line(line));
    } else {
      put(placed.role == Role::code || placed.role == Role::solution ? line.words : "");
    }
  }

  int lesson_;
  Form form_;
  const std::vector<Placed>& lines_;
  std::string out_, open_;
};

}  // namespace

std::vector<Gap> find_gaps(const std::string& source, const std::string& file) {
  std::vector<Gap> gaps;
  for (const Placed& placed : read_source(source, file)) {
    if (placed.line.marker == Marker::step) gaps.push_back({placed.line.step, placed.line.rest, {}});
    if (placed.line.marker == Marker::stub) gaps.back().has_stub = true;
    if (placed.line.marker == Marker::hint) gaps.back().hints.push_back(placed.line.rest);
    if (placed.role == Role::hint && placed.line.marker == Marker::none)
      gaps.back().hints.back() += ' ' + placed.line.comment();
  }
  return gaps;
}

std::string in_form(const std::string& source, int lesson, Form form, const std::string& file) {
  const std::vector<Placed> lines = read_source(source, file);  // also checks the markers
  return form == Form::reference ? source : Writer(lesson, form, lines).write();
}

std::string revealed(const std::string& student, const std::string& reference, int step, const std::string& file) {
  std::vector<std::string> solutions;  // of the gaps of this step
  for (const Placed& placed : read_source(reference, file)) {
    if (placed.gap < 0 || placed.step != step) continue;
    if (placed.line.marker == Marker::step) solutions.emplace_back();
    if (placed.role == Role::task || placed.role == Role::solution) solutions.back() += placed.line.words + '\n';
  }
  // A student's own lines may be anything, so only the two markers count here.
  std::string result;
  std::size_t next = 0;
  bool inside = false;
  std::istringstream in(student);
  for (std::string words; std::getline(in, words);) {
    Line line;
    try {
      line = read_line(words);
    } catch (const Error&) {
      line.words = words;  // a comment of the student's that looks like a marker
    }
    if (line.marker == Marker::end) inside = false;
    if (!inside) result += words + '\n';
    if (line.marker == Marker::step && line.step == step) {
      if (next == solutions.size()) fail("tutor: ", file, " has more gaps for step ", step, " than the lesson");
      result += solutions[next++];
      inside = true;
    }
  }
  if (next != solutions.size() || inside)
    fail("tutor: a marker \"// [step ", step, "]\" or its \"// [end]\" is missing in ", file, "; put it back");
  return result;
}

std::string shown_region(const std::string& source, const std::string& name, const std::string& file) {
  std::vector<std::string> lines;
  bool inside = false, found = false;
  std::istringstream in(source);
  for (std::string words; std::getline(in, words);) {
    const Line line = read_line(words);
    if (line.marker == Marker::end_show) inside = false;
    if (inside && line.marker != Marker::show) lines.push_back(words);
    if (line.marker == Marker::show && line.rest == name) {
      if (found) fail(file, ": two regions are called ", name);
      inside = found = true;
    }
  }
  if (!found || lines.empty()) fail(file, ": no region // [show ", name, "]");
  std::size_t indent = std::string::npos;
  for (const std::string& words : lines) indent = std::min(indent, words.find_first_not_of(' '));
  std::string region;
  for (const std::string& words : lines) region += (words.size() > indent ? words.substr(indent) : "") + '\n';
  return region;
}

}  // namespace headshare::cli
