#include <doctest/doctest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "cli/tutor/grading/child.h"
#include "cli/tutor/grading/process_list.h"
#include "core/file.h"
#include "tests/test_tools.h"

// Programs that nobody has read, in the roles that students' code can play.

using namespace headshare;
using namespace headshare::cli;
using namespace headshare::test;
namespace fs = std::filesystem;

namespace {

// A test program written in shell. `say` reports as the real one does.
TestRun run_script(const std::string& lines, Limits limits = {}, const std::vector<std::string>& environment = {},
                   const std::vector<std::string>& options = {}) {
  const TemporaryFolder folder;
  const fs::path program = folder / "program";
  write_file(program,
             "#!/bin/sh\nIFS= read -r secret\nT=$(printf '\\t')\n"
             "say() { printf '%s\\t%s\\n' \"$secret\" \"$1\" >&3; }\n" +
                 lines + '\n');
  fs::permissions(program, fs::perms(0755));
  return run_tests(program, options, limits, environment);
}

// A program in C++.
TestRun run_source(const std::string& source, Limits limits) {
  const TemporaryFolder folder;
  write_file(folder / "program.cpp", source);
  const std::string program = (folder / "program").string();
  REQUIRE(std::system(text("c++ -fopenmp -o ", program, ' ', program, ".cpp").c_str()) == 0);
  return run_tests(program, {}, limits, {});
}

// Whether `sleep SECONDS` is running anywhere.
bool is_sleeping(const std::string& seconds) {
  const std::string words = std::string("sleep") + '\0' + seconds + '\0';
  for (const ProcessEntry& process : all_processes()) {
    try {
      if (contains(read_file(text("/proc/", process.id, "/cmdline")), words)) return true;
    } catch (const Error&) {  // gone meanwhile
    }
  }
  return false;
}

const std::string two_tests = "say \"pass${T}4.1 one\"\nsay \"pass${T}4.1 two\"\nsay \"done${T}2\"\n";

}  // namespace

TEST_CASE("what a test program reports is read as it said it") {
  const TestRun run = run_script(
      "echo hello\n"
      "say \"pass${T}4.2 the first\"\n"
      "say \"fail${T}4.2 the second${T}weights: expected 0.25, got 0.5 at [1, 3]\"\n"
      "say \"award${T}bytes read${T}3.5${T}6${T}0.5\"\n"
      "say \"done${T}2\"\n"
      "exit 1");
  CHECK(run.complete);
  CHECK(run.ending == "ended (exit code 1)");
  CHECK(run.output == "hello\n");
  REQUIRE(run.verdicts.size() == 2);
  CHECK(run.verdicts[0].name == "4.2 the first");
  CHECK(run.verdicts[0].passed);
  CHECK(run.verdicts[1].name == "4.2 the second");
  CHECK(!run.verdicts[1].passed);
  CHECK(run.verdicts[1].message == "weights: expected 0.25, got 0.5 at [1, 3]");
  REQUIRE(run.awards.size() == 1);
  CHECK(run.awards[0].what == "bytes read");
  CHECK(run.awards[0].gain == 3.5);
  CHECK(run.awards[0].full_gain == 6);
  CHECK(run.awards[0].share == 0.5);
}

TEST_CASE("a test program gets its options, an empty folder, and nothing of our environment") {
  ::setenv("HEADSHARE_TEST_PRIVATE", "private", 1);
  const TestRun run = run_script(
      "echo \"options: $*\"\n"
      "echo \"seed: $HEADSHARE_GRADING_SEED private: $HEADSHARE_TEST_PRIVATE threads: $OMP_NUM_THREADS\"\n"
      "[ \"$HOME\" = \"$PWD\" ] && echo home\n"
      "echo \"files:\" $(ls | grep -v program) \"descriptors:\" $(for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13; do\n"
      "  (: >&$n) 2>/dev/null && echo $n; done)\n"
      "echo \"user: $(id -u)\"\necho \"folder: $PWD\"\n" +
          two_tests,
      {}, {"HEADSHARE_GRADING_SEED=77"}, {"--test-case=4.1 *", "--source-file=*/hidden.cpp"});
  ::unsetenv("HEADSHARE_TEST_PRIVATE");
  CHECK(run.complete);
  CHECK(contains(run.output, "options: --verdicts 3 --test-case=4.1 * --source-file=*/hidden.cpp\n"));
  CHECK(contains(run.output, "seed: 77 private:  threads:"));
  CHECK(contains(run.output, "home\n"));
  CHECK(contains(run.output, "files: descriptors: 0 1 2 3\n"));
  if (can_run_as_nobody()) CHECK(contains(run.output, text("user: ", nobody_user, '\n')));
  const std::size_t at = run.output.find("folder: ");
  REQUIRE(at != std::string::npos);
  CHECK(!fs::exists(run.output.substr(at + 8, run.output.find('\n', at) - at - 8)));  // gone again
}

