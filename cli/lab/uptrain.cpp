#include <chrono>
#include <iostream>
#include <memory>
#include <optional>

#include "cli/lab/grid.h"
#include "cli/lab/labs.h"
#include "cli/lab/multi_head_origin.h"
#include "cli/lab/uptrain_report.h"
#include "core/numbers.h"
#include "core/report/progress.h"
#include "nn/conversion.h"
#include "nn/uptraining.h"

namespace headshare::cli {
namespace {

constexpr const char* summary =
    "Convert trained multi-head models into models with fewer key/value heads, in every way, and train them on";
constexpr const char* example =
    "  headshare lab uptrain --out runs/lab-uptrain\n"
    "  headshare lab uptrain --run runs/mha --test multi30k/test_2016_flickr --beam 5 --out runs/lab-multi30k";

std::string label_of(const Cell& cell) {
  const std::string more = cell.alpha > 0 ? text(", ", 100 * cell.alpha, " % more") : "";
  if (cell.is_control()) return "multi-head" + more;
  return text(cell.conversion, ", ", cell.kv_heads, " KV head", cell.kv_heads == 1 ? "" : "s",
              cell.sites == "all" ? ", all sites" : "", more);
}

class UptrainLab {
 public:
  UptrainLab(const cxxopts::ParseResult& arguments, const std::filesystem::path& folder)
      : folder_(folder),
        origin_(multi_head_origin(arguments, folder)),
        schedule_(parse_uptraining_schedule(arguments["schedule"].as<std::string>())),
        decoding_({.beam = arguments["beam"].as<Size>(), .length_penalty = arguments["length-penalty"].as<double>()}),
        keep_models_(arguments.count("keep-models") > 0) {
    read_grid(arguments);
    LabResult wanted{
        .lab = "uptrain",
        .title =
            titled("Uptraining " + subject() + ": multi-head models converted to fewer key/value heads", arguments),
        .configuration = configuration(),
        .machine = describe_machine()};
    result_ = open_lab(std::move(wanted), folder_);
  }

  void run() {
    save(result_, folder_);
    std::vector<Cell> missing;
    for (const Cell& cell : cells_of(grid_))
      if (find_row(result_.rows, settings_of(cell)) == nullptr) missing.push_back(cell);
    std::cout << cells_of(grid_).size() << " measurements, " << missing.size() << " still to be made" << std::endl;
    for (std::size_t i = 0; i < missing.size(); ++i) {
      const Row row = measure_cell(missing[i]);
      result_.rows.push_back(row);
      describe();
      save(result_, folder_);
      report_progress(missing, i, row);
    }
    describe();
    result_.charts = draw_uptrain_charts(rows_in_view(result_.rows, view()), grid_.headline_alpha, folder_);
    save(result_, folder_);
    for (const std::string& finding : result_.findings) std::cout << "* " << finding << '\n';
    std::cout << folder_.string() << ": lab.json, results.md, " << result_.charts.size() << " charts\n";
  }

  const LabResult& result() const { return result_; }

 private:
  // What the models were trained on, or which.
  std::string subject() const {
    if (!origin_.is_given()) return "on the toy language";
    return "of " + (origin_.given.folder / "").parent_path().filename().string();
  }
  void read_grid(const cxxopts::ParseResult& arguments);
  std::vector<LabResult::Field> configuration() const;
  UptrainView view() const { return {name(schedule_), decoding_.beam, decoding_.length_penalty, grid_.headline_alpha}; }

  // What a row is known by.
  Row settings_of(const Cell& cell) const {
    return {{"seed", cell.seed},
            {"sites", cell.sites},
            {"conversion", cell.conversion},
            {"kv_heads", cell.kv_heads},
            {"alpha", cell.alpha},
            {"schedule", cell.alpha > 0 ? name(schedule_) : "none"},
            {"beam", decoding_.beam},
            {"length_penalty", decoding_.length_penalty}};
  }

  Size updates_of(const Cell& cell) const {
    return cell.alpha > 0 ? uptraining_recipe(origin_.recipe, 0, origin_.original_steps(), cell.alpha, schedule_).steps
                          : 0;
  }

