#include <chrono>
#include <cmath>
#include <iostream>

#include "cli/lab/labs.h"
#include "cli/lab/shazeer_table.h"
#include "core/numbers.h"
#include "core/report/csv_log.h"
#include "core/report/line_chart.h"
#include "core/report/progress.h"

namespace headshare::cli {
namespace {

constexpr const char* summary =
    "Train the eight models of Shazeer's table 1, all with the same number of parameters, and compare them";
constexpr const char* example =
    "  headshare lab shazeer --out runs/lab-shazeer\n"
    "  headshare lab shazeer --run runs/mha --test multi30k/test_2016_flickr --out runs/lab-shazeer-multi30k";

// What the eight models share.
struct Basis {
  LabText text;
  TransformerConfig model;
  Recipe recipe;
};

Basis toy_basis(const cxxopts::ParseResult& arguments, const std::filesystem::path& folder) {
  const bool quick = arguments.count("quick") > 0;
  LabText text = toy_text(folder, quick ? quick_toy_text() : ToyText{});
  const TransformerConfig model = quick ? quick_toy_model(text.tokenizer.size()) : toy_model(text.tokenizer.size());
  return {std::move(text), checked(model), toy_recipe(chosen<Size>(arguments, "steps", quick ? 200 : 8000), 1)};
}

// Text, tokenizer, width and recipe of a run of the user, whose weights are of no interest here.
Basis basis_like(const cxxopts::ParseResult& arguments) {
  const RunPaths run{arguments["run"].as<std::string>()};
  if (arguments.count("test") == 0)
    throw UsageError("lab shazeer: --run needs --test too: the text that translations are scored on");
  if (!std::filesystem::exists(run.training()))
    fail("lab shazeer: there is no ", run.training().string(), ", which says how the run was trained");
  const LoadedModel loaded = load_training_model(run.training());
  Recipe recipe = headshare::recipe(loaded.metadata);
  recipe.steps = chosen<Size>(arguments, "steps", training_state(loaded.metadata).step);
  TransformerConfig model = loaded.model.config();
  model.attention = multi_head(model.attention.cross.heads);
  LabText text = load_lab_text(data_paths(loaded.metadata), arguments["test"].as<std::string>(),
                               load_tokenizer(run, loaded), model.max_length);
  return {std::move(text), model, recipe};
}

Basis basis(const cxxopts::ParseResult& arguments, const std::filesystem::path& folder) {
  if (chosen<Size>(arguments, "steps", 1) < 1) throw UsageError("lab shazeer: --steps must be at least 1");
  if (chosen<Size>(arguments, "seeds", 1) < 1) throw UsageError("lab shazeer: --seeds must be at least 1");
  if (arguments["window"].as<Size>() < 1) throw UsageError("lab shazeer: --window must be at least 1");
  if (arguments.count("run") > 0) return basis_like(arguments);
  if (arguments.count("test") > 0) throw UsageError("lab shazeer: --test is for the text of a --run");
  return toy_basis(arguments, folder);
}

class ShazeerLab {
 public:
  ShazeerLab(const cxxopts::ParseResult& arguments, const std::filesystem::path& folder)
      : folder_(folder),
        basis_(basis(arguments, folder)),
        variants_(shazeer_rows(basis_.model, arguments["window"].as<Size>())),
        seeds_(chosen<Size>(arguments, "seeds", 1)) {
    LabResult wanted{
        .lab = "shazeer",
        .title = titled("Shazeer 2019, table 1: sharing heads, having fewer, having smaller ones", arguments),
        .configuration = {{"window of local attention", exact_text(arguments["window"].as<Size>())},
                          {"training pairs", exact_text(static_cast<Size>(basis_.text.encoded.train.pairs.size()))},
                          {"test sentences", exact_text(basis_.text.test.size())}},
        .machine = describe_machine()};
    for (const Metadata& metadata : {to_metadata(basis_.model), to_metadata(basis_.recipe)})
      for (const LabResult::Field& field : fields_of(metadata, {"train.seed"})) wanted.configuration.push_back(field);
    result_ = open_lab(std::move(wanted), folder_);
  }

  void run() {
    save(result_, folder_);
    std::vector<std::pair<Size, const ShazeerRow*>> missing;
    for (Size seed = 1; seed <= seeds_; ++seed)
      for (const ShazeerRow& variant : variants_)
        if (find_row(result_.rows, settings_of(seed, variant)) == nullptr) missing.emplace_back(seed, &variant);
    std::cout << seeds_ * static_cast<Size>(variants_.size()) << " models, " << missing.size() << " still to be made"
              << std::endl;
    for (std::size_t i = 0; i < missing.size(); ++i) {
      const auto& [seed, variant] = missing[i];
      result_.rows.push_back(measure_row(seed, *variant));
      describe();
      save(result_, folder_);
      report_progress(result_.rows.back(), static_cast<Size>(missing.size() - i) - 1);
    }
    describe();
    result_.charts = {draw_shazeer_chart(variants_, result_.rows, folder_), draw_curves()};
    save(result_, folder_);
    for (const std::string& finding : result_.findings) std::cout << "* " << finding << '\n';
    std::cout << folder_.string() << ": lab.json, results.md, " << result_.charts.size() << " charts\n";
  }

  const LabResult& result() const { return result_; }

 private:
  // What a row is known by.
  static Row settings_of(Size seed, const ShazeerRow& variant) {
    return {{"seed", seed}, {"attention", variant.label()}};
  }
  RunPaths run_of(Size seed, const ShazeerRow& variant) const {
    return {folder_ / text(variant.folder(), "-seed-", seed)};
  }

