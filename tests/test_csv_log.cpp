#include "core/report/csv_log.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>

#include "core/error.h"
#include "core/file.h"
#include "tests/test_tools.h"

using namespace headshare;

namespace {

using test::contains;
using test::error_of;
using test::TemporaryFolder;

const std::vector<std::string> columns{"step", "train_loss", "valid_loss"};

}  // namespace

TEST_CASE("a log has a header and a row per report, each in the file at once") {
  const TemporaryFolder folder;
  const auto path = folder.path / "new" / "log.csv";
  CsvLog log(path, columns);
  CHECK(read_file(path) == "step,train_loss,valid_loss\n");
  log.append({Size{1}, 2.5, {}});
  CHECK(read_file(path) == "step,train_loss,valid_loss\n1,2.5,\n");
  log.append({2, 0.1f, -3e-7});
  CHECK(read_file(path) == "step,train_loss,valid_loss\n1,2.5,\n2,0.1,-3e-07\n");
}

TEST_CASE("numbers read back as the same bits") {
  const TemporaryFolder folder;
  const auto path = folder.path / "log.csv";
  const double values[] = {0.1, 1.0 / 3, 1e300, -5e-324, 0, 123456789.123456789};
  {
    CsvLog log(path, {"step", "value"});
    for (Size step = 0; step < 6; ++step) log.append({step, values[step]});
    log.append({6, std::nan("")});
    log.append({7, -std::numeric_limits<double>::infinity()});
    log.append({std::numeric_limits<Size>::max(), {}});
  }
  const CsvTable table = read_csv(path);
  const std::vector<double> read = table.numbers("value");
  REQUIRE(read.size() == 9);
  for (std::size_t i = 0; i < 6; ++i) CHECK(read[i] == values[i]);
  CHECK(std::isnan(read[6]));
  CHECK(read[7] == -std::numeric_limits<double>::infinity());
  CHECK(std::isnan(read[8]));
  CHECK(table.strings("step").back() == "9223372036854775807");
}

TEST_CASE("resuming drops the rows after the checkpoint and a torn last line, and goes on") {
  const TemporaryFolder folder;
  const auto path = folder.path / "log.csv";
  write_file(path, "step,train_loss,valid_loss\n100,3,\n200,2,2.5\n200,1.9,\n300,1.5,\n400,1.");
  {
    CsvLog log(path, columns, {.resume_after_step = 200});
    CHECK(read_file(path) == "step,train_loss,valid_loss\n100,3,\n200,2,2.5\n200,1.9,\n");
    log.append({300, 1.25, {}});
  }
  CHECK(read_file(path) == "step,train_loss,valid_loss\n100,3,\n200,2,2.5\n200,1.9,\n300,1.25,\n");
}

TEST_CASE("resuming keeps every finished row up to the checkpoint and drops a torn one even when its step is small") {
  const TemporaryFolder folder;
  const auto path = folder.path / "log.csv";
  const std::string whole = "step,train_loss,valid_loss\n100,3,\n200,2,\n";
  write_file(path, whole);
  { const CsvLog log(path, columns, {.resume_after_step = 1000}); }
  CHECK(read_file(path) == whole);
  write_file(path, whole + "3");
  { const CsvLog log(path, columns, {.resume_after_step = 1000}); }
  CHECK(read_file(path) == whole);
}

TEST_CASE("resuming without a log, or with one that was killed inside its header, starts a new one") {
  const TemporaryFolder folder;
  const auto path = folder.path / "log.csv";
  { const CsvLog log(path, columns, {.resume_after_step = 5}); }
  CHECK(read_file(path) == "step,train_loss,valid_loss\n");
  for (const std::string torn : {"", "step,trai"}) {
    write_file(path, torn);
    { const CsvLog log(path, columns, {.resume_after_step = 5}); }
    CHECK(read_file(path) == "step,train_loss,valid_loss\n");
  }
}

