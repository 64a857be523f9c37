#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/lab/attention_change.h"
#include "core/text/corpus.h"
#include "tests/command_helpers.h"
#include "tests/decoding_helpers.h"

// The laboratory of attention maps: which heads stand in one frame, how far heads are said to have moved, and the
// command with its pictures.

using namespace headshare;
using namespace headshare::cli;
using namespace headshare::test;

namespace {

Transformer model_of(const AttentionSites& attention) {
  TransformerConfig config = tiny_config(first_merge_id, attention);
  config.layers = 2;
  return lively_model(config, 50);
}

// Letters and digits in turn: every token is a word of its own.
constexpr std::int32_t letter = first_byte_id + 'a', digit = first_byte_id + '1';
const std::vector<TokenPair> pairs = {{{letter, digit, letter + 1, end_id}, {letter + 2, digit + 1}},
                                      {{digit, letter, end_id}, {digit, letter + 3, digit + 2}}};

// The same model to rounding, head h of every attention being head order[h] of `model`.
Transformer reordered(const Transformer& model, const std::vector<Size>& order) {
  const Size heads = static_cast<Size>(order.size()), D = model.config().d_model / heads;
  Transformer copy = clone(model);
  copy.visit([&](const std::string& name, const Parameter& parameter) {
    const bool is_attention = contains(name, ".self.") || contains(name, ".cross.");
    if (!is_attention || name.ends_with("output.bias")) return;
    const bool by_rows = contains(name, ".output.");
    const Tensor old = parameter.value().clone().to(Device::cpu), moved = old.clone();
    const Tensor from = by_rows ? old : old.reshape({old.count() / (heads * D), heads * D}),
                 to = by_rows ? moved : moved.reshape(from.shape());
    for (Size i = 0; i < from.extent(0); ++i)
      for (Size j = 0; j < from.extent(1); ++j) {
        const Size at = by_rows ? i : j, source = order[static_cast<std::size_t>(at / D)] * D + at % D;
        to.set({i, j}, by_rows ? from.at({source, j}) : from.at({i, source}));
      }
    parameter.value().copy_from(moved.to(parameter.value().device()));
  });
  return copy;
}

struct PictureSize {
  std::uint32_t width = 0, height = 0;
};
// From the header that every PNG begins with: 8 bytes of signature, then a chunk that holds both after 8 more.
PictureSize picture_size(const std::filesystem::path& file) {
  const std::string bytes = read_file(file);
  if (bytes.size() < 24 || bytes.substr(0, 8) != "\x89PNG\r\n\x1a\n") return {};
  const auto number = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
    return value;
  };
  return {number(16), number(20)};
}

// A tiny run of four heads and a conversion of it, made once.
const TemporaryFolder& runs() {
  static const TemporaryFolder folder;
  static bool done = false;
  if (!done) {
    done = true;
    write_corpus(folder / "text", small_corpus(40), {.source = "en", .target = "de"});
    const std::string train =
        "train --data text --valid text --d-model 16 --d-ff 24 --layers 2 --max-length 64 --steps 4 ";
    for (const std::string& words :
         {train + "--merges 60 --heads 4 --out run", std::string("convert run --kv-heads 2 --out gqa"),
          train + "--merges 20 --heads 4 --out other", train + "--merges 60 --heads 2 --out two"}) {
      const Outcome outcome = headshare_command(folder, words);
      REQUIRE_MESSAGE(outcome.code == 0, outcome.error);
    }
  }
  return folder;
}

}  // namespace

TEST_CASE("heads that read one key/value head form a group, heads that share nothing one for all") {
  const std::vector<HeadGroup> shared = head_groups(grouped_query(6, 2));
  REQUIRE(shared.size() == 2);
  CHECK(shared[1].first == 3);
  CHECK(shared[1].end == 6);
  CHECK(shared[1].shared);
  CHECK(shared[1].name == "key/value head 2: query heads 4–6");
  CHECK(head_groups(multi_query(8))[0].name == "key/value head 1: query heads 1–8");
  const std::vector<HeadGroup> own = head_groups(multi_head(5));
  REQUIRE(own.size() == 1);
  CHECK(own[0].end == 5);
  CHECK_FALSE(own[0].shared);
}

