#include "cli/lab/experiment.h"

#include <algorithm>
#include <cmath>

#include "core/report/progress.h"

namespace headshare::cli {

LabText load_lab_text(const DataPaths& paths, const std::filesystem::path& test, const Tokenizer& tokenizer,
                      Size max_length) {
  return {paths, tokenizer, load_data(paths, tokenizer, max_length), read_corpus(paths.valid, paths.languages),
          read_corpus(test, paths.languages)};
}

LabText toy_text(const std::filesystem::path& folder, const ToyText& sizes) {
  const std::filesystem::path toy = folder / "toy";
  if (!std::filesystem::exists(toy / "test-composition.de"))  // the last one written
    write_toy_language(make_toy_language({.pairs = sizes.pairs, .test = sizes.test}), toy);
  const DataPaths paths = toy_paths(toy);
  const Tokenizer tokenizer = learn_byte_pairs(read_corpus(paths.train, paths.languages), {.merges = sizes.merges});
  return load_lab_text(paths, toy / "test", tokenizer, toy_model(tokenizer.size()).max_length);
}

void train_run(const RunPaths& run, const TransformerConfig& config, const Recipe& recipe, const LabText& text) {
  const bool known = std::filesystem::exists(run.training());
  const LoadedModel start =
      known ? load_training_model(run.training()) : LoadedModel{Transformer(config, recipe.seed), {}};
  Trainer trainer(start.model, text.encoded.train, recipe);
  if (known) {
    if (to_metadata(start.model.config()) != to_metadata(checked(config)) ||
        to_metadata(headshare::recipe(start.metadata)) != to_metadata(recipe))
      fail("lab: ", run.folder.string(), " holds a run of another model or recipe; choose another --out folder");
    load_tokenizer(run, start);
    check_same_corpus(text.encoded, start.metadata);
    load_training_state(run.training(), trainer);
    if (trainer.state.step >= recipe.steps && std::filesystem::exists(run.model())) return;
  }
  RunOptions options{.validate_every = std::max(Size{1}, recipe.steps / 8)};
  options.log_every = std::min(options.log_every, options.validate_every);
  options.metadata = run_metadata(text.paths, text.encoded.train, options);
  run_training(trainer, text.encoded.valid, text.tokenizer, run, options);
}

Evaluation measure(const Transformer& model, const LabText& text, const DecodingOptions& decoding, Row& row,
                   LabResult& result) {
  const Evaluation evaluation = evaluate(model, text.tokenizer, text.test, {.decoding = decoding});
  row["validation_nll"] = validation_nll(model, text.encoded.valid);
  row["test_nll"] = evaluation.nll;
  row["bleu"] = evaluation.bleu;
  row["bleu_low"] = evaluation.bleu_interval.low;
  row["bleu_high"] = evaluation.bleu_interval.high;
  row["chrf"] = evaluation.chrf;
  row["exact_match"] = evaluation.exact_match;
  row["parameters"] = count_parameters(model);
  row["cache_bytes_per_token"] = cache_bytes_per_token(model);
  result.signatures = {"BLEU " + evaluation.bleu_signature, "chrF2 " + evaluation.chrf_signature};
  return evaluation;
}

bool agrees(const Row& row, const Row& settings) {
  for (const auto& [key, value] : settings.items()) {
    const auto found = row.find(key);
    if (found == row.end() || *found != value) return false;
  }
  return true;
}

const Row* find_row(const Row& rows, const Row& settings) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return agrees(row, settings); });
  return found == rows.end() ? nullptr : &*found;
}

std::map<Size, double> by_seed(const Row& rows, const Row& settings, const std::string& entry) {
  std::map<Size, double> values;
  for (const Row& row : rows)
    if (agrees(row, settings)) values[row.at("seed").get<Size>()] = row.at(entry).get<double>();
  return values;
}

Spread spread(const std::map<Size, double>& values) {
  const double count = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const auto& [seed, value] : values) sum += value;
  for (const auto& [seed, value] : values) squares += (value - sum / count) * (value - sum / count);
  return {sum / count, values.size() > 1 ? std::sqrt(squares / (count - 1)) : 0, static_cast<Size>(values.size())};
}

std::string text_of(const Spread& spread, int decimals) {
  return with_decimals(spread.mean, decimals) +
         (spread.count > 1 ? " ± " + with_decimals(spread.deviation, decimals) : "");
}

LabResult open_lab(LabResult wanted, const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / "lab.json")) return wanted;
  LabResult known = load_lab_result(folder);
  if (known.lab != wanted.lab)
    fail("lab ", wanted.lab, ": ", folder.string(), " holds the experiment ", known.lab,
         "; choose another --out folder");
  const auto values = [](const LabResult& result) {
    Metadata all;
    for (const LabResult::Field& field : result.configuration) all[field.name] = field.value;
    return all;
  };
  const Metadata before = values(known), now = values(wanted);
  for (const auto& [name, value] : now) {
    const auto found = before.find(name);
    const std::string was = found == before.end() ? "none" : found->second;
    if (was != value)
      fail("lab ", wanted.lab, ": ", folder.string(), " holds an experiment with ", name, " ", was, ", not ", value,
           "; choose another --out folder");
  }
  if (before.size() != now.size())
    fail("lab ", wanted.lab, ": ", folder.string(),
         " holds an experiment of another kind; choose another --out folder");
  known.title = wanted.title;
  known.machine = wanted.machine;
  return known;
}

TransformerConfig quick_toy_model(Size vocabulary) {
  TransformerConfig model = toy_model(vocabulary);
  model.d_model = 64;
  model.d_ff = 128;
  model.layers = 1;
  return model;
}

void add_common_options(CommandLine& line) {
  line.options()("json", "Write the rows to this file too", cxxopts::value<std::string>())(
      "threads", "Processor cores to use", cxxopts::value<Size>())("device", "Where to compute: cpu or cuda",
                                                                   cxxopts::value<std::string>());
}

std::string titled(const std::string& title, const cxxopts::ParseResult& arguments) {
  return title + (arguments.count("quick") > 0 ? " (quick: shows that it runs; the models are hardly trained)" : "");
}

std::vector<LabResult::Field> fields_of(const Metadata& metadata, const std::vector<std::string>& except) {
  std::vector<LabResult::Field> fields;
  for (const auto& [name, value] : metadata)
    if (std::find(except.begin(), except.end(), name) == except.end()) fields.push_back({name, value});
  return fields;
}

std::string Pace::time_for(Size more_updates, Size more_measurements) const {
  if (updates == 0 && measured == 0) return "";
  const auto mean = [](double seconds, Size count) { return count == 0 ? 0 : seconds / static_cast<double>(count); };
  return "about " + format_duration(mean(update_seconds, updates) * static_cast<double>(more_updates) +
                                    mean(measure_seconds, measured) * static_cast<double>(more_measurements));
}

}  // namespace headshare::cli
