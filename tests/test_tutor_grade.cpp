#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/tutor/grading/grade.h"
#include "cli/tutor/grading/submission.h"
#include "core/file.h"
#include "tests/test_tools.h"

// A small course of its own, and what students hand in.

using namespace headshare;
using namespace headshare::cli;
using namespace headshare::test;
namespace fs = std::filesystem;

namespace {

// ---- The course: two lessons, compiled as the real ones are
// -----------------------------------------------------------

const Lesson doubling{4, "04_doubling", "Doubling", {{4, 1, "Twice?", 20}, {4, 2, "How many products?", 20}}};
const Lesson halving{5, "05_halving", "Halving", {{5, 1, "Half?", 20}}};

const std::string doubling_header = R"(#pragma once
#include <vector>
namespace headshare::lesson {
std::vector<int> doubled(const std::vector<int>& numbers);
struct Power {
  long long value;
  int products;  // how many were needed
};
Power power(long long base, int exponent);
}  // namespace headshare::lesson
)";

const std::string doubling_solution = R"(#include "lesson.h"
#include "tutorials/support/step.h"
#include <unistd.h>
namespace headshare::lesson {
std::vector<int> doubled(const std::vector<int>& numbers) {
  // [step 1] Twice each number.
  std::vector<int> result;
  for (const int number : numbers) result.push_back(2 * number);
  return result;
  // [end]
}
Power power(long long base, int exponent) {
  // [step 2] Few products.
  if (exponent == 1) return {base, 0};
  Power half = power(base, exponent / 2);
  return exponent % 2 == 0 ? Power{half.value * half.value, half.products + 1}
                           : Power{half.value * half.value * base, half.products + 2};
  // [end]
}
}  // namespace headshare::lesson
)";

const std::string doubling_tests = R"(#include "lesson.h"
#include "tutorials/support/check.h"
using namespace headshare::lesson;
TEST_CASE("4.1 each number is doubled") { check_equal(doubled({1, 7}), std::vector<int>{2, 14}, "of 1 and 7"); }
TEST_CASE("4.1 nothing stays nothing") { CHECK(doubled({}).empty()); }
TEST_CASE("4.2 a power is a product") {
  check_equal(power(3, 4).value, 81, "3 to the 4");
  award("products", 31.0 / power(1, 32).products, 6);
}
)";

const std::string doubling_hidden = R"(#include "lesson.h"
#include "tutorials/support/check.h"
using namespace headshare::lesson;
TEST_CASE("4.1 any number") {
  const int number = static_cast<int>(grading_seed() % 1000) + 8;
  check_equal(doubled({number})[0], 2 * number, "a number");
}
TEST_CASE("4.2 an odd exponent") { check_equal(power(2, 7).value, 128, "2 to the 7"); }
)";

const std::string halving_solution =
    "#include \"lesson.h\"\nnamespace headshare::lesson {\nint half(int x) { return x / 2; }\n}\n";

void write_course(const fs::path& tree) {
  write_file(tree / "CMakeLists.txt", read_file(course_source() / "support" / "student.cmake"));
  write_file(tree / "04_doubling" / "lesson.h", doubling_header);
  write_file(tree / "04_doubling" / "lesson.cpp", doubling_solution);
  write_file(tree / "04_doubling" / "test.cpp", doubling_tests);
  write_file(tree / "04_doubling" / "hidden.cpp", doubling_hidden);
  write_file(tree / "05_halving" / "lesson.h", "#pragma once\nnamespace headshare::lesson {\nint half(int x);\n}\n");
  write_file(tree / "05_halving" / "lesson.cpp", halving_solution);
  write_file(tree / "05_halving" / "test.cpp",
             "#include <doctest/doctest.h>\n#include \"lesson.h\"\n"
             "TEST_CASE(\"5.1 half of 8\") { CHECK(headshare::lesson::half(8) == 4); }\n");
  write_file(tree / "05_halving" / "hidden.cpp",
             "#include <doctest/doctest.h>\n#include \"lesson.h\"\n"
             "TEST_CASE(\"5.1 half of 9\") { CHECK(headshare::lesson::half(9) == 4); }\n");
  for (const char* folder : {"04_doubling", "05_halving"}) write_file(tree / folder / "main.cpp", "int main() {}\n");
}