TEST_CASE("a frame holds the heads of a group, those before above those after, each with its own weights") {
  const Transformer before = model_of(multi_head(8)), after = model_of(multi_query(8));
  const Tokenizer tokenizer;
  const auto view = [&](const std::string& label, const Transformer& model, const HeadOrder& order = {}) {
    return AttentionView{label, model, attention_weights(model, pairs[0].source, pairs[0].target), order};
  };
  const AttentionView both[] = {view("before", before, {{{"decoder", 1}, {0, 2, 1, 3, 4, 5, 6, 7}}}),
                                view("after", after)};
  const PicturedSite& decoder = pictured_sites()[1];
  const std::vector<HeatMapGroup> frames = attention_frames(decoder, 1, both, tokenizer, pairs[0]);
  REQUIRE(frames.size() == 1);
  CHECK(frames[0].title == "decoder, layer 2, key/value head 1: query heads 1–8");
  CHECK(frames[0].columns == 4);
  REQUIRE(frames[0].panels.size() == 16);
  std::vector<std::string> titles;
  for (const HeatMap& panel : frames[0].panels) titles.push_back(panel.title);
  CHECK(titles[1] == "head 3, before");
  CHECK(titles[2] == "head 2, before");
  CHECK(titles[5] == "head 2, after");
  CHECK(titles[8] == "head 5, before");
  CHECK(titles[15] == "head 8, after");
  const HeatMap& panel = frames[0].panels[1];
  REQUIRE(panel.row_labels == std::vector<std::string>{"c", "2", "<end>"});
  REQUIRE(panel.column_labels == std::vector<std::string>{"<begin>", "c", "2"});
  for (std::size_t t = 0; t < 3; ++t)
    for (std::size_t s = 0; s < 3; ++s) {
      if (s > t) CHECK(std::isnan(panel.values[t * 3 + s]));
      const double weight = both[0].weights.decoder_self[1].at({2, static_cast<Size>(t), static_cast<Size>(s)});
      if (s <= t) CHECK(static_cast<double>(panel.values[t * 3 + s]) == doctest::Approx(weight).epsilon(1e-6));
    }
}

TEST_CASE("heads have moved nowhere in the same model, are found again in another order, and far in another model") {
  const Transformer model = model_of(multi_head(4));
  for (const HeadDistances& head : head_distances(model, model, pairs, pictured_sites())) {
    CHECK(head.moved == 0);
    CHECK(head.head_before == head.head);
    CHECK(head.apart == head.apart_before);
    CHECK(head.apart > 0.01);
  }
  const std::vector<Size> order = {2, 0, 3, 1};
  const std::vector<HeadDistances> found = head_distances(model, reordered(model, order), pairs, pictured_sites());
  REQUIRE(found.size() == 3 * 2 * 4);
  for (const HeadDistances& head : found) {
    CHECK(head.moved < 1e-5);
    CHECK(head.head_before == order[static_cast<std::size_t>(head.head)]);
  }
  CHECK(order_before(found).at({"cross", 1}) == order);
  const Transformer other = lively_model(model.config(), 51);
  double least = 1;
  for (const HeadDistances& head : head_distances(model, other, pairs, pictured_sites()))
    least = std::min(least, head.moved);
  CHECK(least > 0.01);
  CHECK_THROWS_WITH_AS(head_distances(model, model_of(multi_head(2)), pairs, pictured_sites()),
                       "lab attention: models with 4 and 2 query heads cannot be compared", Error);
}

TEST_CASE("distances of a group are means over its pairs of heads") {
  const Transformer model = model_of(grouped_query(4, 2));
  const std::vector<TokenPair> one = {pairs[0]};
  const AttentionWeights weights = attention_weights(model, one[0].source, one[0].target);
  for (const HeadDistances& head : head_distances(model, model, one, pictured_sites())) {
    const Tensor& layer = weights.at(head.site->site)[static_cast<std::size_t>(head.layer)];
    const auto of = [&](Size h) { return layer.slice(0, h, h + 1).reshape(layer.shape().without(0)); };
    const Size neighbour = head.head ^ 1;  // heads 0 and 1 share, and 2 and 3
    CHECK(head.apart == doctest::Approx(total_variation(of(head.head), of(neighbour))));
  }
}

