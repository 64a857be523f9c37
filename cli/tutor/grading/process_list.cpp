#include "cli/tutor/grading/process_list.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>

namespace headshare::cli {

namespace {

// The begin of a small file, read at once, and whose it is; empty where it has gone. (A stream takes three times as
// long.)
std::string begin_of(const std::string& path, uid_t& user) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return "";
  std::array<char, 1024> bytes;
  const ssize_t count = ::read(file, bytes.data(), bytes.size());
  struct stat information {};
  if (::fstat(file, &information) == 0) user = information.st_uid;
  ::close(file);
  return std::string(bytes.data(), static_cast<std::size_t>(std::max(count, ssize_t{0})));
}

}  // namespace

std::vector<ProcessEntry> all_processes() {
  std::vector<ProcessEntry> processes;
  DIR* const folder = ::opendir("/proc");
  if (folder == nullptr) return processes;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  while (const dirent* const entry = ::readdir(folder)) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    ProcessEntry process{std::atoi(entry->d_name), 0, 0, 0, 0, 0};
    const std::string line = begin_of(std::string("/proc/") + entry->d_name + "/stat", process.user);
    // "17 (its name, which may hold anything) S parent group session ..."; see proc(5)
    const std::size_t name_end = line.rfind(')');
    std::size_t pages = 0;
    if (name_end != std::string::npos &&
        std::sscanf(line.c_str() + name_end + 1,
                    " %*c %d %*d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %zu %*d %*u %*u %zu",
                    &process.parent, &process.session, &process.threads, &pages) == 4) {
      process.resident = pages * page;
      processes.push_back(process);
    }
  }
  ::closedir(folder);
  return processes;
}

std::vector<ProcessEntry> family_of(pid_t ancestor, const std::vector<ProcessEntry>& processes) {
  std::set<pid_t> members = {ancestor};
  std::size_t before = 0;
  while (before != members.size()) {  // children can have smaller numbers than their parents
    before = members.size();
    for (const ProcessEntry& process : processes)
      if (members.contains(process.parent)) members.insert(process.id);
  }
  std::vector<ProcessEntry> family;
  for (const ProcessEntry& process : processes)
    if (members.contains(process.id)) family.push_back(process);
  return family;
}

std::size_t threads_of_user(uid_t user, const std::vector<ProcessEntry>& processes) {
  std::size_t threads = 0;
  for (const ProcessEntry& process : processes)
    if (process.user == user) threads += process.threads;
  return threads;
}

}  // namespace headshare::cli
