#pragma once

#include <string>
#include <vector>

#include "core/size.h"

namespace headshare {

// Words to the left, numbers to the right, so that their digits stand under each other.
enum class Alignment { left, right };

struct TableColumn {
  std::string header;
  Alignment alignment = Alignment::left;
};

// A small table for people:
//
//   Table table({{"attention"}, {"BLEU", Alignment::right}});
//   table.add_row({"multi-head", "31.4"});
//   std::cout << table.plain();
//
// Widths are counted in code points of UTF-8. A line break inside a cell is shown as a space.
class Table {
 public:
  // Fails without columns.
  explicit Table(std::vector<TableColumn> columns);

  // Fails unless there is one cell for every column.
  void add_row(std::vector<std::string> cells);

  // For a terminal: columns two spaces apart, a rule under the header, no space at the end of a line.
  std::string plain() const;

  // For a Markdown file; also aligned as text. A `|` in a cell is escaped.
  std::string markdown() const;

 private:
  std::vector<TableColumn> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace headshare
