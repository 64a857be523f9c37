#include <algorithm>
#include <deque>
#include <iostream>

#include "cli/lab/decode_report.h"
#include "cli/lab/labs.h"
#include "core/report/progress.h"
#include "kernels/device_memory.h"

namespace headshare::cli {
namespace {

using Arguments = cxxopts::ParseResult;

constexpr const char* summary =
    "Time decoding steps for every batch, length, number of key/value heads and beam, beside a prediction";
constexpr const char* example =
    "  headshare lab decode --out runs/lab-decode\n"
    "  headshare lab decode --batch 32 --source 512,2048 --beam 1 --cache bf16 --out runs/lab-narrow";

Size size_of(const Arguments& arguments, const char* option) { return arguments[option].as<Size>(); }

// What was given, or the usual: less of it with --quick.
std::vector<Size> sizes_of(const Arguments& arguments, const std::string& option, const std::vector<Size>& usual,
                           const std::vector<Size>& quick) {
  if (arguments.count(option) == 0) return arguments.count("quick") > 0 ? quick : usual;
  const std::vector<Size> sizes = arguments[option].as<std::vector<Size>>();
  for (const Size size : sizes)
    if (size < 1 || size > 1'000'000)
      throw UsageError(text("lab decode: --", option, " ", size, " must lie between 1 and 1,000,000"));
  return sizes;
}

// The most first: the others are compared with it.
std::vector<Size> kv_heads_of(const Arguments& arguments) {
  const Size heads = size_of(arguments, "heads");
  std::vector<Size> all;
  for (Size kv_heads = heads; kv_heads >= 1; kv_heads /= 2)
    if (heads % kv_heads == 0) all.push_back(kv_heads);
  std::vector<Size> wanted = sizes_of(arguments, "kv-heads", all, {heads, 1});
  for (const Size kv_heads : wanted)
    if (heads % kv_heads != 0)
      throw UsageError(text("lab decode: --kv-heads ", kv_heads, " does not divide --heads ", heads));
  if (std::find(wanted.begin(), wanted.end(), heads) == wanted.end()) wanted.push_back(heads);
  std::sort(wanted.rbegin(), wanted.rend());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  return wanted;
}

struct Plan {
  std::vector<Size> kv_heads;
  DecodeSweep full, toy;
  SweepLimits limits;
  Precision precision = Precision::fp32;
  TransformerConfig full_config, toy_config;
  std::vector<std::string> sizes;  // "full", "toy"