  const MultiHead& multi_head(Size seed);
  Row measure_cell(const Cell& cell);
  void uptrain(Trainer& trainer, const std::string& label);
  void keep(const Cell& cell, const Trainer& trainer) const;
  void keep_samples(const Cell& cell, const Evaluation& evaluation);
  void describe();
  void report_progress(const std::vector<Cell>& cells, std::size_t done, const Row& row) const;

  std::filesystem::path folder_;
  MultiHeadOrigin origin_;
  UptrainingSchedule schedule_;
  DecodingOptions decoding_;
  bool keep_models_;
  Grid grid_;
  LabResult result_;
  Pace pace_;
  Size seed_of_multi_head_ = 0;
  std::unique_ptr<const MultiHead> multi_head_;  // of that seed: the others wait on the disk
  std::optional<Calibration> calibration_;       // of that model, once a conversion needs it
};

void UptrainLab::read_grid(const cxxopts::ParseResult& arguments) {
  const bool quick = arguments.count("quick") > 0;
  grid_.heads = origin_.model.attention.cross.kv_heads;
  const Size seeds = chosen<Size>(arguments, "seeds", quick || origin_.is_given() ? 1 : 3);
  if (seeds < 1) throw UsageError("lab uptrain: --seeds must be at least 1");
  if (decoding_.beam < 1) throw UsageError("lab uptrain: --beam must be at least 1");
  for (Size seed = 1; seed <= seeds; ++seed) grid_.seeds.push_back(seed);

  grid_.conversions = chosen<std::vector<std::string>>(
      arguments, "conversions", quick ? std::vector<std::string>{"mean", "first"} : conversion_names());
  for (const std::string& conversion : grid_.conversions) parse_pooling(conversion);  // fails on an unknown one

  for (const Size kv_heads : chosen<std::vector<Size>>(arguments, "kv-heads", {2, 1, 4})) {
    const bool fits = kv_heads >= 1 && grid_.heads % kv_heads == 0;
    if (!fits && arguments.count("kv-heads") > 0)
      throw UsageError(text("lab uptrain: --kv-heads ", kv_heads, " does not divide the model's ", grid_.heads));
    if (fits && kv_heads < grid_.heads && !(quick && kv_heads == 4)) grid_.kv_heads.push_back(kv_heads);
  }

  const std::vector<double> few = {0, 0.05}, all = {0, 0.01, 0.02, 0.05, 0.1};
  for (const std::string& sites : chosen<std::vector<std::string>>(
           arguments, "sites",
           quick ? std::vector<std::string>{"decoder"} : std::vector<std::string>{"decoder", "all"})) {
    if (sites != "decoder" && sites != "all")
      throw UsageError(text("lab uptrain: --sites '", sites, "' must be decoder or all"));
    const std::vector<double> alphas =
        chosen<std::vector<double>>(arguments, "alphas", quick || sites == "all" ? few : all);
    for (const double alpha : alphas)
      if (!(alpha >= 0 && alpha <= 1))
        throw UsageError(text("lab uptrain: --alphas ", alpha, " must lie between 0 and 1; 0.05 is 5 %"));
    grid_.sites.push_back({sites, alphas});
  }
  const std::vector<double>& alphas = grid_.sites[0].alphas;
  const bool has_paper = std::find(alphas.begin(), alphas.end(), 0.05) != alphas.end();
  grid_.headline_alpha = has_paper ? 0.05 : *std::max_element(alphas.begin(), alphas.end());
}

std::vector<LabResult::Field> UptrainLab::configuration() const {
  std::vector<LabResult::Field> fields = {
      {"multi-head models", origin_.is_given() ? origin_.given.folder.string() : "trained here, on the toy language"},
      {"steps of the multi-head models", exact_text(origin_.original_steps())},
      {"training pairs", exact_text(static_cast<Size>(origin_.text.encoded.train.pairs.size()))},
      {"test sentences", exact_text(origin_.text.test.size())}};
  for (const LabResult::Field& field : fields_of(to_metadata(origin_.model), {})) fields.push_back(field);
  for (const LabResult::Field& field : fields_of(to_metadata(origin_.recipe), {"train.seed"})) fields.push_back(field);
  return fields;
}

const MultiHead& UptrainLab::multi_head(Size seed) {
  if (seed_of_multi_head_ == seed) return *multi_head_;
  calibration_.reset();
  multi_head_.reset();  // two at a time need not fit into memory
  seed_of_multi_head_ = 0;
  const RunPaths run = origin_.run(folder_, seed);
  if (!origin_.is_given()) {
    std::cout << "multi-head model, seed " << seed << ": " << run.folder.string() << std::endl;
    train_run(run, origin_.model, origin_.recipe_of(seed), origin_.text);
  }
  multi_head_ = std::make_unique<const MultiHead>(run, origin_.text);
  seed_of_multi_head_ = seed;
  pace_.update_seconds += multi_head_->trainer.state.seconds;
  pace_.updates += multi_head_->trainer.state.step;
  return *multi_head_;
}

Row UptrainLab::measure_cell(const Cell& cell) {
  const MultiHead& start = multi_head(cell.seed);
  const auto clock = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - clock).count(); };
  // New weights must not be those that the model itself started from.
  const std::uint64_t random_seed = 1000 + static_cast<std::uint64_t>(cell.seed);
  const Pooling pooling = cell.is_control() ? Pooling::mean : parse_pooling(cell.conversion);
  const AttentionSites sites = converted_sites(origin_.model.attention, cell.sites, cell.kv_heads);
  if (needs_calibration(pooling) && !calibration_)
    calibration_ = calibrate(start.loaded.model, origin_.text.encoded.train);
  const Transformer model =
      convert_attention(start.loaded.model, sites, pooling, random_seed, calibration_.value_or(Calibration{}));
  Recipe recipe = origin_.recipe_of(cell.seed);
  if (cell.alpha > 0)
    recipe = uptraining_recipe(recipe, start.trainer.state.step, origin_.original_steps(), cell.alpha, schedule_);
  Trainer trainer(model, origin_.text.encoded.train, recipe);
  hand_over(start.trainer, trainer, pooling);
  if (cell.alpha > 0) uptrain(trainer, label_of(cell));
  const double trained = seconds();

