#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>

#include "tutorials/support/awards.h"
#include "tutorials/support/step.h"

// The tests of one lesson. `lesson_04_tests` runs them all and prints what failed; further words are doctest's own
// options (--help lists them). The tutor asks differently:
//
//   lesson_04_tests --verdicts FD [doctest options]
//
// The first line on standard input is a secret. One line per test case goes to the file descriptor FD, fields separated
// by tabs, each line begun with the secret, so that what student code prints is never taken for a result:
//
//   SECRET  pass   NAME
//   SECRET  fail   NAME  MESSAGE
//   SECRET  award  WHAT  GAIN  FULL_GAIN  SHARE
//   SECRET  done   NUMBER OF TEST CASES
namespace {

using namespace headshare;

// One line without tabs.
std::string flat(const char* words) {
  std::string line = words;
  for (char& letter : line)
    if (letter == '\n' || letter == '\t') letter = ' ';
  return line;
}

int verdict_file = -1;

// Taken before any other code of this program runs, even before constructors of global objects in a student's file: the
// secret is in nobody's reach then. glibc hands main()'s arguments to such functions too.
char secret[64];
[[gnu::constructor(101)]] void take_secret(int count, char** arguments) {
  if (count < 3 || std::strcmp(arguments[1], "--verdicts") != 0) return;
  for (std::size_t i = 0; i + 1 < sizeof secret && ::read(0, &secret[i], 1) == 1; ++i)
    if (secret[i] == '\n') {
      secret[i] = '\0';
      return;
    }
}

template <class... Fields>
void say(const Fields&... fields) {
  std::string line = secret;
  ((line += text('\t', fields)), ...);
  line += '\n';
  for (std::size_t sent = 0; sent < line.size();) {
    const ssize_t count = ::write(verdict_file, line.data() + sent, line.size() - sent);
    if (count <= 0) std::_Exit(3);
    sent += static_cast<std::size_t>(count);
  }
}

class Verdicts : public doctest::IReporter {
 public:
  explicit Verdicts(const doctest::ContextOptions&) {}

  void test_case_start(const doctest::TestCaseData& test) override {
    name_ = test.m_name;
    problem_.clear();
  }
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats& stats) override {
    ++count_;
    if (verdict_file < 0) {
      if (!stats.testCaseSuccess) std::cout << name_ << "\n    " << problem_ << '\n';
    } else if (stats.testCaseSuccess) {
      say("pass", name_);
    } else {
      say("fail", name_, problem_);
    }
  }
  void test_case_exception(const doctest::TestCaseException& exception) override {
    note(flat(exception.error_string.c_str()));
  }
  void log_assert(const doctest::AssertData& assertion) override {
    if (!assertion.m_failed) return;
    if (assertion.m_threw)
      note(flat(assertion.m_exception.c_str()));
    else
      note(text("expected ", assertion.m_expr, ", got ", flat(assertion.m_decomp.c_str())));
  }
  void log_message(const doctest::MessageData& message) override {
    if (message.m_severity != doctest::assertType::is_warn) note(flat(message.m_string.c_str()));
  }
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats& stats) override {
    for (const lesson::Award& award : lesson::awards()) {
      if (verdict_file >= 0)
        say("award", award.what, award.gain, award.full_gain, award.share);
      else
        std::cout << award.what << ": " << award.gain << " times better than the naive version, all points at "
                  << award.full_gain << '\n';
    }
    if (verdict_file >= 0)
      say("done", count_);
    else
      std::cout << count_ - stats.numTestCasesFailed << " of " << count_ << " tests pass\n";
  }
  void report_query(const doctest::QueryData&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}

 private:
  void note(const std::string& problem) {
    if (problem_.empty()) problem_ = problem;  // what follows the first failure is often its consequence
  }

  std::string name_, problem_;
  unsigned count_ = 0;
};

REGISTER_REPORTER("verdicts", 0, Verdicts);

}  // namespace

int main(int count, char** arguments) {
  int first = 1;
  if (count > 2 && std::string(arguments[1]) == "--verdicts") {
    verdict_file = std::atoi(arguments[2]);
    first = 3;
  }
  doctest::Context context;
  context.addFilter("reporters", "verdicts");
  context.setOption("order-by", "file");
  context.applyCommandLine(count - first + 1, arguments + first - 1);
  return context.run();
}
