#include <doctest/doctest.h>

#include "cli/tutor/gaps.h"
#include "core/error.h"
#include "tests/test_tools.h"

// The forms of a lesson's source: what a student gets, what the course's own tests compile, what texts quote.

using namespace headshare;
using namespace headshare::cli;
using namespace headshare::test;

namespace {

const std::string source = R"(#include "lesson.h"

// [show double]
int twice(int x) {
  // [step 1] Return twice "x".
  // It may be negative.
  // [hint] What is x plus x?
  // [hint] There is an operator
  // for it.
  const int y = x + x;

  return y;
  // [end]
}
// [end show]

void both(int* x) {
  // [step 2] Wait for the others.
  // [solution]
  // They may still be reading.
  wait();
  // [stub]
  // // wait?
  //
  //   if (x) return;
  // [end]
  // [step 1] Write.
  *x = 1;
  // [end]
}
)";

// `whole` with `part`, which must be there, replaced.
std::string with(std::string whole, const std::string& part, const std::string& other) {
  REQUIRE(contains(whole, part));
  return whole.replace(whole.find(part), part.size(), other);
}

std::string problem_of(const std::string& wrong) {
  return error_of([&] { find_gaps(wrong, "lesson.cpp"); });
}

}  // namespace

TEST_CASE("gaps are found in order, with their tasks and hints") {
  const std::vector<Gap> gaps = find_gaps(source, "lesson.cpp");
  REQUIRE(gaps.size() == 3);
  CHECK(gaps[0].step == 1);
  CHECK(gaps[0].task == "Return twice \"x\".");
  CHECK(gaps[0].hints == std::vector<std::string>{"What is x plus x?", "There is an operator for it."});
  CHECK(gaps[1].step == 2);
  CHECK(gaps[1].hints.empty());
  CHECK(gaps[2].task == "Write.");
}

TEST_CASE("a student's source has tasks and stubs, and neither hints nor solutions") {
  CHECK(in_form(source, 7, Form::student, "lesson.cpp") == R"(#include "lesson.h"

int twice(int x) {
  // [step 1] Return twice "x".
  // It may be negative.
  not_implemented(7, 1, "Return twice \"x\".");
  // [end]
}

void both(int* x) {
  // [step 2] Wait for the others.
  // wait?

    if (x) return;
  // [end]
  // [step 1] Write.
  not_implemented(7, 1, "Write.");
  // [end]
}
)");
}

TEST_CASE("the switchable form holds solutions and stubs, chosen when it runs, line by line") {
  CHECK(in_form(source, 7, Form::switchable, "lesson.cpp") == R"(#include "lesson.h"


int twice(int x) {
  if (!solved(7, 1)) not_implemented(7, 1, "Return twice \"x\".");




  const int y = x + x;

  return y;

}


void both(int* x) {
  if (solved(7, 2)) {

  // They may still be reading.
  wait();
  } else {
  // wait?

    if (x) return;
  }
  if (!solved(7, 1)) not_implemented(7, 1, "Write.");
  *x = 1;

}
)");
  CHECK(in_form(source, 7, Form::reference, "lesson.cpp") == source);
}

TEST_CASE("a solution is put into the student's gaps, and nothing else changes") {
  std::string student = in_form(source, 7, Form::student, "lesson.cpp");
  student = with(student, "#include \"lesson.h\"", "#include \"lesson.h\"\n// [my own remark]");
  student = with(student, "not_implemented(7, 1, \"Write.\");", "*x = 3;  // a try");
  const std::string one = revealed(student, source, 1, "lesson.cpp");
  CHECK(contains(one, "// [my own remark]"));
  CHECK(contains(one,
                 "  // [step 1] Return twice \"x\".\n  // It may be negative.\n  const int y = x + x;\n\n  return y;\n "
                 " // [end]\n"));
  CHECK(contains(one, "  *x = 1;\n"));
  CHECK(!contains(one, "a try"));
  CHECK(contains(one, "    if (x) return;\n"));  // step 2 as it was
  CHECK(revealed(one, source, 1, "lesson.cpp") == one);
  // All solved and the markers kept: the same gaps as before.
  CHECK(find_gaps(revealed(one, source, 2, "lesson.cpp"), "lesson.cpp").size() == 3);
}

TEST_CASE("a student's file without its markers is refused, not guessed at") {
  const std::string student = with(in_form(source, 7, Form::student, "lesson.cpp"), "  // [step 1] Write.\n", "");
  CHECK_THROWS_WITH_AS(revealed(student, source, 1, "a/lesson.cpp"),
                       "tutor: a marker \"// [step 1]\" or its \"// [end]\" is missing in a/lesson.cpp; put it back",
                       Error);
}

TEST_CASE("regions are quoted without markers and hints, as far left as they can stand") {
  CHECK(in_form(shown_region(source, "double", "lesson.cpp"), 7, Form::quoted, "lesson.cpp") ==
        "int twice(int x) {\n  const int y = x + x;\n\n  return y;\n}\n");
  CHECK(shown_region("  // [show a]\n    x;\n\n      y;\n  // [end show]\n", "a", "f") == "x;\n\n  y;\n");
  CHECK_THROWS_WITH_AS(shown_region(source, "other", "f.cpp"), "f.cpp: no region // [show other]", Error);
  CHECK_THROWS_AS(shown_region(source + source, "double", "f.cpp"), Error);  // twice
}

TEST_CASE("markers that do not fit together are refused with their line") {
  const std::string begin = "// [step 1] Do.\n", body = "x;\n", end = "// [end]\n";
  CHECK(problem_of(begin + body + end) == "no error");
  CHECK(contains(problem_of(begin + body), "no // [end]"));
  CHECK(contains(problem_of(begin + begin + body + end), "lesson.cpp:2: a gap begins inside another"));
  CHECK(contains(problem_of(body + end), "lesson.cpp:2: an [end] without"));
  CHECK(contains(problem_of(begin + end), "lesson.cpp:2: an [end] without a solution"));
  CHECK(contains(problem_of(begin + body + "// [hint] Late.\n" + end), "lesson.cpp:3: a [hint] stands directly below"));
  CHECK(contains(problem_of(begin + body + "// [stub]\ncode;\n" + end),
                 "lesson.cpp:4: a line of a [stub] begins with //"));
  CHECK(contains(problem_of(begin + body + "// [end show]\n" + end),
                 "lesson.cpp:3: a region begins or ends inside a gap"));
  CHECK(contains(problem_of("// [step one] Do.\n"), "lesson.cpp:1: "));
}
