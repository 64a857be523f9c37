#pragma once

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/size.h"

namespace headshare {

// One field of a row. CsvValue{} is a missing value and is written as an empty field.
using CsvValue = std::variant<std::monostate, Size, float, double>;

struct CsvLogOptions {
  // Continue the file of an earlier run whose last checkpoint was written after this step. Empty: a new file.
  std::optional<Size> resume_after_step{};
};

// The log of a run: CSV (RFC 4180, but lines end with \n) with a header and one row per report, the first column always
// the step. Numbers are written so that reading them gives the same bits back.
//
//   CsvLog log("run/log.csv", {"step", "train_loss", "valid_loss"});
//   log.append({step, loss, {}});
//
// Every row is handed to the system at once, so that a killed run keeps what it reported. Such a run may have reported
// steps that its last checkpoint does not know, and its last line may be torn: resuming drops both, and the file then
// looks as if the run had never stopped. This is the one file of a run that is written in place.
class CsvLog {
 public:
  // Without `resume_after_step` an existing file is replaced. With it, a missing or empty file is started new; a file
  // with other columns or a damaged row is an error and stays as it is. Fails with the system's reason when the file
  // cannot be written.
  CsvLog(std::filesystem::path path, std::vector<std::string> columns, CsvLogOptions options = {});

  // Fails unless there is one value for each column, the first is an integer (the step), and no earlier row had a
  // larger one.
  void append(const std::vector<CsvValue>& values);

 private:
  void keep_rows_up_to(Size step);

  std::filesystem::path path_;
  std::vector<std::string> columns_;
  std::optional<Size> last_step_{};
  std::ofstream out_;
};

// A CSV file in memory.
struct CsvTable {
  std::string name;  // of the file, for errors
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;  // each as long as `columns`

  // One column from top to bottom. Fails when there is none of that name.
  std::vector<std::string> strings(std::string_view column) const;

  // The same as numbers; an empty field becomes NaN, which a chart shows as a gap. Fails on anything else that is no
  // number.
  std::vector<double> numbers(std::string_view column) const;
};

// Reads a file with a header. Fails with the line when a row has more or fewer fields than the header; only an
// unfinished last line (a run is writing at this moment) is left out.
CsvTable read_csv(const std::filesystem::path& path);

}  // namespace headshare