// ---- Grading
// ----------------------------------------------------------------------------------------------------------

// The course is compiled once; what differs between submissions, again for each.
struct Class {
  TemporaryFolder folder;
  Workshop workshop{folder / "tree", [this](const Lesson& lesson) {
                      return build_lesson(folder / "tree", lesson, LessonProgram::tests, {.seconds = 100});
                    }};
  Class() { write_course(workshop.tree); }

  Grade grade(const fs::path& submission, std::vector<Lesson> lessons = {doubling}, Limits limits = {}) {
    for (const Lesson& lesson : lessons)
      write_file(workshop.tree / lesson.folder / "lesson.cpp",
                 lesson.number == 4 ? doubling_solution : halving_solution);
    return grade_submission({.submission = submission, .lessons = lessons, .seed = 42, .limits = limits}, workshop,
                            [this](const Grade& known) { progress.push_back(known); });
  }
  // Of lesson 4's file alone, as Gradescope hands it over.
  Grade grade_source(const std::string& source, Limits limits = {}) {
    fs::remove_all(folder / "submission");
    write_file(folder / "submission" / "lesson.cpp", source);
    return grade(folder / "submission", {doubling}, limits);
  }

  std::vector<Grade> progress;
};

Class& course() {
  static Class shared;
  return shared;
}

// The solution with some words replaced.
std::string with(const std::string& words, const std::string& other, std::string source = doubling_solution) {
  const std::size_t at = source.find(words);
  REQUIRE(at != std::string::npos);
  return source.replace(at, words.size(), other);
}

// A solution that is wrong in both steps.
std::string wrong() { return with("exponent == 1", "exponent < 99", with("2 * number", "3 * number")); }

std::vector<double> scores(const Grade& grade) {
  std::vector<double> result;
  for (const GradedPart& part : grade.parts) result.push_back(part.score);
  return result;
}

using Scores = std::vector<double>;  // 4.1 visible, 4.1 hidden, 4.2 visible, its award, 4.2 hidden

}  // namespace

TEST_CASE("a perfect submission has all points, and results.json is as Gradescope wants it") {
  const Grade grade = course().grade_source(doubling_solution);
  CHECK(scores(grade) == Scores{6, 4, 6, 5, 4});
  CHECK(grade.score() == 25);
  CHECK(grade.max_score() == 25);
  const nlohmann::json results = nlohmann::json::parse(results_json(grade));
  CHECK(results["score"] == 25);
  CHECK(results["execution_time"] > 0);
  CHECK(results["visibility"] == "visible");
  CHECK(results["stdout_visibility"] == "hidden");
  CHECK(contains(results["output"], "seed 42"));
  REQUIRE(results["tests"].size() == 5);
  const nlohmann::json first = results["tests"][0], hidden = results["tests"][1], award = results["tests"][3];
  CHECK(first["name"] == "Twice? (tests)");
  CHECK(first["number"] == "4.1");
  CHECK(first["score"] == 6);
  CHECK(first["max_score"] == 6);
  CHECK(first["status"] == "passed");
  CHECK(first["visibility"] == "visible");
  CHECK(first["tags"] == nlohmann::json::array({"lesson 4"}));
  CHECK(contains(first["output"], "2 of 2 tests pass."));
  CHECK(hidden["name"] == "Twice? (hidden tests)");
  CHECK(hidden["visibility"] == "after_published");
  CHECK(award["name"] == "products (award)");
  CHECK(contains(award["output"], "~6.2 times better than the naive version; all points at 6."));
  REQUIRE(results["leaderboard"].size() == 1);
  CHECK(results["leaderboard"][0] == nlohmann::json{{"name", "4.2 products"}, {"value", 6.2}, {"order", "desc"}});
  CHECK(contains(grade_table(grade), "25 of 25"));
}

