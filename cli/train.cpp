#include <set>

#include "cli/training_options.h"
#include "core/numbers.h"

namespace headshare::cli {
namespace {

constexpr const char* example =
    "  headshare data toy --out toy\n"
    "  headshare train --data toy/train --valid toy/valid --out runs/toy --d-model 128 --heads 8 --layers 2\n"
    "  headshare train --resume --out runs/toy --steps 4000      # go on where it stopped, up to step 4000";

template <class Number>
auto number(const char* value) {
  return cxxopts::value<Number>()->default_value(value);
}
auto word(const char* value) { return cxxopts::value<std::string>()->default_value(value); }

void add_options(CommandLine& line) {
  line.options()("data", "Training text: PATH.en and PATH.de, or one tab-separated file",
                 cxxopts::value<std::string>())("valid", "Validation text, likewise", cxxopts::value<std::string>())(
      "source", "Ending of the source file", word("en"))("target", "Ending of the target file", word("de"))(
      "out", "The run's folder", cxxopts::value<std::string>())(
      "tokenizer", "Use this tokenizer.txt instead of learning one", cxxopts::value<std::string>())(
      "merges", "Byte pairs to learn; the vocabulary gets 259 more", number<Size>("2000"))(
      "resume", "Go on with the run in --out; only --steps, --minutes and --patience may change")(
      "threads", "Processor cores to use", cxxopts::value<Size>())("device", "Where to compute: cpu or cuda",
                                                                   cxxopts::value<std::string>());
  line.options()("d-model", "Width of the model", number<Size>("256"))(
      "d-ff", "Width of the feed-forward layers; 0: 4 d-model", number<Size>("0"))(
      "layers", "Encoder layers, and as many decoder layers", number<Size>("3"))(
      "heads", "Query heads", number<Size>("8"))("kv-heads", "Key/value heads at all three sites; 0: as many as heads",
                                                 number<Size>("0"))(
      "encoder-kv-heads", "The same for encoder self-attention alone", number<Size>("0"))(
      "decoder-kv-heads", "... decoder self-attention alone", number<Size>("0"))(
      "cross-kv-heads", "... cross-attention alone", number<Size>("0"))(
      "head-size", "Numbers of a head; 0: d-model / heads", number<Size>("0"))(
      "decoder-window", "Positions that decoder self-attention looks back over, its own included; 0: all",
      number<Size>("0"))("norm", "post or pre", word("post"))("activation", "relu or gelu", word("relu"))(
      "positions", "sinusoidal or learned", word("sinusoidal"))(
      "max-length", "Longest sentence in tokens", number<Size>("512"))("dropout", "Share of activations zeroed",
                                                                       number<double>("0.1"));
  line.options()("steps", "Updates", number<Size>("2000"))("minutes", "Stop after this much time; 0: no limit",
                                                           number<double>("0"))(
      "tokens-per-batch", "Padded tokens of the longer side", number<Size>("4096"))(
      "accumulate", "Batches per update", number<Size>("1"))("learning-rate", "Peak, after the warm-up",
                                                             number<double>("2e-3"))("warmup", "Steps to the peak",
                                                                                     number<Size>("500"))(
      "decay-steps", "The last steps, in which the rate falls linearly to 0", number<Size>("0"))(
      "label-smoothing", "Share of probability for all tokens alike", number<double>("0.1"))(
      "clip", "Largest gradient norm; 0: any", number<double>("1"))("weight-decay", "AdamW's", number<double>("0"))(
      "seed", "Initial weights, order of batches, dropout", number<std::uint64_t>("1"))(
      "log-every", "Steps", number<Size>("50"))("validate-every", "Steps between validations and checkpoints",
                                                number<Size>("500"))(
      "patience", "Stop after this many validations without gain; 0: never", number<Size>("0"))(
      "keep", "What becomes model.safetensors: last, best or average", word("last"))(
      "average-of", "Checkpoints in the average", number<Size>("5"));
}

AttentionSites attention_sites(const cxxopts::ParseResult& arguments) {
  const Size heads = arguments["heads"].as<Size>();
  const auto mode = [&](const char* option) {
    const Size own = arguments[option].as<Size>(), all = arguments["kv-heads"].as<Size>();
    const AttentionMode shared = grouped_query(heads, own != 0 ? own : all != 0 ? all : heads);
    return with_head_size(shared, arguments["head-size"].as<Size>());
  };
  return {mode("encoder-kv-heads"), local_window(mode("decoder-kv-heads"), arguments["decoder-window"].as<Size>()),
          mode("cross-kv-heads")};
}

TransformerConfig model_config(const cxxopts::ParseResult& arguments, Size vocabulary) {
  Metadata names = to_metadata(TransformerConfig{.vocabulary = vocabulary});  // for the three options that are words
  names["model.norm"] = arguments["norm"].as<std::string>();
  names["model.activation"] = arguments["activation"].as<std::string>();
  names["model.positions"] = arguments["positions"].as<std::string>();
  names["model.d_ff"] = "1";
  TransformerConfig config = transformer_config(names);
  config.d_model = arguments["d-model"].as<Size>();
  config.d_ff = arguments["d-ff"].as<Size>();
  config.layers = arguments["layers"].as<Size>();
  config.attention = attention_sites(arguments);
  config.max_length = arguments["max-length"].as<Size>();
  config.dropout = arguments["dropout"].as<double>();
  return checked(config);
}

Recipe recipe_of(const cxxopts::ParseResult& arguments) {
  const Size steps = arguments["steps"].as<Size>(), decay = arguments["decay-steps"].as<Size>();
  if (steps < 1 || decay < 0 || decay > steps)
    throw UsageError("train: --steps must be at least 1 and --decay-steps at most that");
  Recipe recipe;
  recipe.steps = steps;
  recipe.tokens_per_batch = arguments["tokens-per-batch"].as<Size>();
  recipe.accumulate = arguments["accumulate"].as<Size>();
  recipe.label_smoothing = arguments["label-smoothing"].as<double>();
  recipe.clip = arguments["clip"].as<double>();
  recipe.schedule = {arguments["learning-rate"].as<double>(), arguments["warmup"].as<Size>(), steps - decay, decay};
  recipe.adam.weight_decay = arguments["weight-decay"].as<double>();
  recipe.seed = arguments["seed"].as<std::uint64_t>();
  if (!(recipe.label_smoothing >= 0 && recipe.label_smoothing < 1))
    throw UsageError("train: --label-smoothing must lie in [0, 1)");
  if (!(recipe.clip >= 0) || !(recipe.adam.weight_decay >= 0) || recipe.schedule.warmup < 0)
    throw UsageError("train: --clip, --weight-decay and --warmup must be 0 or more");
  if (!(recipe.schedule.peak > 0)) throw UsageError("train: --learning-rate must be above 0");
  return recipe;
}

void start(const cxxopts::ParseResult& arguments, const RunPaths& run) {
  check_new_run(run);
  const DataPaths data{required(arguments, "data", "train"),
                       required(arguments, "valid", "train"),
                       {arguments["source"].as<std::string>(), arguments["target"].as<std::string>()}};
  const Recipe recipe = recipe_of(arguments);
  model_config(arguments, first_merge_id);  // a wrong one is said before minutes are spent on the text
  precision(arguments);
  RunOptions options = run_options({{"run.minutes", exact_text(arguments["minutes"].as<double>())},
                                    {"run.log_every", std::to_string(arguments["log-every"].as<Size>())},
                                    {"run.validate_every", std::to_string(arguments["validate-every"].as<Size>())},
                                    {"run.patience", std::to_string(arguments["patience"].as<Size>())},
                                    {"run.average_of", std::to_string(arguments["average-of"].as<Size>())},
                                    {"run.keep", arguments["keep"].as<std::string>()}});
  const Tokenizer tokenizer =
      arguments.count("tokenizer") > 0
          ? Tokenizer::load(arguments["tokenizer"].as<std::string>())
          : learn_byte_pairs(read_corpus(data.train, data.languages), {.merges = arguments["merges"].as<Size>()});
  Transformer model(model_config(arguments, tokenizer.size()), recipe.seed);
  model.compute_in(precision(arguments));
  const TrainingData corpora = load_data(data, tokenizer, model.config().max_length);
  Trainer trainer(model, corpora.train, recipe);
  options.metadata = run_metadata(data, corpora.train, options);
  train_and_report(trainer, corpora, tokenizer, run, options);
}

// Says why a run would stop at once, and which option lets it go on.
void check_not_finished(const Trainer& trainer, const RunOptions& options) {
  const TrainingState& state = trainer.state;
  if (trainer.recipe().steps < state.step)
    fail("train: this run is at step ", state.step, " already; give --steps above that");
  if (options.minutes > 0 && state.seconds >= 60 * options.minutes)
    fail("train: this run has had its ", options.minutes, " minutes; give --minutes above that, or 0 for no limit");
  if (options.patience > 0 && state.validations_without_gain >= options.patience)
    fail("train: this run ended after ", state.validations_without_gain,
         " validations without gain; give a larger --patience, or 0 for none");
}

// A resumed run goes on with what it was started with: an option that would be ignored is an error.
void check_resume_options(const cxxopts::ParseResult& arguments) {
  const std::set<std::string> allowed = {"resume",   "out",     "steps",  "minutes",
                                         "patience", "threads", "device", "precision"};
  for (const auto& argument : arguments.arguments())
    if (!allowed.contains(argument.key()))
      throw UsageError(
          text("train: --", argument.key(), " cannot change when a run is resumed; start a new run for that"));
}

void resume(const cxxopts::ParseResult& arguments, const RunPaths& run) {
  if (!std::filesystem::exists(run.training()))
    fail("train: there is no ", run.training().string(), " to go on from; start the run without --resume");
  check_resume_options(arguments);
  LoadedModel loaded = load_training_model(run.training());
  loaded.model.compute_in(precision(arguments, training_precision(loaded.metadata)));
  const Tokenizer tokenizer = load_tokenizer(run, loaded);
  Recipe recipe = headshare::recipe(loaded.metadata);
  if (arguments.count("steps") > 0) recipe.steps = arguments["steps"].as<Size>();
  if (recipe.schedule.decay_steps > 0 && recipe.steps > recipe.schedule.decay_after + recipe.schedule.decay_steps)
    fail("train: the learning rate of this run reaches 0 at step ",
         recipe.schedule.decay_after + recipe.schedule.decay_steps, "; to train on, use: headshare uptrain");
  const DataPaths data = data_paths(loaded.metadata);
  const TrainingData corpora = load_data(data, tokenizer, loaded.model.config().max_length);
  Trainer trainer(loaded.model, corpora.train, recipe);
  check_same_corpus(corpora, loaded.metadata);
  load_training_state(run.training(), trainer);
  RunOptions options = run_options(loaded.metadata);
  if (arguments.count("minutes") > 0) options.minutes = arguments["minutes"].as<double>();
  if (arguments.count("patience") > 0) options.patience = arguments["patience"].as<Size>();
  check_not_finished(trainer, options);
  options.metadata = provenance(loaded.metadata);
  options.metadata.merge(to_metadata(options));
  train_and_report(trainer, corpora, tokenizer, run, options);
}

void run(const Words& words, const std::string& summary) {
  CommandLine line("train", summary, example);
  add_options(line);
  add_precision(line);
  const auto arguments = line.parse(words);
  if (!arguments) return;
  use_threads(*arguments);
  use_device(*arguments);
  const RunPaths paths{required(*arguments, "out", "train")};
  if (arguments->count("resume") > 0)
    resume(*arguments, paths);
  else
    start(*arguments, paths);
}

}  // namespace

Command train_command() {
  const std::string summary = "Train a translation model, or go on with a run";
  return {"train", summary, [summary](const Words& words) { run(words, summary); }};
}

}  // namespace headshare::cli
