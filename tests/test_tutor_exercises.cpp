#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "cli/tutor/course.h"
#include "core/file.h"
#include "tests/command_helpers.h"
#include "tests/test_tools.h"

// A student's way through the course, with the command as it is typed.

using namespace headshare;
using namespace headshare::cli;
using namespace headshare::test;

namespace fs = std::filesystem;

namespace {

// `whole` with `part`, which must be there, replaced.
std::string with(std::string whole, const std::string& part, const std::string& other) {
  REQUIRE(contains(whole, part));
  return whole.replace(whole.find(part), part.size(), other);
}

Size count(const std::string& whole, const std::string& part) {
  Size found = 0;
  for (std::size_t at = whole.find(part); at != std::string::npos; at = whole.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("from an empty folder to a finished lesson") {
  const TemporaryFolder folder;
  const auto tutor = [&](const std::string& words) { return headshare_command(folder, "tutor " + words); };
  const auto inside = [&](const std::string& words) {
    const std::string line = text("cd '", (folder / "mine").string(), "' && '", HEADSHARE_COMMAND, "' tutor ", words,
                                  " > ../out.txt 2> ../error.txt");
    const int status = std::system(line.c_str());
    return Outcome{WEXITSTATUS(status), read_file(folder / "out.txt"), read_file(folder / "error.txt")};
  };
  REQUIRE(tutor("start mine --lessons 1").code == 0);
  const fs::path lesson = folder.path / "mine" / "01_tensors";
  for (const char* name : {"README.md", "lesson.h", "lesson.cpp", "main.cpp", "test.cpp"})
    CHECK(fs::exists(lesson / name));
  CHECK(!fs::exists(lesson / "hidden.cpp"));
  CHECK(!contains(read_file(lesson / "README.md"), "<details>"));
  CHECK(!contains(read_file(lesson / "lesson.cpp"), "[hint]"));
  check_refused(tutor("start mine --lessons 1"), 1, "exists and is not empty");

  // Nothing done: the first step says so, and how to go on.
  Outcome outcome = inside("check");
  check_refused(outcome, 1, "step 1.1 is not done yet");
  CHECK(contains(outcome.out, "0 of "));
  CHECK(contains(outcome.out, "not implemented: lesson 1, step 1: "));
  CHECK(contains(outcome.out, "headshare tutor hint 1.1"));
  CHECK(!contains(outcome.out, "1.2 "));  // stops at the first
  outcome = inside("run 1.1");
  CHECK(outcome.code == 1);
  CHECK(contains(outcome.error, "not implemented: lesson 1, step 1: "));

  // A hint, then another; the first stays.
  const std::string first = inside("hint 1.1").out, second = inside("hint 1.1").out;
  CHECK(contains(first, "1. "));
  CHECK(!contains(first, "2. "));
  CHECK(contains(second, "2. "));
  CHECK(contains(inside("list").out, "2 hints"));

  // Step 2 is solved before step 1: the message leads to what is missing.
  CHECK(inside("reveal 1.2").code == 0);
  outcome = inside("check 1.2");
  check_refused(outcome, 1, "step 1.2 is not done yet");
  CHECK(contains(outcome.out, "headshare tutor hint 1.1"));

  // The solution instead; what was there is kept.
  const std::string before = read_file(lesson / "lesson.cpp");
  CHECK(inside("reveal 1.1").code == 0);
  CHECK(read_file(lesson / "lesson.cpp.before_1.1_1") == before);
  CHECK(count(read_file(lesson / "lesson.cpp"), "not_implemented(1, 1") == 0);
  CHECK(inside("check 1.1").code == 0);
  CHECK(contains(inside("list").out, "done, revealed"));
  CHECK(inside("run 1.1").out == tutor("run 1.1").out);  // the student's program, and this checkout's
  check_refused(inside("check"), 1, "step 1.3 is not done yet");

  // A mistake in it: what was expected and what came. A word that is no C++: the compiler's complaint.
  const std::string solved = read_file(lesson / "lesson.cpp");
  write_file(lesson / "lesson.cpp", with(solved, "Size stride = 1;", "Size stride = 2;"));
  outcome = inside("check 1.1");
  check_refused(outcome, 1, "step 1.1 is not done yet");
  CHECK(contains(outcome.out, "expected"));
  CHECK(contains(outcome.out, "got"));
  write_file(lesson / "lesson.cpp", with(solved, "Size stride = 1;", "Size stride = one;"));
  outcome = inside("check 1.1");
  check_refused(outcome, 1, "lesson 1 does not compile");
  CHECK(contains(outcome.out, "lesson.cpp"));
  CHECK(contains(outcome.out, "one"));
  // Right, but with something that the grader does not take.
  write_file(lesson / "lesson.cpp", solved + "#define TRICK\n");
  outcome = inside("check 1.1");
  CHECK(outcome.code == 0);
  CHECK(contains(outcome.out, "The grader would refuse lesson.cpp, line "));
  write_file(lesson / "lesson.cpp", solved);

  for (const char* step : {"1.3", "1.4", "1.5"}) CHECK(inside(text("reveal ", step)).code == 0);
  outcome = inside("check");
  CHECK(outcome.code == 0);
  CHECK(contains(outcome.out, "All steps are done."));
  CHECK(contains(inside("list").out, "5 of 5 steps done"));

  // Pictures that a step draws lie beside the lessons and are not taken for one.
  CHECK(inside("run 1.2").code == 0);
  CHECK(fs::exists(folder / "mine/01_views.png"));
  CHECK(inside("check 1.1").code == 0);

  // Watching: one check at once, and another after a change.
  const std::string watch =
      text("cd '", (folder / "mine").string(), "' && (sleep 4; touch 01_tensors/lesson.cpp) & cd '",
           (folder / "mine").string(), "' && timeout 100 '", HEADSHARE_COMMAND,
           "' tutor watch 1.1 --changes 1 > ../out.txt; wait");
  CHECK(std::system(watch.c_str()) == 0);
  CHECK(count(read_file(folder / "out.txt"), "1.1 Where does element (i, j) live?") == 2);
}

TEST_CASE("the two folders of a teacher") {
  const TemporaryFolder folder;
  REQUIRE(headshare_command(folder, "tutor export --student out --instructor solutions --lessons 1,10").code == 0);
  CHECK(contains(read_file(folder / "out/01_tensors/lesson.cpp"), "not_implemented(1, 1"));
  CHECK(fs::exists(folder / "out/10_first_kernels/lesson.cu"));
  CHECK(!fs::exists(folder / "out/02_gradients"));
  for (const auto& entry : fs::recursive_directory_iterator(folder / "out"))
    CHECK_MESSAGE(entry.path().filename() != "hidden.cpp", entry.path().string());
  CHECK(read_file(folder / "solutions/01_tensors/lesson.cpp") == read_file(course_source() / "01_tensors/lesson.cpp"));
  CHECK(fs::exists(folder / "solutions/10_first_kernels/hidden.cpp"));
}

TEST_CASE("what the tutor refuses") {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& words, int code, const std::string& part) {
    INFO(words);
    check_refused(headshare_command(folder, "tutor " + words), code, part);
  };
  refused("nonsense", 2, "there is no tutor 'nonsense'");
  refused("check 99", 1, "there is no lesson 99");
  refused("check 1.9", 1, "lesson 1 has steps 1 to 5");
  refused("check one", 2, "is not a lesson or a step");
  refused("check 1 2", 2, "one lesson or step at a time");
  refused("hint 1.1", 1, "needs your course folder");
  refused("reveal 1.1", 1, "needs your course folder");
  refused("watch", 1, "needs your course folder");
  refused("export", 2, "needs --student DIR or --instructor DIR");
  refused("start mine --lessons 1.2", 2, "whole lessons");
  refused("form other a b", 2, "choose reference, student or switchable");
  write_file(folder / "course.json", "{}");
  refused("list", 1, "not the score of a course");
}