TEST_CASE("a crash is told from an end, and what was reported before it is kept") {
  const TestRun fault = run_script("say \"pass${T}4.1 one\"\nkill -SEGV $$");
  CHECK(!fault.complete);
  CHECK(fault.ending == "crashed: segmentation fault");
  CHECK(fault.verdicts.size() == 1);
  CHECK(contains(run_script(two_tests + "kill -ABRT $$").ending, "crashed: it called abort()"));
  CHECK(contains(run_script("kill -FPE $$").ending, "crashed: arithmetic error"));
  CHECK(!run_script(two_tests + "kill -KILL $$").complete);
}

TEST_CASE("who leaves early has passed nothing") {
  for (const int code : {0, 1, 7}) {
    const TestRun run = run_script(text("say \"pass${T}4.1 one\"\nexit ", code));
    CHECK(!run.complete);
    CHECK(run.ending == text("ended before its tests did (exit code ", code, ')'));
  }
  CHECK(!run_script("exit 0").complete);
  // The tests pass, and then something ends the program with another code than doctest does.
  const TestRun odd = run_script(two_tests + "exit 3");
  CHECK(!odd.complete);
  CHECK(odd.ending == "ended in an unusual way after its tests (exit code 3)");
  const TestRun failed = run_script("say \"fail${T}4.1 one${T}wrong\"\nsay \"done${T}1\"\nexit 0");
  CHECK(!failed.complete);
  CHECK(run_script("say \"fail${T}4.1 one${T}wrong\"\nsay \"done${T}1\"\nexit 1").complete);
}

// How long something sleeps that only this test started.
std::string unlike_others(int number) { return text(100000 + 4 * ::getpid() + number); }

TEST_CASE("a loop ends with its time, and takes all that it started along") {
  const auto begin = std::chrono::steady_clock::now();
  const std::string one = unlike_others(0), two = unlike_others(1);
  const TestRun run =
      run_script(text("sleep ", one, " &\n(setsid sleep ", two, " &)\nsay \"pass${T}4.1 one\"\nwhile :; do :; done"),
                 {.seconds = 0.7});
  CHECK(!run.complete);
  CHECK(run.ending == "took longer than 0.7 s");
  CHECK(run.verdicts.size() == 1);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::minutes(4));
  CHECK(!is_sleeping(one));
  CHECK(!is_sleeping(two));
}

TEST_CASE("what a program leaves running keeps nobody waiting and does not live on") {
  const auto begin = std::chrono::steady_clock::now();
  const std::string one = unlike_others(2), two = unlike_others(3);
  // Both hold all pipes open; the second is in a session of its own, an orphan, and ignores polite signals.
  const TestRun run = run_script(
      text("sleep ", one, " &\n(trap '' HUP TERM; setsid sh -c 'sleep ", two, "; :' &)\nsleep 0.2\n", two_tests));
  CHECK(run.complete);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::minutes(4));
  CHECK(!is_sleeping(one));
  CHECK(!is_sleeping(two));
}

TEST_CASE("of a long output the end is kept, and one without end is stopped") {
  const TestRun run = run_script("yes 'line after line' | head -c 30000000\necho; echo the end\n" + two_tests);
  CHECK(run.complete);
  CHECK(run.output.size() == Limits{}.output);
  CHECK(run.output.ends_with("\nthe end\n"));
  const TestRun endless = run_script("yes");
  CHECK(!endless.complete);
  CHECK(endless.ending == "printed more than 256 MiB");
  const TestRun flood = run_script(two_tests + "yes >&3");
  CHECK(!flood.complete);
  CHECK(flood.ending == "reported more than 1 MiB");
}

TEST_CASE("files are bounded") {
  const TestRun run = run_script("exec head -c 30000000 /dev/zero > file", {.file = std::size_t{1} << 20});
  CHECK(run.ending == "wrote more than 1 MiB into a file");
  CHECK(run_script("head -c 1000000 /dev/zero > file && " + two_tests, {.file = std::size_t{1} << 20}).complete);
}

TEST_CASE("memory is bounded, for one process and for many together") {
  const Limits limits{.memory = std::size_t{256} << 20};
  const TestRun run = run_source(
      "#include <cstring>\n#include <vector>\n"
      "int main() { std::vector<char*> all; for (;;) { all.push_back(new char[1 << 20]);\n"
      "  std::memset(all.back(), 1, 1 << 20); } }\n",
      limits);
  CHECK(!run.complete);
  CHECK(run.ending == "needed more than 256 MiB");
  // None of the eight is over the limit.
  const TestRun family = run_source(
      "#include <cstring>\n#include <unistd.h>\n"
      "int main() { for (int i = 0; i < 3; ++i) fork();\n"
      "  const unsigned long size = 100UL << 20; std::memset(new char[size], 1, size); sleep(30); }\n",
      limits);
  CHECK(family.ending == "needed more than 256 MiB");
}

