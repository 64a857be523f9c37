#include "cli/lab/lab_result.h"

#include <cmath>
#include <limits>

#include "cli/version.h"
#include "core/device.h"
#include "core/error.h"
#include "core/file.h"
#include "kernels/device_memory.h"

namespace headshare::cli {
namespace {

using Json = nlohmann::ordered_json;
using Field = LabResult::Field;

// What lab.json begins with; another number means that an older program cannot read it.
constexpr const char* format_key = "headshare lab";
constexpr int format_number = 1;

// ---- Numbers that JSON does not have --------------------------------------------------------------------------------
// The loss of a model that diverged is a result too. JSON has no such numbers: in `rows` they are written as these
// words and read back as numbers. (All others come back bit for bit: nlohmann-json writes the shortest text that does.)
const std::vector<std::pair<std::string, double>> words_for_numbers = {
    {"NaN", std::numeric_limits<double>::quiet_NaN()},
    {"Infinity", std::numeric_limits<double>::infinity()},
    {"-Infinity", -std::numeric_limits<double>::infinity()}};

Json with_words(Json rows) {
  for (Json& row : rows)
    for (Json& value : row)
      if (value.is_number_float() && !std::isfinite(value.get<double>())) {
        const double number = value.get<double>();
        value = words_for_numbers[std::isnan(number) ? 0 : number > 0 ? 1 : 2].first;
      }
  return rows;
}

Json with_numbers(Json rows) {
  for (Json& row : rows)
    for (Json& value : row)
      for (const auto& [word, number] : words_for_numbers)
        if (value.is_string() && value.get_ref<const std::string&>() == word) {
          value = number;
          break;
        }
  return rows;
}

// ---- Writing --------------------------------------------------------------------------------------------------------
Json json_of(const std::vector<Field>& fields) {
  Json pairs = Json::array();
  for (const Field& field : fields) pairs.push_back(Json::array({field.name, field.value}));
  return pairs;
}

Json json_of(const LabResult::Table& table) {
  Json columns = Json::array();
  for (const TableColumn& column : table.columns)
    columns.push_back({{"header", column.header}, {"align", column.alignment == Alignment::left ? "left" : "right"}});
  return {{"title", table.title}, {"note", table.note}, {"columns", columns}, {"rows", table.rows}};
}

Json json_of(const LabResult::Chart& chart) { return {{"title", chart.title}, {"file", chart.file}}; }

Json json_of(const LabResult::Sample& sample) {
  return {{"source", sample.source}, {"reference", sample.reference}, {"translations", json_of(sample.translations)}};
}

template <class Part>
Json json_list(const std::vector<Part>& parts) {
  Json list = Json::array();
  for (const Part& part : parts) list.push_back(json_of(part));
  return list;
}

// Sentences may hold bytes that are no UTF-8; JSON may not, so they become U+FFFD.
std::string on_one_line(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

// An array with every part on a line of its own: that is how people read it and how `diff` compares it.
std::string a_line_each(const Json& array) {
  std::string lines;
  for (const Json& part : array) lines += (lines.empty() ? "\n" : ",\n") + on_one_line(part);
  return "[" + lines + (lines.empty() ? "]" : "\n]");
}

std::string lines_of(const Json& object) {
  std::string lines;
  for (const auto& [key, value] : object.items())
    lines += (lines.empty() ? "{\n" : ",\n") + on_one_line(key) + ": " +
             (value.is_array() ? a_line_each(value) : on_one_line(value));
  return lines + "\n}\n";
}

// ---- Reading: users may have changed the file, so nothing about it is certain ---------------------------------------
const Json& member(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (found == object.end()) fail("there is no \"", key, "\"");
  return *found;
}

std::string string_of(const Json& value) {
  if (!value.is_string()) fail("a text was needed, not ", value.type_name());
  return value.get<std::string>();
}

std::string string_at(const Json& object, const char* key) { return string_of(member(object, key)); }

// read(part) for every part of the array; an error says which part.
template <class Read>
auto list_of(const Json& array, const std::string& name, Read read) {
  std::vector<decltype(read(array))> parts;
  if (!array.is_array()) fail("\"", name, "\" is not an array");
  for (const Json& part : array) {
    try {
      parts.push_back(read(part));
    } catch (const Error& error) {
      fail(name, "[", parts.size(), "]: ", error.what());
    }
  }
  return parts;
}

template <class Read>
auto list_at(const Json& object, const char* key, Read read) {
  return list_of(member(object, key), key, read);
}

Field field_of(const Json& pair) {
  if (!pair.is_array() || pair.size() != 2) fail("a name with its value was needed");
  return {string_of(pair[0]), string_of(pair[1])};
}

TableColumn column_of(const Json& column) {
  const std::string alignment = string_at(column, "align");
  if (alignment != "left" && alignment != "right") fail("\"align\" must be left or right");
  return {string_at(column, "header"), alignment == "left" ? Alignment::left : Alignment::right};
}

LabResult::Table table_of(const Json& json) {
  LabResult::Table table{string_at(json, "title"), string_at(json, "note"), list_at(json, "columns", column_of), {}};
  if (table.columns.empty()) fail("it has no columns");
  table.rows = list_at(json, "rows", [&](const Json& row) {
    std::vector<std::string> cells = list_of(row, "row", string_of);
    if (cells.size() != table.columns.size())
      fail(cells.size(), " cells do not fit ", table.columns.size(), " columns");
    return cells;
  });
  return table;
}

// Only what lies in the folder itself: a report of somebody else's result must not show a picture from elsewhere.
void check_chart(const LabResult::Chart& chart) {
  const std::filesystem::path file = chart.file;
  if (file.empty() || file.filename() != file || file == "." || file == ".." ||
      chart.file.find('\0') != chart.file.npos)
    fail("\"", chart.file.substr(0, 80), "\" is not the name of a file in this folder");
}

LabResult::Chart chart_of(const Json& json) {
  const LabResult::Chart chart{string_at(json, "title"), string_at(json, "file")};
  check_chart(chart);
  return chart;
}

LabResult::Sample sample_of(const Json& json) {
  return {string_at(json, "source"), string_at(json, "reference"), list_at(json, "translations", field_of)};
}

void check_row(const Json& row) {
  if (!row.is_object()) fail("an object was needed, not ", row.type_name());
  for (const auto& [key, value] : row.items())
    if (value.is_structured()) fail("\"", key, "\" is not one value");
}

LabResult result_of(const Json& json) {
  if (!json.is_object() || json.value(format_key, Json()) != format_number)
    fail("it does not begin with \"", format_key, "\": ", format_number);
  LabResult result{.lab = string_at(json, "lab"),
                   .title = string_at(json, "title"),
                   .configuration = list_at(json, "configuration", field_of),
                   .machine = list_at(json, "machine", field_of),
                   .signatures = list_at(json, "signatures", string_of),
                   .findings = list_at(json, "findings", string_of),
                   .tables = list_at(json, "tables", table_of),
                   .charts = list_at(json, "charts", chart_of),
                   .samples = list_at(json, "samples", sample_of)};
  list_at(json, "rows", [](const Json& row) {
    check_row(row);
    return true;
  });
  result.rows = with_numbers(member(json, "rows"));
  return result;
}

// ---- results.md -----------------------------------------------------------------------------------------------------
// Text that is not ours, shown as it is: a translation may hold anything. (Table escapes the | itself.)
std::string escaped_for_markdown(const std::string& text) {
  std::string escaped;
  for (const char letter : text) {
    if (std::string_view("\\`*[<").find(letter) != std::string_view::npos) escaped += '\\';
    escaped += letter == '\n' || letter == '\r' ? ' ' : letter;
  }
  return escaped;
}

std::string markdown_table(const std::vector<TableColumn>& columns, const std::vector<std::vector<std::string>>& rows) {
  Table table(columns);
  for (std::vector<std::string> row : rows) {
    for (std::string& cell : row) cell = escaped_for_markdown(cell);
    table.add_row(std::move(row));
  }
  return table.markdown() + "\n";
}

std::string markdown_table(const std::vector<TableColumn>& columns, const std::vector<Field>& fields) {
  std::vector<std::vector<std::string>> rows;
  for (const Field& field : fields) rows.push_back({field.name, field.value});
  return markdown_table(columns, rows);
}

std::string markdown_of(const LabResult& result) {
  std::string page = "# " + escaped_for_markdown(result.title) + "\n\n";
  for (const std::string& finding : result.findings) page += "* " + escaped_for_markdown(finding) + "\n";
  if (!result.findings.empty()) page += "\n";
  for (const LabResult::Table& table : result.tables) {
    page += "## " + escaped_for_markdown(table.title) + "\n\n" + markdown_table(table.columns, table.rows);
    if (!table.note.empty()) page += escaped_for_markdown(table.note) + "\n\n";
  }
  for (const LabResult::Chart& chart : result.charts)
    page += "## " + escaped_for_markdown(chart.title) + "\n\n![" + escaped_for_markdown(chart.title) + "](<" +
            chart.file + ">)\n\n";
  if (!result.samples.empty()) page += "## Sample translations\n\n";
  for (const LabResult::Sample& sample : result.samples) {
    std::vector<Field> lines = {{"reference", sample.reference}};
    lines.insert(lines.end(), sample.translations.begin(), sample.translations.end());
    page += markdown_table({{"source"}, {escaped_for_markdown(sample.source)}}, lines);
  }
  page += "## What was run\n\n" + markdown_table({{"setting"}, {"value"}}, result.configuration);
  page += markdown_table({{"machine"}, {"value"}}, result.machine);
  for (const std::string& signature : result.signatures) page += "* `" + signature + "`\n";
  return page;
}

// A mistake of the experiment itself, told before anything is written.
void check(const LabResult& result) {
  for (const LabResult::Table& table : result.tables) markdown_table(table.columns, table.rows);
  for (const LabResult::Chart& chart : result.charts) check_chart(chart);
  if (!result.rows.is_array()) fail("lab ", result.lab, ": rows is not an array");
  for (const Json& row : result.rows) check_row(row);
}

}  // namespace

std::vector<Field> describe_machine() {
  const Device device = default_device();
  return {{"processor", describe_processor()},
          {"device", device == Device::cpu ? name(device) : text(name(device), ", ", kernels::describe_cuda())},
          {"headshare", program_version()},
          {"commit", program_commit()},
          {"compiler", program_compiler()}};
}

LabResult load_lab_result(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "lab.json";
  if (!std::filesystem::exists(file)) fail("no lab.json in ", folder.string(), ": it is not the folder of a lab");
  const std::string contents = read_file(file);
  try {
    return result_of(Json::parse(contents));
  } catch (const Json::parse_error& error) {
    fail(file.string(), " is damaged: no JSON at byte ", error.byte);
  } catch (const Error& error) {
    fail(file.string(), " is not the result of a lab: ", error.what());
  } catch (const Json::exception&) {  // such as a number too large for any type
    fail(file.string(), " is damaged: it holds a number that cannot be read");
  }
}

void save(const LabResult& result, const std::filesystem::path& folder) {
  check(result);
  const Json json = {{format_key, format_number},
                     {"lab", result.lab},
                     {"title", result.title},
                     {"configuration", json_of(result.configuration)},
                     {"machine", json_of(result.machine)},
                     {"signatures", result.signatures},
                     {"findings", result.findings},
                     {"tables", json_list(result.tables)},
                     {"charts", json_list(result.charts)},
                     {"samples", json_list(result.samples)},
                     {"rows", with_words(result.rows)}};
  write_file(folder / "lab.json", lines_of(json));
  write_file(folder / "results.md", markdown_of(result));
}

void write_rows(const LabResult& result, const std::filesystem::path& file) {
  write_file(file, a_line_each(with_words(result.rows)) + "\n");
}

}  // namespace headshare::cli
