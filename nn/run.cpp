#include "nn/run.h"

#include <algorithm>
#include <chrono>
#include <iomanip>
#include <set>

#include "core/report/csv_log.h"
#include "core/report/line_chart.h"
#include "core/report/progress.h"

namespace headshare {
namespace {

constexpr const char* tokenizer_key = "tokenizer";

// Sorts by step.
std::string checkpoint_name(Size step) {
  std::ostringstream name;
  name << "step-" << std::setw(9) << std::setfill('0') << step << ".safetensors";
  return name.str();
}

std::vector<std::filesystem::path> recent_checkpoints(const RunPaths& run) {
  std::set<std::filesystem::path> sorted;
  if (std::filesystem::exists(run.recent()))
    for (const auto& entry : std::filesystem::directory_iterator(run.recent()))
      if (entry.path().filename().string().starts_with("step-") && entry.path().extension() == ".safetensors")
        sorted.insert(entry.path());
  return {sorted.begin(), sorted.end()};
}

// Checkpoints of steps that this run has not reached: of an earlier run in this folder, or written just before a crash.
void remove_checkpoints_after(const RunPaths& run, Size step) {
  for (const auto& path : recent_checkpoints(run))
    if (path.filename() > checkpoint_name(step)) std::filesystem::remove(path);
}

void draw_chart(const RunPaths& run) {
  const CsvTable log = read_csv(run.log());
  const std::vector<double> steps = log.numbers("step");
  const std::filesystem::path folder = (run.folder / "").parent_path();  // without a slash at the end
  write_png(LineChart{.title = "Loss of " + folder.filename().string(),
                      .x_label = "step",
                      .y_label = "negative log-likelihood per token",
                      .series = {{.name = "train", .x = steps, .y = log.numbers("train_nll")},
                                 {.name = "validation", .x = steps, .y = log.numbers("valid_nll")}}},
            run.chart());
}

// What run_training keeps between steps.
struct Runner {
  Trainer& trainer;
  const EncodedCorpus& valid;
  const RunPaths& run;
  const RunOptions& options;
  Metadata metadata;

  Metadata with_step() const {
    Metadata extra = metadata;
    extra["step"] = std::to_string(trainer.state.step);
    return extra;
  }

  void save() const {
    save_training(run.training(), trainer, metadata);
    save_model(run.model(), trainer.model(), with_step());
    draw_chart(run);
  }

  // A validation of the schedule: updates the record of the best and the files that Keep needs. They are written before
  // the training state, which counts on them.
  void note_validation(double nll) const {
    if (options.keep == Keep::average) {
      save_model(run.recent() / checkpoint_name(trainer.state.step), trainer.model(), with_step());
      const std::vector<std::filesystem::path> recent = recent_checkpoints(run);
      for (std::size_t i = 0; i + static_cast<std::size_t>(options.average_of) < recent.size(); ++i)
        std::filesystem::remove(recent[i]);
    }
    if (nll < trainer.state.best_nll) {
      trainer.state.best_nll = nll;
      trainer.state.validations_without_gain = 0;
      if (options.keep == Keep::best) save_model(run.best(), trainer.model(), with_step());
    } else {
      ++trainer.state.validations_without_gain;
    }
  }

  bool finished() const {
    const bool out_of_time = options.minutes > 0 && trainer.state.seconds >= 60 * options.minutes;
    const bool out_of_patience = options.patience > 0 && trainer.state.validations_without_gain >= options.patience;
    const bool stopped = options.stop && options.stop();
    return trainer.state.step >= trainer.recipe().steps || out_of_time || out_of_patience || stopped;
  }

