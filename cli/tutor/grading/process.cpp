#include "cli/tutor/grading/process.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <set>
#include <thread>
#include <utility>

#include "cli/tutor/grading/process_list.h"
#include "core/error.h"

namespace headshare::cli {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t longest_report = std::size_t{1} << 20;    // bytes; more is no report
constexpr std::size_t longest_output = std::size_t{256} << 20;  // bytes; who prints more is in a loop

// An open descriptor, closed at the end.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() { close(); }

  void close() {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
  }
  int number() const { return number_; }

 private:
  int number_;
};

struct Pipe {
  Descriptor read, write;
};

// Its numbers lie above those that the child gives to its own descriptors.
Pipe make_pipe() {
  std::array<int, 2> low{};
  if (::pipe2(low.data(), O_CLOEXEC) != 0) fail("cannot make a pipe: ", std::strerror(errno));
  const Descriptor low_read(low[0]), low_write(low[1]);
  Pipe pipe{Descriptor(::fcntl(low[0], F_DUPFD_CLOEXEC, 10)), Descriptor(::fcntl(low[1], F_DUPFD_CLOEXEC, 10))};
  if (pipe.read.number() < 0 || pipe.write.number() < 0) fail("cannot make a pipe: ", std::strerror(errno));
  return pipe;
}

// Words as execve() wants them.
std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> child_environment(const ChildProgram& program) {
  std::vector<std::string> result = {"HOME=" + program.folder.string()};
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string words = *variable;
    for (const char* begin : {"PATH=", "LD_LIBRARY_PATH=", "OMP_", "GOMP_", "CUDA_VISIBLE_DEVICES="})
      if (words.starts_with(begin)) result.push_back(words);
  }
  result.insert(result.end(), program.environment.begin(), program.environment.end());
  return result;
}

// What a child may take, as the system counts it.
struct ResourceLimit {
  __rlimit_resource resource;
  rlim_t most;
};

std::vector<ResourceLimit> resource_limits(const Limits& limits, std::size_t threads) {
  const auto cores = static_cast<rlim_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  return {
      {RLIMIT_CORE, 0},
      // For what escapes the clock: all cores, all the time.
      {RLIMIT_CPU, (static_cast<rlim_t>(std::ceil(limits.seconds)) + 1) * cores},
      // Writable private memory. Not RLIMIT_AS: addresses cost nothing, and the simulated device reserves 64 GiB.
      {RLIMIT_DATA, limits.memory},
      {RLIMIT_FSIZE, limits.file},
      {RLIMIT_NOFILE, 256},
      // The system counts all threads of a user. (It does not hold root to it.)
      {RLIMIT_NPROC, threads + 256 + 2 * cores},
  };
}

// All that the child needs between fork() and exec(), where it may take no memory.
struct Launch {
  char* const* words;
  char* const* variables;
  const char* folder;
  const std::vector<ResourceLimit>& limits;
  bool drop_rights;
  int input, output, report, problem;
};

[[noreturn]] void give_up(int problem) {
  const int reason = errno;
  [[maybe_unused]] const ssize_t count = ::write(problem, &reason, sizeof reason);
  ::_exit(126);
}

[[noreturn]] void become(const Launch& launch) {
  constexpr int problem = report_descriptor + 1;
  if (::dup2(launch.input, 0) < 0 || ::dup2(launch.output, 1) < 0 || ::dup2(launch.output, 2) < 0 ||
      ::dup2(launch.report, report_descriptor) < 0 || ::dup3(launch.problem, problem, O_CLOEXEC) < 0)
    give_up(launch.problem);
  if (::syscall(SYS_close_range, problem + 1U, ~0U, 0U) != 0)  // before Linux 5.9
    for (int number = problem + 1; number < 65536; ++number) ::close(number);
  ::setsid();
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  for (const ResourceLimit& limit : launch.limits) {
    const rlimit value{limit.most, limit.most};
    ::setrlimit(limit.resource, &value);
  }
  // Some containers have no other user; then the child has the rights that all in there have.
  if (launch.drop_rights && ::setgroups(0, nullptr) == 0 && ::setgid(nobody_user) == 0 && ::setuid(nobody_user) != 0)
    give_up(problem);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // also when this program is stopped from outside
  if (::chdir(launch.folder) != 0) give_up(problem);
  ::execve(launch.words[0], launch.words, launch.variables);
  give_up(problem);
}

