#pragma once

#include <sys/types.h>

#include <cstddef>
#include <vector>

namespace headshare::cli {

struct ProcessEntry {
  pid_t id;
  pid_t parent;
  pid_t session;
  uid_t user;
  std::size_t threads;
  std::size_t resident;  // bytes of memory in use
};

// All processes, as /proc tells; empty where there is none.
std::vector<ProcessEntry> all_processes();

// Those that `ancestor` started, directly or not, itself included.
std::vector<ProcessEntry> family_of(pid_t ancestor, const std::vector<ProcessEntry>& processes);

// How many threads run for this user.
std::size_t threads_of_user(uid_t user, const std::vector<ProcessEntry>& processes);

}  // namespace headshare::cli