  Row row = settings_of(cell);
  row["updates"] = updates_of(cell);
  keep_samples(cell, measure(model, origin_.text, decoding_, row, result_));
  if (keep_models_) keep(cell, trainer);
  row["seconds"] = seconds();
  pace_.update_seconds += trained;
  pace_.updates += updates_of(cell);
  pace_.measure_seconds += seconds() - trained;
  ++pace_.measured;
  return row;
}

void UptrainLab::uptrain(Trainer& trainer, const std::string& label) {
  constexpr Size report_every = 16;  // reading a number waits for the device
  Progress progress(label, trainer.recipe().steps, {.first_step = trainer.state.step});
  while (trainer.state.step < trainer.recipe().steps) {
    trainer.update();
    if (trainer.state.step % report_every == 0 || trainer.state.step == trainer.recipe().steps)
      progress.update(trainer.state.step, text("nll ", with_decimals(trainer.report().nll, 3)));
  }
}

// A run that translate, evaluate and uptrain take.
void UptrainLab::keep(const Cell& cell, const Trainer& trainer) const {
  const RunPaths run{folder_ / "models" /
                     text("seed-", cell.seed, "-", cell.conversion, "-", cell.kv_heads, "-", cell.sites, "-",
                          exact_text(cell.alpha), cell.alpha > 0 ? "-" + name(schedule_) : "")};
  Metadata metadata = provenance(multi_head_->loaded.metadata);
  metadata["converted.pooling"] = cell.conversion;
  metadata["converted.sites"] = cell.sites;
  metadata["uptrain.original_steps"] = exact_text(origin_.original_steps());
  metadata.merge(to_metadata(RunOptions{}));
  origin_.text.tokenizer.save(run.tokenizer());
  save_training(run.training(), trainer, metadata);
  save_model(run.model(), trainer.model(), metadata);
}

