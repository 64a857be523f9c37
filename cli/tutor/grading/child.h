#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/tutor/grading/process.h"

// Running a lesson's test program where the code of a student is in it: it may crash, loop, print what looks like a
// result, or end itself. What it says counts only as far as it can be believed (tutorials/support/test_main.cpp has the
// other half of this conversation).
namespace headshare::cli {

struct Verdict {
  std::string name;  // of the test case
  bool passed = false;
  std::string message = {};  // what was expected and what came; empty where it passed
};

// Points in proportion to how much better than the naive version it is.
struct AwardVerdict {
  std::string what;
  double gain = 0, full_gain = 0;
  double share = 0;  // of the points, 0 to 1
};

struct TestRun {
  std::vector<Verdict> verdicts;
  std::vector<AwardVerdict> awards;
  bool complete = false;  // all selected tests ran, each was reported once, and the program then ended by itself
  std::string ending;     // one clause: "ended (exit code 0)", "took longer than 10 s", "crashed: segmentation fault"
  std::string output;     // the last bytes that the program printed
  double seconds = 0;
};

// Runs the tests that doctest's options choose, in an empty folder of its own, for as long as the call lasts. As the
// user nobody where can_run_as_nobody(). `environment`: "NAME=VALUE". Fails where the program cannot be started.
TestRun run_tests(const std::filesystem::path& program, const std::vector<std::string>& doctest_options,
                  const Limits& limits, const std::vector<std::string>& environment);

// What lines of a report mean, where only those that begin with the secret are the test program's. What is wrong with
// them as a whole, in one clause, or nothing.
std::string read_verdicts(const std::string& report, const std::string& secret, TestRun& run);

}  // namespace headshare::cli
