#pragma once

#include "cli/command.h"
#include "cli/lab/lab_result.h"
#include "cli/toy_setup.h"
#include "nn/evaluation.h"

// What experiments that train models share: their text, training that goes on where it was stopped, measuring, and rows
// that are measured once.
namespace headshare::cli {

// One measurement: a flat object whose first entries are the settings it was made with.
using Row = nlohmann::ordered_json;

// The value of an option, or what holds where it was not given: --quick changes that.
template <class Value>
Value chosen(const cxxopts::ParseResult& arguments, const std::string& option, const Value& otherwise) {
  return arguments.count(option) > 0 ? arguments[option].as<Value>() : otherwise;
}

// ---- Text -----------------------------------------------------------------------------------------------------------

// What models are trained, validated and tested on.
struct LabText {
  DataPaths paths;
  Tokenizer tokenizer;
  TrainingData encoded;
  Corpus valid, test;  // as sentences
};
LabText load_lab_text(const DataPaths& paths, const std::filesystem::path& test, const Tokenizer& tokenizer,
                      Size max_length);

// The toy language in FOLDER/toy: written there, unless it is there already, and read back. How many merges the
// tokenizer learns and how many pairs there are to train and to test on may be less than in the quickstart.
struct ToyText {
  Size pairs = 60'000;
  Size test = 1000;
  Size merges = toy_merges;
};
constexpr ToyText quick_toy_text() { return {.pairs = 6000, .test = 200, .merges = 241}; }
TransformerConfig quick_toy_model(Size vocabulary);
LabText toy_text(const std::filesystem::path& folder, const ToyText& sizes);

// ---- Training -------------------------------------------------------------------------------------------------------

// Trains the run to its end. What is there of it already is not trained again: a run that was stopped, or killed, goes
// on from its last checkpoint. Fails when the folder holds another run.
void train_run(const RunPaths& run, const TransformerConfig& config, const Recipe& recipe, const LabText& text);

// ---- Measuring ------------------------------------------------------------------------------------------------------

// Adds to a row what the model is worth: validation_nll and test_nll per token, BLEU of the test text with the bounds
// of its 95 % interval, chrF2, exact match, parameters and cache bytes per token. Notes the signatures in the result.
Evaluation measure(const Transformer& model, const LabText& text, const DecodingOptions& decoding, Row& row,
                   LabResult& result);

// ---- Rows -----------------------------------------------------------------------------------------------------------

// Whether the row was made with these settings: it has every one of these entries.
bool agrees(const Row& row, const Row& settings);
// The first such row, or nullptr.
const Row* find_row(const Row& rows, const Row& settings);

// An entry of every row that agrees, by its seed.
std::map<Size, double> by_seed(const Row& rows, const Row& settings, const std::string& entry);

struct Spread {
  double mean;
  double deviation;  // of the sample; 0 for a single value
  Size count;
};
Spread spread(const std::map<Size, double>& values);
std::string text_of(const Spread& spread, int decimals);  // "0.123 ± 0.004"; a single value without the second part

// The experiment that FOLDER/lab.json holds, rows and samples, or a new one. Fails, naming the first difference, where
// its configuration is not the one that is wanted: rows of two configurations would be compared with each other.
LabResult open_lab(LabResult wanted, const std::filesystem::path& folder);

// --json, --threads and --device, as every experiment that trains has them.
void add_common_options(CommandLine& line);

// The title of an experiment; of --quick, that its figures mean little.
std::string titled(const std::string& title, const cxxopts::ParseResult& arguments);

// Every entry of the metadata as a field of the configuration, but those in `except`.
std::vector<LabResult::Field> fields_of(const Metadata& metadata, const std::vector<std::string>& except);

// Says how long the rest will take from how long the same things took so far.
struct Pace {
  double update_seconds = 0, measure_seconds = 0;
  Size updates = 0, measured = 0;

  // "about 12 min", or nothing while neither is known.
  std::string time_for(Size more_updates, Size more_measurements) const;
};

}  // namespace headshare::cli