TEST_CASE("the simulated device's addresses and the stacks of threads fit into the memory of a test") {
  const TestRun run = run_source(
      "#include <cstdio>\n#include <cstring>\n#include <omp.h>\n#include <sys/mman.h>\n"
      "int main() {\n"
      "  void* const arena = mmap(nullptr, 64UL << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, "
      "0);\n"
      "  if (arena == MAP_FAILED) return 2;\n"
      "  if (mprotect(arena, 64 << 20, PROT_READ | PROT_WRITE) != 0) return 3;\n"
      "  std::memset(arena, 1, 64 << 20);\n"
      "  int sum = 0;\n"
      "#pragma omp parallel num_threads(16) reduction(+ : sum)\n"
      "  sum += 1;\n"
      "  std::printf(\"%d threads\\n\", sum);\n"
      "}\n",
      {.memory = std::size_t{512} << 20});
  CHECK(run.output == "16 threads\n");
  CHECK(run.ending == "ended before its tests did (exit code 0)");
}

TEST_CASE("only who knows the secret can report") {
  // Printed on the usual streams, and on every descriptor there is, with secrets that were guessed.
  const TestRun run = run_script(
      "for secret_guess in '' 0 secret 00000000000000000000000000000000; do\n"
      "  for n in 1 2 3 4 5 6 7 8 9; do\n"
      "    (printf '%s\\tpass\\t4.1 never ran\\n%s\\tdone\\t1\\n' $secret_guess $secret_guess >&$n) 2>/dev/null\n"
      "  done\ndone\n" +
      two_tests);
  CHECK(run.complete);
  REQUIRE(run.verdicts.size() == 2);
  CHECK(run.verdicts[0].name == "4.1 one");
  CHECK(contains(run.output, "4.1 never ran"));
  // A new secret in every run, long enough.
  const std::string first = run_script("echo $secret").output, second = run_script("echo $secret").output;
  CHECK(first.size() == 33);
  CHECK(first != second);
}

TEST_CASE("a report that does not fit together is not believed") {
  const auto problem = [](const std::string& lines) {
    std::string report;
    for (const char c : lines) report += c == '|' ? std::string("\nS\t") : std::string(1, c == ' ' ? '\t' : c);
    TestRun run;
    return read_verdicts(report + '\n', "S", run);
  };
  CHECK(problem("|pass a|fail b wrong|award x 2 3 0.5|done 2") == "");
  CHECK(problem("|done 0") == "");
  CHECK(problem("|pass a|pass b") == "ended before its tests did");
  CHECK(problem("") == "ended before its tests did");
  CHECK(problem("|pass a|pass a|done 2") == "reported \"a\" twice");
  CHECK(problem("|fail a no|pass a|done 1") == "reported \"a\" twice");
  CHECK(problem("|award x 2 3 0.5|award x 3 3 1|done 0") == "reported \"x\" twice");
  CHECK(problem("|pass a|done 3") == "reported 1 tests and said that they were 3");
  CHECK(problem("|pass a|done 1x") == "reported 1 tests and said that they were 1x");
  CHECK(problem("|pass a|done 1|pass b") == "reported more after its tests had ended");
  CHECK(problem("|pass a|done 1|done 1") == "reported more after its tests had ended");
  CHECK(problem("|award x 2 3 1.5|done 0") == "reported something unknown: award");
  CHECK(problem("|award x nan 3 nan|done 0") == "reported something unknown: award");
  CHECK(problem("|award x 2 3|done 0") == "reported something unknown: award");
  CHECK(problem("|wonder a|done 0") == "reported something unknown: wonder");
  TestRun run;
  CHECK(read_verdicts("SX\tpass\ta\n S\tpass\tb\nxS\tpass\tc\nS pass d\nS\tdone\t0\n", "S", run) == "");
  CHECK(run.verdicts.empty());
}

TEST_CASE("a program that cannot be started is our fault, not the student's") {
  CHECK(contains(error_of([] { run_tests("no/such/program", {}, {}, {}); }), "there is no such program"));
  const TemporaryFolder folder;
  write_file(folder / "program",
             "\x7f"
             "ELF, but not really");
  fs::permissions(folder / "program", fs::perms(0755));
  CHECK(contains(error_of([&folder] { run_tests(folder / "program", {}, {}, {}); }), "cannot start "));
}

TEST_CASE("a temporary folder that nobody may enter is named, with what to do") {
  if (!can_run_as_nobody()) {
    MESSAGE("skipped: this program does not run as root, or only root may enter /");
    return;
  }
  const TemporaryFolder closed;
  fs::permissions(closed.path, fs::perms(0700));
  write_file(closed / "program", "#!/bin/sh\n");
  fs::permissions(closed / "program", fs::perms(0755));
  const fs::path before = fs::temp_directory_path();
  ::setenv("TMPDIR", closed.path.c_str(), 1);
  const std::string problem = error_of([&closed] { run_tests(closed / "program", {}, {}, {}); });
  ::setenv("TMPDIR", before.c_str(), 1);
  CHECK(contains(problem, "Permission denied for the user nobody; set TMPDIR to a folder that all may enter"));
}
