#include <doctest/doctest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include "core/file.h"
#include "core/report/csv_log.h"
#include "nn/run.h"
#include "tests/model_helpers.h"

// A run's folder: what is in it, that it can be continued from any moment, also after kill -9, and the model it keeps.

using namespace headshare;
using namespace headshare::test;
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t model_seed = 3;

// A tiny translation task; the same for every run of this file.
struct Task {
  Corpus corpus = small_corpus(24);
  Tokenizer tokenizer = learn_byte_pairs(corpus, {.merges = 40});
  EncodedCorpus train = encode(small_corpus(fewer(24, 8)), tokenizer, 24);
  EncodedCorpus valid = encode(small_corpus(fewer(6, 2), 2), tokenizer, 24);

  Recipe recipe(Size steps) const {
    Recipe recipe;
    recipe.steps = steps;
    recipe.tokens_per_batch = fewer(100, 40);
    recipe.schedule = {.peak = 1e-2, .warmup = 3};
    return recipe;
  }
  TransformerConfig config() const {
    TransformerConfig config = tiny_config(tokenizer.size(), grouped_query(4, 2));
    config.dropout = 0.1;
    return config;
  }
  double start(const RunPaths& run, const Recipe& recipe, const RunOptions& options) const {
    const Transformer model(config(), model_seed);
    Trainer trainer(model, train, recipe);
    return run_training(trainer, valid, tokenizer, run, options);
  }
  // As the command does with --resume --steps.
  double resume(const RunPaths& run, Size steps, const RunOptions& options) const {
    const LoadedModel loaded = load_training_model(run.training());
    Recipe recipe = headshare::recipe(loaded.metadata);
    recipe.steps = steps;
    Trainer trainer(loaded.model, train, recipe);
    load_training_state(run.training(), trainer);
    return run_training(trainer, valid, tokenizer, run, options);
  }
};

const Task& task() {
  static const Task instance;
  return instance;
}

// Every column of a log that does not depend on the clock.
std::vector<std::vector<std::string>> timeless(const fs::path& log) {
  const CsvTable table = read_csv(log);
  std::vector<std::vector<std::string>> columns;
  for (const char* name :
       {"step", "epoch", "target_tokens", "learning_rate", "gradient_norm", "train_loss", "train_nll", "valid_nll"})
    columns.push_back(table.strings(name));
  return columns;
}

// The tensors of a checkpoint: the name of the first that differs between two files, or nothing.
std::string first_difference(const fs::path& a, const fs::path& b) {
  const SafetensorsFile x = read_safetensors(a), y = read_safetensors(b);
  if (x.tensors().size() != y.tensors().size()) return "the number of tensors";
  for (const StoredTensor& tensor : x.tensors()) {
    const StoredTensor* other = y.find(tensor.name);
    if (other == nullptr || other->shape != tensor.shape || !std::ranges::equal(other->bytes, tensor.bytes))
      return tensor.name;
  }
  return "";
}

// Starts a program with its output in a file; returns its process id.
pid_t spawn(std::vector<std::string> words, const fs::path& output) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t process = 0;
  const int error = posix_spawn(&process, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) fail("test: cannot start ", words[0]);
  return process;
}

int wait_for(pid_t process) {
  int status = 0;
  waitpid(process, &status, 0);
  return status;
}

Size lines_in(const fs::path& file) {
  std::ifstream in(file);
  return static_cast<Size>(std::count(std::istreambuf_iterator<char>(in), {}, '\n'));
}

}  // namespace

