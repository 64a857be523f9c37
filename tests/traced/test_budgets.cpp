#include <map>

#include "cli/trace/kernels.h"
#include "tests/traced/traced_helpers.h"

// What each kernel may ask of memory. The counts do not depend on the machine, so a change that reads a number twice,
// breaks coalescing or brings bank conflicts fails here before anybody measures it.

using namespace headshare;
using namespace headshare::test;
using simulator::ArrayTraffic;
using simulator::LaunchReport;
using simulator::ThreadOrder;
using trace::Launches;
using trace::NamedSize;
using trace::run_traced;

namespace {

// The traffic of one array, summed over launches.
ArrayTraffic traffic(const Launches& launches, const std::string& array) {
  ArrayTraffic sum{.array = array};
  for (const LaunchReport& launch : launches) {
    const ArrayTraffic one = launch.array(array);
    sum.requested_load_bytes += one.requested_load_bytes;
    sum.requested_store_bytes += one.requested_store_bytes;
    sum.moved_load_bytes += one.moved_load_bytes;
    sum.moved_store_bytes += one.moved_store_bytes;
  }
  return sum;
}

std::uint64_t moved_bytes(const Launches& launches) {
  std::uint64_t sum = 0;
  for (const LaunchReport& launch : launches) sum += launch.moved_bytes();
  return sum;
}

// Plain rungs are there to show what the better ones avoid.
const std::vector<std::string> plain = {"softmax-naive", "attention-composed"};

bool is_plain(const std::string& name) { return std::find(plain.begin(), plain.end(), name) != plain.end(); }

}  // namespace

TEST_CASE("every kernel of headshare trace is free of problems, in every order of the threads") {
  for (const ThreadOrder order : {ThreadOrder::forward, ThreadOrder::reverse, ThreadOrder::shuffled}) {
    simulator::set_thread_order(order);
    for (const auto& kernel : trace::traced_kernels()) CHECK_NOTHROW_MESSAGE(run_traced(kernel.name), kernel.name);
  }
  simulator::set_thread_order(ThreadOrder::forward);
}

TEST_CASE("kernels use at least nine tenths of the sectors that they ask for") {
  for (const auto& kernel : trace::traced_kernels()) {
    if (is_plain(kernel.name)) continue;
    // Of decoding, with a long cache: the few queries, read once, go straight to where tensor cores want them.
    std::vector<NamedSize> sizes;
    if (kernel.name == "decode-bf16" || kernel.name == "decode-int8-cache") sizes = {{"S", 4096}};
    for (const LaunchReport& launch : run_traced(kernel.name, sizes)) {
      INFO(kernel.name, ":\n", to_text(launch));
      CHECK(launch.efficiency() >= (kernel.name == "decode-int8-cache" ? 0.75 : 0.9));
    }
  }
  for (const std::string& name : plain) CHECK(run_traced(name)[0].efficiency() < 0.2);
}

TEST_CASE("the tiled matrix products have no bank conflicts") {
  for (const std::string name : {"matmul-tiled", "matmul-register-tiled", "matmul-tensor-core", "transpose"}) {
    const LaunchReport launch = run_traced(name)[0];
    INFO(to_text(launch));
    CHECK(launch.bank_conflicts() == 0);
  }
}

TEST_CASE("a tile of t x t reads the operands of a matrix product t times less often") {
  constexpr std::uint64_t size = 128, products_bytes = size * size * size * sizeof(float);
  const std::vector<NamedSize> sizes = {{"M", size}, {"N", size}, {"K", size}};
  const std::map<std::string, std::uint64_t> tiles = {
      {"matmul-naive", 1}, {"matmul-tiled", 32}, {"matmul-register-tiled", 64}};
  for (const auto& [name, tile] : tiles) {
    const Launches launches = run_traced(name, sizes);
    for (const std::string operand : {"A", "B"})
      CHECK_MESSAGE(traffic(launches, operand).requested_load_bytes == products_bytes / tile, name, " ", operand);
    CHECK(traffic(launches, "C").requested_store_bytes == size * size * sizeof(float));
  }
}

TEST_CASE("a product with few rows reads the large matrix once") {
  CHECK(traffic(run_traced("matmul-few-rows"), "B").moved_load_bytes == 256 * 256 * sizeof(float));
}

TEST_CASE("softmax: three passes over the input, then two") {
  constexpr std::uint64_t bytes = 128 * 256 * sizeof(float);
  CHECK(traffic(run_traced("softmax-warp"), "x").moved_load_bytes == 3 * bytes);
  CHECK(traffic(run_traced("softmax-online"), "x").moved_load_bytes == 2 * bytes);
  CHECK(traffic(run_traced("softmax-online"), "y").moved_store_bytes == bytes);
}

TEST_CASE("fused attention leaves no scores in memory and moves far less than the composed one") {
  const Launches composed = run_traced("attention-composed"), fused = run_traced("attention-fused");
  CHECK(composed.size() == 3);
  CHECK(fused.size() == 1);
  CHECK(traffic(composed, "scores").moved_store_bytes > 0);
  CHECK(10 * moved_bytes(fused) < moved_bytes(composed));
}

TEST_CASE("decoding per group reads keys and values H / G times less often than per head") {
  constexpr std::uint64_t B = 2, S = 128, H = 8, D = 64;
  for (const Size groups : {8, 4, 2, 1}) {
    const std::vector<NamedSize> sizes = {{"B", B}, {"S", S}, {"H", H}, {"G", groups}, {"D", D}};
    const Launches per_head = run_traced("decode-per-head", sizes), per_group = run_traced("decode-per-group", sizes);
    const auto G = static_cast<std::uint64_t>(groups);
    for (const std::string array : {"key", "value"}) {
      INFO(array, ", G = ", G);
      CHECK(traffic(per_head, array).moved_load_bytes == B * S * H * D * sizeof(float));
      CHECK(traffic(per_group, array).moved_load_bytes == B * S * G * D * sizeof(float));
      CHECK(traffic(per_group, array).requested_load_bytes == B * S * G * D * sizeof(float));
    }
  }
}

TEST_CASE("Adam reads 16 bytes and writes 12 for each parameter") {
  constexpr std::uint64_t n = 4096, bytes = n * sizeof(float);
  const Launches launches = run_traced("adam");
  CHECK(traffic(launches, "gradient").moved_load_bytes == bytes);
  CHECK(traffic(launches, "parameter").moved_load_bytes == bytes);
  CHECK(traffic(launches, "parameter").moved_store_bytes == bytes);
  CHECK(traffic(launches, "mean").moved_store_bytes == bytes);
  CHECK(traffic(launches, "variance").moved_store_bytes == bytes);
}
