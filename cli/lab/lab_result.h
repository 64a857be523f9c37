#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/report/table.h"

namespace headshare::cli {

// What one laboratory experiment leaves in its folder: lab.json holds all of this, results.md shows it, and the report
// puts several of them on one page. An experiment goes on from its own lab.json: `rows` is its memory.
struct LabResult {
  struct Field {
    std::string name, value;
  };
  struct Chart {
    std::string title;
    std::string file;  // PNG, in the experiment's folder: a name without folders
  };
  struct Table {
    std::string title;
    std::string note{};  // under the table; may be empty
    std::vector<TableColumn> columns{};
    std::vector<std::vector<std::string>> rows{};
  };
  struct Sample {
    std::string source, reference;
    std::vector<Field> translations;  // by model
  };

  std::string lab;    // "uptrain", "shazeer", "decode", "attention"
  std::string title;  // for people
  std::vector<Field> configuration{};
  std::vector<Field> machine{};           // processor, threads, device, version, commit: see describe_machine
  std::vector<std::string> signatures{};  // of BLEU and chrF
  std::vector<std::string> findings{};    // sentences, each with its numbers
  std::vector<Table> tables{};
  std::vector<Chart> charts{};
  std::vector<Sample> samples{};
  // Everything measured: one flat object each. Numbers come back from lab.json bit for bit, infinities and NaN too.
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
};

// Processor, threads, device, version and commit of this program.
std::vector<LabResult::Field> describe_machine();

// Reads FOLDER/lab.json. Fails with one line when it is missing or is not what save() wrote.
LabResult load_lab_result(const std::filesystem::path& folder);

// Writes FOLDER/lab.json and FOLDER/results.md (title, findings, tables, pictures, configuration, machine, signatures),
// each under a temporary name first.
void save(const LabResult& result, const std::filesystem::path& folder);

// --json FILE of every lab command: the rows alone, an array with one object each.
void write_rows(const LabResult& result, const std::filesystem::path& file);

}  // namespace headshare::cli
