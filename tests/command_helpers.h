#pragma once

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <string>

#include "core/file.h"
#include "core/size.h"
#include "tests/test_tools.h"

// What tests of the command share: running it as a user does, and what a refusal looks like.
namespace headshare::test {

struct Outcome {
  int code;
  std::string out;
  std::string error;
};

// Runs `headshare WORDS` in a shell, inside `folder`.
inline Outcome headshare_command(const TemporaryFolder& folder, const std::string& words,
                                 const std::string& input = {}) {
  write_file(folder / "input", input);
  const std::string line =
      text("cd '", folder.path.string(), "' && '", HEADSHARE_COMMAND, "' ", words, " < input > out.txt 2> error.txt");
  const int status = std::system(line.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(folder / "out.txt"), read_file(folder / "error.txt")};
}

// One line, on standard error, that names the program and holds `part`.
inline void check_refused(const Outcome& outcome, int code, const std::string& part) {
  INFO("standard error: ", outcome.error);
  CHECK(outcome.code == code);
  CHECK(contains(outcome.error, part));
  const auto at = outcome.error.find("headshare: ");
  REQUIRE(at != std::string::npos);
  CHECK(outcome.error.find('\n', at) == outcome.error.size() - 1);
}

// Runs `headshare WORDS` again and again, killed after `seconds` at first and each time a little later, until it ends
// by itself. How often it was killed.
inline Size kill_until_finished(const TemporaryFolder& folder, const std::string& words, double seconds) {
  for (Size kills = 0;; ++kills, seconds *= 1.3) {
    const std::string line = text("cd '", folder.path.string(), "' && timeout -s KILL ", seconds, " '",
                                  HEADSHARE_COMMAND, "' ", words, " > out.txt 2> error.txt");
    if (std::system(line.c_str()) == 0) return kills;
    REQUIRE_MESSAGE(seconds < 200, read_file(folder / "error.txt"));
  }
}

}  // namespace headshare::test
