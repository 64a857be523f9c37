#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "cli/lab/shazeer_table.h"
#include "tests/command_helpers.h"
#include "tests/model_helpers.h"

// `headshare lab shazeer`: the eight models of his table 1, as large as each other, and what is said of them.
namespace headshare::cli {
namespace {

using test::check_refused;
using test::contains;
using test::headshare_command;
using test::Outcome;
using test::TemporaryFolder;

std::vector<ShazeerRow> small_rows() {
  TransformerConfig base = test::tiny_config(20, multi_head(2));  // two heads of 8
  return shazeer_rows(checked(base), 3);
}

Row made_up(const std::vector<ShazeerRow>& variants, const std::vector<double>& nll, Size seed) {
  Row rows = Row::array();
  for (std::size_t i = 0; i < nll.size(); ++i)
    rows.push_back({{"seed", seed},
                    {"attention", variants[i].label()},
                    {"parameters", count_parameters(Transformer(variants[i].config, 1))},
                    {"cache_bytes_per_token", 8},
                    {"validation_nll", nll[i]},
                    {"bleu_dev", 1.0},
                    {"bleu_dev_low", 0.5},
                    {"bleu_dev_high", 1.5},
                    {"bleu_beam_1", 2.0},
                    {"bleu_beam_4", 3.0}});
  return rows;
}

}  // namespace

TEST_CASE("a quarter of the paper's model gets a quarter of the paper's feed-forward widths") {
  const TransformerConfig quarter{
      .vocabulary = 20, .d_model = 256, .d_ff = 1024, .layers = 1, .attention = multi_head(8), .max_length = 8};
  const std::vector<ShazeerRow> rows = shazeer_rows(quarter, 32);
  REQUIRE(rows.size() == 8);
  const Size wanted = count_parameters(Transformer(rows[0].config, 1));
  for (const ShazeerRow& row : rows) {
    INFO(row.label());
    // His layers have no biases; ours make a difference of less than one unit.
    CHECK(std::abs(4 * row.config.d_ff - row.paper.d_ff) <= 4);
    // Each unit of an encoder and a decoder layer has 256 + 1 + 256 parameters in both.
    CHECK(std::abs(count_parameters(Transformer(row.config, 1)) - wanted) <= 513);
  }
  CHECK(rows[1].config.attention.encoder_self == multi_query(8));
  CHECK(rows[3].config.attention.decoder_self == local_window(multi_query(8), 32));
  CHECK(rows[3].config.attention.cross == multi_query(8));
  CHECK(rows[6].config.attention.cross == with_head_size(multi_head(4), 8));
  CHECK(rows[6].label() == "multi-head 4 x 8");
  CHECK(rows[3].folder() == "multi-query-local");
  const std::string error = test::error_of([] { shazeer_rows(checked(test::tiny_config(20, multi_head(4))), 3); });
  CHECK(contains(error, "heads of 4 numbers cannot be divided among 8; choose a d_model that is a multiple of 32"));
}

TEST_CASE("the findings of the table are those of its rows") {
  const std::vector<ShazeerRow> variants = small_rows();
  // In the paper's order, but for the two best rows of few or small heads, which are better than multi-query here.
  Row rows = made_up(variants, {1.0, 1.4, 1.1, 1.3, 1.9, 1.35, 1.38, 1.8}, 1);
  const auto said = [&] {
    std::string page;
    for (const std::string& finding : shazeer_findings(variants, rows)) page += finding + "\n";
    return page;
  };
  CHECK(contains(said(),
                 "multi-query against multi-head: dev ln(PPL) 1.4000 against 1.0000, 0.4000 higher; in the "
                 "paper 0.015 higher."));
  CHECK(contains(said(),
                 "multi-head 2 x 4 against multi-query: dev ln(PPL) 1.3500 against 1.4000, 0.0500 lower; in "
                 "the paper 0.041 higher."));
  CHECK(contains(said(), "Of all 28 pairs of rows, 26 are"));
  CHECK_FALSE(contains(said(), "seed to seed"));
  for (const Row& row : made_up(variants, {1.2}, 2)) rows.push_back(row);
  CHECK(contains(said(), "From seed to seed the dev ln(PPL) of a row varies by up to 0.1414"));
  const LabResult::Table table = shazeer_tables(variants, rows).at(0);
  REQUIRE(table.rows.size() == 8);
  CHECK(table.rows[0][8] == "1.1000 ± 0.1414");
  CHECK(table.rows[1][13] == "5,440");
  CHECK(contains(table.rows[1][6], " %"));
  CHECK(shazeer_findings(variants, Row::array()).empty());
}

TEST_CASE("the eight models are trained, measured and kept, each once, also when the experiment is killed") {
  const TemporaryFolder folder;
  write_corpus(folder / "text", test::small_corpus(30), {.source = "en", .target = "de"});
  write_corpus(folder / "few", test::small_corpus(6, 2), {.source = "en", .target = "de"});
  const Outcome run = headshare_command(folder,
                                        "train --data text --valid few --out run --merges 20 --d-model 16 --d-ff 24 "
                                        "--heads 2 --layers 1 --max-length 64 --steps 5 --tokens-per-batch 100");
  REQUIRE_MESSAGE(run.code == 0, run.error);
  const std::string words = "lab shazeer --run run --test few --window 3 ";
  check_refused(headshare_command(folder, "lab shazeer --run run --out x"), 2, "--test");
  check_refused(headshare_command(folder, words + "--steps 0 --out x"), 2, "--steps must be at least 1");
  check_refused(headshare_command(folder, "lab shazeer --test few --out x"), 2, "--test is for");

  const Outcome lab = headshare_command(folder, words + "--out lab --json rows.json");
  REQUIRE_MESSAGE(lab.code == 0, lab.error);
  CHECK(contains(lab.out, "8 models, 8 still to be made"));
  const Row rows = nlohmann::ordered_json::parse(read_file(folder / "rows.json"));
  REQUIRE(rows.size() == 8);
  CHECK(rows[3]["window"] == 3);
  CHECK(rows[5]["head_size"] == 4);
  CHECK(std::filesystem::exists(folder / "lab/multi-query-local-seed-1/model.safetensors"));
  for (const LabResult::Chart& chart : load_lab_result(folder / "lab").charts)
    CHECK(read_file(folder / "lab/" / chart.file).substr(1, 3) == "PNG");
  CHECK(contains(headshare_command(folder, words + "--out lab").out, "8 models, 0 still to be made"));
  check_refused(headshare_command(folder, "lab shazeer --run run --test few --window 4 --out lab"), 1,
                "window of local attention 3, not 4");
  check_refused(headshare_command(folder, words + "--steps 6 --out lab"), 1, "train.steps 5, not 6");

  const Size kills = kill_until_finished(folder, words + "--out killed", 0.1);
  CHECK(kills > 0);
  const auto without_seconds = [](Row all) {
    for (Row& row : all) row.erase("seconds");
    return all;
  };
  CHECK(without_seconds(load_lab_result(folder / "killed").rows) == without_seconds(rows));
}

}  // namespace headshare::cli
