#include <chrono>
#include <iomanip>
#include <iostream>

#include "cli/attention_picture.h"
#include "cli/command.h"
#include "cli/toy_setup.h"
#include "core/report/progress.h"
#include "core/report/table.h"
#include "nn/conversion.h"
#include "nn/decoding_speed.h"
#include "nn/evaluation.h"
#include "nn/run.h"
#include "nn/uptraining.h"

namespace headshare::cli {
namespace {

constexpr double alpha = 0.05;

// The first of DIR, DIR-2, DIR-3 ... that is not there yet: a second quickstart must not cost the results of the first.
std::filesystem::path free_folder(const std::filesystem::path& wanted) {
  const std::filesystem::path base = (wanted / "").parent_path();  // without a slash at the end
  std::filesystem::path folder = base;
  for (Size i = 2; std::filesystem::exists(folder); ++i) folder = text(base.string(), "-", i);
  if (folder != base) std::cout << base.string() << " is there already; this run goes to " << folder.string() << '\n';
  return folder;
}

Table result_table() {
  return Table({{"model"},
                {"KV heads", Alignment::right},
                {"parameters", Alignment::right},
                {"exact match %", Alignment::right},
                {"BLEU", Alignment::right},
                {"chrF2", Alignment::right},
                {"cache B/token", Alignment::right},
                {"tokens/s, batch 1", Alignment::right},
                {"batch 64", Alignment::right}});
}

struct Demo {
  std::filesystem::path folder;
  ToyLanguage toy;
  Tokenizer tokenizer;
  EncodedCorpus train, valid;
  Table table = result_table();
  std::vector<std::string> translations = {};
  std::string bleu_signature = {};

  void measure(const std::string& label, const Transformer& model) {
    const Evaluation result = evaluate(model, tokenizer, toy.test);
    const auto tokens_per_second = [&](Size batch) {
      return measure_decoding(model, {.batch = batch, .source_length = 16, .target_length = 32}).tokens_per_second;
    };
    bleu_signature = result.bleu_signature;
    table.add_row(
        {label, std::to_string(model.config().attention.cross.kv_heads), with_thousands(count_parameters(model)),
         with_decimals(100 * result.exact_match, 1), with_decimals(result.bleu, 1), with_decimals(result.chrf, 1),
         with_thousands(cache_bytes_per_token(model)), with_thousands(static_cast<Size>(tokens_per_second(1))),
         with_thousands(static_cast<Size>(tokens_per_second(64)))});
    std::cout << label << ": exact match " << with_decimals(100 * result.exact_match, 1) << " %" << std::endl;
  }

  // With what `headshare train --resume` and `headshare uptrain` need to go on with these runs.
  RunOptions run_options(Size log_every, Size validate_every) const {
    RunOptions options{.log_every = log_every, .validate_every = validate_every};
    options.metadata = run_metadata(toy_paths(folder / "toy"), train, options);
    return options;
  }

