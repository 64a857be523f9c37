#include <sys/wait.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tests/test_tools.h"
#include "tests/traced/traced_helpers.h"

// headshare_trace as a user meets it.

using namespace headshare;
using namespace headshare::test;

namespace {

struct Outcome {
  int code;
  std::string out, error;
};

Outcome trace_command(const std::string& words) {
  const TemporaryFolder folder;
  const std::string line = text("'", HEADSHARE_TRACE_COMMAND, "' ", words, " > '", (folder / "out").string(), "' 2> '",
                                (folder / "error").string(), "'");
  const int status = std::system(line.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(folder / "out"), read_file(folder / "error")};
}

}  // namespace

TEST_CASE("without a kernel it lists them all, and --help shows the options") {
  const Outcome list = trace_command("");
  CHECK(list.code == 0);
  for (const std::string name : {"matmul-tiled", "softmax-online", "attention-fused", "decode-per-group", "adam"})
    CHECK_MESSAGE(contains(list.out, text("  ", name, " ")), name);
  CHECK(contains(list.out, "M=64 N=64 K=64"));
  const Outcome help = trace_command("--help");
  CHECK(help.code == 0);
  for (const std::string option : {"--size", "--order", "--json", "Example:"}) CHECK(contains(help.out, option));
}

TEST_CASE("a kernel is run with the sizes that were asked for") {
  const Outcome tiled = trace_command("matmul-tiled --size M=32,N=32 --size K=96 --order shuffled");
  CHECK(tiled.code == 0);
  CHECK(contains(tiled.out, "tiled_kernel<float>: 1 block, 1024 threads"));
  CHECK(contains(tiled.out, "global load   A  "));
  CHECK(contains(tiled.out, "shared memory: 0 bank conflicts"));
}

TEST_CASE("the report comes as JSON too") {
  const Outcome add = trace_command("add --size n=64 --json");
  CHECK(add.code == 0);
  const auto launches = nlohmann::json::parse(add.out);
  REQUIRE(launches.size() == 1);
  CHECK(launches[0]["moved_bytes"] == 3 * 64 * 4);
  CHECK(launches[0]["efficiency"] == 1.0);
  CHECK(launches[0]["problems"].empty());
}

TEST_CASE("--hot prints what the hot kernels ask of memory beside what they must") {
  const Outcome hot = trace_command("--hot");
  CHECK(hot.code == 0);
  CHECK(contains(hot.out, "| matmul-register-tiled "));
  CHECK(contains(hot.out, "at least, KiB"));
}

TEST_CASE("wrong usage exits with 2 and says what is possible") {
  const auto refused = [](const std::string& words, const std::string& part) {
    const Outcome outcome = trace_command(words);
    INFO(outcome.error);
    return outcome.code == 2 && contains(outcome.error, "headshare: ") && contains(outcome.error, part);
  };
  CHECK(refused("no-such-kernel", "there is no kernel 'no-such-kernel'"));
  CHECK(refused("add --size m=3", "there is no size m; this kernel has n=4096"));
  CHECK(refused("add --size n=0", "at least 1"));
  CHECK(refused("add --size n", "not 'n'"));
  CHECK(refused("add --size n=3x", "not 'n=3x'"));
  CHECK(refused("add --order sideways", "forward, reverse or shuffled"));
  CHECK(refused("add --colour", "colour"));
  CHECK(refused("add --hot", "not add alone"));
  CHECK(refused("--hot --json", "no --size and no --json"));
  CHECK(refused("attention-fused --size H=4,G=3", "cannot share"));
}