TEST_CASE("a run leaves a folder with model, training state, tokenizer, log and chart") {
  const TemporaryFolder folder;
  const RunPaths run{folder / "made/by/the/run"};
  check_new_run(run);
  const Transformer model(task().config(), model_seed);
  Trainer trainer(model, task().train, task().recipe(7));
  const double nll = run_training(trainer, task().valid, task().tokenizer, run,
                                  {.log_every = 2, .validate_every = 3, .metadata = {{"note", "mine"}}});
  CHECK(nll == validation_nll(model, task().valid));

  const LoadedRun loaded = load_run(run.folder);
  CHECK(first_difference(loaded.model, model) == "");
  CHECK(loaded.tokenizer.fingerprint() == task().tokenizer.fingerprint());
  CHECK(loaded.metadata.at("note") == "mine");
  CHECK(loaded.metadata.at("step") == "7");
  CHECK(first_difference(load_run(run.model()).model, model) == "");
  CHECK(load_training_model(run.training()).metadata.at("note") == "mine");
  CHECK(read_file(run.chart()).starts_with("\x89PNG"));
  CHECK(timeless(run.log())[0] == std::vector<std::string>{"2", "3", "4", "6", "7"});  // logged, validated, the last
  const std::vector<std::string> valid = read_csv(run.log()).strings("valid_nll");
  CHECK(valid[0].empty());
  CHECK(!valid[1].empty());
  CHECK(read_csv(run.log()).numbers("valid_nll").back() == nll);
  CHECK(read_csv(run.log()).numbers("target_tokens").back() == static_cast<double>(trainer.state.target_tokens));

  CHECK_THROWS_WITH_AS(check_new_run(run),
                       doctest::Contains("optimizer.safetensors is there already; go on with --resume, or "
                                         "choose another --out folder"),
                       Error);
  fs::remove(run.training());
  CHECK_THROWS_WITH_AS(check_new_run(run), doctest::Contains("model.safetensors is there already"), Error);
  CHECK_THROWS_WITH_AS(task().start(run, task().recipe(1), {.validate_every = 0}),
                       "train: validate_every and log_every must be at least 1", Error);
  CHECK_THROWS_WITH_AS(task().start(run, task().recipe(1), {.keep = Keep::average, .average_of = 0}),
                       "train: an average needs at least 1 checkpoint", Error);
}

TEST_CASE("a run in two parts is the same as a run in one, its log too") {
  const TemporaryFolder folder;
  const RunPaths one{folder / "one"}, two{folder / "two"};
  for (const Keep keep : fewer(std::vector<Keep>{Keep::last, Keep::best, Keep::average}, {Keep::average})) {
    const RunOptions options{.log_every = 1, .validate_every = 2, .keep = keep, .average_of = 3};
    fs::remove_all(one.folder);
    fs::remove_all(two.folder);
    const double expected = task().start(one, task().recipe(8), options);
    task().start(two, task().recipe(4), options);
    CHECK(task().resume(two, 8, options) == expected);
    CHECK(first_difference(one.model(), two.model()) == "");
    CHECK(first_difference(one.training(), two.training()) == "");
    CHECK(timeless(one.log()) == timeless(two.log()));
  }
}

TEST_CASE("a run that was stopped between writing one file and the next repairs the others when it is resumed") {
  const TemporaryFolder folder;
  const RunPaths one{folder / "one"}, two{folder / "two"};
  const RunOptions options{.log_every = 1, .validate_every = 2, .keep = Keep::average, .average_of = 3};
  task().start(one, task().recipe(8), options);
  task().start(two, task().recipe(2), options);
  fs::remove(two.model());
  fs::create_directories(two.model() / "in the way");  // so that the checkpoint of step 4 stops half done
  CHECK_THROWS_AS(task().resume(two, 8, options), Error);
  CHECK(training_state(load_training_model(two.training()).metadata).step == 4);
  fs::remove_all(two.model());
  task().resume(two, 8, options);
  CHECK(first_difference(one.model(), two.model()) == "");
  CHECK(timeless(one.log()) == timeless(two.log()));

  // Stopped after the last training state: nothing is left to train, but the model is of an earlier step, or not there.
  const RunPaths three{folder / "three"};
  const RunOptions last{.log_every = 1, .validate_every = 2};
  task().start(three, task().recipe(4), last);
  const Tensor expected = parameter_of(load_model(three.model()).model, "embedding");
  fs::remove(three.model());
  task().resume(three, 4, last);
  CHECK(same_bits(parameter_of(load_model(three.model()).model, "embedding"), expected));
}

TEST_CASE("checkpoints of an earlier run do not get into the average") {
  const TemporaryFolder folder;
  const RunPaths one{folder / "one"}, two{folder / "two"};
  const RunOptions options{.log_every = 1, .validate_every = 2, .keep = Keep::average, .average_of = 3};
  task().start(one, task().recipe(4), options);
  task().start(two, task().recipe(8), options);
  for (const auto& path : {two.model(), two.training(), two.tokenizer(), two.log()}) fs::remove(path);
  check_new_run(two);
  task().start(two, task().recipe(4), options);
  CHECK(first_difference(one.model(), two.model()) == "");
}

