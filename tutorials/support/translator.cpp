#include "tutorials/support/translator.h"

#include <unistd.h>

#include <algorithm>

#include "core/report/csv_log.h"
#include "core/report/progress.h"

namespace headshare::lesson {
namespace {

constexpr Size most_words = 7;

Size words(const std::string& sentence) { return 1 + std::count(sentence.begin(), sentence.end(), ' '); }

Corpus short_pairs(const Corpus& corpus) {
  Corpus kept;
  for (const SentencePair& pair : corpus.pairs)
    if (words(pair.source) <= most_words) kept.pairs.push_back(pair);
  return kept;
}

using Rows = std::vector<std::vector<CsvValue>>;

// Runs all updates. The result has a row every 20 of them.
Rows train(Trainer& trainer, const EncodedCorpus& valid) {
  constexpr Size log_every = 20, validate_every = 500;
  const Size steps = trainer.recipe().steps;
  Rows rows;
  Progress progress("train the translator", steps);
  while (trainer.state.step < steps) {
    trainer.update();
    const Size step = trainer.state.step;
    if (step % log_every != 0 && step != steps) continue;
    const StepReport report = trainer.report();
    CsvValue valid_nll{};
    if (step % validate_every == 0 || step == steps) valid_nll = validation_nll(trainer.model(), valid);
    rows.push_back({step, report.learning_rate, report.loss, report.nll, valid_nll});
    progress.update(step, text("loss ", with_decimals(report.loss, 3)));
  }
  progress.finish();
  return rows;
}

void save(const RunPaths& run, const Trainer& trainer, const Tokenizer& tokenizer, const Rows& rows) {
  const Metadata metadata{{"tokenizer", tokenizer.fingerprint()}, {"step", std::to_string(trainer.state.step)}};
  CsvLog log(run.log(), {"step", "learning_rate", "train_loss", "train_nll", "valid_nll"});
  for (const std::vector<CsvValue>& row : rows) log.append(row);
  tokenizer.save(run.tokenizer());
  save_training(run.training(), trainer, metadata);
  save_model(run.model(), trainer.model(), metadata);
}

// Writes the files beside the folder that they are for and renames them when all are there: no run is ever half there.
void save_whole(const RunPaths& run, const Trainer& trainer, const Tokenizer& tokenizer, const Rows& rows) {
  const std::filesystem::path unfinished = text(run.folder.string(), ".unfinished-", ::getpid());
  std::error_code error;
  std::filesystem::remove_all(unfinished, error);
  std::filesystem::create_directories(unfinished);
  save({unfinished}, trainer, tokenizer, rows);
  std::filesystem::rename(unfinished, run.folder, error);
  if (!error) return;
  std::error_code ignored;
  std::filesystem::remove_all(unfinished, ignored);
  // Another program may have been quicker; its translator is the same.
  if (!std::filesystem::exists(run.model()))
    fail("translator: cannot write the folder ", run.folder.string(), ": ", error.message());
}

void make_translator(const RunPaths& run) {
  const ToyLanguage language = translator_language();
  const Tokenizer tokenizer = translator_tokenizer(language);
  const TransformerConfig config = translator_config(tokenizer.size());
  const EncodedCorpus pairs = encode(language.train, tokenizer, config.max_length);
  const Transformer model(config, translator_recipe().seed);
  Trainer trainer(model, pairs, translator_recipe());
  const Rows rows = train(trainer, encode(language.valid, tokenizer, config.max_length));
  save_whole(run, trainer, tokenizer, rows);
}

}  // namespace

Translator toy_translator() {
  const RunPaths run = translator_run();
  if (!std::filesystem::exists(run.model())) make_translator(run);
  LoadedRun loaded = load_run(run.folder);
  return {std::move(loaded.model), std::move(loaded.tokenizer)};
}

RunPaths translator_run() { return {"translator"}; }

ToyLanguage translator_language() {
  ToyLanguage language = make_toy_language({.pairs = 60000, .seed = 1, .valid = 1000, .test = 1500});
  for (Corpus* corpus : {&language.train, &language.valid, &language.test, &language.composition})
    *corpus = short_pairs(*corpus);
  return language;
}

Tokenizer translator_tokenizer(const ToyLanguage& language) {
  return learn_byte_pairs(language.train, {.merges = 741});  // a vocabulary of 1,000
}

TransformerConfig translator_config(Size vocabulary) {
  return {.vocabulary = vocabulary,
          .d_model = 128,
          .d_ff = 256,
          .layers = 2,
          .attention = multi_head(8),
          .max_length = 64,
          .dropout = 0};
}

Recipe translator_recipe() {
  return {.steps = 3000,
          .tokens_per_batch = 768,
          .schedule = {.peak = 3e-3, .warmup = 500, .decay_after = 1800, .decay_steps = 1200},
          .seed = 1};
}

}  // namespace headshare::lesson
