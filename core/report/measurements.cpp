#include "core/report/measurements.h"

#include <nlohmann/json.hpp>

#include "core/report/progress.h"
#include "core/report/table.h"

namespace headshare {

std::string Measurements::table() const {
  if (rows_.empty()) return "";
  std::vector<TableColumn> columns;
  for (const Measured& cell : rows_.front())
    columns.push_back({cell.column, std::holds_alternative<double>(cell.value) ? Alignment::right : Alignment::left});
  Table table(columns);
  for (const auto& row : rows_) {
    std::vector<std::string> cells;
    for (const Measured& cell : row) {
      const double* number = std::get_if<double>(&cell.value);
      cells.push_back(number == nullptr    ? std::get<std::string>(cell.value)
                      : cell.decimals == 0 ? with_thousands(static_cast<Size>(*number + 0.5))
                                           : with_decimals(*number, cell.decimals));
    }
    table.add_row(cells);
  }
  return table.plain();
}

std::string Measurements::json() const {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const auto& row : rows_) {
    nlohmann::ordered_json object;
    for (const Measured& cell : row) std::visit([&](const auto& value) { object[cell.column] = value; }, cell.value);
    rows.push_back(object);
  }
  return rows.dump(1) + "\n";
}

}  // namespace headshare
