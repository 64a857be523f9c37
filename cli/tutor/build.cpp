#include "cli/tutor/build.h"

#include <cstdlib>
#include <iostream>
#include <sstream>
#include <thread>

#include "core/error.h"
#include "core/file.h"

namespace headshare::cli {

namespace fs = std::filesystem;

namespace {

std::string quoted(const fs::path& path) {
  if (path.string().find('\'') != std::string::npos) fail("tutor: ", path.string(), ": a path with ' cannot be built");
  return "'" + path.string() + "'";
}

// Runs a line of shell; its output goes to `log`. Whether it succeeded.
bool run(const std::string& line, const fs::path& log) {
  fs::create_directories(log.parent_path());
  return std::system(text("( ", line, " ) >", quoted(log), " 2>&1").c_str()) == 0;
}

std::string build_line(const fs::path& build, const std::string& target) {
  return text("cmake --build ", quoted(build), " --target ", target, " --parallel ",
              std::max(1u, std::thread::hardware_concurrency()));
}

std::string with_limits(const std::string& line, const BuildLimits& limits) {
  std::string limited;
  if (limits.memory_mib > 0) limited += text("ulimit -v ", limits.memory_mib * 1024LL, "; ");
  if (limits.seconds > 0) limited += text("exec timeout -k 2 ", limits.seconds, ' ');
  return limited + line;
}

std::string target_of(const Lesson& lesson, LessonProgram which) {
  return text("lesson_", lesson.folder.substr(0, 2), which == LessonProgram::tests ? "_tests" : "");
}

fs::file_time_type newest_in(const fs::path& folder) {
  fs::file_time_type newest = fs::last_write_time(folder);
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    newest = std::max(newest, entry.last_write_time());
  return newest;
}

// What every lesson links: built when it may be older than what it is made of.
void build_support() {
  const fs::path build = course_build(), stamp = build / "tutorials" / "support.stamp";
  const bool is_there = fs::exists(stamp);
  if (is_there && fs::last_write_time(stamp) > newest_in(course_source() / "support") &&
      fs::last_write_time(stamp) > fs::last_write_time(build / "libheadshare_nn.a"))
    return;
  if (!is_there) std::cerr << "Compiling what all lessons share, once\n";
  const fs::path log = build / "tutorials" / "support.log";
  if (!run(build_line(build, "headshare_course_support"), log))
    fail("tutor: cannot compile what the lessons share; see ", log.string());
  write_file(stamp, "");
}

}  // namespace

Built build_lesson(const fs::path& folder, const Lesson& lesson, LessonProgram which, const BuildLimits& limits) {
  build_support();
  const fs::path build = folder / "build";
  const fs::path log = build / "tutor.log";
  // The folder may have been moved, or made with another build of Headshare: cmake is told again, and checks by itself.
  const fs::path stamp = build / "headshare_build.txt";
  const std::string wanted = fs::absolute(folder).string() + '\n' + course_build().string() + '\n';
  if (!fs::exists(stamp) || read_file(stamp) != wanted) {
    fs::remove(build / "CMakeCache.txt");
    if (!run(text("cmake -S ", quoted(folder), " -B ", quoted(build), " -DHEADSHARE_BUILD=", quoted(course_build())),
             log))
      fail("tutor: cmake cannot prepare ", folder.string(), "; see ", log.string());
    write_file(stamp, wanted);
  }
  const std::string target = target_of(lesson, which);
  const bool built = run(with_limits(build_line(build, target), limits), log);
  return built ? Built{build / target, ""} : Built{{}, read_file(log)};
}

std::string first_complaint(const std::string& log) {
  std::istringstream in(log);
  std::string found;
  int lines = 0;
  for (std::string line; std::getline(in, line) && lines < 6;) {
    if (lines == 0 && line.find("error") == std::string::npos && line.find("Error") == std::string::npos) continue;
    found += "    " + line + '\n';
    ++lines;
  }
  return found.empty() ? log : found;
}

Built build_solutions(const Lesson& lesson, LessonProgram which) {
  const std::string target = target_of(lesson, which);
  const fs::path build = course_build(), program = build / "tutorials" / target;
  const fs::path sources = course_source() / lesson.folder;
  if (fs::exists(program) && fs::last_write_time(program) > newest_in(sources)) return {program, ""};
  std::cerr << "Compiling lesson " << lesson.number << '\n';
  const fs::path log = build / "tutorials" / (target + ".log");
  if (run(build_line(build, target), log)) return {program, ""};
  return {{}, read_file(log)};
}

}  // namespace headshare::cli
