#pragma once

#include <string>
#include <variant>
#include <vector>

namespace headshare {

struct Measured {
  std::string column;
  std::variant<std::string, double> value;
  int decimals = 0;  // of a number, in the table; JSON has all of them
};

// Rows of measured values, for people as a table and for programs as JSON: an array with one object per row, whose keys
// are the table's columns. All rows have the columns of the first.
class Measurements {
 public:
  void add(const std::vector<Measured>& row) { rows_.push_back(row); }
  std::string table() const;
  std::string json() const;

 private:
  std::vector<std::vector<Measured>> rows_;
};

}  // namespace headshare
