#include <nlohmann/json.hpp>

#include "core/size.h"
#include "kernels/device_memory.h"
#include "tests/command_helpers.h"

// `headshare lab decode` as a user meets it.

using namespace headshare;
using namespace headshare::test;

TEST_CASE("lab decode refuses bad lists, and what it would write over, with one line") {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& options, const std::string& part) {
    CAPTURE(options);
    check_refused(headshare_command(folder, "lab decode --quick --out result " + options), 2, part);
  };
  refused("--batch 1,x", "x");
  refused("--batch 1,,2", "");
  refused("--source 0", "--source 0 must lie between 1 and 1,000,000");
  refused("--target 4,2000000", "--target 2000000 must lie between");
  refused("--beam -1", "--beam -1 must lie between");
  refused("--kv-heads 8,3", "--kv-heads 3 does not divide --heads 8");
  refused("--sizes full,tiny", "--sizes 'tiny' must be full or toy");
  refused("--layers 0", "--layers must be at least 1");
  refused("--cache f16", "--cache must be f32, bf16 or int8");
  refused("--most-cache 1 --batch 64 --source 512 --sizes full", "larger than --most-cache");
  check_refused(headshare_command(folder, "lab decode --quick"), 2, "--out is missing");
  check_refused(headshare_command(folder, "lab decode --quick --d-model 100 --out result"), 1, "does not split into 8");
  CHECK_FALSE(std::filesystem::exists(folder / "result"));

  write_file(folder / "result/lab.json", "mine");
  check_refused(headshare_command(folder, "lab decode --quick --out result"), 1, "is there already");
  CHECK(read_file(folder / "result/lab.json") == "mine");
}

TEST_CASE("lab decode writes rows, tables, findings and pictures, on the CPU and the device") {
  const TemporaryFolder folder;
  for (const std::string device : {"cpu", "cuda"}) {
    const Outcome outcome = headshare_command(
        folder, text("lab decode --batch 1,2 --source 3 --target 2 --beam 1,2 --kv-heads 2,1 --heads 4 --d-model 16 "
                     "--d-ff 8 --layers 1 --vocabulary 30 --sizes full --repetitions 1 --json rows.json --out on-",
                     device, " --device ", device));
    REQUIRE_MESSAGE(outcome.code == 0, outcome.error);
    const nlohmann::json rows = nlohmann::json::parse(read_file(folder / "rows.json"));
    CHECK(rows.size() == 2 * 2 * 3);
    for (const auto& row : rows) {
      CHECK(row["seconds"].get<double>() > 0);
      CHECK(row["predicted_seconds"].get<double>() > 0);
      CHECK(row["why"].get<std::string>() != "");
      if (row["kv_heads"] == 4) CHECK(row["gain"] == 1.0);  // what the others are compared with is always there
      if (row["kv_heads"] == 1) CHECK(row["bytes_gain"].get<double>() > 1);
    }
    const std::filesystem::path result = folder / ("on-" + device);
    CHECK(contains(read_file(result / "results.md"), "Predicted from speeds measured before"));
    CHECK(nlohmann::json::parse(read_file(result / "lab.json"))["rows"] == rows);
    for (const char* picture : {"roofline.png", "kv-heads.png"})
      CHECK(read_file(result / picture).substr(1, 3) == "PNG");
    CHECK(contains(outcome.out, "The device is simulated") == (device == "cuda" && kernels::cuda_is_simulated()));
  }
}
