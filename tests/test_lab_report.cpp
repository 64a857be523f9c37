#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "cli/lab/lab_result.h"
#include "core/random.h"
#include "core/report/canvas.h"
#include "core/report/html.h"
#include "tests/command_helpers.h"
#include "tests/html_reader.h"

// What an experiment leaves (lab.json, results.md) and the page that shows several of them.
namespace headshare {
namespace {

using cli::LabResult;
using test::check_refused;
using test::contains;
using test::error_of;
using test::headshare_command;
using test::Outcome;
using test::TemporaryFolder;

// Every kind of part, with texts that break a page when they are not escaped. `mark` makes them differ.
LabResult example(const std::string& mark) {
  return {.lab = "decode",
          .title = "What bounds a step, " + mark,
          .configuration = {{"batch " + mark, "128"}, {"words", "<b>\"a\" & 'b'</b>"}},
          .machine = cli::describe_machine(),
          .signatures = {"nrefs:1|case:mixed|" + mark},
          .findings = {"1 head is 2.7 times as fast as 8, " + mark + ".", "</ul><script>alert(1)</script>"},
          .tables = {{"Speed " + mark,
                      "note " + mark,
                      {{"heads"}, {"ms", Alignment::right}},
                      {{"8 " + mark, "22.08"}, {"1 | <i>", "8.21 " + mark}}},
                     {"Empty " + mark, "", {{"nothing"}}, {}}},
          .charts = {{"Roofline " + mark, "roofline.png"}},
          .samples = {{"The dog sleeps " + mark, "Der Hund schläft", {{"mha " + mark, "Der <Hund> schläft"}}}},
          .rows = nlohmann::ordered_json::array({{{"heads", 8}, {"ms", 22.08}}, {{"heads", 1}, {"ms", 8.21}}})};
}

std::string picture(Size width) { return Canvas(width, 7).encode_png(); }

// Two experiments in folders a and b.
void write_examples(const TemporaryFolder& folder) {
  cli::save(example("A"), folder / "a");
  cli::save(example("B"), folder / "b");
  write_file(folder / "a/roofline.png", picture(33));
  write_file(folder / "b/roofline.png", picture(97));
}

bool same_bits(double a, double b) { return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b); }

}  // namespace

TEST_CASE("a result comes back from its folder whole, every number bit for bit") {
  const TemporaryFolder folder;
  LabResult result = example("A");
  std::vector<double> numbers = {0.0, -0.0, 0.1, 1e23, 5e-324, std::numeric_limits<double>::max(), 1.0 / 3};
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const std::uint64_t bits = (i * 0x9E3779B97F4A7C15u) ^ (i << 52);  // every exponent, scattered digits
    if (std::isfinite(std::bit_cast<double>(bits))) numbers.push_back(std::bit_cast<double>(bits));
  }
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double number : numbers) result.rows.push_back({{"x", number}, {"infinite", -infinity}});
  result.rows.push_back({{"x", std::nan("")}, {"infinite", infinity}, {"name", "NaNa"}, {"done", true}, {"none", {}}});
  cli::save(result, folder / "a");
  const LabResult again = cli::load_lab_result(folder / "a");

  REQUIRE(again.rows.size() == result.rows.size());
  Size different = 0;
  for (std::size_t i = 0; i < numbers.size(); ++i)
    different += !same_bits(again.rows[i + 2]["x"].get<double>(), numbers[i]) ||
                 again.rows[i + 2]["infinite"].get<double>() != -infinity;
  CHECK(different == 0);
  CHECK(std::isnan(again.rows.back()["x"].get<double>()));
  CHECK(again.rows.back()["infinite"].get<double>() == infinity);
  CHECK(again.rows.back()["name"] == "NaNa");
  CHECK(again.rows.back()["done"] == true);
  CHECK(again.rows.back()["none"].is_null());

  cli::save(again, folder / "b");  // the same bytes again: nothing was lost on the way
  CHECK(read_file(folder / "b/lab.json") == read_file(folder / "a/lab.json"));
  CHECK(read_file(folder / "b/results.md") == read_file(folder / "a/results.md"));
  cli::write_rows(again, folder / "rows.json");
  CHECK(nlohmann::json::parse(read_file(folder / "rows.json")).size() == result.rows.size());
}

TEST_CASE("results.md shows everything but the rows, and text stays text") {
  const TemporaryFolder folder;
  cli::save(example("A"), folder / "a");
  const std::string page = read_file(folder / "a/results.md");
  for (const std::string part :
       {"# What bounds a step, A\n", "* 1 head is 2.7 times as fast as 8, A.\n", "* \\</ul>\\<script>", "## Speed A\n",
        "| 8 A       |  22.08 |", "| 1 \\| \\<i> |", "note A", "![Roofline A](<roofline.png>)", "The dog sleeps A",
        "| mha A", "Der \\<Hund> schläft", "| batch A", "| processor", "| commit", "* `nrefs:1|case:mixed|A`"})
    CHECK_MESSAGE(contains(page, part), part);
}