// While it lives, what loses its parent becomes a child of this process, where it can be found and ended.
class Adoption {
 public:
  explicit Adoption(const std::vector<ProcessEntry>& others) {
    ::prctl(PR_GET_CHILD_SUBREAPER, &before_);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (const ProcessEntry& process : others)
      if (process.parent == ::getpid()) own_.insert(process.id);
  }
  ~Adoption() { ::prctl(PR_SET_CHILD_SUBREAPER, before_); }
  Adoption(const Adoption&) = delete;
  Adoption& operator=(const Adoption&) = delete;

  // Ends what is left of a session and all that was adopted. One that is quick to start others takes a few rounds.
  void end_strays(pid_t session) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (std::chrono::steady_clock::now() < deadline) {
      ::kill(-session, SIGKILL);
      bool found = false;
      for (const ProcessEntry& process : all_processes()) {
        const bool adopted = process.parent == ::getpid() && !own_.contains(process.id);
        if (!adopted && process.session != session) continue;
        found = true;
        ::kill(process.id, SIGKILL);
        if (adopted) ::waitpid(process.id, nullptr, WNOHANG);
      }
      if (!found) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

 private:
  int before_ = 0;
  std::set<pid_t> own_;
};

// What a child sends through a pipe: the last `kept` bytes, and how many there were.
class Stream {
 public:
  Stream(Descriptor&& source, std::size_t kept) : source_(std::move(source)), kept_(kept) {
    ::fcntl(source_.number(), F_SETFL, O_NONBLOCK);
  }

  // Takes what is there now; at most `most` bytes, so that nobody keeps us here.
  void take(std::size_t most) {
    std::array<char, 65536> bytes;
    while (source_.number() >= 0 && most > 0) {
      const ssize_t count = ::read(source_.number(), bytes.data(), std::min(most, bytes.size()));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return;
      if (count == 0) return source_.close();
      most -= static_cast<std::size_t>(count);
      total_ += static_cast<std::size_t>(count);
      text_.append(bytes.data(), static_cast<std::size_t>(count));
      if (text_.size() > 2 * kept_) text_.erase(0, text_.size() - kept_);
    }
  }

  int descriptor() const { return source_.number(); }  // -1: it has ended
  std::size_t total() const { return total_; }
  std::string text() const { return text_.size() > kept_ ? text_.substr(text_.size() - kept_) : text_; }

 private:
  Descriptor source_;
  std::size_t kept_, total_ = 0;
  std::string text_;
};

std::string name_of_signal(int signal) {
  switch (signal) {
    case SIGSEGV:
      return "segmentation fault";
    case SIGABRT:
      return "it called abort(), or an exception was not caught";
    case SIGFPE:
      return "arithmetic error, such as an integer divided by zero";
    case SIGILL:
      return "illegal instruction";
    case SIGBUS:
      return "bus error";
    default:
      return ::strsignal(signal);
  }
}

// How it ended by itself.
std::string ending_of(int status, const rusage& usage, const std::string& output, const Limits& limits) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return "ended (exit code 0)";
  // Who is refused memory rarely says so, and ends in many ways.
  const auto most = static_cast<std::size_t>(usage.ru_maxrss) * 1024;
  const bool refused = output.find("std::bad_alloc") != std::string::npos || most > limits.memory / 10 * 9;
  if (WIFEXITED(status)) return text("ended (exit code ", WEXITSTATUS(status), ')');
  const int signal = WTERMSIG(status);
  if (signal == SIGXFSZ) return text("wrote more than ", bytes_in_words(limits.file), " into a file");
  if (signal == SIGXCPU) return "used more processor time than it may";
  if (refused) return text("needed more than ", bytes_in_words(limits.memory));
  return "crashed: " + name_of_signal(signal);
}