TEST_CASE("stubs have no points, and say what is missing") {
  std::string stubs = doubling_header;
  stubs = with("std::vector<int> doubled(const std::vector<int>& numbers);",
               "std::vector<int> doubled(const std::vector<int>&) { not_implemented(4, 1, \"Twice each number.\"); }",
               stubs);
  stubs = with("Power power(long long base, int exponent);",
               "Power power(long long, int) { not_implemented(4, 2, \"Few products.\"); }", stubs);
  stubs = with("#pragma once", "#include \"tutorials/support/step.h\"", stubs);
  const Grade grade =
      course().grade_source(with("struct Power {\n  long long value;\n  int products;  // how many were needed\n};\n",
                                 "", with("#include <vector>", "#include \"lesson.h\"", stubs)));
  CHECK(scores(grade) == Scores{0, 0, 0, 0, 0});
  CHECK(grade.max_score() == 25);
  CHECK(contains(grade.parts[0].output, "not implemented: lesson 4, step 1: Twice each number."));
  CHECK(contains(results_json(grade), "\"status\": \"failed\""));
}

TEST_CASE("each part of each step counts by itself") {
  // Answers of the visible tests alone; many products.
  const Grade grade =
      course().grade_source(with("for (const int number : numbers) result.push_back(2 * number);",
                                 "for (const int number : numbers) result.push_back(number == 1 ? 2 : 14);",
                                 with("Power half = power(base, exponent / 2);\n",
                                      "Power rest = power(base, exponent - 1);\n  return {rest.value * base, "
                                      "rest.products + 1};\n  Power half{};\n")));
  CHECK(scores(grade) == Scores{6, 0, 6, 0, 4});
  CHECK(contains(grade.parts[1].output, "a number: expected 100, got 14"));  // 42 + 8, doubled
  CHECK(contains(grade.parts[3].output, "~1 times better"));
  // Half as good as for all points; and one case of a part that fails costs the part, and the award beside it.
  CHECK(scores(course().grade_source(with("half.products + 1}", "half.products + 2}")))[3] == doctest::Approx(2.1));
  CHECK(scores(course().grade_source(with("result.push_back", "if (number != 7) result.push_back"))) ==
        Scores{0, 4, 6, 5, 4});
  CHECK(scores(course().grade_source(
            with("if (exponent == 1)", "if (exponent == 4) return {80, 1};\n  if (exponent == 1)"))) ==
        Scores{6, 4, 0, 0, 4});
}

TEST_CASE("a crash and a loop cost their own step") {
  const Grade crash = course().grade_source(
      with("std::vector<int> result;", "std::vector<int> result; volatile int* volatile none = nullptr; *none = 1;"));
  CHECK(scores(crash) == Scores{0, 0, 6, 5, 4});
  CHECK(contains(crash.parts[0].output, "The program crashed: segmentation fault, so none of these tests counts."));
  const Grade loop = course().grade_source(
      with("if (exponent == 1)", "for (volatile int i = 0; i < 1;) { }\n  if (exponent == 1)"), {.seconds = 1});
  CHECK(scores(loop) == Scores{6, 4, 0, 0, 0});
  CHECK(contains(loop.parts[2].output, "not run  4.2 a power is a product"));
  CHECK(contains(loop.parts[2].output, "The program took longer than 1 s"));
}

