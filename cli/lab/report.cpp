#include <iostream>

#include "cli/lab/labs.h"
#include "cli/lab/report_page.h"
#include "core/file.h"
#include "core/report/line_chart.h"
#include "core/report/progress.h"
#include "kernels/machine_limits.h"

namespace headshare::cli {
namespace {

namespace fs = std::filesystem;

Html picture(const std::string& png, const std::string& title) { return html_picture(png, "Chart: " + title); }

ReportPart read_part(const fs::path& folder) {
  ReportPart part{load_lab_result(folder), {}};
  for (const LabResult::Chart& chart : part.result.charts) {
    const std::string png = read_file(folder / chart.file);
    try {
      part.pictures.push_back(picture(png, chart.title));
    } catch (const Error& error) {
      fail((folder / chart.file).string(), ": ", error.what());
    }
  }
  return part;
}

// ---- --quick: an experiment that takes seconds and needs no other ---------------------------------------------------
// What bounds every other result of a machine: how fast it reads, and how fast it multiplies and adds.
ReportPart measure_machine() {
  LabResult result{.lab = "report --quick", .title = "Limits of this machine", .machine = describe_machine()};
  const Size smallest = Size{256} << 10, largest = Size{256} << 20;
  result.configuration = {{"measured", "the processor, with every thread that OpenMP gives"},
                          {"each figure", "median of nine samples of at least 20 ms"}};

  LabResult::Table reading{.title = "Reading the same memory again and again",
                           .note =
                               "The more there is to read, the farther from the processor it lies; of the smallest, "
                               "waking the threads takes a share.",
                           .columns = {{"KiB", Alignment::right}, {"GB/s", Alignment::right}}};
  Series curve;
  for (Size bytes = smallest; bytes <= largest; bytes *= 4) {
    const double speed = kernels::measure_reading(bytes) / 1e9;
    reading.rows.push_back({with_thousands(bytes >> 10), with_decimals(speed, 1)});
    result.rows.push_back({{"limit", "reading"}, {"bytes", bytes}, {"GB/s", speed}});
    curve.x.push_back(static_cast<double>(bytes) / (1 << 20));
    curve.y.push_back(speed);
  }
  const double flops = kernels::measure_arithmetic(), memory_speed = 1e9 * curve.y.back();
  result.rows.push_back({{"limit", "arithmetic"}, {"GFLOP/s", flops / 1e9}});
  result.tables = {reading};
  result.findings = {
      text("Reading ", largest >> 20, " MiB: ", with_decimals(memory_speed / 1e9, 1),
           " GB/s. Multiply-adds of float32 in registers: ", with_decimals(flops / 1e9, 0), " GFLOP/s."),
      text("In the time in which one float32 arrives from there, ",
           with_decimals(flops * sizeof(float) / memory_speed, 0),
           " operations could be done: work that does fewer with each number it reads waits for memory.")};

  const std::string title = "Speed of reading against how much is read";
  result.charts = {{title, "reading.png"}};
  const Canvas chart = draw(LineChart{
      .title = title, .x_label = "MiB", .y_label = "GB/s", .series = {curve}, .x_scale = AxisScale::logarithmic});
  return {result, {picture(chart.encode_png(), title)}};
}

// ---- The command ----------------------------------------------------------------------------------------------------
// A report may be written again; anything else that has this name was not meant.
void check_replaceable(const fs::path& file) {
  if (fs::exists(file) && !read_file(file).starts_with("<!DOCTYPE html>"))
    fail("lab report: ", file.string(), " is there already and is not an HTML page; choose another --out");
}

// The rows of all experiments, each with the lab it comes from.
LabResult all_rows(const std::vector<ReportPart>& parts) {
  LabResult all{.lab = "report", .title = "report"};
  for (const ReportPart& part : parts)
    for (const nlohmann::ordered_json& row : part.result.rows) {
      nlohmann::ordered_json labelled = {{"lab", part.result.lab}};
      labelled.update(row);
      all.rows.push_back(labelled);
    }
  return all;
}

}  // namespace

void lab_report(const Words& words) {
  CommandLine line("lab report", "Write the results of experiments as one HTML page that needs no other file",
                   "  headshare lab report runs/lab-uptrain runs/lab-decode --out report.html\n"
                   "  headshare lab report --quick --out machine.html    # this machine's limits, in seconds",
                   {"FOLDER..."});
  line.options()("out", "The page: a new file, or an HTML page to replace", cxxopts::value<std::string>())(
      "title", "Its heading", cxxopts::value<std::string>()->default_value("Headshare laboratory report"))(
      "json", "Also write the rows of all experiments to this file", cxxopts::value<std::string>())(
      "quick", "Measure this machine, a few seconds, and begin with that; needs no FOLDER");
  const auto arguments = line.parse(words);
  if (!arguments) return;
  const fs::path out = required(*arguments, "out", "lab report");
  const std::vector<std::string> folders = all_words(*arguments, "FOLDER");
  if (folders.empty() && arguments->count("quick") == 0)
    throw UsageError("lab report: FOLDER is missing; see: headshare lab report --help");

  check_replaceable(out);
  std::vector<ReportPart> parts;
  for (const std::string& folder : folders) parts.push_back(read_part(folder));
  if (arguments->count("quick") > 0) parts.insert(parts.begin(), measure_machine());
  const Html page = report_page((*arguments)["title"].as<std::string>(), parts);
  if (arguments->count("json") > 0) write_rows(all_rows(parts), (*arguments)["json"].as<std::string>());
  write_file(out, page.markup);
  std::cout << "wrote " << out.string() << ", " << with_thousands(static_cast<Size>(page.markup.size() + 1023) / 1024)
            << " KiB\n";
}

}  // namespace headshare::cli
