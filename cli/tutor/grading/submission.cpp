#include "cli/tutor/grading/submission.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "cli/tutor/grading/fence.h"
#include "core/error.h"

namespace headshare::cli {

namespace fs = std::filesystem;

namespace {

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type() != fs::file_type::not_found;
}

// Where the file is, from the submission's folder on; empty where it is nowhere.
fs::path find_file(const fs::path& submission, const Lesson& lesson, const std::string& name, Layout layout) {
  const fs::path usual = fs::path(lesson.folder) / name;
  if (is_there(submission / usual)) return usual;
  if (layout == Layout::flat_too && is_there(submission / name)) return name;
  std::vector<fs::path> deeper;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(submission, ignored)) {
    if (entry.is_symlink(ignored) || !entry.is_directory(ignored)) continue;
    const fs::path folder = entry.path().filename();
    if (is_there(entry.path() / usual)) deeper.push_back(folder / usual);
    if (layout == Layout::flat_too && is_there(entry.path() / name)) deeper.push_back(folder / name);
  }
  return deeper.size() == 1 ? deeper[0] : fs::path();
}

// Any part of the path below the submission's folder.
bool has_link(const fs::path& submission, const fs::path& below) {
  fs::path path = submission;
  for (const fs::path& part : below) {
    path /= part;
    std::error_code ignored;
    if (fs::is_symlink(fs::symlink_status(path, ignored))) return true;
  }
  return false;
}

HandedIn refused(const std::string& problem) { return {"", problem}; }

// The bytes of a plain file, neither more than are allowed nor waiting for anything.
HandedIn read_plain(const fs::path& path, const std::string& shown) {
  const int file = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return refused(text(shown, " cannot be read: ", std::strerror(errno)));
  struct stat information {};
  HandedIn result;
  if (::fstat(file, &information) != 0 || !S_ISREG(information.st_mode)) {
    result.problem = shown + " is not a plain file";
  } else if (static_cast<std::size_t>(information.st_size) > longest_submission) {
    result.problem = text(shown, " has ", information.st_size, " bytes; more than ", longest_submission,
                          " are not taken: no solution is as long");
  } else {
    std::string bytes(longest_submission, '\0');
    std::size_t size = 0;
    for (ssize_t count = 1; count > 0 && size < bytes.size(); size += static_cast<std::size_t>(std::max(count, 0L)))
      count = ::read(file, bytes.data() + size, bytes.size() - size);
    bytes.resize(size);
    result.contents = bytes;
  }
  ::close(file);
  return result;
}

bool is_text(const std::string& bytes) {
  return std::none_of(bytes.begin(), bytes.end(), [](char c) {
    return static_cast<unsigned char>(c) < ' ' && c != '\n' && c != '\r' && c != '\t' && c != '\f';
  });
}

}  // namespace

HandedIn take_file(const fs::path& submission, const Lesson& lesson, const std::string& name, const std::string& given,
                   Layout layout) {
  const fs::path below = find_file(submission, lesson, name, layout);
  const std::string wanted = lesson.folder + '/' + name;
  if (below.empty())
    return refused(text(wanted, " is missing from the submission", layout == Layout::flat_too ? ", and so is " : "",
                        layout == Layout::flat_too ? name : ""));
  if (has_link(submission, below))
    return refused(below.string() + " is a symbolic link, or is reached by one; hand in the file itself");
  HandedIn file = read_plain(submission / below, below.string());
  if (!file.problem.empty()) return file;
  if (!is_text(file.contents)) return refused(below.string() + " is not plain text (save it as UTF-8)");
  const std::vector<std::string> beyond = beyond_the_fence(file.contents, given);
  if (beyond.empty()) return file;
  std::string problem = below.string() + " has what no solution needs, so it was not compiled:";
  for (const std::string& line : beyond) problem += "\n  " + line;
  return refused(problem);
}

}  // namespace headshare::cli