TEST_CASE("who cheats has what the code is worth") {
  const auto before_main = [](const std::string& body, const std::string& source) {
    return with("namespace headshare::lesson {",
                "namespace headshare::lesson {\nstruct Early { Early() { " + body + " } } early;", source);
  };
  SUBCASE("leaving with success, before the tests and during them") {
    const Grade early = course().grade_source(before_main("std::exit(0);", "#include <cstdlib>\n" + wrong()));
    CHECK(early.score() == 0);
    CHECK(contains(early.parts[0].output, "The program ended before its tests did (exit code 0)"));
    const Grade during = course().grade_source(
        "#include <cstdlib>\n" + with("std::vector<int> result;", "std::exit(0); std::vector<int> result;"));
    CHECK(scores(during) == Scores{0, 0, 6, 5, 4});
  }
  SUBCASE("results of one's own, on every stream and into files") {
    const std::string lines =
        "\"\\tpass\\t4.1 each number is doubled\\n\\tpass\\t4.1 nothing stays nothing\\n\\tdone\\t2\\n"
        "0 of 0 tests pass, score 25 of 25\\n{\\\"score\\\": 25}\\n\"";
    const Grade grade = course().grade_source(
        before_main("const char* words = " + lines +
                        "; for (int n = 0; n < 64; ++n) (void)(::write)(n, words, __builtin_strlen(words)); "
                        "(void)!::link(\"/bin/true\", \"results\" \".json\");",
                    wrong()));
    CHECK(grade.score() == 0);
    CHECK(!contains(results_json(grade), "\"score\": 25"));
  }
  SUBCASE("another exit code at the very end") {
    const std::string late = "#include <cstdlib>\nstruct Last { ~Last() { std::_Exit(0); } } last;\n";
    CHECK(course().grade_source(late + wrong()).score() == 0);
  }
  SUBCASE("taking the secret from standard input, before main() does") {
    const std::string body = R"(
      char secret[64] = {};
      const long size = (::read)(0, secret, sizeof secret);
      for (const char* line :
           {"\tpass\t4.1 each number is doubled\n", "\tpass\t4.1 nothing stays nothing\n", "\tdone\t2\n"}) {
        (void)!(::write)(3, secret, size > 0 ? size - 1 : 0);
        (void)!(::write)(3, line, __builtin_strlen(line));
      }
      ::_Exit(0);)";
    CHECK(course().grade_source("#include <cstdlib>\n" + before_main(body, wrong())).score() == 0);
  }
  SUBCASE("what the fence stops") {
    const Grade grade = course().grade_source(
        "#include <fstream>\n__attribute__((constructor)) void f() { fork(); }\n" + doubling_solution);
    CHECK(scores(grade) == Scores{0, 0, 0, 0, 0});
    CHECK(contains(grade.parts[0].output,
                   "lesson.cpp has what no solution needs, so it was not compiled:\n  line 1: #include <fstream>"));
    CHECK(contains(grade.parts[4].output, "line 2: fork: "));
  }
}

TEST_CASE("one lesson's trouble is not another's, and the grade is known at every moment") {
  Class& all = course();
  const TemporaryFolder submission;
  write_file(submission / "04_doubling" / "lesson.cpp", with("return result;", "return resalt;"));
  write_file(submission / "05_halving" / "lesson.cpp", halving_solution);
  write_file(submission / "05_halving" / "test.cpp", "#error only lesson.cpp is taken\n");
  all.progress.clear();
  const Grade grade = all.grade(submission.path, {doubling, halving});
  CHECK(scores(grade) == Scores{0, 0, 0, 0, 0, 6, 4});
  for (int part = 0; part < 5; ++part) {
    CHECK(contains(grade.parts[part].output, "It does not compile:\n04_doubling/lesson.cpp:"));
    CHECK(contains(grade.parts[part].output, "was not declared"));
  }
  // At the terminal, the reason once.
  const std::string table = grade_table(grade);
  const std::size_t reason = table.find("It does not compile:\n04_doubling/lesson.cpp:");
  REQUIRE(reason != std::string::npos);
  CHECK(table.find("It does not compile", reason + 1) == std::string::npos);
  CHECK(!contains(table.substr(reason), "5.1"));
  REQUIRE(all.progress.size() == 3);
  CHECK(all.progress[0].score() == 0);
  CHECK(all.progress[0].max_score() == 35);
  CHECK(all.progress[0].parts.size() == 7);
  CHECK(contains(all.progress[1].output, "has not come to its end"));
  CHECK(all.progress[2].score() == 10);
}