TEST_CASE("a run that was stopped between two validations and resumed ends as if it had never stopped") {
  const TemporaryFolder folder;
  const RunPaths whole{folder / "whole"}, stopped{folder / "stopped"};
  const RunOptions options{.log_every = 1, .validate_every = 3, .keep = Keep::average, .average_of = 2};
  task().start(whole, task().recipe(8), options);
  RunOptions interrupted = options;
  Size asked = 0;
  interrupted.stop = [&] { return ++asked > 8; };  // asked twice a step: in the midst of step 4 or 5
  task().start(stopped, task().recipe(8), interrupted);
  const Size step = training_state(load_training_model(stopped.training()).metadata).step;
  REQUIRE(step > 3);
  REQUIRE(step < 6);
  task().resume(stopped, 8, options);
  CHECK(first_difference(whole.model(), stopped.model()) == "");
  const auto best = [](const RunPaths& run) {
    return training_state(load_training_model(run.training()).metadata).best_nll;
  };
  CHECK(best(whole) == best(stopped));
}

TEST_CASE("training stops when validation has not improved for as long as patience says") {
  const TemporaryFolder folder;
  Recipe recipe = task().recipe(100);
  recipe.schedule.peak = 0;  // nothing changes, so the first validation stays the best
  const Transformer model(task().config(), model_seed);
  Trainer trainer(model, task().train, recipe);
  run_training(trainer, task().valid, task().tokenizer, {folder.path},
               {.log_every = 50, .validate_every = 3, .patience = 2});
  CHECK(trainer.state.step == 9);
  CHECK(trainer.state.validations_without_gain == 2);
  CHECK(timeless(folder / "log.csv")[0] == std::vector<std::string>{"3", "6", "9"});
  CHECK(training_state(load_training_model(folder / "optimizer.safetensors").metadata).step == 9);

  Trainer improving(model, task().train, task().recipe(6));
  improving.state.validations_without_gain = 1;
  run_training(improving, task().valid, task().tokenizer, {folder / "improving"}, {.validate_every = 3, .patience = 2});
  CHECK(improving.state.step == 6);
  CHECK(improving.state.validations_without_gain == 0);  // a gain starts the count again

  Trainer limited(model, task().train, task().recipe(100));
  run_training(limited, task().valid, task().tokenizer, {folder / "time"}, {.minutes = 1e-9});
  CHECK(limited.state.step == 1);
}

TEST_CASE("Keep::best keeps the model of the best validation") {
  const TemporaryFolder folder;
  const RunPaths run{folder.path};
  const Size steps = fewer(40, 16), validate_every = fewer(4, 2);
  Recipe recipe = task().recipe(steps);
  recipe.schedule = {.peak = 2, .warmup = steps};  // so hot that later models are worse
  const double nll = task().start(run, recipe, {.log_every = 50, .validate_every = validate_every, .keep = Keep::best});
  const std::vector<double> validations = read_csv(run.log()).numbers("valid_nll");
  REQUIRE(static_cast<Size>(validations.size()) == steps / validate_every);
  const auto best = std::min_element(validations.begin(), validations.end());
  REQUIRE(best != validations.end() - 1);
  CHECK(nll == *best);
  CHECK(validation_nll(load_run(run.folder).model, task().valid) == *best);
  CHECK(first_difference(run.model(), run.best()) == "");
  const TrainingState state = training_state(load_training_model(run.training()).metadata);
  CHECK(state.best_nll == *best);
  CHECK(state.validations_without_gain == validations.end() - 1 - best);
  CHECK(state.step == steps);  // while training goes on from the last one
}

