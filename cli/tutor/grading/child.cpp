#include "cli/tutor/grading/child.h"

#include <unistd.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <random>
#include <set>
#include <sstream>

#include "core/error.h"

namespace headshare::cli {

namespace fs = std::filesystem;

namespace {

// 128 bits that nobody can guess, in hexadecimal digits.
std::string new_secret() {
  std::random_device system;
  std::string secret;
  for (int word = 0; word < 4; ++word)
    for (unsigned bits = system(), digit = 0; digit < 8; ++digit, bits >>= 4) secret += "0123456789abcdef"[bits & 15];
  return secret;
}

std::vector<std::string> split_at_tabs(const std::string& line) {
  std::vector<std::string> fields;
  std::istringstream in(line);
  for (std::string field; std::getline(in, field, '\t');) fields.push_back(field);
  return fields;
}

// Whether the whole word is a number.
template <class Number>
bool read_number(const std::string& word, Number& number) {
  const auto [end, problem] = std::from_chars(word.data(), word.data() + word.size(), number);
  return problem == std::errc() && end == word.data() + word.size();
}

bool read_award(const std::vector<std::string>& fields, AwardVerdict& award) {
  return fields.size() == 5 && read_number(fields[2], award.gain) && read_number(fields[3], award.full_gain) &&
         read_number(fields[4], award.share) && award.share >= 0 && award.share <= 1;
}

// The user nobody cannot look into the folder of the build.
fs::path handed_over(const fs::path& program, const fs::path& folder) {
  const fs::path copy = folder / program.filename();
  fs::copy_file(program, copy);
  fs::permissions(copy, fs::perms(0755));
  if (::chown(folder.c_str(), nobody_user, static_cast<gid_t>(-1)) != 0)
    fail("cannot hand over ", folder.string(), ": ", std::strerror(errno));
  return copy;
}

}  // namespace

std::string read_verdicts(const std::string& report, const std::string& secret, TestRun& run) {
  std::set<std::string> seen;
  std::istringstream in(report);
  bool done = false;
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(secret + '\t')) continue;  // not from our half of the program
    std::vector<std::string> fields = split_at_tabs(line.substr(secret.size() + 1));
    fields.resize(std::max(fields.size(), std::size_t{2}));
    const std::string &kind = fields[0], &name = fields[1];
    if (done) return "reported more after its tests had ended";
    if (kind == "done") {
      std::size_t count = 0;
      if (!read_number(name, count) || count != run.verdicts.size())
        return text("reported ", run.verdicts.size(), " tests and said that they were ", name);
      done = true;
      continue;
    }
    if (!seen.insert(kind == "award" ? "award " + name : "test " + name).second)
      return text("reported \"", name, "\" twice");
    AwardVerdict award{name};
    if (kind == "pass" && fields.size() == 2)
      run.verdicts.push_back({name, true});
    else if (kind == "fail")
      run.verdicts.push_back({name, false, fields.size() > 2 ? fields[2] : ""});
    else if (kind == "award" && read_award(fields, award))
      run.awards.push_back(award);
    else
      return text("reported something unknown: ", kind);
  }
  return done ? "" : "ended before its tests did";
}

TestRun run_tests(const fs::path& program, const std::vector<std::string>& doctest_options, const Limits& limits,
                  const std::vector<std::string>& environment) {
  const ScratchFolder folder;
  const std::string secret = new_secret();
  const fs::path ours = fs::absolute(program);
  if (!fs::is_regular_file(ours)) fail("cannot start ", ours.string(), ": there is no such program");
  const fs::path started = ::geteuid() == 0 ? handed_over(ours, folder.path()) : ours;

  ChildProgram child{{started.string(), "--verdicts", text(report_descriptor)}, folder.path(), User::nobody};
  child.words.insert(child.words.end(), doctest_options.begin(), doctest_options.end());
  child.input = secret + '\n';
  child.environment = environment;
  const ChildRun ended = run_child(child, limits);

  TestRun run;
  run.ending = ended.ending;
  run.output = ended.output;
  run.seconds = ended.seconds;
  const std::string problem = read_verdicts(ended.report, secret, run);
  if (!ended.exit_code) return run;  // crashed or stopped, and the ending says so
  if (!problem.empty()) {
    run.ending = text(problem, " (exit code ", *ended.exit_code, ')');
    return run;
  }
  // Doctest ends with 1 where a test failed. Anything else is not its doing.
  bool all_passed = true;
  for (const Verdict& verdict : run.verdicts) all_passed = all_passed && verdict.passed;
  run.complete = *ended.exit_code == (all_passed ? 0 : 1);
  if (!run.complete) run.ending = text("ended in an unusual way after its tests (exit code ", *ended.exit_code, ')');
  return run;
}

}  // namespace headshare::cli
