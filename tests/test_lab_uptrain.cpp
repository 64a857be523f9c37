#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/lab/grid.h"
#include "cli/lab/uptrain_report.h"
#include "tests/command_helpers.h"
#include "tests/model_helpers.h"

// `headshare lab uptrain`: what is measured, that a killed experiment ends as if it had never been, and that every
// number of its findings is one of its rows'.
namespace headshare::cli {
namespace {

using test::check_refused;
using test::contains;
using test::headshare_command;
using test::Outcome;
using test::TemporaryFolder;

const std::string tiny = "lab uptrain --quick --steps 60 --alphas 0,0.1 --keep-models ";

// One experiment, not disturbed, made once.
const TemporaryFolder& finished() {
  static const TemporaryFolder folder;
  static bool done = false;
  if (!done) {
    done = true;
    const Outcome run = headshare_command(folder, tiny + "--out lab --json rows.json");
    REQUIRE_MESSAGE(run.code == 0, run.error);
    CHECK(contains(run.out, "10 measurements, 10 still to be made"));
    CHECK(contains(run.out, "1 left, about"));
  }
  return folder;
}

Row without_seconds(Row rows) {
  for (Row& row : rows) row.erase("seconds");
  return rows;
}
Row rows_in(const TemporaryFolder& folder, const std::string& name) {
  return without_seconds(load_lab_result(folder / name).rows);
}

// A made-up measurement; only what tables and findings read.
Row made_up(Size seed, const Cell& cell, double nll, double exact_match = 0.5) {
  return {{"seed", seed},
          {"sites", cell.sites},
          {"conversion", cell.conversion},
          {"kv_heads", cell.kv_heads},
          {"alpha", cell.alpha},
          {"schedule", "decay"},
          {"beam", 1},
          {"length_penalty", 1.0},
          {"validation_nll", nll},
          {"bleu", 100 * exact_match},
          {"bleu_low", 1.0},
          {"bleu_high", 2.0},
          {"chrf", 3.0},
          {"exact_match", exact_match},
          {"parameters", 1000},
          {"cache_bytes_per_token", 64},
          {"seconds", 1.0}};
}
Cell control(double alpha) { return {0, "none", "none", 8, alpha}; }
Cell cell(const std::string& conversion, double alpha) { return {0, "decoder", conversion, 2, alpha}; }

std::string all(const std::vector<std::string>& sentences) {
  std::string page;
  for (const std::string& sentence : sentences) page += sentence + "\n";
  return page;
}

}  // namespace

TEST_CASE("every cell of the grid is measured, with its control, and written for people and programs") {
  const TemporaryFolder& folder = finished();
  const LabResult result = load_lab_result(folder / "lab");
  CHECK(nlohmann::ordered_json::parse(read_file(folder / "rows.json")) == result.rows);
  std::set<std::string> settings;
  for (const Row& row : result.rows) {
    settings.insert(text(row["conversion"], row["kv_heads"], row["alpha"]));
    CHECK(row["validation_nll"].get<double>() > 0);
    CHECK(row["bleu_low"].get<double>() <= row["bleu_high"].get<double>());
    CHECK(row["updates"] == (row["alpha"] == 0 ? 0 : 6));
    // Keys and values of a decoder layer, both attentions: 2 * 2 * G heads of 16 float32.
    CHECK(row["cache_bytes_per_token"] == 256 * row["kv_heads"].get<Size>());
  }
  CHECK(settings.size() == 10);  // 2 conversions x 2 KV heads x 2 alphas, 2 controls
  CHECK(result.samples.size() == 5);
  for (const LabResult::Sample& sample : result.samples) CHECK(sample.translations.size() == 5);
  CHECK(result.charts.size() == 4);
  for (const LabResult::Chart& chart : result.charts)
    CHECK(read_file(folder / "lab/" / chart.file).substr(1, 3) == "PNG");
  REQUIRE(result.signatures.size() == 2);
  CHECK(contains(result.signatures[0], "tok:13a"));
  const std::string page = read_file(folder / "lab/results.md");
  for (const char* sentence : {"none (control)", "10 % more training", "Sample translations"})
    CHECK(contains(page, sentence));
}

TEST_CASE("what the laboratory measures is what convert, uptrain and evaluate give") {
  const TemporaryFolder& folder = finished();
  const Row rows = rows_in(folder, "lab");
  const Outcome convert = headshare_command(folder, "convert lab/multi-head-seed-1 --kv-heads 2 --out gqa");
  REQUIRE_MESSAGE(convert.code == 0, convert.error);
  const Outcome uptrain = headshare_command(folder, "uptrain gqa --alpha 0.1 --out gqa-more");
  REQUIRE_MESSAGE(uptrain.code == 0, uptrain.error);
  const Row* row = find_row(rows, {{"conversion", "mean"}, {"kv_heads", 2}, {"alpha", 0.1}});
  REQUIRE(row != nullptr);
  std::ostringstream nll;
  nll << std::fixed << std::setprecision(4) << row->at("validation_nll").get<double>();
  CHECK(contains(uptrain.out, "validation NLL " + nll.str()));

  // The same cells from a run that is there already, and a kept model.
  const Outcome given = headshare_command(
      folder, "lab uptrain --run lab/multi-head-seed-1 --test lab/toy/test --quick --alphas 0,0.1 --out given");
  REQUIRE_MESSAGE(given.code == 0, given.error);
  CHECK(rows_in(folder, "given") == rows);
  const Outcome kept =
      headshare_command(folder, "evaluate lab/models/seed-1-mean-2-decoder-0.1-decay --data lab/toy/test --beam 1");
  REQUIRE_MESSAGE(kept.code == 0, kept.error);
  std::ostringstream test_nll;
  test_nll << std::fixed << std::setprecision(4) << row->at("test_nll").get<double>();
  CHECK(contains(kept.out, "NLL per token   " + test_nll.str()));
}

TEST_CASE("killed again and again, an experiment ends with the rows of one that was never disturbed") {
  const TemporaryFolder& folder = finished();
  const Size kills = kill_until_finished(folder, tiny + "--out killed", 0.25);
  CHECK(kills > 0);
  CHECK(rows_in(folder, "killed") == rows_in(folder, "lab"));

  const std::string before = read_file(folder / "killed/lab.json");
  const Outcome again = headshare_command(folder, tiny + "--out killed");
  CHECK(again.code == 0);
  CHECK(contains(again.out, "10 measurements, 0 still to be made"));
  CHECK(read_file(folder / "killed/lab.json") == before);

  // A larger grid runs what is new alone.
  const Outcome more = headshare_command(folder, tiny + "--out killed --conversions random --kv-heads 2");
  CHECK(contains(more.out, "4 measurements, 2 still to be made"));
  CHECK(rows_in(folder, "killed").size() == 12);
}

TEST_CASE("lab uptrain refuses what it cannot do with one line, and never mixes two experiments") {
  const TemporaryFolder& folder = finished();
  const std::string before = read_file(folder / "lab/lab.json");
  check_refused(headshare_command(folder, "lab uptrain --quick --steps 61 --out lab"), 1,
                "with steps of the multi-head models 60, not 61; choose another --out folder");
  check_refused(headshare_command(folder, tiny), 2, "--out is missing");
  check_refused(headshare_command(folder, tiny + "--out lab --kv-heads 3"), 2, "--kv-heads 3 does not divide");
  check_refused(headshare_command(folder, tiny + "--out lab --conversions median"), 1, "'median' is unknown");
  check_refused(headshare_command(folder, "lab uptrain --quick --steps 60 --alphas 5 --out lab"), 2, "0.05 is 5 %");
  check_refused(headshare_command(folder, tiny + "--out lab --sites encoder"), 2, "must be decoder or all");
  check_refused(headshare_command(folder, tiny + "--out lab --schedule never"), 1, "'never' is unknown");
  check_refused(headshare_command(folder, tiny + "--out lab --beam 0"), 2, "--beam must be at least 1");
  check_refused(headshare_command(folder, "lab uptrain --run lab/multi-head-seed-1 --out x"), 2, "--test");
  check_refused(headshare_command(folder, "lab uptrain --run nowhere --test lab/toy/test --out x"), 1, "nowhere");
  check_refused(headshare_command(folder, "lab shazeer --quick --out lab"), 1, "holds the experiment uptrain");
  CHECK(read_file(folder / "lab/lab.json") == before);
}

TEST_CASE("the grid asks for the headline first, seed by seed, and for one control of each alpha") {
  const Grid grid{.seeds = {1, 2},
                  .conversions = {"mean", "first"},
                  .kv_heads = {2, 1},
                  .sites = {{"decoder", {0, 0.01, 0.05}}, {"all", {0, 0.05}}},
                  .heads = 8,
                  .headline_alpha = 0.05};
  const std::vector<Cell> cells = cells_of(grid);
  REQUIRE(cells.size() == 2 * (3 + 3 * 4 + 2 * 4));
  for (std::size_t i = 0; i < 2 * (2 + 2 * 4); ++i) {
    CHECK(cells[i].sites != "all");
    CHECK(cells[i].alpha != 0.01);
    CHECK(cells[i].seed == (i < 10 ? 1 : 2));
  }
  CHECK(cells[0].is_control());
  CHECK(cells[20].is_control());  // of alpha 0.01
  CHECK(cells.back().sites == "all");
  Size controls = 0;
  for (const Cell& each : cells) controls += each.is_control() ? 1 : 0;
  CHECK(controls == 6);

  const AttentionSites before = multi_head(8);
  CHECK(converted_sites(before, "none", 2) == before);
  CHECK(converted_sites(before, "decoder", 2) ==
        AttentionSites(multi_head(8), grouped_query(8, 2), grouped_query(8, 2)));
  CHECK(converted_sites(before, "all", 2) == AttentionSites(grouped_query(8, 2)));
}

TEST_CASE("findings and tables say what the rows say, also when they disagree with the paper") {
  Row rows = Row::array();
  for (const Size seed : {1, 2}) {
    const double other = seed == 1 ? 0 : 0.02;  // the seeds' standard deviation is 0.02 / sqrt 2 = 0.0141
    for (const double alpha : {0.0, 0.05}) {
      const double more = alpha == 0 ? 1 : 0;
      rows.push_back(made_up(seed, control(alpha), 0.1 + more + other, 0.9));
      rows.push_back(made_up(seed, cell("random", alpha), 0.5 + 5 * more + other));
      rows.push_back(made_up(seed, cell("mean", alpha), 0.3 + 2 * more + other, 0.85));
      // In the second seed first is the best of all.
      rows.push_back(made_up(seed, cell("first", alpha), (seed == 1 ? 0.4 : 0.28) + more + other));
      rows.push_back(made_up(seed, cell("aligned", alpha), 0.25 + more + other, 0.895));
    }
  }
  const std::string said = all(uptrain_findings(rows, 0.05));
  CHECK(contains(said, "from validation NLL 1.1100 to 0.1100 with the same 5 % more training"));
  CHECK(contains(said,
                 "after 5 %, validation NLL: aligned 0.2600 < mean 0.3100 < first 0.3500 < random 0.5100; the "
                 "control 0.1100. mean < first < random in 1 of 2 seeds."));
  CHECK(contains(said,
                 "validation NLL: right after conversion 1.0500 lower with 2 KV heads (lower in 2 of 2); after 5 % "
                 "0.0500 lower with 2 KV heads (lower in 2 of 2)."));
  CHECK(contains(said,
                 "by aligned, after 5 %, against the control: exact match 89.5 against 90.0 %, 0.5 points lower; "
                 "BLEU 89.50 against 90.00, 0.50 lower; validation NLL 0.1500 higher."));

  const std::vector<LabResult::Table> tables = uptrain_tables(rows);
  REQUIRE(tables.size() == 2);
  REQUIRE(tables[1].rows.size() == 5);
  CHECK(tables[1].rows[0][1] == "none (control)");
  CHECK(tables[1].rows[0][3] == "0.1100 ± 0.0141");
  CHECK(tables[1].rows[1][1] == "aligned");
  CHECK(tables[1].rows[1][4] == "0.1500 ± 0.0000");
  CHECK(tables[1].rows[4][2] == "4");

  // A seed that lacks the control counts in no difference.
  rows.push_back(made_up(3, cell("aligned", 0.05), 9));
  CHECK(uptrain_tables(rows)[1].rows[4][4] == "0.1500 ± 0.0000");

  // Rows of another schedule or beam are of another comparison; without training there is no schedule.
  rows.back()["schedule"] = "continued";
  const UptrainView view{.schedule = "decay", .beam = 1, .length_penalty = 1, .headline_alpha = 0.05};
  CHECK(rows_in_view(rows, view).size() == rows.size() - 1);
  CHECK(rows_in_view(rows, {"continued", 1, 1, 0.05}).size() == 11);
  CHECK(rows_in_view(rows, {"decay", 4, 1, 0.05}).empty());
}

TEST_CASE("the spread of some values is that of a sample") {
  const Spread three = spread({{1, 2.0}, {2, 4.0}, {3, 9.0}});
  CHECK(three.mean == doctest::Approx(5));
  CHECK(three.deviation == doctest::Approx(std::sqrt(13)));
  CHECK(text_of(three, 1) == "5.0 ± 3.6");
  CHECK(text_of(spread({{7, 2.0}}), 2) == "2.00");
}

}  // namespace headshare::cli