TEST_CASE("Keep::average keeps the mean of the last checkpoints") {
  const TemporaryFolder folder;
  const RunPaths run{folder.path};
  const double nll = task().start(run, task().recipe(10),
                                  {.log_every = 50, .validate_every = 2, .keep = Keep::average, .average_of = 3});
  std::vector<Tensor> recent;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(run.recent())) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  REQUIRE(files.size() == 3);
  CHECK(files[0].filename() == "step-000000006.safetensors");
  CHECK(files[2].filename() == "step-000000010.safetensors");
  for (const fs::path& file : files) recent.push_back(parameter_of(load_model(file).model, "embedding"));
  const Tensor mean = affine(add(add(recent[0], recent[1]), recent[2]), 1.0 / 3, 0);
  const LoadedRun loaded = load_run(run.folder);
  CHECK(difference(parameter_of(loaded.model, "embedding"), mean) < 1e-6);
  CHECK(difference(recent[2], mean) > 1e-3);
  CHECK(nll == validation_nll(loaded.model, task().valid));
}

TEST_CASE("a training command killed with kill -9 at any moment goes on and ends with the same bits") {
  const TemporaryFolder folder;
  write_corpus(folder / "train", task().corpus, {"en", "de"});
  write_corpus(folder / "valid", small_corpus(fewer(6, 2), 2), {"en", "de"});
  const fs::path output = folder / "output.txt";
  const std::string steps = fewer<std::string>("40", "12"), tokens_per_batch = fewer<std::string>("100", "40");
  const auto start = [&](const RunPaths& run) {
    const std::string data = (folder / "train").string(), valid = (folder / "valid").string();
    return spawn({HEADSHARE_COMMAND,
                  "train",
                  "--device",
                  name(test_device()),
                  "--data",
                  data,
                  "--valid",
                  valid,
                  "--out",
                  run.folder.string(),
                  "--merges",
                  "40",
                  "--d-model",
                  "16",
                  "--heads",
                  "4",
                  "--kv-heads",
                  "2",
                  "--layers",
                  "1",
                  "--steps",
                  steps,
                  "--warmup",
                  "5",
                  "--tokens-per-batch",
                  tokens_per_batch,
                  "--log-every",
                  "1",
                  "--validate-every",
                  "2",
                  "--keep",
                  "average",
                  "--average-of",
                  "3"},
                 output);
  };
  const auto resume = [&](const RunPaths& run) {
    return spawn(
        {HEADSHARE_COMMAND, "train", "--resume", "--device", name(test_device()), "--out", run.folder.string()},
        output);
  };
  const RunPaths whole{folder / "whole"}, killed{folder / "killed"};
  INFO("output of the command: ", output.string());
  REQUIRE_MESSAGE(wait_for(start(whole)) == 0, read_file(output));

  Generator generator(static_cast<std::uint64_t>(::getpid()));  // other moments each time
  Size kills = 0;
  for (int round = 0; round < fewer(5, 2); ++round) {
    const bool go_on = fs::exists(killed.training());
    const Size rows = fs::exists(killed.log()) ? lines_in(killed.log()) : 0;
    const pid_t process = go_on ? resume(killed) : start(killed);
    // In the midst of its work: some rows of its log later, and then up to 20 ms.
    const Size until = rows + generator.below(6);
    int status = 0;
    while (waitpid(process, &status, WNOHANG) == 0 && (!fs::exists(killed.log()) || lines_in(killed.log()) < until))
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::microseconds(generator.below(20'000)));
    if (::kill(process, SIGKILL) == 0) status = wait_for(process);
    if (WIFSIGNALED(status)) ++kills;
    CHECK_MESSAGE((WIFSIGNALED(status) || status == 0), read_file(output));
    if (!fs::exists(killed.training())) continue;
    const LoadedModel loaded = load_training_model(killed.training());  // whole, whatever was being written
    Trainer trainer(loaded.model, task().train, headshare::recipe(loaded.metadata));
    load_training_state(killed.training(), trainer);
    CHECK(trainer.state.step % 2 == 0);
  }
  CHECK(kills >= 1);
  REQUIRE_MESSAGE(wait_for(fs::exists(killed.training()) ? resume(killed) : start(killed)) == 0, read_file(output));
  CHECK(first_difference(killed.training(), whole.training()) == "");
  CHECK(first_difference(killed.model(), whole.model()) == "");
  CHECK(timeless(killed.log()) == timeless(whole.log()));
  CHECK(read_file(killed.chart()).starts_with("\x89PNG"));
}
