#include <fstream>
#include <regex>
#include <sstream>

#include "cli/trace/hot.h"
#include "kernels/matmul_ladder.h"
#include "tests/test_tools.h"
#include "tests/traced/traced_helpers.h"

// What is known of the hot kernels without a GPU: the bytes that they ask for, and how they are launched.

using namespace headshare;
using namespace headshare::test;
using trace::NamedSize;

namespace {

std::string in_source_folder(const std::string& path) { return text(HEADSHARE_SOURCE_DIR, "/", path); }

// A line of tests/gpu/kernel_launches.txt.
struct ListedLaunch {
  std::string threads, dynamic_shared_bytes;
  bool hot = false;
  std::string pattern;
  bool seen = false;
};

bool fits(const std::string& word, std::uint64_t number) {
  return word == "?" || word == text(number) || (word.ends_with("max") && number <= std::stoull(word));
}

std::vector<ListedLaunch> read_launches() {
  std::vector<ListedLaunch> all;
  std::ifstream file(in_source_folder("tests/gpu/kernel_launches.txt"));
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    ListedLaunch launch;
    std::string hot;
    words >> launch.threads >> launch.dynamic_shared_bytes >> hot >> std::ws;
    std::getline(words, launch.pattern);
    launch.hot = hot != "-";
    all.push_back(launch);
  }
  return all;
}

// "a<b<c> >" -> "a<b<c>>", as people write it.
std::string written(std::string kernel) {
  for (std::size_t at; (at = kernel.find("> >")) != std::string::npos;) kernel.erase(at + 1, 1);
  return kernel;
}

// "kernel<float>", and as the list has it where kernels of two files are called the same: "file.cu:kernel<float>".
std::vector<std::string> names_of(const simulator::LaunchReport& launch) {
  const std::string kernel = written(launch.kernel);
  std::vector<std::string> names = {kernel};
  for (const simulator::Site& site : launch.sites)
    names.push_back(text(site.line.substr(0, site.line.find(':')), ':', kernel));
  return names;
}

// Products by tiles of every size: headshare trace leaves the choice to the kernels.
template <class In, class Out, class Multiply>
trace::Launches product(Multiply multiply) {
  const kernels::MatmulSizes of{.batch = 1, .m = 32, .n = 64, .k = 64};
  const auto a = trace::random_array<In>("A", of.m * of.k), b = trace::random_array<In>("B", of.k * of.n);
  const NamedArray<Out> c("C", of.m * of.n);
  const kernels::MatrixView<In> left{a.data(), of.k, 1}, right{b.data(), of.n, 1};
  return trace::launches_of([&] { multiply(kernels::cuda(), of, left, right, c.data(), kernels::Epilogue<Out>{}); });
}
trace::Launches products() {
  trace::Launches all;
  const auto add = [&](const trace::Launches& launches) { all.insert(all.end(), launches.begin(), launches.end()); };
  add(product<float, float>(kernels::matmul_register_tiled<float, 128>));
  add(product<BFloat16, float>(kernels::matmul_tensor_core<BFloat16, 128, float>));
  add(product<BFloat16, float>(kernels::matmul_pipelined_tiled<64, 128, float>));
  add(product<BFloat16, float>(kernels::matmul_pipelined_tiled<128, 128, float>));
  add(product<BFloat16, float>(kernels::matmul_pipelined_tiled<128, 256, float>));
  add(product<BFloat16, float>(kernels::matmul_hopper_tiled<128, float>));
  add(product<BFloat16, float>(kernels::matmul_hopper_tiled<256, float>));
  return all;
}

