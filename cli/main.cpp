#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "cli/command.h"
#include "cli/version.h"

namespace {

using namespace headshare;
using namespace headshare::cli;

const std::vector<Command>& commands() {
  static const std::vector<Command> all = {
      demo_command(),      data_command(),     train_command(),     convert_command(), uptrain_command(),
      translate_command(), evaluate_command(), benchmark_command(), profile_command(), inspect_command(),
      trace_command(),     devices_command(),  lab_command(),       tutor_command(),
  };
  return all;
}

void print_help() {
  std::cout << "headshare " << program_version() << ": a Transformer from scratch, to learn from\n\nUsage:\n"
            << "  headshare COMMAND [options]\n\nCommands:\n";
  for (const Command& command : commands())
    std::cout << "  " << command.name << std::string(12 - command.name.size(), ' ') << command.summary << '\n';
  std::cout << "\nheadshare COMMAND --help shows the options of a command and an example.\n";
}

void run(const Words& words) {
  if (words.empty()) throw UsageError("which command? see: headshare --help");
  if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") return print_help();
  if (words[0] == "--version") {
    std::cout << "headshare " << program_version() << '\n';
    return;
  }
  for (const Command& command : commands())
    if (command.name == words[0]) return command.run(Words(words.begin() + 1, words.end()));
  throw UsageError(text("there is no command '", words[0], "'; see: headshare --help"));
}

// A thread that waits for the others spins by default. When another program needs the core it spins on, the thread that
// is waited for does not get one: measured, ten times slower beside a single busy program. A short spin, then sleep,
// costs 2 % on an idle machine. OpenMP's runtime reads this before main() begins, so set it and start again; but not
// where it was told to bind threads to cores: it has bound this one by now, and would then see no other core.
void limit_spinning(char** arguments) {
  for (const char* told : {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY"})
    if (std::getenv(told) != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", "20000", 1);
  ::execv("/proc/self/exe", arguments);  // returns only where there is no such path; then go on as we are
}

}  // namespace

int main(int count, char** arguments) {
  limit_spinning(arguments);
  try {
    run(Words(arguments + 1, arguments + count));
    std::cout.flush();
    if (!std::cout) fail("cannot write to standard output");
    return 0;
  } catch (const UsageError& error) {
    std::cerr << "headshare: " << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "headshare: " << error.what() << '\n';
    return 1;
  }
}