  bool has(const std::string& size) const { return std::find(sizes.begin(), sizes.end(), size) != sizes.end(); }
};

Size largest(const std::vector<Size>& sizes) { return *std::max_element(sizes.begin(), sizes.end()); }

TransformerConfig config_for(const DecodeSweep& sweep, Size heads, TransformerConfig config) {
  config.attention = multi_head(heads);
  config.max_length = std::max(largest(sweep.sources), largest(sweep.targets)) + 2;
  config.dropout = 0;
  return checked(config);
}

Plan plan_of(const Arguments& arguments) {
  for (const char* option : {"d-model", "d-ff", "layers", "heads", "vocabulary", "repetitions", "most-cache"})
    if (size_of(arguments, option) < 1) throw UsageError(text("lab decode: --", option, " must be at least 1"));
  const Size heads = size_of(arguments, "heads");
  Plan plan;
  plan.sizes = arguments["sizes"].as<std::vector<std::string>>();
  for (const std::string& name : plan.sizes)
    if (name != "full" && name != "toy") throw UsageError(text("lab decode: --sizes '", name, "' must be full or toy"));
  plan.kv_heads = kv_heads_of(arguments);
  plan.full = {.batches = sizes_of(arguments, "batch", {1, 32, 128}, {1, 32}),
               .sources = sizes_of(arguments, "source", {128, 512, 2048}, {128, 2048}),
               .targets = sizes_of(arguments, "target", {16, 64}, {16}),
               .beams = sizes_of(arguments, "beam", {1, 4}, {1, 4})};
  // Where sharing cannot matter, whatever the options say: the quickstart's model and sentences.
  plan.toy = {.batches = {1, 64}, .sources = {16}, .targets = {16}, .beams = plan.full.beams};
  plan.limits = {.most_cache_bytes = 1e6 * static_cast<double>(size_of(arguments, "most-cache")),
                 .repetitions = size_of(arguments, "repetitions"),
                 .cache_type = cache_type(arguments)};
  plan.precision = precision(arguments);
  plan.full_config = config_for(plan.full, heads,
                                {.vocabulary = size_of(arguments, "vocabulary"),
                                 .d_model = size_of(arguments, "d-model"),
                                 .d_ff = size_of(arguments, "d-ff"),
                                 .layers = size_of(arguments, "layers")});
  plan.toy_config = config_for(plan.toy, heads, {.vocabulary = 1000, .d_model = 128, .d_ff = 512, .layers = 2});
  return plan;
}

std::string list_of(const std::vector<Size>& sizes) {
  std::string list;
  for (const Size size : sizes) list += text(list.empty() ? "" : ", ", size);
  return list;
}

std::vector<LabResult::Field> configuration_of(const Plan& plan, Device device) {
  const auto model = [](const TransformerConfig& config) {
    return text("d_model ", config.d_model, ", d_ff ", config.d_ff, ", ", config.layers, " decoder layers, ",
                config.attention.cross.heads, " query heads, vocabulary ", config.vocabulary, ", random weights");
  };
  const auto sweep = [](const DecodeSweep& s) {
    return text("batch ", list_of(s.batches), "; source ", list_of(s.sources), "; target ", list_of(s.targets),
                "; beam ", list_of(s.beams));
  };
  std::vector<LabResult::Field> fields;
  if (plan.has("full")) fields = {{"full size", model(plan.full_config)}, {"full sweep", sweep(plan.full)}};
  if (plan.has("toy"))
    fields.insert(fields.end(), {{"toy size", model(plan.toy_config)}, {"toy sweep", sweep(plan.toy)}});
  fields.insert(fields.end(),
                {{"KV heads", list_of(plan.kv_heads)},
                 {"precision", name(plan.precision)},
                 {"cache", plan.limits.cache_type ? name(*plan.limits.cache_type) : "as the model computes"},
                 {"caches left out", text("above ", static_cast<Size>(plan.limits.most_cache_bytes / 1e6), " MB")},
                 {"device", name(device)},
                 {"counts", text("of every step the fastest of ", plan.limits.repetitions,
                                 " runs, the numbers of heads in turns")}});
  return fields;
}

LabResult run(const Plan& plan, const std::filesystem::path& folder) {
  const Device device = default_device();
  std::deque<ModelFamily> families;  // which rows point to
  std::vector<DecodeRow> rows;
  const auto add = [&](const std::string& name, const TransformerConfig& config, const DecodeSweep& sweep) {
    if (!plan.has(name)) return;
    const ModelFamily& family = families.emplace_back(name, config, plan.kv_heads, plan.precision);
    const std::vector<DecodeRow> more = plan_rows(family, sweep, plan.limits);
    rows.insert(rows.end(), more.begin(), more.end());
  };
  add("full", plan.full_config, plan.full);
  add("toy", plan.toy_config, plan.toy);
  if (rows.empty()) throw UsageError("lab decode: every setting's caches are larger than --most-cache");

  double working_set = 0;
  for (const DecodeRow& row : rows) working_set = std::max(working_set, row.cost.bytes());
  CeilingMeter meter(device, reading_amounts(device, static_cast<Size>(working_set)));
  predict_rows(rows, meter);
  std::cout << describe_devices() << rows.size() << " rows, predicted from speeds measured just now:";
  for (const ReadingSpeed& speed : {meter.reading().front(), meter.reading().back()})
    std::cout << ' ' << with_decimals(speed.bytes_per_second / 1e9, 1) << " GB/s of "
              << (static_cast<Size>(speed.bytes) >> 20) << " MiB,";
  std::cout << ' ' << with_decimals(meter.peak_flops() / 1e9, 0) << " GFLOP/s, "
            << with_decimals(1e6 * (meter.operation_seconds() + meter.team_seconds()), 2) << " us an operation"
            << std::endl;
  measure_rows(rows);

  LabResult result{.lab = "decode",
                   .title = "Decoding speed: what a step costs, predicted and measured",
                   .configuration = configuration_of(plan, device),
                   .machine = describe_machine()};
  result.findings = decode_findings(rows);
  if (device == Device::cuda && kernels::cuda_is_simulated())
    result.findings.push_back("The device is simulated on the processor: its times say nothing about a GPU's.");
  result.tables = {decode_table(rows), ceilings_table(meter, device)};
  if (const LabResult::Table missed = unpredicted_table(rows); !missed.rows.empty())
    result.tables.insert(result.tables.begin() + 1, missed);
  result.rows = decode_row_objects(rows);
  result.charts = draw_decode_charts(rows, meter, folder);
  return result;
}

void print(const LabResult& result, const std::filesystem::path& folder) {
  for (const LabResult::Table& shown : result.tables) {
    Table table(shown.columns);
    for (const std::vector<std::string>& row : shown.rows) table.add_row(row);
    std::cout << '\n' << shown.title << "\n\n" << table.plain() << shown.note << '\n';
  }
  std::cout << '\n';
  for (const std::string& finding : result.findings) std::cout << "* " << finding << '\n';
  std::cout << folder.string() << ": lab.json, results.md, " << result.charts.size() << " charts\n";
}

}  // namespace

void lab_decode(const Words& words) {
  CommandLine line("lab decode", summary, example);
  const auto list = [] { return cxxopts::value<std::vector<Size>>(); };
  const auto size = [](const char* value) { return cxxopts::value<Size>()->default_value(value); };
  line.options()("out", "Folder of the result", cxxopts::value<std::string>())(
      "batch", "Sentences side by side; 1,32,128", list())("source", "Source tokens; 128,512,2048", list())(
      "target", "Tokens to decode; 16,64", list())("kv-heads", "Key/value heads; those of --heads and all its halves",
                                                   list())("beam", "Hypotheses of a sentence; 1,4", list())(
      "sizes", "full and toy: d_model 128, 2 layers, sentences of 16 tokens, where heads do not matter",
      cxxopts::value<std::vector<std::string>>()->default_value("full,toy"))("d-model", "Width", size("256"))(
      "d-ff", "Width of the feed-forward layers", size("1024"))("layers", "Decoder layers", size("3"))(
      "heads", "Query heads", size("8"))("vocabulary", "Tokens", size("8000"))(
      "most-cache", "Leave out settings with more MB of caches a step", size("512"))(
      "cache", "Keys and values as f32, bf16 or (device cuda) int8; as the model computes",
      cxxopts::value<std::string>())("repetitions", "Of every step the fastest of this many counts", size("3"))(
      "quick", "Fewer of everything: half a minute")("threads", "Processor cores to use", cxxopts::value<Size>())(
      "device", "Where to compute: cpu or cuda", cxxopts::value<std::string>())(
      "json", "Write the rows to this file too", cxxopts::value<std::string>());
  add_precision(line);
  const auto arguments = line.parse(words);
  if (!arguments) return;
  use_threads(*arguments);
  use_device(*arguments);
  const Plan plan = plan_of(*arguments);
  const std::filesystem::path folder = required(*arguments, "out", "lab decode");
  if (std::filesystem::exists(folder / "lab.json"))
    fail("lab decode: ", (folder / "lab.json").string(), " is there already; choose another --out");
  const LabResult result = run(plan, folder);
  save(result, folder);
  print(result, folder);
  if (arguments->count("json") > 0) write_rows(result, (*arguments)["json"].as<std::string>());
}

}  // namespace headshare::cli
