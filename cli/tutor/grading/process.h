#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

// Running a program that nobody here has read: within limits, without what it has no need of, and with everything that
// it started gone when it is over. This holds back accidents and clumsy attempts; it is not a wall (docs/teaching.md).
namespace headshare::cli {

struct Limits {
  double seconds = 20;                         // on the clock
  std::size_t memory = std::size_t{2} << 30;   // bytes: of each process, and of all that it starts together
  std::size_t file = std::size_t{256} << 20;   // bytes of each file that it writes
  std::size_t output = std::size_t{16} << 10;  // bytes that are kept of what it prints: the last ones
};

enum class User {
  same,    // as this program
  nobody,  // where can_run_as_nobody(), the child runs as the user with the fewest rights; else as this program
};
constexpr uid_t nobody_user = 65534;

// Whether this program runs as root, on a system where others may do anything: in some containers and chroot folders
// only root may enter "/".
bool can_run_as_nobody();

struct ChildProgram {
  std::vector<std::string> words;  // its path and its arguments
  std::filesystem::path folder;    // where it runs, and its HOME
  User user = User::same;
  std::string input = {};                     // its standard input, at most 4096 bytes
  std::vector<std::string> environment = {};  // "NAME=VALUE"; beside it PATH and what OpenMP and CUDA read
};

// The descriptor on which a child can report, apart from what it prints.
constexpr int report_descriptor = 3;

struct ChildRun {
  std::optional<int> exit_code;  // nothing where it crashed or was stopped
  std::string ending;            // one clause: "ended (exit code 0)", "took longer than 10 s"
  std::string output;            // the last bytes that it printed, standard output and error together
  std::string report;            // what it wrote to report_descriptor
  double seconds = 0;
};

// Runs it to its end, one at a time: what this process's children started meanwhile is killed. Fails where the program
// cannot be started.
ChildRun run_child(const ChildProgram& program, const Limits& limits);

// A new folder for one purpose, which only its owner can read, gone with everything in it at the end.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// "2 GiB", "300 MiB": for people.
std::string bytes_in_words(std::size_t bytes);

}  // namespace headshare::cli
