#include "core/report/table.h"

#include <doctest/doctest.h>

#include "core/error.h"

using namespace headshare;

namespace {

Table example() {
  Table table({{"attention"}, {"BLEU", Alignment::right}, {"größe", Alignment::right}});
  table.add_row({"multi-head", "31.42", "8"});
  table.add_row({"Mehrfrage für äöü", "9.5", "1"});
  return table;
}

}  // namespace

TEST_CASE("a plain table aligns its columns by letters, not by bytes") {
  CHECK(example().plain() ==
        "attention           BLEU  größe\n"
        "-----------------  -----  -----\n"
        "multi-head         31.42      8\n"
        "Mehrfrage für äöü    9.5      1\n");
}

TEST_CASE("a markdown table says how its columns are aligned") {
  CHECK(example().markdown() ==
        "| attention         |  BLEU | größe |\n"
        "| ----------------- | ----: | ----: |\n"
        "| multi-head        | 31.42 |     8 |\n"
        "| Mehrfrage für äöü |   9.5 |     1 |\n");
}

TEST_CASE("lines of a plain table do not end in spaces and a table without rows shows its header") {
  Table table({{"a"}, {"long header"}});
  CHECK(table.plain() == "a  long header\n-  -----------\n");
  table.add_row({"x", ""});
  CHECK(table.plain() == "a  long header\n-  -----------\nx\n");
}

TEST_CASE("a cell cannot break the table around it") {
  Table table({{"text"}});
  table.add_row({"a|b\nc"});
  CHECK(table.markdown() == "| text   |\n| ------ |\n| a\\|b c |\n");
  CHECK(table.plain() == "text\n-----\na|b c\n");
}

TEST_CASE("bytes that are not UTF-8 count one column each") {
  Table table({{"a"}, {"b"}});
  table.add_row({"\xFF\xFE", "x"});
  CHECK(table.plain() == "a   b\n--  -\n\xFF\xFE  x\n");
}

TEST_CASE("a row with too few or too many cells is an error, and so is a table without columns") {
  Table table({{"a"}, {"b"}});
  CHECK_THROWS_WITH_AS(table.add_row({"1"}), "table: a row of 1 cells does not fit its 2 columns", Error);
  CHECK_THROWS_WITH_AS(table.add_row({"1", "2", "3"}), "table: a row of 3 cells does not fit its 2 columns", Error);
  CHECK_THROWS_WITH_AS(Table(std::vector<TableColumn>{}), "table: it has no columns", Error);
}
