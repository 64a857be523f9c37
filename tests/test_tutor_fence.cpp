#include <doctest/doctest.h>

#include "cli/tutor/grading/fence.h"
#include "cli/tutor/grading/source_tokens.h"
#include "cli/tutor/grading/test_list.h"
#include "tests/test_tools.h"

// What the grader refuses before it compiles anything, and what it must not.

using namespace headshare;
using namespace headshare::cli;
using namespace headshare::test;

namespace {

const std::string given = "#include \"lesson.h\"\n#include \"tutorials/support/step.h\"\nint f() { return 1; }\n";

// The first complaint about a source, "" for none.
std::string complaint(const std::string& source) {
  const std::vector<std::string> all = beyond_the_fence(source, given);
  return all.empty() ? "" : all[0];
}

}  // namespace

TEST_CASE("a solution is within the fence, whatever its comments and texts say") {
  const std::string source = R"source(#include "lesson.h"

  #  include   <vector>   // any of the usual headers
#include <cmath>
#include "tutorials/support/step.h"

namespace headshare::lesson {
// fork() and asm, /proc and #define in a comment; don't worry
/* system("rm"); */
float read_mean(const std::vector<float>& values) {
  const char* words = "fork, asm and \" __attribute__";
  const char quote = '"', other = '\'';
  const int million = 1'000'000;
  std::vector<float> system_of_values, forks;
  file.open(words), stream->write(words, million), reader.read(x);
#pragma omp parallel for
  for (int i = 0; i < 10; ++i) values.close();
#pragma unroll 4
  std::exit(1);
  Transformer copy = clone(model);
  for (const int value : open(3)) return open(value);
  return std::abs(1.f) + quote + other;
}
[[nodiscard]] int write = 3;
__device__ float open(int value);
}  // namespace headshare::lesson
)source";
  CHECK(complaint(source) == "");
  CHECK(complaint("") == "");
  CHECK(complaint(given) == "");
}

TEST_CASE("the fence names the line and the reason") {
  CHECK(complaint("int a;\nint b = fork();\n") ==
        "line 2: fork: a solution has no business with starting or watching processes");
  CHECK(complaint("/* 1\n 2 */ asm(\"nop\");") == "line 2: asm: a solution has no business with inline assembly");
  CHECK(complaint("\n\n#define A 1") == "line 3: #define A 1: a solution needs no preprocessor");
  CHECK(beyond_the_fence("fork(); fork(); vfork();", given).size() == 2);
  CHECK(beyond_the_fence("fork vfork execv execl clone3 ptrace prctl", given).size() == 5);
}

TEST_CASE("what no solution needs is refused") {
  for (const std::string source : {"__attribute__((constructor)) void f() {}",
                                   "[[gnu::constructor]] void f() {}",
                                   "[[using gnu: constructor]] void f() {}",
                                   "[[ __gnu__ :: __constructor__ ]] void f() {}",
                                   "__asm__ volatile(\"\");",
                                   "::execve(a, b, c);",
                                   "std::system(\"ls\");",
                                   "dlsym(0, \"f\");",
                                   "ptrace(0);",
                                   "std::atexit(f);",
                                   "std::ifstream f(x);",
                                   "fopen(x, y);",
                                   "std::cin >> x;",
                                   "std::getenv(\"A\");",
                                   "lesson::awards().clear();",
                                   "void check_close(double, double) {}",
                                   "read(0, a, 9);",
                                   "::write(3, a, 9);",
                                   "const char* p = \"/proc/self/mem\";",
                                   "p = R\"(/proc/self/fd)\";",
                                   "p = u8\"/autograder/results\";",
                                   "f(\"results.json\");",
                                   "extern \"C\" int g();",
                                   "namespace std { }",
                                   "namespace doctest { }",
                                   "#include <fstream>",
                                   "#include <unistd.h>",
                                   "#include \"/etc/passwd\"",
                                   "#include \"../04_attention/hidden.cpp\"",
                                   "#include HEADER",
                                   "#if 1",
                                   "#undef assert",
                                   "#pragma GCC optimize(\"O3\")",
                                   "_Pragma(\"once\")",
                                   "#embed \"x\"",
                                   "%:define A fork",
                                   "# /* blank */ define A",
                                   "#def\\\nine A 1",
                                   "fo\\\nrk();",
                                   "/\\\n/ comment\nfork();",
                                   "int a; /* */ /* */ fork();",
                                   "\"text\" fork();",
                                   "'\"' ; fork(); '\"'",
                                   "1'000'000; fork(); 'x';",
                                   "R\"x(text)\" )x\"; fork();",
                                   "int x = 1; // comment\nfork();",
                                   "int \xc3\xa4 = fork();"}) {
    INFO(source);
    CHECK(complaint(source) != "");
  }
}

TEST_CASE("whatever the file came with is allowed") {
  const std::string more =
      given + "#include \"nn/attention.h\"\n#define TILE 16\nasm(\"x\"); const char* p = \"/dev/null\";\n";
  CHECK(
      beyond_the_fence("#include   \"nn/attention.h\"\n#define TILE  16\nasm(\"y\"); f(\"/dev/null\");", more).empty());
  CHECK(beyond_the_fence("#define TILE 32", more).size() == 1);
  CHECK(beyond_the_fence("f(\"/dev/zero\");", more).size() == 1);
}

TEST_CASE("tokens know their lines, and any bytes are accepted") {
  const std::vector<SourceToken> tokens = source_tokens("a // x\n\"b\nc R\"(d\ne)\" f->g\\\n::h\n#i  j /* k\n */ l\nm");
  std::string seen;
  for (const SourceToken& token : tokens) seen += text(token.line, ':', token.text, ' ');
  CHECK(seen == "1:a 2:b 3:c 3:d\ne 4:f 4:-> 4:g 5::: 5:h 6:#i j l 8:m ");
  std::string bytes;
  for (int i = 0; i < 4096; ++i) bytes += static_cast<char>(i * 7919 % 256);
  for (const std::string end : {"\\", "\"", "'", "/*", "R\"", "R\"((", "#", "//", "\\\n", "%:", "\"\\"}) {
    CHECK(source_tokens(bytes + end).size() > 0);
    source_tokens(end);
  }
}

TEST_CASE("the tests of a source are found, with their awards") {
  const std::vector<ListedTest> tests = tests_in(
      "// TEST_CASE(\"4.9 a comment\")\nvoid award_all();\nTEST_CASE(\"4.1 first\") { CHECK(1); }\n"
      "TEST_CASE( \"4.2 it's \\\"so\\\", \" \"isn't it\" ) {\n  award(\"bytes read\", 2.0, 4);\n  "
      "lesson::award(\"time\", 1, 2);\n}\n"
      "TEST_CASE(\"14.2 other\") {}");
  REQUIRE(tests.size() == 3);
  CHECK(tests[0].name == "4.1 first");
  CHECK(tests[0].awards.empty());
  CHECK(tests[1].name == "4.2 it's \"so\", isn't it");
  CHECK(tests[1].awards == std::vector<std::string>{"bytes read", "time"});
  CHECK(tests_of_step(tests, "4.2").size() == 1);
  CHECK(tests_of_step(tests, "4").empty());
}
