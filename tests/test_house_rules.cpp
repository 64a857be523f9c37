#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/file.h"

// The rules of the house that a compiler does not know. Each is a function of a file's path from the root and its
// contents; it returns what is wrong, a line each.

using namespace headshare;
namespace fs = std::filesystem;

namespace {

using Complaints = std::vector<std::string>;

// What a room may include: itself and every room with a smaller number. Tests see all, and nobody sees tests.
const std::map<std::string, int> rooms = {{"core", 0}, {"kernels", 1}, {"tensor", 2},    {"autograd", 3},
                                          {"nn", 4},   {"cli", 5},     {"tutorials", 5}, {"tests", 6}};

std::string room_of(const fs::path& path) { return path.begin()->string(); }

bool has_extension(const fs::path& path, const std::vector<std::string>& extensions) {
  return std::find(extensions.begin(), extensions.end(), path.extension()) != extensions.end();
}

bool is_header(const fs::path& path) { return has_extension(path, {".h", ".cuh"}); }
bool is_code(const fs::path& path) { return is_header(path) || has_extension(path, {".cpp", ".cu"}); }
bool is_source(const fs::path& path) {
  return is_code(path) || has_extension(path, {".sh", ".py", ".cmake"}) || path.filename() == "CMakeLists.txt";
}

std::vector<std::string> lines_of(const std::string& contents) {
  std::vector<std::string> lines;
  std::istringstream in(contents);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string trimmed(const std::string& line) {
  const std::size_t begin = line.find_first_not_of(" \t");
  return begin == std::string::npos ? "" : line.substr(begin, line.find_last_not_of(" \t") + 1 - begin);
}

// The path in #include "path", or nothing. White space may stand around the # and before the quote.
std::optional<std::string> quoted_include(const std::string& line) {
  std::string rest = trimmed(line);
  if (!rest.starts_with('#')) return std::nullopt;
  rest = trimmed(rest.substr(1));
  if (!rest.starts_with("include")) return std::nullopt;
  rest = trimmed(rest.substr(7));
  if (!rest.starts_with('"')) return std::nullopt;
  return rest.substr(1, rest.find('"', 1) - 1);
}

Complaints includes_that_point_right(const fs::path& path, const std::string& contents) {
  Complaints complaints;
  const auto own = rooms.find(room_of(path));
  if (!is_code(path) || own == rooms.end()) return complaints;
  // A lesson's files are copied into students' folders, where only their own folder is the same.
  const bool is_lesson = own->first == "tutorials" && room_of(path.lexically_relative("tutorials")) != "support";
  for (const std::string& line : lines_of(contents)) {
    const std::optional<std::string> include = quoted_include(line);
    if (!include || (is_lesson && *include == "lesson.h")) continue;
    const auto other = rooms.find(room_of(*include));
    if (other == rooms.end())
      complaints.push_back(text(path.string(), ": \"", *include, "\" is not written from the root"));
    else if (other != own && other->second >= own->second)
      complaints.push_back(text(path.string(), ": \"", *include, "\" is not to the left of ", own->first, "/"));
  }
  return complaints;
}

Complaints files_that_are_too_long(const fs::path& path, const std::string& contents) {
  const std::size_t count = lines_of(contents).size();
  if (!is_source(path) || count <= 400) return {};
  return {text(path.string(), ": ", count, " lines; split it by concept so that none is over 400")};
}

// Paths that exist on the author's machine alone. Written in two parts, so that this file does not name them itself.
Complaints paths_of_one_machine(const fs::path& path, const std::string& contents) {
  Complaints complaints;
  for (const std::string folder : {"work", "root", "tmp", "home", "Users"})
    for (const std::string& line : lines_of(contents))
      if (const std::size_t at = line.find("/" + folder + "/"); at != std::string::npos) {
        // Inside a longer relative path, such as docs/home/index.html, it is somebody's folder name.
        const bool absolute = at == 0 || std::string(" \"'`=(:<>").find(line[at - 1]) != std::string::npos;
        if (absolute) complaints.push_back(text(path.string(), ": a path of one machine: ", trimmed(line)));
      }
  return complaints;
}

Complaints headers_that_leak(const fs::path& path, const std::string& contents) {
  Complaints complaints;
  if (!is_header(path)) return complaints;
  bool once = false;
  for (const std::string& line : lines_of(contents)) {
    once = once || trimmed(line) == "#pragma once";
    if (trimmed(line).starts_with("using namespace"))
      complaints.push_back(text(path.string(), ": \"using namespace\" in a header reaches everybody who includes it"));
  }
  if (!once) complaints.push_back(text(path.string(), ": no #pragma once"));
  return complaints;
}

struct File {
  fs::path path;  // from the root
  std::string contents;
};

// Every text file of the repository that people write.
const std::vector<File>& repository() {
  static const std::vector<File> files = [] {
    std::vector<File> found;
    const fs::path root = HEADSHARE_SOURCE_DIR;
    for (auto entry = fs::recursive_directory_iterator(root); entry != fs::recursive_directory_iterator(); ++entry) {
      const std::string name = entry->path().filename().string();
      const bool ours = name == ".ci" || !name.starts_with('.');
      const bool product = entry.depth() == 0 && (name.starts_with("build") || name == "runs" || name == "toy");
      if (entry->is_directory()) {
        if (!ours || product) entry.disable_recursion_pending();
        continue;
      }
      const fs::path path = fs::relative(entry->path(), root);
      if (is_source(path) || has_extension(path, {".md", ".json"}) || room_of(path) == ".ci")
        found.push_back({path, read_file(entry->path())});
    }
    return found;
  }();
  return files;
}

template <class Rule>
Complaints complaints_about_repository(Rule rule) {
  Complaints all;
  for (const File& file : repository())
    for (const std::string& complaint : rule(file.path, file.contents)) all.push_back(complaint);
  for (const std::string& complaint : all) MESSAGE(complaint);
  return all;
}

}  // namespace

TEST_CASE("the rules look at the files of every room that exists, and at the scripts") {
  std::vector<std::string> paths;
  for (const File& file : repository()) paths.push_back(file.path.string());
  for (const std::string expected : {"core/error.h", "tests/test_house_rules.cpp", "test.sh", "CMakeLists.txt",
                                     "cmake/dependencies.cmake", ".ci/run", "CMakePresets.json"})
    CHECK_MESSAGE(std::count(paths.begin(), paths.end(), expected) == 1, expected);
}

TEST_CASE("includes point left only") { CHECK(complaints_about_repository(includes_that_point_right).empty()); }

TEST_CASE("an include that points right is noticed") {
  const auto complaints = [](const fs::path& path, const std::string& line) {
    return includes_that_point_right(path, "#pragma once\n" + line + "\n").size();
  };
  CHECK(complaints("core/error.h", "#include \"tensor/tensor.h\"") == 1);
  CHECK(complaints("core/text/bleu.cpp", "#include \"kernels/softmax.h\"") == 1);
  CHECK(complaints("kernels/softmax.cu", "  #  include   \"nn/attention.h\"") == 1);
  CHECK(complaints("tensor/tensor.h", "#include\"autograd/variable.h\"") == 1);
  CHECK(complaints("cli/main.cpp", "#include \"tutorials/01_tensors/program.h\"") == 1);
  CHECK(complaints("tutorials/01_tensors/program.cpp", "#include \"cli/main.h\"") == 1);
  CHECK(complaints("nn/attention.cpp", "#include \"tests/helper.h\"") == 1);
  CHECK(complaints("nn/attention.cpp", "#include \"attention.h\"") == 1);
  CHECK(complaints("nn/attention.cpp", "#include \"../core/error.h\"") == 1);

  CHECK(complaints("tutorials/support/step.cpp", "#include \"lesson.h\"") == 1);
  CHECK(complaints("tutorials/01_tensors/main.cpp", "#include \"helper.h\"") == 1);

  CHECK(complaints("tutorials/01_tensors/main.cpp", "#include \"lesson.h\"") == 0);
  CHECK(complaints("nn/attention.cpp", "#include \"nn/attention.h\"") == 0);
  CHECK(complaints("nn/attention.cpp", "#include \"core/error.h\"") == 0);
  CHECK(complaints("tests/test_nn.cpp", "#include \"cli/main.h\"") == 0);
  CHECK(complaints("core/error.h", "#include <vector>") == 0);
  CHECK(complaints("core/error.h", "// #include \"nn/attention.h\" would point right") == 0);
}

TEST_CASE("no source file has more than 400 lines") {
  CHECK(complaints_about_repository(files_that_are_too_long).empty());
}

TEST_CASE("a file that is too long is noticed") {
  std::string contents;
  for (int line = 0; line < 400; ++line) contents += "\n";
  CHECK(files_that_are_too_long("core/long.h", contents).empty());
  CHECK(files_that_are_too_long("core/long.h", contents + "one more") ==
        Complaints{"core/long.h: 401 lines; split it by concept so that none is over 400"});
  for (const fs::path path : {"a.cpp", "a.cu", "a.cuh", "a.sh", "a.py", "a.cmake", "CMakeLists.txt"})
    CHECK_MESSAGE(files_that_are_too_long(path, contents + "one more").size() == 1, path.string());
  CHECK(files_that_are_too_long("README.md", contents + "one more").empty());
}

TEST_CASE("nothing names a path of one machine") { CHECK(complaints_about_repository(paths_of_one_machine).empty()); }

TEST_CASE("a path of one machine is noticed") {
  const auto complaints = [](const std::string& line) { return paths_of_one_machine("README.md", line).size(); };
  const std::string slash = "/";
  CHECK(complaints(slash + "home/ada/headshare/build") == 1);
  CHECK(complaints("read_file(\"" + slash + "work/main/x\")") == 1);
  CHECK(complaints("out=" + slash + "tmp/x") == 1);
  CHECK(complaints("-I" + slash + "usr/include") == 0);
  CHECK(complaints("docs" + slash + "home/index.html") == 0);
  CHECK(complaints(slash + "proc/cpuinfo") == 0);
}

TEST_CASE("every header is guarded and opens no namespace for its readers") {
  CHECK(complaints_about_repository(headers_that_leak).empty());
}

TEST_CASE("a header without a guard, or with an open namespace, is noticed") {
  CHECK(headers_that_leak("core/a.h", "#pragma once\nint a();\n").empty());
  CHECK(headers_that_leak("core/a.h", "int a();\n") == Complaints{"core/a.h: no #pragma once"});
  CHECK(headers_that_leak("kernels/cuda.cuh", "int a();\n").size() == 1);
  CHECK(headers_that_leak("core/a.h", "// #pragma once\n").size() == 1);
  CHECK(headers_that_leak("core/a.h", "#pragma once\n  using namespace std;\n").size() == 1);
  CHECK(headers_that_leak("core/a.cpp", "using namespace std;\n").empty());
}