TEST_CASE("a result that could not be read back is not written") {
  const TemporaryFolder folder;
  const auto refusal = [&](const std::function<void(LabResult&)>& change) {
    LabResult result = example("A");
    change(result);
    return error_of([&] { cli::save(result, folder / "a"); });
  };
  CHECK(contains(refusal([](LabResult& r) { r.rows.push_back({{"list", {1, 2}}}); }), "\"list\" is not one value"));
  CHECK(contains(refusal([](LabResult& r) { r.rows.push_back(3); }), "an object was needed"));
  CHECK(contains(refusal([](LabResult& r) { r.tables[0].rows.push_back({"alone"}); }), "does not fit"));
  CHECK(contains(refusal([](LabResult& r) { r.charts[0].file = "../a.png"; }), "not the name of a file"));
  CHECK_FALSE(std::filesystem::exists(folder / "a"));
}

TEST_CASE("a damaged lab.json is refused in one line that names it") {
  const TemporaryFolder folder;
  write_examples(folder);
  const std::string good = read_file(folder / "a/lab.json");
  const auto refusal = [&](const std::string& contents) {
    write_file(folder / "a/lab.json", contents);
    return error_of([&] { cli::load_lab_result(folder / "a"); });
  };
  const auto replaced = [&](const std::string& part, const std::string& other) {
    REQUIRE(contains(good, part));
    return refusal(std::string(good).replace(good.find(part), part.size(), other));
  };
  CHECK(refusal(good) == "no error");
  CHECK(contains(replaced("\"headshare lab\": 1", "\"headshare lab\": 2"), "does not begin with"));
  CHECK(contains(replaced("\"title\"", "\"tittle\""), "there is no \"title\""));
  CHECK(contains(replaced("\"22.08\"", "22.08"), "tables[0]: rows[0]: row[1]: a text was needed, not number"));
  CHECK(contains(replaced(",\"22.08\"", ""), "tables[0]: rows[0]: 1 cells do not fit 2 columns"));
  CHECK(contains(replaced("\"right\"", "\"up\""), "must be left or right"));
  CHECK(contains(replaced("roofline.png", "../b/roofline.png"), "charts[0]: \"../b/roofline.png\" is not the name"));
  CHECK(contains(replaced("roofline.png", ".."), "is not the name"));
  CHECK(contains(replaced("{\"heads\":8,\"ms\":22.08}", "8"), "rows[0]: an object was needed"));
  CHECK(contains(replaced("\"ms\":22.08", "\"ms\":[22.08]"), "rows[0]: \"ms\" is not one value"));
  CHECK(contains(replaced("\"ms\":22.08", "\"ms\":1e999"), "cannot be read"));
  CHECK(contains(refusal("[1, 2]"), "does not begin with"));
  CHECK(contains(refusal(std::string(100'000, '[')), "no JSON at byte 100001"));

  // Cut anywhere, or with bytes changed anywhere: a result or one line, never anything else.
  Generator random(1);
  Size refused = 0;
  std::string odd;
  for (Size i = 0; i < 600; ++i) {
    std::string damaged = good;
    damaged[random.below(std::ssize(damaged))] = static_cast<char>(random.below(256));
    if (i % 3 == 0) damaged.resize(random.below(std::ssize(damaged)));
    const std::string error = refusal(damaged);
    if (error == "no error") continue;
    ++refused;
    if (!contains(error, "a/lab.json is ") || contains(error, "\n") || error.size() > 400) odd += error + '\n';
  }
  CHECK(odd == "");
  CHECK(refused > 300);
}

TEST_CASE("the machine's description names processor, device, version, compiler and commit") {
  std::string names, commit;
  for (const LabResult::Field& field : cli::describe_machine()) {
    names += field.name + ' ';
    CHECK_FALSE(field.value.empty());
    if (field.name == "commit") commit = field.value;
  }
  CHECK(names == "processor device headshare commit compiler ");
  const std::string hash = commit.substr(0, commit.find('+'));
  CHECK((commit == "unknown" || hash.find_first_not_of("0123456789abcdef") == std::string::npos));
}

TEST_CASE("lab says which labs there are") {
  const TemporaryFolder folder;
  const Outcome list = headshare_command(folder, "lab");
  CHECK(list.code == 0);
  for (const char* name : {"uptrain", "shazeer", "decode", "attention", "report"})
    CHECK_MESSAGE(contains(list.out, text('\n', name, ' ')), name);
  CHECK(contains(headshare_command(folder, "lab --help").out, "Example:\n"));
  CHECK(contains(headshare_command(folder, "lab report --help").out, "Example:\n"));
  check_refused(headshare_command(folder, "lab fly"), 2, "there is no lab 'fly'");
  check_refused(headshare_command(folder, "lab --fly"), 2, "headshare lab --help");
  check_refused(headshare_command(folder, "lab report --out report.html"), 2, "FOLDER is missing");
  check_refused(headshare_command(folder, "lab report a"), 2, "--out is missing");
}

TEST_CASE("the page holds every part of every experiment, and nothing that it would have to load") {
  const TemporaryFolder folder;
  write_examples(folder);
  const Outcome outcome =
      headshare_command(folder, "lab report a b --out report.html --title 'Two & more' --json rows.json");
  REQUIRE_MESSAGE(outcome.code == 0, outcome.error);
  const std::string html = read_file(folder / "report.html");
  const test::ReadPage page = test::read_html(html);
  test::check_page(page);
  CHECK(page.has("h1", "Two & more"));
  CHECK(page.has("title", "Two & more"));
  CHECK_FALSE(contains(html, "http:"));
  CHECK_FALSE(contains(html, "https:"));

  std::vector<std::string> cells;
  for (const std::string mark : {"A", "B"}) {
    const LabResult result = example(mark);
    CHECK(page.has("h2", result.title));
    for (const std::string& finding : result.findings) CHECK(page.has("li", finding));
    for (const LabResult::Table& table : result.tables) {
      CHECK(page.has("h3", table.title));
      if (!table.note.empty()) CHECK(page.has("p", table.note));
      for (const TableColumn& column : table.columns) CHECK(page.has("th", column.header));
      for (const auto& row : table.rows) cells.insert(cells.end(), row.begin(), row.end());
    }
    for (const LabResult::Chart& chart : result.charts) CHECK(page.has("figcaption", chart.title));
    for (const std::vector<LabResult::Field>& fields :
         {result.configuration, result.machine, result.samples[0].translations})
      for (const LabResult::Field& field : fields) {
        CHECK(page.has("dt", field.name));
        CHECK(page.has("dd", field.value));
      }
    for (const std::string& text : {result.samples[0].source, result.samples[0].reference}) CHECK(page.has("dd", text));
    for (const std::string& signature : result.signatures) CHECK(page.has("code", signature));
  }
  CHECK(page.texts.at("td") == cells);
  CHECK(page.texts.at("mark") == std::vector<std::string>{"<Hund>", "<Hund>"});
  const std::vector<test::HtmlTag> pictures = page.named("img");
  REQUIRE(pictures.size() == 2);
  CHECK(pictures[0].attributes.at("src") == "data:image/png;base64," + base64(picture(33)));
  CHECK(pictures[1].attributes.at("src") == "data:image/png;base64," + base64(picture(97)));
  CHECK(html.find("Findings</h2>") < html.find("Speed A</h3>"));
  CHECK(page.named("nav").size() == 1);

  const nlohmann::json rows = nlohmann::json::parse(read_file(folder / "rows.json"));
  REQUIRE(rows.size() == 4);
  CHECK(rows[2] == nlohmann::json{{"lab", "decode"}, {"heads", 8}, {"ms", 22.08}});

  // The same folders make the same bytes, in place of the old page.
  const Outcome again = headshare_command(folder, "lab report a b --out report.html --title 'Two & more'");
  REQUIRE_MESSAGE(again.code == 0, again.error);
  CHECK(read_file(folder / "report.html") == html);
}

TEST_CASE("a report that cannot be made costs nothing that was there") {
  const TemporaryFolder folder;
  write_examples(folder);
  const std::string old = "<!DOCTYPE html>\n<p>the old report";
  write_file(folder / "report.html", old);
  const std::string command = "lab report a b --out report.html --json rows.json";
  const auto refused = [&](const std::string& words, const std::string& part) {
    check_refused(headshare_command(folder, words), 1, part);
    CHECK(read_file(folder / "report.html") == old);
  };
  refused("lab report a nowhere --out report.html", "no lab.json in nowhere");
  std::filesystem::remove(folder / "b/roofline.png");
  refused(command, "b/roofline.png");
  write_file(folder / "b/roofline.png", "<svg onload='alert(1)'/>");
  refused(command, "b/roofline.png: html: what should be a PNG picture is none");
  write_file(folder / "b/roofline.png", picture(1));
  write_file(folder / "b/lab.json", read_file(folder / "b/lab.json").substr(0, 300));
  refused(command, "b/lab.json is damaged");
  refused("lab report a --out a/lab.json", "is there already and is not an HTML page");
  refused("lab report a --out b", "b: it is a folder");
  CHECK(cli::load_lab_result(folder / "a").lab == "decode");

  std::vector<std::string> names = folder.names();
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{"a", "b", "error.txt", "input", "out.txt", "report.html"});
}

TEST_CASE("report --quick measures this machine and needs no other experiment") {
  const TemporaryFolder folder;
  const Outcome outcome = headshare_command(folder, "lab report --quick --out machine.html --json rows.json");
  REQUIRE_MESSAGE(outcome.code == 0, outcome.error);
  const test::ReadPage page = test::read_html(read_file(folder / "machine.html"));
  test::check_page(page);
  CHECK(page.named("img").size() == 1);
  const nlohmann::json rows = nlohmann::json::parse(read_file(folder / "rows.json"));
  CHECK(rows.size() > 5);
  CHECK(page.texts.at("td").size() == 2 * (rows.size() - 1));
  for (const auto& row : rows) CHECK((row.contains("GB/s") ? row["GB/s"] : row["GFLOP/s"]).get<double>() > 0);
}

}  // namespace headshare