TEST_CASE("lab attention draws runs before and after conversion and says how far heads moved") {
  const TemporaryFolder& folder = runs();
  const Outcome outcome =
      headshare_command(folder, "lab attention run gqa --data text --line 3 --sentences 4 --out maps --json rows.json");
  REQUIRE_MESSAGE(outcome.code == 0, outcome.error);
  CHECK(contains(outcome.out, "gqa against run, cross: the attention of a head moved by"));
  const nlohmann::json lab = nlohmann::json::parse(read_file(folder / "maps/lab.json"));
  CHECK(lab["charts"].size() == 9);
  for (const auto& chart : lab["charts"]) {
    CAPTURE(chart.dump());
    const PictureSize size = picture_size(folder.path / "maps" / chart["file"].get<std::string>());
    CHECK(size.width > 600);
    CHECK(size.width < 3000);
    CHECK(size.height > 600);
    CHECK(size.height < 6000);
  }
  CHECK(lab["charts"][8]["file"] == "run-to-gqa-cross.png");
  CHECK(lab["samples"][0]["source"] == read_lines(folder / "text.en")[2]);
  REQUIRE(lab["rows"].size() == 3 * 2 * 4);
  CHECK(nlohmann::json::parse(read_file(folder / "rows.json")) == lab["rows"]);
  double most = 0;
  for (const auto& row : lab["rows"]) {
    const double moved = row["moved"].get<double>();
    if (row["site"] == "encoder") CHECK(moved == 0);  // conversion left it alone, and it reads the same words
    CHECK(row["apart"].get<double>() > 0);
    CHECK(row["group"] == (row["site"] == "encoder" ? "1-4" : row["head"].get<int>() <= 2 ? "1-2" : "3-4"));
    most = std::max(most, moved);
  }
  CHECK(most > 0);
  CHECK(contains(read_file(folder / "maps/results.md"), "key/value head 2: query heads 3–4"));
}

TEST_CASE("lab attention draws one run, one site, one layer, with the translation that was asked for") {
  const TemporaryFolder& folder = runs();
  const Outcome outcome = headshare_command(folder,
                                            "lab attention gqa --sentence 'the red dog sees the tree' --translation "
                                            "'das rote' --site cross --layer 2 --out one");
  REQUIRE_MESSAGE(outcome.code == 0, outcome.error);
  const nlohmann::json lab = nlohmann::json::parse(read_file(folder / "one/lab.json"));
  REQUIRE(lab["charts"].size() == 1);
  CHECK(lab["rows"].size() == 2 * 4);  // both layers are measured
  CHECK_FALSE(lab["rows"][0].contains("moved"));
  const PictureSize one = picture_size(folder / "one/gqa-cross.png");
  CHECK(one.height > 200);
  const Outcome all = headshare_command(folder,
                                        "lab attention gqa --sentence 'the red dog sees the tree' --translation "
                                        "'das rote' --site cross --out both");
  REQUIRE_MESSAGE(all.code == 0, all.error);
  CHECK(picture_size(folder / "both/gqa-cross.png").height > one.height + 200);
  check_refused(headshare_command(folder, "lab attention gqa --sentence x --out one"), 1, "is there already");
}

TEST_CASE("lab attention refuses what it cannot draw with one line") {
  const TemporaryFolder& folder = runs();
  const auto refused = [&](const std::string& words, int code, const std::string& part) {
    CAPTURE(words);
    check_refused(headshare_command(folder, "lab attention " + words), code, part);
  };
  refused("--sentence x --out bad", 2, "RUN is missing");
  refused("run --out bad", 2, "--sentence or --data is missing");
  refused("run --sentence x", 2, "--out is missing");
  refused("run --sentence x --data text --out bad", 2, "exclude each other");
  refused("run --sentence x --site middle --out bad", 2, "--site must be all, encoder, decoder or cross, not middle");
  refused("run --sentence x --layer 0 --out bad", 2, "--layer must be at least 1");
  refused("run --sentence x --layer 3 --out bad", 2, "--layer 3, but the model has 2");
  refused("run --sentence x --no-such-option --out bad", 2, "headshare lab attention --help");
  refused("run --data text --line 41 --out bad", 1, "--line 41, but text has 40 lines");
  refused("run --data nowhere --out bad", 1, "nowhere");
  refused("nowhere --sentence x --out bad", 1, "no model at nowhere");
  refused("run other --sentence x --out bad", 1, "different tokenizers");
  refused("run two --sentence x --out bad", 1, "4 and 2 query heads cannot be compared");
  refused("run --sentence '" + std::string(70, 'q') + "' --out bad", 1, "tokens, the model");
  CHECK_FALSE(std::filesystem::exists(folder / "bad"));
}

TEST_CASE("lab attention --quick trains a toy model and draws it before and after its heads are shared") {
  const TemporaryFolder folder;
  const Outcome outcome = headshare_command(folder, "lab attention --quick --out quick");
  REQUIRE_MESSAGE(outcome.code == 0, outcome.error);
  const nlohmann::json lab = nlohmann::json::parse(read_file(folder / "quick/lab.json"));
  CHECK(lab["charts"].size() == 9);
  CHECK(lab["findings"].size() == 3);
  REQUIRE(lab["rows"].size() == 3 * 2 * 8);
  double moved = 0, apart = 0, before = 0;
  for (const auto& row : lab["rows"]) {
    moved += row["moved"].get<double>();
    apart += row["apart"].get<double>();
    before += row["apart_before"].get<double>();
  }
  CHECK(moved > 1);
  CHECK(apart < before);  // heads that read the same keys look more alike
}