// Sizes with which the kernels of `headshare trace` are launched in all their hot instances.
struct Variation {
  std::string name;
  std::vector<NamedSize> sizes;
};
std::vector<Variation> variations() {
  std::vector<Variation> all;
  for (const auto& kernel : trace::traced_kernels()) {
    all.push_back({kernel.name, {}});
    const std::string sizes = kernel.sizes.text();
    for (const Size depth : {32, 64, 96, 128}) {
      if (kernel.name.starts_with("attention")) all.push_back({kernel.name, {{"T", 16}, {"S", 16}, {"D", depth}}});
      if (kernel.name.starts_with("attention") && kernel.name.ends_with("bf16")) {
        all.push_back({kernel.name, {{"T", 16}, {"S", 16}, {"D", depth - 1}}});  // not on whole 16 bytes
        all.push_back({kernel.name, {{"T", 160}, {"S", 16}, {"D", depth}}});     // keys whose sums are cut into parts
      }
      if (!kernel.name.starts_with("decode")) continue;
      all.push_back({kernel.name, {{"S", 1024}}});  // in parts
      for (const Size heads : {1, 4, 8, 16})
        all.push_back({kernel.name, {{"S", 32}, {"D", depth}, {"H", heads}, {"G", 1}}});
    }
    for (const Size few : {1, 4, 8})
      if (kernel.name == "matmul-few-rows") all.push_back({kernel.name, {{"M", few}, {"N", 64}, {"K", 64}}});
    for (const Size wide : {32, 256, 512, 1024, 8192}) {
      if (contains(sizes, "rows=") && contains(sizes, " n=")) all.push_back({kernel.name, {{"rows", 2}, {"n", wide}}});
      if (contains(sizes, " V=") && contains(sizes, "rows=")) all.push_back({kernel.name, {{"rows", 2}, {"V", wide}}});
    }
  }
  return all;
}

}  // namespace

TEST_CASE("the README's table of hot kernels is what headshare trace --hot counts") {
  const std::string table = trace::hot_table(), readme = read_file(in_source_folder("README.md"));
  INFO("the table that belongs there:\n", table);
  CHECK(contains(readme, table));
}

TEST_CASE("no kernel gets by with less than reading and writing each of its arrays once") {
  for (const auto& kernel : trace::hot_kernels()) {
    const trace::HotTraffic traffic = trace::traffic_of(kernel);
    CHECK_MESSAGE(traffic.asked_bytes >= traffic.least_bytes, kernel.name);
  }
}

TEST_CASE("a list of arrays that is not the kernel's is noticed") {
  constexpr std::uint64_t bytes = 4096 * sizeof(float);
  const trace::HotTraffic add = trace::traffic_of({"add", {}, {"a", "b"}, {"y"}});
  CHECK(add.least_bytes == 3 * bytes);
  CHECK(add.asked_bytes == 3 * bytes);
  CHECK(add.sizes == "n=4096");
  const auto refused = [](const trace::HotKernel& kernel, const std::string& part) {
    try {
      trace::traffic_of(kernel);
    } catch (const Error& error) {
      return contains(error.what(), part);
    }
    return false;
  };
  CHECK(refused({"add", {}, {"a"}, {"y"}}, "add reads b"));
  CHECK(refused({"add", {}, {"a", "b"}, {}}, "add writes y"));
  CHECK(refused({"add", {}, {"a", "b", "c"}, {"y"}}, "add does not read c"));
  CHECK(refused({"add", {}, {"a", "b"}, {"y", "a"}}, "add does not write a"));
}

TEST_CASE("kernel_launches.txt says how hot kernels are launched, and names none that is not") {
  std::vector<ListedLaunch> listed = read_launches();
  REQUIRE(!listed.empty());
  const auto compare = [&](const trace::Launches& launches) {
    for (const auto& launch : launches) {
      const std::string kernel = written(launch.kernel);
      INFO(kernel, ", launched with ", launch.threads / launch.blocks, " threads and ", launch.dynamic_shared_bytes,
           " bytes of dynamic shared memory");
      const auto found = std::find_if(listed.begin(), listed.end(), [&](const ListedLaunch& entry) {
        const std::vector<std::string> names = names_of(launch);
        return std::any_of(names.begin(), names.end(),
                           [&](const std::string& name) { return std::regex_match(name, std::regex(entry.pattern)); });
      });
      REQUIRE(found != listed.end());
      INFO("the list has ", found->threads, " and ", found->dynamic_shared_bytes);
      CHECK(fits(found->threads, launch.threads / launch.blocks));
      CHECK(fits(found->dynamic_shared_bytes, launch.dynamic_shared_bytes));
      found->seen = true;
    }
  };
  for (const auto& [name, sizes] : variations()) compare(trace::run_traced(name, sizes));
  compare(products());
  for (const ListedLaunch& entry : listed)
    if (entry.hot) CHECK_MESSAGE(entry.seen, entry.pattern, " is launched by no kernel of headshare trace");
}