  Row measure_row(Size seed, const ShazeerRow& variant);
  void describe() {
    result_.tables = shazeer_tables(variants_, result_.rows);
    result_.findings = shazeer_findings(variants_, result_.rows);
  }
  LabResult::Chart draw_curves() const;
  void report_progress(const Row& row, Size left) const;

  std::filesystem::path folder_;
  Basis basis_;
  std::vector<ShazeerRow> variants_;
  Size seeds_;
  LabResult result_;
  Pace pace_;
};

Row ShazeerLab::measure_row(Size seed, const ShazeerRow& variant) {
  const RunPaths run = run_of(seed, variant);
  Recipe recipe = basis_.recipe;
  recipe.seed += static_cast<std::uint64_t>(seed - 1);
  std::cout << variant.label() << ", seed " << seed << ": " << run.folder.string() << std::endl;
  train_run(run, variant.config, recipe, basis_.text);
  const LoadedModel loaded = load_training_model(run.training());
  const TrainingState state = training_state(loaded.metadata);

  const auto clock = std::chrono::steady_clock::now();
  const auto evaluation = [&](const Corpus& corpus, Size beam) {
    return evaluate(loaded.model, basis_.text.tokenizer, corpus, {.decoding = {.beam = beam, .length_penalty = 0.6}});
  };
  const Evaluation dev = evaluation(basis_.text.valid, 1), greedy = evaluation(basis_.text.test, 1),
                   beam = evaluation(basis_.text.test, 4);
  Row row = settings_of(seed, variant);
  row["heads"] = variant.mode.heads;
  row["kv_heads"] = variant.mode.kv_heads;
  row["head_size"] = head_size(variant.mode, variant.config.d_model);
  row["window"] = variant.window;
  row["d_ff"] = variant.config.d_ff;
  row["parameters"] = count_parameters(loaded.model);
  row["cache_bytes_per_token"] = cache_bytes_per_token(loaded.model);
  row["validation_nll"] = validation_nll(loaded.model, basis_.text.encoded.valid);
  row["bleu_dev"] = dev.bleu;
  row["bleu_dev_low"] = dev.bleu_interval.low;
  row["bleu_dev_high"] = dev.bleu_interval.high;
  row["bleu_beam_1"] = greedy.bleu;
  row["bleu_beam_4"] = beam.bleu;
  row["exact_match"] = greedy.exact_match;
  row["chrf"] = greedy.chrf;
  row["seconds"] = state.seconds;  // of training
  result_.signatures = {"BLEU " + greedy.bleu_signature, "chrF2 " + greedy.chrf_signature};
  pace_.update_seconds += state.seconds;
  pace_.updates += state.step;
  pace_.measure_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - clock).count();
  ++pace_.measured;
  return row;
}

LabResult::Chart ShazeerLab::draw_curves() const {
  LineChart chart{.title = "Training of the eight models, seed 1",
                  .x_label = "update",
                  .y_label = "dev ln(PPL)",
                  .y_scale = AxisScale::logarithmic};
  for (const ShazeerRow& variant : variants_)
    if (const RunPaths run = run_of(1, variant); std::filesystem::exists(run.log())) {
      const CsvTable log = read_csv(run.log());
      Series series{.name = variant.label()};
      const std::vector<double> steps = log.numbers("step"), nll = log.numbers("valid_nll");
      for (std::size_t i = 0; i < steps.size(); ++i)
        if (!std::isnan(nll[i])) {
          series.x.push_back(steps[i]);
          series.y.push_back(nll[i]);
        }
      chart.series.push_back(series);
    }
  if (chart.series.size() == 8) chart.series.back().color = Color{140, 81, 10};  // brown: the palette has seven colours
  write_png(chart, folder_ / "training.png");
  return {chart.title, "training.png"};
}

void ShazeerLab::report_progress(const Row& row, Size left) const {
  const auto number = [&](const char* entry, int decimals) {
    return with_decimals(row.at(entry).get<double>(), decimals);
  };
  std::cout << row.at("attention").get<std::string>() << ", seed " << row.at("seed") << ": dev ln(PPL) "
            << number("validation_nll", 4) << ", BLEU dev " << number("bleu_dev", 2) << ", test "
            << number("bleu_beam_1", 2) << ", beam 4 " << number("bleu_beam_4", 2);
  if (left > 0) std::cout << "; " << left << " left, " << pace_.time_for(left * basis_.recipe.steps, left);
  std::cout << std::endl;
}

}  // namespace

void lab_shazeer(const Words& words) {
  CommandLine line("lab shazeer", summary, example);
  line.options()("out", "Folder of the experiment; one that was begun before goes on", cxxopts::value<std::string>())(
      "run", "Text, tokenizer, width and recipe of this run instead of the quickstart's",
      cxxopts::value<std::string>())("test", "With --run: test text, PATH.en and PATH.de",
                                     cxxopts::value<std::string>())(
      "steps", "Updates of each model; 8000, or as many as the run had", cxxopts::value<Size>())(
      "seeds", "Models of each row; 1", cxxopts::value<Size>())(
      "window", "Positions that local attention sees, its own among them", cxxopts::value<Size>()->default_value("8"))(
      "quick", "Tiny models, a few updates: half a minute");
  add_common_options(line);
  const auto arguments = line.parse(words);
  if (!arguments) return;
  use_threads(*arguments);
  use_device(*arguments);
  ShazeerLab lab(*arguments, required(*arguments, "out", "lab shazeer"));
  lab.run();
  if (arguments->count("json") > 0) write_rows(lab.result(), (*arguments)["json"].as<std::string>());
}

}  // namespace headshare::cli
