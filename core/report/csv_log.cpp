#include "core/report/csv_log.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/file.h"

namespace headshare {
namespace {

// One row of a file, and where it stands.
struct Record {
  std::vector<std::string> fields;
  std::string_view bytes;  // with its line end
  Size line;               // its first, counted from 1
  bool is_finished;        // it has a line end
};

// Splits a file by RFC 4180: a field in quotes may hold commas, line ends and doubled quotes. Takes \n and \r\n.
std::vector<Record> split_records(std::string_view file) {
  std::vector<Record> records;
  Size line = 1;
  for (std::size_t i = 0; i < file.size();) {
    const std::size_t begin = i;
    Record record{{""}, {}, line, false};
    bool quoted = false;
    for (; i < file.size() && !record.is_finished; ++i) {
      const char letter = file[i];
      const char next = i + 1 < file.size() ? file[i + 1] : '\0';
      if (letter == '\n') ++line;
      if (letter == '"' && quoted && next == '"') {
        record.fields.back() += '"';
        ++i;
      } else if (letter == '"') {
        quoted = !quoted;
      } else if (letter == ',' && !quoted) {
        record.fields.emplace_back();
      } else if (letter == '\n' && !quoted) {
        record.is_finished = true;
      } else if (!(letter == '\r' && next == '\n' && !quoted)) {
        record.fields.back() += letter;
      }
    }
    record.bytes = file.substr(begin, i - begin);
    records.push_back(std::move(record));
  }
  return records;
}

std::string quoted_if_needed(const std::string& field) {
  if (field.find_first_of(",\"\r\n") == std::string::npos) return field;
  std::string quoted = "\"";
  for (const char letter : field) quoted += letter == '"' ? std::string("\"\"") : std::string(1, letter);
  return quoted + '"';
}

std::string joined(const std::vector<std::string>& fields) {
  std::string line;
  for (std::size_t c = 0; c < fields.size(); ++c) line += (c > 0 ? "," : "") + quoted_if_needed(fields[c]);
  return line;
}

// The shortest decimal number that reads back as the same bits, or nothing for a missing value.
std::string written(const CsvValue& value) {
  char digits[64];
  char* end = digits;
  if (const Size* integer = std::get_if<Size>(&value))
    end = std::to_chars(digits, digits + sizeof digits, *integer).ptr;
  if (const float* real = std::get_if<float>(&value)) end = std::to_chars(digits, digits + sizeof digits, *real).ptr;
  if (const double* real = std::get_if<double>(&value)) end = std::to_chars(digits, digits + sizeof digits, *real).ptr;
  return std::string(digits, end);
}

template <class Number>
std::optional<Number> parse(const std::string& field) {
  Number number{};
  const char* end = field.data() + field.size();
  const auto [stop, error] = std::from_chars(field.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

}  // namespace

CsvLog::CsvLog(std::filesystem::path path, std::vector<std::string> columns, CsvLogOptions options)
    : path_(std::move(path)), columns_(std::move(columns)) {
  if (columns_.empty()) fail("log ", path_.string(), ": it has no columns; the first must be the step");
  for (const std::string& column : columns_)
    if (column.empty()) fail("log ", path_.string(), ": a column has no name");
  if (options.resume_after_step && std::filesystem::exists(path_))
    keep_rows_up_to(*options.resume_after_step);
  else
    write_file(path_, joined(columns_) + '\n');
  errno = 0;
  out_.open(path_, std::ios::binary | std::ios::app);
  if (!out_) fail("cannot write ", path_.string(), ": ", std::strerror(errno));
}

void CsvLog::keep_rows_up_to(Size step) {
  const std::string file = read_file(path_);
  const std::vector<Record> records = split_records(file);
  std::string kept = joined(columns_) + '\n';
  // A file without a finished line was killed before its header reached the disk: there is nothing to keep.
  if (!records.empty() && records.front().is_finished && records.front().fields != columns_)
    fail("log ", path_.string(), ": its columns are ", joined(records.front().fields), ", but this run writes ",
         joined(columns_), "; move the file away, or resume with the version and options that wrote it");

  for (std::size_t r = 1; r < records.size(); ++r) {
    const Record& record = records[r];
    if (!record.is_finished) continue;
    const std::optional<Size> row_step = parse<Size>(record.fields.front());
    if (record.fields.size() != columns_.size() || !row_step)
      fail("log ", path_.string(), ", line ", record.line, ": needed ", columns_.size(),
           " fields that begin with the step; repair the line or move the file away");
    if (*row_step > step) continue;
    kept += record.bytes;
    last_step_ = std::max(*row_step, last_step_.value_or(*row_step));
  }
  if (kept != file) write_file(path_, kept);
}

void CsvLog::append(const std::vector<CsvValue>& values) {
  if (values.size() != columns_.size())
    fail("log ", path_.string(), ": a row of ", values.size(), " values does not fit its ", columns_.size(),
         " columns");
  const Size* step = std::get_if<Size>(&values.front());
  if (step == nullptr) fail("log ", path_.string(), ": the first value of a row must be the step, an integer");
  if (last_step_ && *step < *last_step_)
    fail("log ", path_.string(), ": step ", *step, " comes after step ", *last_step_, "; steps must not go back");

  std::string line;
  for (std::size_t c = 0; c < values.size(); ++c) line += (c > 0 ? "," : "") + written(values[c]);
  line += '\n';
  errno = 0;
  out_ << line << std::flush;
  if (!out_) fail("cannot write ", path_.string(), ": ", std::strerror(errno));
  last_step_ = *step;
}

CsvTable read_csv(const std::filesystem::path& path) {
  const std::string file = read_file(path);
  std::vector<Record> records = split_records(file);
  if (records.empty()) fail("cannot read ", path.string(), ": it is empty, but a CSV file begins with a header");
  CsvTable table{path.string(), std::move(records.front().fields), {}};
  for (std::size_t r = 1; r < records.size(); ++r) {
    Record& record = records[r];
    const bool fits = record.fields.size() == table.columns.size();
    if (!fits && !record.is_finished) continue;
    if (!fits)
      fail("cannot read ", path.string(), ", line ", record.line, ": it has ", record.fields.size(),
           " fields, but the header names ", table.columns.size());
    table.rows.push_back(std::move(record.fields));
  }
  return table;
}

std::vector<std::string> CsvTable::strings(std::string_view column) const {
  const auto found = std::find(columns.begin(), columns.end(), column);
  if (found == columns.end()) fail(name, " has no column \"", column, "\"; it has ", joined(columns));
  const auto index = static_cast<std::size_t>(found - columns.begin());
  std::vector<std::string> fields;
  for (const std::vector<std::string>& row : rows) fields.push_back(row[index]);
  return fields;
}

std::vector<double> CsvTable::numbers(std::string_view column) const {
  std::vector<double> numbers;
  for (const std::string& field : strings(column)) {
    const std::optional<double> number =
        field.empty() ? std::numeric_limits<double>::quiet_NaN() : parse<double>(field);
    if (!number) fail(name, ": \"", field, "\" in column \"", column, "\" is not a number");
    numbers.push_back(*number);
  }
  return numbers;
}

}  // namespace headshare
