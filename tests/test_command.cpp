#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/report/csv_log.h"
#include "core/text/corpus.h"
#include "tests/command_helpers.h"
#include "tests/model_helpers.h"

// The command as a user meets it: what it prints, its exit code, and that a mistake costs nothing that was there.
namespace headshare {
namespace {

using test::check_refused;
using test::contains;
using test::headshare_command;
using test::Outcome;
using test::TemporaryFolder;

// A tiny corpus and a model trained on it for a few steps, made once.
const TemporaryFolder& trained() {
  static const TemporaryFolder folder;
  static bool done = false;
  if (!done) {
    done = true;
    const Outcome data = headshare_command(folder, "data toy --out toy --pairs 300 --seed 3");
    REQUIRE_MESSAGE(data.code == 0, data.error);
    const Outcome run = headshare_command(folder,
                                          "train --data toy/train --valid toy/valid --out run --merges 60 --d-model 16 "
                                          "--d-ff 32 --heads 4 --layers 1 --max-length 128 --steps 4");
    REQUIRE_MESSAGE(run.code == 0, run.error);
  }
  return folder;
}

const std::string tiny =
    "train --data toy/train --valid toy/valid --merges 20 --d-model 16 --heads 4 --layers 1 --steps 2 ";

}  // namespace

TEST_CASE("every subcommand explains itself with an example, and usage errors exit with 2") {
  const TemporaryFolder& folder = trained();
  const Outcome help = headshare_command(folder, "--help");
  CHECK(help.code == 0);
  for (const char* name : {"demo", "data", "train", "convert", "uptrain", "translate", "evaluate", "benchmark",
                           "profile", "inspect", "devices"}) {
    CHECK(contains(help.out, text("  ", name, " ")));
    const Outcome own = headshare_command(folder, text(name, " --help"));
    CHECK(own.code == 0);
    CHECK(contains(own.out, text("Example:\n")));
    CHECK(contains(own.out, text("headshare ", name)));
    check_refused(headshare_command(folder, text(name, " --no-such-option")), 2, text("headshare ", name, " --help"));
  }
  check_refused(headshare_command(folder, ""), 2, "which command?");
  check_refused(headshare_command(folder, "fly"), 2, "no command 'fly'");
  check_refused(headshare_command(folder, "data toy surplus --out x"), 2, "'surplus' is one word too many");
  check_refused(headshare_command(folder, "train --steps many"), 2, "many");
  check_refused(headshare_command(folder, "data toy"), 2, "--out is missing");
}

TEST_CASE("a word of any length is refused like a short one") {
  const TemporaryFolder folder;
  const std::string many(100'000, '9');
  check_refused(headshare_command(folder, "train --steps=" + many), 2, many);
  check_refused(headshare_command(folder, "train --" + many), 2, many);
}

TEST_CASE("threads bound to cores are as many as unbound ones") {
  const TemporaryFolder folder;
  const auto processor_of = [&](const std::string& binding) {
    const std::string line = text("cd '", folder.path.string(), "' && env -u OMP_NUM_THREADS -u OMP_WAIT_POLICY ",
                                  binding, " '", HEADSHARE_COMMAND, "' devices | head -n 1 > out.txt");
    REQUIRE(std::system(line.c_str()) == 0);
    return read_file(folder / "out.txt");
  };
  const std::string unbound = processor_of("");
  CHECK(contains(unbound, "thread"));
  CHECK(processor_of("OMP_PROC_BIND=close OMP_PLACES=cores") == unbound);
}

TEST_CASE("train refuses bad data and bad models with one line that says what to do") {
  const TemporaryFolder& folder = trained();
  check_refused(headshare_command(folder, "train --data nowhere/train --valid toy/valid --out x"), 1, "nowhere/train");
  check_refused(headshare_command(folder, tiny + "--kv-heads 3 --out x"), 1,
                "4 query heads cannot share 3 key/value heads evenly");
  check_refused(headshare_command(folder, "train --data toy/train --valid toy/valid --d-model 15 --heads 4 --out x"), 1,
                "d_model 15 does not split into 4 heads");
  write_file(folder / "uneven.en", "One.\nTwo.\n");
  write_file(folder / "uneven.de", "Eins.\n");
  check_refused(headshare_command(folder, "train --data uneven --valid toy/valid --out x"), 1, "2");
  check_refused(headshare_command(folder, tiny + "--norm sideways --out x"), 1, "norm 'sideways'");
  check_refused(headshare_command(folder, tiny + "--keep everything --out x"), 2, "--keep 'everything'");
  check_refused(headshare_command(folder, tiny + "--decoder-window -1 --out x"), 1, "a window of -1 positions");
  check_refused(headshare_command(folder, tiny + "--head-size -1 --out x"), 1, "4 heads of -1 numbers");
  CHECK_FALSE(std::filesystem::exists(folder / "x"));
}

TEST_CASE("a window and the size of heads are trained, inspected, converted and translated with") {
  const TemporaryFolder& folder = trained();
  const auto succeeds = [&](const std::string& words, const std::string& input = {}) {
    const Outcome outcome = headshare_command(folder, words, input);
    REQUIRE_MESSAGE(outcome.code == 0, outcome.error);
    return outcome.out;
  };
  const auto shown = [&](const std::string& run) { return succeeds("inspect checkpoint --run " + run); };
  succeeds(tiny + "--decoder-window 3 --head-size 6 --out local");
  CHECK(test::contains(shown("local"), "model.attention = 4/4,size=6 4/4,size=6,window=3 4/4,size=6\n"));
  CHECK(test::contains(shown("local"),
                       "attention from layer 0 on: encoder multi-head(4) of 6; "
                       "decoder multi-head(4) of 6, window 3; cross multi-head(4) of 6\n"));
  succeeds("convert local --kv-heads 2 --out shared-local");
  CHECK(test::contains(shown("shared-local"), "model.attention = 4/4,size=6 4/2,size=6,window=3 4/2,size=6\n"));
  CHECK(succeeds("translate local --beam 2", "the red dog\n") != "");
}

TEST_CASE("train --device cuda trains as the CPU does, and what it made translates on both") {
  const TemporaryFolder& folder = trained();
  write_corpus(folder / "small", test::small_corpus(6), {.source = "en", .target = "de"});
  const std::string options =
      "train --data small --valid small --merges 20 --d-model 16 --d-ff 24 --heads 4 --kv-heads 2 "
      "--layers 1 --max-length 64 --steps 4 --warmup 2 --tokens-per-batch 60 --log-every 1 ";
  std::vector<std::vector<double>> losses;
  for (const std::string device : {"cpu", "cuda"}) {
    const Outcome run = headshare_command(folder, text(options, "--device ", device, " --out on-", device));
    REQUIRE_MESSAGE(run.code == 0, run.error);
    losses.push_back(read_csv(folder / text("on-", device, "/log.csv")).numbers("train_loss"));
  }
  REQUIRE(losses[0].size() == 4);
  CHECK(test::distance(losses[1], losses[0]) < 1e-4);
  const auto translation = [&](const std::string& device) {
    const std::string words = text("translate on-cuda --beam 2 --device ", device);
    const Outcome outcome = headshare_command(folder, words, "the red dog\n");
    CHECK_MESSAGE(outcome.code == 0, outcome.error);
    return outcome.out;
  };
  CHECK(translation("cuda") == translation("cpu"));
  check_refused(headshare_command(folder, options + "--device gpu --out x"), 2,
                "--device must be cpu or cuda, not gpu");
}

TEST_CASE("a loss that is no number any more stops the run with advice and keeps the folder") {
  const TemporaryFolder& folder = trained();
  const Outcome outcome =
      headshare_command(folder, tiny + "--learning-rate 1e30 --warmup 1 --clip 0 --steps 9 --out wild");
  check_refused(outcome, 1, "lower the learning rate");
}

TEST_CASE("a run is never written over, and a resumed one refuses options that it would ignore") {
  const TemporaryFolder& folder = trained();
  const std::string before = read_file(folder / "run/model.safetensors");
  check_refused(headshare_command(folder, tiny + "--out run"), 1, "--resume");
  check_refused(headshare_command(folder, "train --resume --out run --d-model 32"), 2, "--d-model cannot change");
  check_refused(headshare_command(folder, "train --resume --out nowhere"), 1, "without --resume");
  check_refused(headshare_command(folder, "convert run --kv-heads 2 --out run"), 1, "is there already");
  check_refused(headshare_command(folder, "data toy --out toy"), 1, "is there already");
  check_refused(headshare_command(folder, "train --resume --out run --steps 3"), 1, "at step 4 already");
  check_refused(headshare_command(folder, "evaluate run --data toy/test --out toy/test.de"), 1, "is there already");
  CHECK(read_file(folder / "run/model.safetensors") == before);
}

TEST_CASE("damaged and mismatched files are refused by name") {
  const TemporaryFolder& folder = trained();
  const std::string model = read_file(folder / "run/model.safetensors");
  std::filesystem::create_directories(folder / "broken");
  std::filesystem::copy_file(folder / "run/tokenizer.txt", folder / "broken/tokenizer.txt",
                             std::filesystem::copy_options::overwrite_existing);
  write_file(folder / "broken/model.safetensors", model.substr(0, model.size() / 2));
  check_refused(headshare_command(folder, "translate broken"), 1, "broken/model.safetensors");

  write_file(folder / "broken/model.safetensors", model);
  const Outcome other = headshare_command(folder, tiny + "--out other");
  REQUIRE_MESSAGE(other.code == 0, other.error);
  std::filesystem::copy_file(folder / "other/tokenizer.txt", folder / "broken/tokenizer.txt",
                             std::filesystem::copy_options::overwrite_existing);
  check_refused(headshare_command(folder, "translate broken"), 1, "is not the tokenizer");
  check_refused(headshare_command(folder, "translate nowhere"), 1, "no model at nowhere");
  check_refused(headshare_command(folder, "evaluate run --data nowhere"), 1, "nowhere");
}

TEST_CASE("convert takes its calibration text from the run, or from where it is told") {
  const TemporaryFolder& folder = trained();
  for (const std::string pooling : {"aligned", "subspace"}) {
    const Outcome convert =
        headshare_command(folder, "convert run --kv-heads 1 --pooling " + pooling + " --out by-" + pooling);
    REQUIRE_MESSAGE(convert.code == 0, convert.error);
    CHECK(contains(convert.out, "multi-head(4) -> multi-query(4), " + pooling));
    CHECK(headshare_command(folder, "uptrain by-" + pooling + " --alpha 0.5 --out more-by-" + pooling).code == 0);
  }
  const std::string other = "convert run --kv-heads 1 --pooling subspace --calibration ";
  write_corpus(folder / "calibration", Corpus{{{"The dog sleeps.", "Der Hund schläft."}}},
               {.source = "en", .target = "de"});
  CHECK(headshare_command(folder, other + "calibration --out by-other").code == 0);
  check_refused(headshare_command(folder, other + "nowhere --out bad"), 1, "nowhere");
}

TEST_CASE("convert, uptrain, evaluate, translate and inspect work on what train made") {
  const TemporaryFolder& folder = trained();
  const Outcome convert = headshare_command(folder, "convert run --kv-heads 2 --out gqa");
  REQUIRE_MESSAGE(convert.code == 0, convert.error);
  CHECK(contains(convert.out, "multi-head(4) -> grouped-query(4, 2)"));
  CHECK(contains(convert.out, "cache bytes per token 256 -> 128"));
  check_refused(headshare_command(folder, "convert run --kv-heads 3 --out bad"), 1, "cannot be pooled into 3 evenly");
  check_refused(headshare_command(folder, "convert run --kv-heads 2 --pooling median --out bad"), 1, "median");

  const Outcome uptrain = headshare_command(folder, "uptrain gqa --alpha 0.5 --out gqa-more");
  REQUIRE_MESSAGE(uptrain.code == 0, uptrain.error);
  CHECK(contains(uptrain.out, "2 steps, 50 % of 4"));
  CHECK(contains(uptrain.out, "step 6"));

  write_corpus(folder / "few", Corpus{{{"The dog sleeps.", "Der Hund schläft."}, {"two dogs", "zwei Hunde"}}},
               {.source = "en", .target = "de"});
  const Outcome evaluation = headshare_command(folder, "evaluate gqa-more --data few --beam 2 --out translations.txt");
  REQUIRE_MESSAGE(evaluation.code == 0, evaluation.error);
  CHECK(contains(evaluation.out, "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:"));
  CHECK(read_lines(folder / "translations.txt").size() == 2);

  const Outcome translation = headshare_command(folder, "translate gqa-more --beam 1", "The dog sleeps.\n\ntwo dogs");
  CHECK(translation.code == 0);
  CHECK(std::count(translation.out.begin(), translation.out.end(), '\n') == 3);
  const std::string endless(5000, 'x');
  check_refused(headshare_command(folder, "translate gqa-more", "fine\n" + endless + "\n"), 1, "line 2");

  CHECK(contains(headshare_command(folder, "inspect checkpoint --run gqa-more").out, "decoder.0.cross.key.weight"));
  CHECK(contains(headshare_command(folder, "inspect graph --dot").out, "digraph"));
  CHECK(headshare_command(folder, "inspect attention --run gqa-more --text 'The dog sleeps.' --out map.png").code == 0);
  CHECK(read_file(folder / "map.png").substr(1, 3) == "PNG");
  check_refused(headshare_command(folder, "inspect attention --run gqa-more --out map.png"), 1, "is there already");
  CHECK(contains(headshare_command(folder, "inspect tokenizer --run run --text dog").out, "fingerprint"));
  CHECK(contains(headshare_command(folder, "devices").out, "cpu"));
}

TEST_CASE("benchmark and profile print tables and write the same as JSON") {
  const TemporaryFolder& folder = trained();
  const std::string small = " --batch 2 --source 4 --d-model 16 --layers 1 --heads 2 --vocabulary 20 ";
  const Outcome decode = headshare_command(
      folder, "benchmark" + small + "--target 3 --repetitions 1 --cache bf16 --run run --json decode.json");
  CHECK(decode.code == 0);
  CHECK(contains(decode.out, "bfloat16"));
  CHECK(contains(decode.out, "predicted ms"));
  CHECK(contains(decode.out, "validation NLL of run per token: float32 cache"));
  const nlohmann::json rows = nlohmann::json::parse(read_file(folder / "decode.json"));
  REQUIRE(rows.size() == 4);  // 2 and 1 key/value heads, two kinds of cache
  CHECK(rows[0]["cache"] == "float32");
  CHECK(rows[1]["cache MB"].get<double>() == doctest::Approx(rows[0]["cache MB"].get<double>() / 2));
  for (const auto& row : rows) CHECK(row["tokens/s"].get<double>() > 0);

  const Outcome train = headshare_command(folder, "benchmark --what train" + small + "--kv-heads 1 --repetitions 1");
  CHECK(train.code == 0);
  CHECK(contains(train.out, "target tokens/s"));
  CHECK(contains(train.out, "peak MiB"));
  check_refused(headshare_command(folder, "benchmark --what fly"), 2, "--what must be decode or train");
  check_refused(headshare_command(folder, "benchmark --kv-heads 3"), 2, "--kv-heads 3 does not divide --heads 8");
  check_refused(headshare_command(folder, "benchmark --cache f16"), 2, "--cache must be f32, bf16 or int8");

  for (const std::string what : {"train", "decode"}) {
    const Outcome profile = headshare_command(
        folder, "profile " + what + small + "--kv-heads 1 --steps 2 --json rows.json --trace trace.json");
    CHECK(profile.code == 0);
    CHECK(contains(profile.out, "attention"));
    CHECK(contains(profile.out, "between operations"));
    double share = 0;
    for (const auto& row : nlohmann::json::parse(read_file(folder / "rows.json")))
      share += row["share %"].get<double>();
    CHECK(share == doctest::Approx(100).epsilon(0.01));
    const nlohmann::json events = nlohmann::json::parse(read_file(folder / "trace.json"))["traceEvents"];
    CHECK(events.size() > 20);
    for (const auto& event : events) CHECK(event["ph"] == "X");
  }
  check_refused(headshare_command(folder, "profile sleep"), 2, "WHAT must be train or decode");
}

TEST_CASE("a precision that the device does not have is refused before anything is done") {
  const TemporaryFolder& folder = trained();
  const std::string text = "--data toy/train --valid toy/valid --out refused ";
  check_refused(headshare_command(folder, "train " + text + "--precision bf16"), 1,
                "precision bf16: device cpu computes in fp32 only; choose device cuda, or fp32");
  check_refused(headshare_command(folder, "train " + text + "--precision fp16"), 2,
                "--precision must be fp32, tf32 or bf16, not fp16");
  CHECK_FALSE(std::filesystem::exists(folder.path / "refused"));
  check_refused(headshare_command(folder, "translate run --precision tf32", "The dog sleeps.\n"), 1,
                "precision tf32: device cpu computes in fp32 only");
  check_refused(headshare_command(folder, "translate run --cache int8", "The dog sleeps.\n"), 1,
                "a cache of int8 does not serve a model that computes in float32 on device cpu");
  CHECK(headshare_command(folder, "translate run --beam 1 --precision bf16 --device cuda", "The dog sleeps.\n").code ==
        0);
}

TEST_CASE("evaluate says what a narrow cache costs, and translate takes it") {
  const TemporaryFolder& folder = trained();
  const Outcome evaluated = headshare_command(folder, "evaluate run --data toy/test --beam 1 --cache bf16");
  CHECK(evaluated.code == 0);
  CHECK(contains(evaluated.out, "NLL from cache"));
  CHECK(headshare_command(folder, "translate run --beam 1 --cache bf16", "The dog sleeps.\n").code == 0);
  check_refused(headshare_command(folder, "translate run --cache narrow", "The dog sleeps.\n"), 2,
                "--cache must be f32, bf16 or int8");
}

}  // namespace headshare