TEST_CASE("resuming a log of other columns or with a damaged row is an error that leaves the file as it was") {
  const TemporaryFolder folder;
  const auto path = folder.path / "log.csv";
  const auto resume = [&] { CsvLog(path, columns, {.resume_after_step = 1}); };

  write_file(path, "step,loss\n1,2\n2,1\n");
  CHECK(contains(error_of(resume), "its columns are step,loss, but this run writes step,train_loss,valid_loss"));
  CHECK(read_file(path) == "step,loss\n1,2\n2,1\n");

  for (const std::string damaged : {"1,2\n", "one,2,3\n", "\n", "1,2,3,4\n", "1.5,2,3\n"}) {
    CAPTURE(damaged);
    write_file(path, "step,train_loss,valid_loss\n0,1,2\n" + damaged);
    CHECK(contains(error_of(resume), "line 3: needed 3 fields that begin with the step"));
    CHECK(read_file(path) == "step,train_loss,valid_loss\n0,1,2\n" + damaged);
  }
}

TEST_CASE("a row that does not fit the log is an error and is not written") {
  const TemporaryFolder folder;
  const auto path = folder.path / "log.csv";
  write_file(path, "step,train_loss,valid_loss\n7,1,\n");
  CsvLog log(path, columns, {.resume_after_step = 7});
  const std::string before = read_file(path);
  CHECK(contains(error_of([&] { log.append({8, 1.0}); }), "a row of 2 values does not fit its 3 columns"));
  CHECK(contains(error_of([&] { log.append({8.0, 1.0, {}}); }), "must be the step, an integer"));
  CHECK(contains(error_of([&] { log.append({6, 1.0, {}}); }), "step 6 comes after step 7; steps must not go back"));
  CHECK(read_file(path) == before);
  log.append({7, 1.0, {}});
  CHECK(read_file(path) == before + "7,1,\n");
}

TEST_CASE("a log that cannot be opened or has no columns is an error") {
  const TemporaryFolder folder;
  write_file(folder.path / "file", "kept");
  CHECK(contains(error_of([&] { CsvLog(folder.path / "file" / "log.csv", columns); }), "cannot make the folder"));
  CHECK(contains(error_of([&] { CsvLog(folder.path / "log.csv", {}); }), "the first must be the step"));
  CHECK(contains(error_of([&] { CsvLog(folder.path / "log.csv", {"step", ""}); }), "a column has no name"));
}

TEST_CASE("fields in quotes may hold commas, quotes and line ends") {
  const TemporaryFolder folder;
  const auto path = folder.path / "table.csv";
  write_file(path, "name,\"a \"\"b\"\", c\"\r\n\"x,\ny\",1\r\nz,2");
  const CsvTable table = read_csv(path);
  CHECK(table.columns == std::vector<std::string>{"name", "a \"b\", c"});
  CHECK(table.strings("name") == std::vector<std::string>{"x,\ny", "z"});
  CHECK(table.numbers("a \"b\", c") == std::vector<double>{1, 2});

  // What the log quotes in its header must come back when it is resumed.
  const std::vector<std::string> odd{"step", "loss, \"smoothed\""};
  { CsvLog(folder.path / "odd.csv", odd).append({1, 2.0}); }
  { CsvLog(folder.path / "odd.csv", odd, {.resume_after_step = 1}).append({2, 3.0}); }
  CHECK(read_csv(folder.path / "odd.csv").numbers(odd[1]) == std::vector<double>{2, 3});
}

TEST_CASE("reading says what is wrong with a file and where") {
  const TemporaryFolder folder;
  const auto path = folder.path / "table.csv";
  const auto read = [&] { read_csv(path); };
  CHECK(contains(error_of(read), "cannot read"));
  write_file(path, "");
  CHECK(contains(error_of(read), "it is empty, but a CSV file begins with a header"));
  write_file(path, "a,b\n1,2\n3\n");
  CHECK(contains(error_of(read), "line 3: it has 1 fields, but the header names 2"));
  write_file(path, "a,b\n1,2\n3");  // a run is writing this line right now
  CHECK(read_csv(path).rows.size() == 1);
  write_file(path, "a,b\n1,2x\n");
  CHECK(contains(error_of([&] { read_csv(path).numbers("b"); }), "\"2x\" in column \"b\" is not a number"));
  CHECK(contains(error_of([&] { read_csv(path).numbers("c"); }), "has no column \"c\"; it has a,b"));
}
