#include <doctest/doctest.h>

#include "cli/tutor/console.h"
#include "cli/tutor/course.h"
#include "cli/tutor/lesson_text.h"
#include "core/error.h"
#include "core/file.h"
#include "tests/command_helpers.h"
#include "tests/test_tools.h"

// A text quotes what its sources hold and what its commands print; a change on either side is noticed.

using namespace headshare;
using namespace headshare::cli;
using namespace headshare::test;

namespace fs = std::filesystem;

namespace {

const std::string text_md = R"(# Lesson 7: Doubling
## Step 7.1: How much is twice? (20 minutes)
<!-- gap lesson.cpp twice -->
<!-- run echo twice 1.50 -->
<details><summary>One solution</summary>

<!-- code lesson.cpp twice -->
</details>
![a picture](07_twice.png)
See [the kernel](../../kernels/twice.cu), and [lesson 1](../01_tensors).
<!-- a remark -->
)";

const std::string source =
    "// [show twice]\nint twice(int x) {\n  // [step 1] Double it.\n  return 2 * x;\n  // [end]\n}\n// [end show]\n";

void write_lesson(const fs::path& folder) {
  write_file(folder / "text.md", text_md);
  write_file(folder / "lesson.cpp", source);
  write_file(folder / "expected.txt", "$ echo twice 1.50\ntwice 1.50\n");
}

}  // namespace

TEST_CASE("a text's directives become what they name") {
  const TemporaryFolder folder;
  write_lesson(folder.path);
  CHECK(lesson_text(folder.path, 7, Reader::everybody) ==
        R"(<!-- Written by: headshare tutor text. Change text.md or the sources instead. -->
# Lesson 7: Doubling
## Step 7.1: How much is twice? (20 minutes)
```cpp
int twice(int x) {
  // [step 1] Double it.
  not_implemented(7, 1, "Double it.");
  // [end]
}
```
```console
$ echo twice 1.50
twice 1.50
```
<details><summary>One solution</summary>

```cpp
int twice(int x) {
  return 2 * x;
}
```
</details>
![a picture](07_twice.png)
See [the kernel](../../kernels/twice.cu), and [lesson 1](../01_tensors).
<!-- a remark -->
)");
  CHECK(commands_of(text_md) == std::vector<std::string>{"echo twice 1.50"});
  CHECK(pictures_of(text_md) == std::vector<std::string>{"07_twice.png"});
}

TEST_CASE("a student's text has no solutions") {
  const TemporaryFolder folder;
  write_lesson(folder.path);
  const std::string words = lesson_text(folder.path, 7, Reader::student);
  CHECK(!contains(words, "2 * x"));
  CHECK(!contains(words, "details"));
  CHECK(contains(words, "not_implemented"));
  CHECK(contains(words, "![a picture]"));
  CHECK(contains(words, "See `kernels/twice.cu`, and [lesson 1](../01_tensors).\n"));  // their folder may be anywhere
}

TEST_CASE("a text that asks for what is not there is refused") {
  const TemporaryFolder folder;
  write_lesson(folder.path);
  write_file(folder / "expected.txt", "$ echo thrice\nthrice\n");
  CHECK_THROWS_AS(lesson_text(folder.path, 7, Reader::everybody), Error);
  write_file(folder / "expected.txt", "$ echo twice 1.50\n$ echo more\n");
  CHECK_THROWS_AS(lesson_text(folder.path, 7, Reader::everybody), Error);
  write_lesson(folder.path);
  write_file(folder / "lesson.cpp", "nothing\n");
  CHECK_THROWS_AS(lesson_text(folder.path, 7, Reader::everybody), Error);
}

TEST_CASE("outputs agree when words and whole numbers are equal and other numbers close") {
  const auto agree = [](const std::string& a, const std::string& b) { return !difference(a, b).has_value(); };
  CHECK(agree("loss 0.500 after 12 steps\n", "loss 0.509 after 12 steps\n"));
  CHECK(agree("took ~1.2 ms, ~9 times\n", "took ~312.75 ms, ~1 times\n"));
  CHECK(agree("~ Der Hund schläft.\nend\n", "~ Die Katze.\nend\n"));
  CHECK(!agree("~ Der Hund schläft.\n", "Die Katze.\n"));
  CHECK(agree("a   ~9\n-----\n", "a ~1234\n--------\n"));
  CHECK(agree("a -nan b", "a nan b"));
  CHECK(agree("1e-07", "1e-07"));
  CHECK(agree("0.01", "0.02"));  // one in the last digit
  CHECK(agree("12,345.0", "12,346.9"));

  CHECK(!agree("loss 0.500", "loss 0.511"));
  CHECK(!agree("after 12 steps", "after 13 steps"));
  CHECK(!agree("~1.2 ms", "1.2 ms"));
  CHECK(!agree("~1.2 ms", "~nan ms"));
  CHECK(!agree("0.5", "-0.5"));
  CHECK(!agree("0.5", "nan"));
  CHECK(!agree("0.01", "0.03"));
  CHECK(!agree("a - b", "a -- b"));
  CHECK(!agree("one\ntwo\n", "one\n"));
  CHECK(!agree("one\n", "one\ntwo\n"));
  CHECK(difference("a\nb 2\n", "a\nb 3\n") == "line 2: expected \"b 2\", got \"b 3\"");
}

TEST_CASE("commands run in one shell, in their folder; errors show where a command fails") {
  const TemporaryFolder folder;
  const auto got = run_commands({"mkdir inner && cd inner", "pwd", "echo out; echo err >&2",
                                 "echo out; echo err >&2; false", "headshare tutor --nonsense"},
                                folder.path, HEADSHARE_COMMAND);
  REQUIRE(got.size() == 5);
  CHECK(got[0].output.empty());
  CHECK(got[1].output == fs::canonical(folder.path / "inner").string() + "\n");
  CHECK(got[2].output == "out\n");
  CHECK(got[3].output == "out\nerr\n");
  CHECK(contains(got[4].output, "headshare: "));
  CHECK(parse_exchanges(to_text(got)).size() == 5);
  CHECK(fs::is_empty(folder.path / "inner"));
}

TEST_CASE("headings of lessons and steps are read, and refused when they are wrong") {
  const TemporaryFolder folder;
  write_lesson(folder.path / "07_doubling");
  const std::vector<Lesson> lessons = read_lessons(folder.path);
  REQUIRE(lessons.size() == 1);
  CHECK(lessons[0].title == "Doubling");
  REQUIRE(lessons[0].steps.size() == 1);
  CHECK(lessons[0].steps[0].title == "How much is twice?");
  CHECK(lessons[0].steps[0].minutes == 20);
  CHECK(find_place(lessons, "7.1").step == &lessons[0].steps[0]);
  CHECK(find_place(lessons, "7").step == nullptr);
  for (const std::string wrong : {"8", "7.2", "7.", "seven", "7.1.1", ""})
    CHECK_THROWS_AS(find_place(lessons, wrong), Error);
  for (const std::string wrong : {"# Lesson 7: A\n## Step 7.2: B? (20 minutes)\n", "# Lesson 7: A\n## Step 7.1: B?\n",
                                  "# Lesson 7: A\n", "## Step 7.1: B? (20 minutes)\n"}) {
    write_file(folder / "07_doubling" / "text.md", wrong);
    CHECK_THROWS_AS(read_lessons(folder.path), Error);
  }
}