TEST_CASE("files that are not what they should be are refused with a reason") {
  Class& all = course();
  const TemporaryFolder submission;
  const auto output = [&](std::vector<Lesson> lessons = {doubling}) {
    const Grade grade = all.grade(submission.path, lessons);
    CHECK(grade.score() == 0);
    CHECK(grade.max_score() > 0);
    return grade.parts[0].output;
  };
  CHECK(output() == "04_doubling/lesson.cpp is missing from the submission, and so is lesson.cpp");
  write_file(submission / "lesson.cpp", doubling_solution);
  CHECK(contains(output({doubling, halving}), "04_doubling/lesson.cpp is missing from the submission"));
  write_file(submission / "lesson.cpp", std::string(longest_submission + 1, ' '));
  CHECK(contains(output(), "more than 262144 are not taken"));
  write_file(submission / "lesson.cpp", std::string("int a;\0", 7));
  CHECK(output() == "lesson.cpp is not plain text (save it as UTF-8)");
  // Links lead to other people's files, such as the solution.
  write_file(submission / "elsewhere" / "lesson.cpp", doubling_solution);
  fs::remove(submission / "lesson.cpp");
  fs::create_symlink(submission / "elsewhere" / "lesson.cpp", submission / "lesson.cpp");
  CHECK(contains(output(), "lesson.cpp is a symbolic link"));
  fs::remove(submission / "lesson.cpp");
  fs::create_symlink(submission / "elsewhere", submission / "04_doubling");
  CHECK(contains(output(), "04_doubling/lesson.cpp is a symbolic link, or is reached by one"));
  fs::remove(submission / "04_doubling");
  fs::remove_all(submission / "elsewhere");
  REQUIRE(::mkfifo((submission / "lesson.cpp").c_str(), 0600) == 0);
  CHECK(output() == "lesson.cpp is not a plain file");
  fs::remove(submission / "lesson.cpp");
  fs::create_directory(submission / "lesson.cpp");
  CHECK(output() == "lesson.cpp is not a plain file");
}

TEST_CASE("the lesson's folder may lie in another one, as in a zip of a whole course") {
  const TemporaryFolder submission;
  write_file(submission / "my_course" / "05_halving" / "lesson.cpp", halving_solution);
  CHECK(course().grade(submission.path, {halving}).score() == 10);
}

TEST_CASE("results are valid whatever is in them") {
  Grade grade;
  grade.output = "\x1b[31mred\xff\xc3 \xe2\x82";
  grade.parts.push_back({"4.1", "name\n", 1.0 / 3, std::nan(""), std::string(100000, '\xc3') + "the end", "visible"});
  grade.leaderboard.push_back({"speed", HUGE_VAL});
  const nlohmann::json results = nlohmann::json::parse(results_json(grade));
  CHECK(results["tests"][0]["score"] == 0.33);
  CHECK(results["tests"][0]["max_score"] == 0);
  CHECK(results["leaderboard"][0]["value"] == 0);
  CHECK(results["output"].get<std::string>().starts_with("[31mred\xef\xbf\xbd"));
  const std::string output = results["tests"][0]["output"];
  CHECK(output.size() < 40000);  // each broken byte has become three
  CHECK(output.ends_with("the end"));
  CHECK(contains(output, "(... left out ...)"));
}

TEST_CASE("of a compiler's output the first error is shown") {
  CHECK(first_error("[ 50%] Building\na.cpp:1:2: warning: w\n  1 | code\na.cpp:3:4: error: e1\n  3 | code\n    | ^\n"
                    "a.cpp:9:9: error: e2\nmake: *** error\n") == "a.cpp:3:4: error: e1\n  3 | code\n    | ^\n");
  CHECK(contains(first_error("Building\nkilled\n"), "the compiler gave no reason"));
  CHECK(contains(first_error("ld: a.o: undefined reference to `f()'\n"), "undefined reference"));
}
