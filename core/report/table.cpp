#include "core/report/table.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "core/error.h"
#include "core/report/text_width.h"

namespace headshare {
namespace {

using Row = std::vector<std::string>;

std::string padded(const std::string& cell, Size width, Alignment alignment) {
  const std::string space(static_cast<std::size_t>(std::max<Size>(0, width - text_width(cell))), ' ');
  return alignment == Alignment::left ? cell + space : space + cell;
}

std::string on_one_line(std::string cell) {
  for (char& letter : cell)
    if (letter == '\n' || letter == '\r' || letter == '\t') letter = ' ';
  return cell;
}

std::string escaped_for_markdown(const std::string& cell) {
  std::string escaped;
  for (const char letter : cell) escaped += letter == '|' ? std::string("\\|") : std::string(1, letter);
  return escaped;
}

Row headers_of(const std::vector<TableColumn>& columns) {
  Row headers;
  for (const TableColumn& column : columns) headers.push_back(column.header);
  return headers;
}

std::vector<Size> widths_of(const Row& headers, const std::vector<Row>& rows, Size least) {
  std::vector<Size> widths(headers.size(), least);
  const auto widen = [&](const Row& row) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], text_width(row[c]));
  };
  widen(headers);
  for (const Row& row : rows) widen(row);
  return widths;
}

}  // namespace

Table::Table(std::vector<TableColumn> columns) : columns_(std::move(columns)) {
  if (columns_.empty()) fail("table: it has no columns");
  for (TableColumn& column : columns_) column.header = on_one_line(std::move(column.header));
}

void Table::add_row(std::vector<std::string> cells) {
  if (cells.size() != columns_.size())
    fail("table: a row of ", cells.size(), " cells does not fit its ", columns_.size(), " columns");
  for (std::string& cell : cells) cell = on_one_line(std::move(cell));
  rows_.push_back(std::move(cells));
}

std::string Table::plain() const {
  const Row headers = headers_of(columns_);
  const std::vector<Size> widths = widths_of(headers, rows_, 0);
  std::string shown;
  const auto add_line = [&](const std::function<std::string(std::size_t)>& cell) {
    std::string line;
    for (std::size_t c = 0; c < columns_.size(); ++c)
      line += (c > 0 ? "  " : "") + padded(cell(c), widths[c], columns_[c].alignment);
    line.erase(line.find_last_not_of(' ') + 1);
    shown += line + '\n';
  };
  add_line([&](std::size_t c) { return headers[c]; });
  add_line([&](std::size_t c) { return std::string(static_cast<std::size_t>(widths[c]), '-'); });
  for (const Row& row : rows_) add_line([&](std::size_t c) { return row[c]; });
  return shown;
}

std::string Table::markdown() const {
  const auto escaped_row = [](Row row) {
    for (std::string& cell : row) cell = escaped_for_markdown(cell);
    return row;
  };
  const Row headers = escaped_row(headers_of(columns_));
  std::vector<Row> rows;
  for (const Row& row : rows_) rows.push_back(escaped_row(row));
  const Size rule_width = 3;  // "---" and "--:" are the shortest rules that every Markdown reader knows
  const std::vector<Size> widths = widths_of(headers, rows, rule_width);

  std::string shown;
  const auto add_line = [&](const Row& row) {
    for (std::size_t c = 0; c < row.size(); ++c) shown += "| " + padded(row[c], widths[c], columns_[c].alignment) + ' ';
    shown += "|\n";
  };
  Row rules;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    rules.emplace_back(static_cast<std::size_t>(widths[c]), '-');
    if (columns_[c].alignment == Alignment::right) rules[c].back() = ':';
  }
  add_line(headers);
  add_line(rules);
  for (const Row& row : rows) add_line(row);
  return shown;
}

}  // namespace headshare
