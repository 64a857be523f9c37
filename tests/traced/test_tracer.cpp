#include <algorithm>
#include <sstream>

#include "core/error.h"
#include "tests/traced/planted.h"
#include "tests/traced/traced_helpers.h"

// Every planted bug must be reported with its kind, its array and its line; what is right, not at all.

using namespace headshare;
using namespace headshare::test;
using simulator::LaunchReport;
using simulator::ProblemKind;
using simulator::ThreadOrder;

namespace {

const kernels::Cuda device = kernels::cuda();

// "planted.cu:17", the line that ends in "// words".
std::string line_of(const std::string& words) {
  std::istringstream source(read_file(HEADSHARE_SOURCE_DIR "/tests/traced/planted.cu"));
  int number = 1;
  for (std::string line; std::getline(source, line); ++number)
    if (line.ends_with("// " + words)) return text("planted.cu:", number);
  FAIL("planted.cu has no line that ends in // " << words);
  return "";
}

// The problems of what launch() launches, one text per line.
template <class Launch>
std::string problems(const Launch& launch) {
  const OnlyReport only_report;
  try {
    launch();
  } catch (const Error& error) {
    return error.what();
  }
  std::string all;
  for (const auto& problem : simulator::last_launch().problems) all += problem.text + '\n';
  return all;
}

bool has(const std::string& all, const std::string& part) {
  const bool found = all.find(part) != std::string::npos;
  if (!found) MESSAGE("not there: " << part << "\n" << all);
  return found;
}

}  // namespace

TEST_CASE("the kernels of this program are traced") { CHECK(simulator::tracing()); }

TEST_CASE("a missing barrier is found in every order of the threads") {
  auto x = counting("x", 64);
  NamedArray<float> y("y", 64);
  for (const ThreadOrder order : {ThreadOrder::forward, ThreadOrder::reverse, ThreadOrder::shuffled}) {
    simulator::set_thread_order(order);
    const std::string found = problems([&] { missing_barrier(device, x.data(), y.data()); });
    CHECK(has(found, "missing barrier: thread "));
    CHECK(has(found, "shared array tile (256 bytes) + "));
    CHECK(has(found, line_of("reads too late")));
    CHECK(has(found, line_of("writes too early")));
    CHECK(has(found, ", no barrier between them"));
    CHECK(simulator::last_launch().problems[0].kind == ProblemKind::race);
  }
  simulator::set_thread_order(ThreadOrder::forward);
  // The last thread to reach the first barrier is the first to go on.
  CHECK(has(problems([&] { missing_barrier(device, x.data(), y.data()); }),
            text("missing barrier: thread 63 of block 0 reads shared array tile (256 bytes) + 0 at ",
                 line_of("reads too late"), ", thread 0 of block 0 writes it at ", line_of("writes too early"),
                 ", no barrier between them\n")));
}

TEST_CASE("lanes of one warp race unless a __syncwarp names both") {
  auto x = counting("x", 32);
  NamedArray<float> y("y", 32);
  for (const auto& launch : {missing_syncwarp, syncwarp_of_halves, shuffle_for_syncwarp}) {
    const std::string found = problems([&] { launch(device, x.data(), y.data()); });
    CHECK(has(found, "missing barrier: thread "));
    CHECK(has(found, "shared array tile (128 bytes) + "));
    CHECK(has(found, line_of("written by one lane")));
    CHECK(has(found, line_of("read by another")));
    CHECK(has(found, "no __syncwarp either"));
  }
}

TEST_CASE("races on global memory are found, within a block and between blocks") {
  auto bins = counting<int>("bins", 64, 7), counts = counting<int>("counts", 7, 1);
  const std::string found = problems([&] { histogram_without_atomics(device, bins.data(), counts.data()); });
  CHECK(has(found, text("race: thread 0 of block 0 writes counts (28 bytes) + 0 at ",
                        line_of("counts without atomicAdd"), ", thread 7 of block 0 reads it at ",
                        line_of("counts without atomicAdd"), ", no barrier between them")));
  auto sum = counting("sum", 1);
  CHECK(has(problems([&] { blocks_that_share(device, sum.data()); }),
            text("race: thread 0 of block 0 writes sum (4 bytes) + 0 at ", line_of("every block"),
                 ", thread 0 of block 1 reads it at ", line_of("every block"),
                 ", and nothing orders the blocks of a launch")));
}

TEST_CASE("memory out of bounds is found: global, shared, and dynamic shared") {
  auto x = counting("x", 64);
  NamedArray<float> y("y", 64);
  CHECK(has(problems([&] { read_past_the_end(device, x.data(), y.data(), 64); }),
            text("out of bounds: thread 63 of block 0 reads x (256 bytes) + 256 at ", line_of("past the end"))));
  CHECK(has(problems([&] { index_past_shared(device, x.data(), y.data()); }),
            text("out of bounds: thread 63 of block 0 uses index 64 of 'float [64]' at ", line_of("past the row"),
                 ", shared array row")));
  CHECK(has(problems([&] { index_past_dynamic_shared(device, x.data(), y.data()); }),
            text("out of bounds: thread 32 of block 0 writes dynamic shared memory (128 bytes) + 128 at ",
                 line_of("more than the launch asked for"), "; the launch asked for 128 bytes")));
}