  // One sentence in words, and where the model looked while it wrote each of them.
  void show(const std::string& label, const std::string& file, const Transformer& model) {
    const SentencePair& pair = toy.test.pairs[0];
    const std::filesystem::path picture = folder / ("attention-" + file + ".png");
    translations.push_back(label + ": " + draw_cross_attention(model, tokenizer, pair.source, picture));
  }
};

// Converts the trained model to `kv_heads` (or keeps it, for the control), trains 5 % more, and shows it before and
// after.
void convert_and_uptrain(Demo& demo, const Transformer& original, const RunPaths& source, const std::string& label,
                         const std::string& file, Size kv_heads) {
  const AttentionSites& before = original.config().attention;
  const AttentionMode shared = with_kv_heads(before.cross, kv_heads);
  const Transformer model = convert_attention(original, {before.encoder_self, shared, shared});
  if (shared != before.cross) demo.measure(label + ", converted", model);
  const RunPaths run{demo.folder / file};
  convert_training(source.training(), run.training(), original, model, Pooling::mean, {});

  const LoadedModel trained = load_training_model(run.training());
  const Recipe recipe = uptraining_recipe(headshare::recipe(trained.metadata), training_state(trained.metadata).step,
                                          training_state(trained.metadata).step, alpha, UptrainingSchedule::decay);
  Trainer trainer(model, demo.train, recipe);
  load_training_state(run.training(), trainer);
  demo.tokenizer.save(run.tokenizer());
  run_training(trainer, demo.valid, demo.tokenizer, run, demo.run_options(10, recipe.steps));
  demo.measure(label + ", 5 % more training", model);
  demo.show(label, file, model);
}

void run(const Words& words, const std::string& summary) {
  CommandLine line("demo", summary, "  headshare demo --out runs/quickstart");
  line.options()("out", "Folder for everything it makes",
                 cxxopts::value<std::string>()->default_value("runs/quickstart"))(
      "steps", "Updates of the multi-head model", cxxopts::value<Size>()->default_value("8000"))(
      "pairs", "Training pairs of the toy language", cxxopts::value<Size>()->default_value("60000"))(
      "seed", "Of the data, the weights and the order of batches", cxxopts::value<std::uint64_t>()->default_value("1"))(
      "threads", "Processor cores to use", cxxopts::value<Size>());
  const auto arguments = line.parse(words);
  if (!arguments) return;
  use_threads(*arguments);
  const auto start = std::chrono::steady_clock::now();
  const auto seed = (*arguments)["seed"].as<std::uint64_t>();
  const Size steps = (*arguments)["steps"].as<Size>();
  if (steps < 1) throw UsageError("demo: --steps must be at least 1");
  const std::filesystem::path folder = free_folder((*arguments)["out"].as<std::string>());

  std::cout << "\n1. The toy language: English to German, made by a grammar\n";
  ToyLanguage toy = make_toy_language({.pairs = (*arguments)["pairs"].as<Size>(), .seed = seed, .test = 1000});
  write_toy_language(toy, folder / "toy");
  for (std::size_t i = 0; i < std::min(toy.train.pairs.size(), std::size_t{3}); ++i)
    std::cout << "   " << toy.train.pairs[i].source << "  ->  " << toy.train.pairs[i].target << '\n';
  Tokenizer tokenizer = learn_byte_pairs(toy.train, {.merges = toy_merges});
  const Size longest = toy_model(tokenizer.size()).max_length;
  EncodedCorpus train = encode(toy.train, tokenizer, longest), valid = encode(toy.valid, tokenizer, longest);
  Demo demo{folder, std::move(toy), std::move(tokenizer), std::move(train), std::move(valid)};

  std::cout << "\n2. Train multi-head attention: eight query heads, each with its own keys and values\n";
  const Transformer model(toy_model(demo.tokenizer.size()), seed);
  std::cout << "   " << with_thousands(count_parameters(model)) << " parameters, vocabulary "
            << with_thousands(demo.tokenizer.size()) << std::endl;
  const Recipe recipe = toy_recipe(steps, seed);
  const RunPaths source{folder / "multi-head"};
  Trainer trainer(model, demo.train, recipe);
  run_training(trainer, demo.valid, demo.tokenizer, source, demo.run_options(20, std::max(Size{1}, steps / 6)));
  demo.measure("multi-head", model);

  std::cout << "\n3. Let groups of query heads share the mean of their key/value heads, then train 5 % more\n"
            << "   (the multi-head model gets the same 5 %: only that comparison is fair)" << std::endl;
  convert_and_uptrain(demo, model, source, "multi-head", "multi-head-more", model.config().attention.cross.heads);
  convert_and_uptrain(demo, model, source, "grouped-query", "grouped-query", 2);
  convert_and_uptrain(demo, model, source, "multi-query", "multi-query", 1);
  std::filesystem::copy_file(source.chart(), folder / "loss.png");

  std::cout
      << "\n4. What came out, on " << demo.toy.test.size() << " sentences that training never saw, decoded greedily\n\n"
      << demo.table.plain() << "\nBLEU: " << demo.bleu_signature
      << "\nSpeeds are for sources of 16 tokens. The longer the source, the more of each step is reading keys and "
         "values,\nand the more sharing them gains: build/release/headshare benchmark --batch 128 --source 512\n\n"
      << "English        : " << demo.toy.test.pairs[0].source << "\nGerman         : " << demo.toy.test.pairs[0].target
      << '\n';
  for (const std::string& translation : demo.translations) std::cout << translation << '\n';
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::cout << "\nIn " << folder.string()
            << ": loss.png, attention-*.png, toy/, and a folder for each model\nTry: echo \""
            << demo.toy.test.pairs[1].source << "\" | build/release/headshare translate "
            << (folder / "grouped-query").string() << "\nTime: " << format_duration(seconds) << '\n';
}

}  // namespace

Command demo_command() {
  const std::string summary = "The whole story in a few minutes: train, convert, uptrain, compare";
  return {"demo", summary, [summary](const Words& words) { run(words, summary); }};
}

}  // namespace headshare::cli