// A few sentences, spread over the test text, as the control and the models with the fewest heads translate them.
void UptrainLab::keep_samples(const Cell& cell, const Evaluation& evaluation) {
  constexpr Size count = 5;
  const bool wanted =
      cell.seed == 1 && cell.sites != "all" &&
      (cell.is_control() || cell.kv_heads == *std::min_element(grid_.kv_heads.begin(), grid_.kv_heads.end())) &&
      (cell.alpha == grid_.headline_alpha || (cell.alpha == 0 && !cell.is_control()));
  if (!wanted) return;
  const std::vector<SentencePair>& pairs = origin_.text.test.pairs;
  const Size all = static_cast<Size>(pairs.size()), samples = std::min(count, all);
  for (Size i = 0; i < samples; ++i) {
    const auto at = static_cast<std::size_t>(i * all / samples);
    if (static_cast<Size>(result_.samples.size()) <= i)
      result_.samples.push_back({pairs[at].source, pairs[at].target, {}});
    LabResult::Sample& sample = result_.samples[static_cast<std::size_t>(i)];
    std::erase_if(sample.translations, [&](const LabResult::Field& field) { return field.name == label_of(cell); });
    sample.translations.push_back({label_of(cell), evaluation.translations[at]});
  }
}

void UptrainLab::describe() {
  const Row rows = rows_in_view(result_.rows, view());
  result_.tables = uptrain_tables(rows);
  result_.findings = uptrain_findings(rows, grid_.headline_alpha);
}

void UptrainLab::report_progress(const std::vector<Cell>& cells, std::size_t done, const Row& row) const {
  Size updates = 0;
  std::map<Size, Size> to_train;  // by seed: updates of multi-head models that do not exist yet
  for (std::size_t i = done + 1; i < cells.size(); ++i) {
    updates += updates_of(cells[i]);
    if (!origin_.is_trained(folder_, cells[i].seed)) to_train[cells[i].seed] = origin_.recipe.steps;
  }
  for (const auto& [seed, steps] : to_train) updates += steps;
  const Size left = static_cast<Size>(cells.size() - done) - 1;
  std::cout << "seed " << cells[done].seed << "  " << label_of(cells[done]) << ": NLL "
            << with_decimals(row.at("validation_nll").get<double>(), 4) << ", BLEU "
            << with_decimals(row.at("bleu").get<double>(), 2) << ", exact match "
            << with_decimals(100 * row.at("exact_match").get<double>(), 1) << " %, "
            << format_duration(row.at("seconds").get<double>());
  if (left > 0) std::cout << "; " << left << " left, " << pace_.time_for(updates, left);
  std::cout << std::endl;
}

}  // namespace

void lab_uptrain(const Words& words) {
  CommandLine line("lab uptrain", summary, example);
  const auto list = [] { return cxxopts::value<std::vector<std::string>>(); };
  line.options()("out", "Folder of the experiment; one that was begun before goes on", cxxopts::value<std::string>())(
      "run", "Start from this multi-head run instead of training models on the toy language",
      cxxopts::value<std::string>())("test", "With --run: test text, PATH.en and PATH.de",
                                     cxxopts::value<std::string>())("steps", "Updates of the multi-head models; 8000",
                                                                    cxxopts::value<Size>())(
      "seeds", "How many multi-head models, 3; with --run, 1: more change the order of batches and new weights alone",
      cxxopts::value<Size>())("conversions", "How a group's heads become one, such as mean,first,random; all", list())(
      "kv-heads", "Key/value heads after the conversion; 2,1,4", cxxopts::value<std::vector<Size>>())(
      "alphas",
      "More training, as shares of the original steps; 0,0.01,0.02,0.05,0.1, for all sites 0,0.05. "
      "A decaying schedule ends at its alpha, so each alpha is trained from the same start",
      cxxopts::value<std::vector<double>>())(
      "sites",
      "decoder (its self- and cross-attention, Ainslie 2023), all (the encoder too, Shazeer 2019); decoder,all",
      list())("schedule", "Learning rate: decay (linearly to 0) or continued",
              cxxopts::value<std::string>()->default_value("decay"))(
      "beam", "Hypotheses kept per sentence; 1 is greedy", cxxopts::value<Size>()->default_value("1"))(
      "length-penalty", "alpha of the beam's scores", cxxopts::value<double>()->default_value("1"))(
      "keep-models", "Keep every model of the grid as a run in models/")("quick",
                                                                         "A tiny model, a small grid: half a minute");
  add_common_options(line);
  const auto arguments = line.parse(words);
  if (!arguments) return;
  use_threads(*arguments);
  use_device(*arguments);
  UptrainLab lab(*arguments, required(*arguments, "out", "lab uptrain"));
  lab.run();
  if (arguments->count("json") > 0) write_rows(lab.result(), (*arguments)["json"].as<std::string>());
}

}  // namespace headshare::cli