// Starts the program; returns its process.
pid_t start(const ChildProgram& program, const Limits& limits, const std::vector<ProcessEntry>& others, int input,
            int output, int report) {
  std::vector<std::string> words = program.words, variables = child_environment(program);
  const std::vector<char*> word_pointers = pointers_to(words), variable_pointers = pointers_to(variables);
  const bool drop_rights = program.user == User::nobody && can_run_as_nobody();
  const auto resources = resource_limits(limits, threads_of_user(drop_rights ? nobody_user : ::getuid(), others));
  Pipe problem = make_pipe();
  const Launch launch{word_pointers.data(),
                      variable_pointers.data(),
                      program.folder.c_str(),
                      resources,
                      drop_rights,
                      input,
                      output,
                      report,
                      problem.write.number()};
  const pid_t child = ::fork();
  if (child < 0) fail("cannot start a process: ", std::strerror(errno));
  if (child == 0) become(launch);
  problem.write.close();
  int reason = 0;
  if (::read(problem.read.number(), &reason, sizeof reason) > 0) {
    ::waitpid(child, nullptr, 0);
    fail("cannot start ", program.words[0], ": ", std::strerror(reason),
         drop_rights && reason == EACCES ? " for the user nobody; set TMPDIR to a folder that all may enter" : "");
  }
  return child;
}

}  // namespace

bool can_run_as_nobody() {
  struct stat root {};
  return ::geteuid() == 0 && ::stat("/", &root) == 0 && (root.st_mode & S_IXOTH) != 0;
}

ChildRun run_child(const ChildProgram& program, const Limits& limits) {
  Pipe input = make_pipe(), output = make_pipe(), report = make_pipe();
  if (program.input.size() > 4096) fail("run_child: an input of ", program.input.size(), " bytes; at most 4096");
  if (::write(input.write.number(), program.input.data(), program.input.size()) < 0)
    fail("run_child: cannot hand over the input: ", std::strerror(errno));
  input.write.close();

  const std::vector<ProcessEntry> others = all_processes();
  const Adoption adoption(others);
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [begin] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  const pid_t child = start(program, limits, others, input.read.number(), output.write.number(), report.write.number());
  output.write.close();
  report.write.close();
  Stream printed(std::move(output.read), limits.output), reported(std::move(report.read), longest_report);

  constexpr double look_every = 0.1;  // seconds, at least, between two looks at how much memory is in use
  double next_look = look_every;
  std::string stopped;  // why we ended it
  int status = 0;
  rusage usage{};
  while (stopped.empty() && ::wait4(child, &status, WNOHANG, &usage) == 0) {
    std::array<pollfd, 2> sources{pollfd{printed.descriptor(), POLLIN, 0}, pollfd{reported.descriptor(), POLLIN, 0}};
    ::poll(sources.data(), sources.size(), 5);  // milliseconds
    printed.take(longest_report);
    reported.take(longest_report);
    if (seconds() > limits.seconds) stopped = text("took longer than ", limits.seconds, " s");
    if (printed.total() > longest_output) stopped = "printed more than " + bytes_in_words(longest_output);
    if (reported.total() > longest_report) stopped = "reported more than " + bytes_in_words(longest_report);
    if (seconds() < next_look) continue;
    const double look = seconds();
    std::size_t resident = 0;
    for (const ProcessEntry& process : family_of(child, all_processes())) resident += process.resident;
    next_look = seconds() + std::max(look_every, 10 * (seconds() - look));  // many processes take long to look at
    if (resident > limits.memory) stopped = "needed more than " + bytes_in_words(limits.memory);
  }
  const double taken = seconds();
  ::kill(-child, SIGKILL);
  if (!stopped.empty()) {
    ::kill(child, SIGKILL);  // where it was not yet the leader of its group
    ::wait4(child, &status, 0, &usage);
  }
  adoption.end_strays(child);
  printed.take(longest_output);  // what was still on its way
  reported.take(longest_report);

  ChildRun run{{}, stopped, printed.text(), reported.text(), taken};
  if (stopped.empty()) run.ending = ending_of(status, usage, run.output, limits);
  if (stopped.empty() && WIFEXITED(status)) run.exit_code = WEXITSTATUS(status);
  return run;
}

ScratchFolder::ScratchFolder() {
  std::string name = (fs::temp_directory_path() / "headshare_XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) fail("cannot make a folder ", name, ": ", std::strerror(errno));
  path_ = name;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string bytes_in_words(std::size_t bytes) {
  constexpr std::size_t mebi = std::size_t{1} << 20, gibi = std::size_t{1} << 30;
  if (bytes % gibi == 0) return text(bytes / gibi, " GiB");
  return bytes % mebi == 0 ? text(bytes / mebi, " MiB") : text(bytes, " bytes");
}

}  // namespace headshare::cli