TEST_CASE("memory that nobody has written is found") {
  NamedArray<float> x("x", 64), y("y", 64);
  CHECK(has(problems([&] { read_unwritten_shared(device, y.data()); }),
            text("uninitialised: thread 63 of block 0 reads shared array half (256 bytes) + 252 at ",
                 line_of("never written"))));
  CHECK(has(problems([&] { copy_all(device, x.data(), y.data(), 64); }),
            text("uninitialised: thread 0 of block 0 reads x (256 bytes) + 0 at ", line_of("copies"))));
  // Written by a kernel, by the host, or filled: each counts.
  const auto copies = [&](Size n) {
    return problems([&] { copy_all(device, x.data(), y.data(), static_cast<int>(n)); });
  };
  const std::vector<float> host(8);
  kernels::copy_to_device(device, host.data(), x.data(), 8 * 4);
  CHECK(copies(8) == "");
  CHECK(has(copies(9), "x (256 bytes) + 32"));
  kernels::fill_bytes(device, 0, x.data(), 64 * 4);
  CHECK(copies(64) == "");
  CHECK(problems([&] { copy_all(device, y.data(), x.data(), 64); }) == "");
}

TEST_CASE("a vector load from an address that is not its multiple is found") {
  auto x = counting("x", 132);
  NamedArray<float> y("y", 132);
  CHECK(has(problems([&] { misaligned_vectors(device, x.data(), y.data()); }),
            text("misaligned: thread 0 of block 0 reads 16 bytes at x (528 bytes) + 4 at ",
                 line_of("not at a multiple of 16 bytes"))));
}

TEST_CASE("host memory behind a pointer in a structure is found") {
  const std::vector<float> host(32);
  NamedArray<float> y("y", 32);
  const std::string found = problems([&] { read_hidden_pointer(device, {host.data()}, y.data()); });
  CHECK(has(found, "host memory: thread 0 of block 0 reads address "));
  CHECK(has(found, line_of("the host's")));
}

TEST_CASE("what the simulator itself finds keeps its message") {
  NamedArray<float> y("y", 64);
  CHECK(has(problems([&] { divergent_barrier(device, y.data()); }), "divergent barrier"));
  CHECK(has(problems([&] { deadlock(device, y.data()); }), "deadlock: 16 threads wait at __syncthreads, 16 in a warp"));
  CHECK(has(problems([&] { shuffle_from_inactive_lane(device, y.data()); }),
            text(line_of("lane 20 is not there"), ": lane 0 reads lane 20, which takes no part in this shuffle")));
}

TEST_CASE("an early return and groups of lanes on their own are no problem") {
  auto x = counting("x", 128);
  NamedArray<float> y("y", 128);
  for (const ThreadOrder order : {ThreadOrder::forward, ThreadOrder::reverse, ThreadOrder::shuffled}) {
    simulator::set_thread_order(order);
    CHECK(problems([&] { early_return(device, x.data(), y.data(), 100); }) == "");
    CHECK(problems([&] { shuffles_of_partial_warps(device, x.data(), y.data()); }) == "");
  }
  simulator::set_thread_order(ThreadOrder::forward);
}

TEST_CASE("a problem fails the launch, unless only reports are wanted") {
  auto x = counting("x", 64);
  NamedArray<float> y("y", 64);
  CHECK_THROWS_WITH_AS(missing_barrier(device, x.data(), y.data()),
                       doctest::Contains("missing_barrier_kernel: missing barrier: thread 63 of block 0 reads"), Error);
  const OnlyReport only_report;
  CHECK_NOTHROW(missing_barrier(device, x.data(), y.data()));
  CHECK(!simulator::last_launch().problems.empty());
}

TEST_CASE("launches are recorded from when it was asked for") {
  auto x = counting("x", 64);
  NamedArray<float> y("y", 64);
  copy_all(device, x.data(), y.data(), 64);
  simulator::start_recording();
  copy_all(device, x.data(), y.data(), 64);
  early_return(device, x.data(), y.data(), 64);
  const auto launches = simulator::stop_recording();
  REQUIRE(launches.size() == 2);
  CHECK(launches[0].kernel == "copy_kernel");
  CHECK(launches[1].kernel == "early_return_kernel");
  CHECK(launches[1].barriers == 1);
}

TEST_CASE("a report reads well, also for programs") {
  const OnlyReport only_report;
  auto x = counting("x", 64);
  NamedArray<float> y("y", 64);
  missing_barrier(device, x.data(), y.data());
  const LaunchReport report = simulator::last_launch();
  const std::string shown = to_text(report), json = to_json(report);
  CHECK(has(shown, "missing_barrier_kernel: 1 block, 64 threads, 2 barriers\n"));
  CHECK(has(shown, "efficiency 100 %"));
  CHECK(has(shown, line_of("reads too late") + "  shared load   tile"));
  CHECK(has(shown, "  !! missing barrier: "));
  CHECK(has(json, "\"kernel\": \"missing_barrier_kernel\""));
  CHECK(has(json, "\"kind\": \"race\""));
}