  // Puts what Keep asks for into model.safetensors; returns its validation NLL. A run that was stopped before its first
  // scheduled validation has only its last model.
  double keep_final(double last_nll) const {
    const std::vector<std::filesystem::path> recent = recent_checkpoints(run);
    const bool has_best = options.keep == Keep::best && std::filesystem::exists(run.best());
    const bool has_recent = options.keep == Keep::average && !recent.empty();
    if (!has_best && !has_recent) return last_nll;
    LoadedModel kept = has_best ? load_model(run.best()) : mean_of_models(recent);
    if (has_recent) kept.metadata["averaged"] = std::to_string(recent.size());
    save_model(run.model(), kept.model, kept.metadata);
    return validation_nll(kept.model, valid);
  }
};

}  // namespace

void check_new_run(const RunPaths& run) {
  for (const auto& path : {run.training(), run.model(), run.tokenizer(), run.log(), run.best()})
    if (std::filesystem::exists(path))
      fail(path.string(), " is there already; go on with --resume, or choose another --out folder");
}

double run_training(Trainer& trainer, const EncodedCorpus& valid, const Tokenizer& tokenizer, const RunPaths& run,
                    const RunOptions& options) {
  if (options.validate_every < 1 || options.log_every < 1)
    fail("train: validate_every and log_every must be at least 1");
  if (options.keep == Keep::average && options.average_of < 1) fail("train: an average needs at least 1 checkpoint");
  if (valid.pairs.empty())
    fail("train: no sentence pair to validate on",
         valid.too_long > 0 ? "; all are longer than the model's max_length" : "");
  Runner runner{trainer, valid, run, options, options.metadata};
  runner.metadata[tokenizer_key] = tokenizer.fingerprint();
  std::filesystem::create_directories(run.folder);
  if (trainer.state.step == 0) tokenizer.save(run.tokenizer());
  remove_checkpoints_after(run, trainer.state.step);
  // From the first moment there is a state to resume from.
  if (!std::filesystem::exists(run.training())) save_training(run.training(), trainer, runner.metadata);

  TrainingState& state = trainer.state;
  CsvLog log(run.log(),
             {"step", "epoch", "seconds", "target_tokens", "tokens_per_second", "learning_rate", "gradient_norm",
              "train_loss", "train_nll", "valid_nll"},
             {.resume_after_step = state.step > 0 ? std::optional<Size>(state.step) : std::nullopt});
  const Size total =
      options.minutes > 0 ? 0 : trainer.recipe().steps;  // where the clock decides, steps left say nothing
  Progress progress("train", total, {.unit = "tokens", .first_step = state.step});

  const Size tokens_before = state.target_tokens;
  double loss_sum = 0, nll_sum = 0, last_nll = std::numeric_limits<double>::quiet_NaN();
  Size tokens_logged = state.target_tokens;
  // Also before the first step: a crash may have left the files that follow the training state behind it.
  Size unsaved = 1;
  double seconds_logged = state.seconds;
  std::string valid_text;
  StepReport report{};
  constexpr Size gpu_report_every = 16;
  const bool on_processor = trainer.model().options().device == Device::cpu;
  const auto timed = [&state](const auto& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    state.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const auto take_report = [&] {
    timed([&] { report = trainer.report(); });
    loss_sum += report.loss * static_cast<double>(report.target_tokens);
    nll_sum += report.nll * static_cast<double>(report.target_tokens);
  };
  while (!runner.finished()) {
    timed([&] { trainer.update(); });
    unsaved = 1;
    const bool scheduled = state.step % options.validate_every == 0 || state.step >= trainer.recipe().steps;
    const bool logged = scheduled || state.step % options.log_every == 0;
    // Reading a number waits for the device: on a GPU now and then, on the processor, which is done already, always.
    const bool due = logged || on_processor || state.step % gpu_report_every == 0;
    if (due) take_report();
    const bool stopping = runner.finished();
    if (stopping && !due) take_report();

    // A run that is stopped early validates and saves too, but that must not count: resumed, it goes on as if it had
    // never stopped.
    const bool validate = scheduled || stopping;
    if (validate || logged) {
      const double tokens = static_cast<double>(state.target_tokens - tokens_logged);
      CsvValue valid_nll{};
      if (validate) {
        last_nll = validation_nll(trainer.model(), valid);
        valid_nll = last_nll;
        valid_text = text("  valid ", std::setprecision(4), last_nll);
        if (scheduled) runner.note_validation(last_nll);
      }
      log.append({state.step, state.epoch, state.seconds, state.target_tokens,
                  tokens / (state.seconds - seconds_logged), report.learning_rate, report.gradient_norm,
                  loss_sum / tokens, nll_sum / tokens, valid_nll});
      loss_sum = nll_sum = 0;
      tokens_logged = state.target_tokens;
      seconds_logged = state.seconds;
    }
    if (validate) {
      runner.save();
      unsaved = 0;
    }
    progress.update(
        state.step, state.target_tokens - tokens_before,
        text("epoch ", state.epoch + 1, "  nll ", std::fixed, std::setprecision(3), report.nll, valid_text));
  }
  progress.finish();
  if (unsaved != 0) runner.save();
  if (std::isnan(last_nll)) last_nll = validation_nll(trainer.model(), valid);
  return runner.keep_final(last_nll);
}

Tokenizer load_tokenizer(const RunPaths& run, const LoadedModel& loaded) {
  Tokenizer tokenizer = Tokenizer::load(run.tokenizer());
  const auto fingerprint = loaded.metadata.find(tokenizer_key);
  if (tokenizer.size() != loaded.model.config().vocabulary ||
      (fingerprint != loaded.metadata.end() && fingerprint->second != tokenizer.fingerprint()))
    fail(run.tokenizer().string(), " is not the tokenizer that the model in ", run.folder.string(),
         " was trained with; put the tokenizer.txt of that run beside it");
  return tokenizer;
}

LoadedRun load_run(const std::filesystem::path& path, Device device) {
  const bool is_folder = std::filesystem::is_directory(path);
  const std::filesystem::path file = is_folder ? RunPaths{path}.model() : path;
  if (!std::filesystem::exists(file))
    fail("no model at ", path.string(), is_folder ? ": the folder holds no model.safetensors" : "",
         "; give the folder of a run, or make one with: headshare train");
  const RunPaths run{file.has_parent_path() ? file.parent_path() : std::filesystem::path(".")};
  LoadedModel loaded = load_model(file, device);
  Tokenizer tokenizer = load_tokenizer(run, loaded);
  return {std::move(loaded.model), std::move(tokenizer), std::move(loaded.metadata)};
}

}  // namespace headshare
