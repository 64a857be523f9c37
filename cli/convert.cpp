#include <iostream>

#include "cli/training_options.h"
#include "core/report/progress.h"
#include "nn/conversion.h"
#include "nn/run.h"

namespace headshare::cli {
namespace {

// A conversion that looks at what the model computes needs text: the run's own, unless another is named.
EncodedCorpus calibration_text(const cxxopts::ParseResult& arguments, const LoadedRun& run) {
  const bool named = arguments.count("calibration") > 0;
  if (!named && !run.metadata.contains("data.train"))
    fail("convert: this model does not say what it was trained on; name a text with --calibration PATH");
  const DataPaths data =
      named ? DataPaths{arguments["calibration"].as<std::string>(), "", {"en", "de"}} : data_paths(run.metadata);
  return encode(read_corpus(data.train, data.languages), run.tokenizer, run.model.config().max_length);
}

void run(const Words& words, const std::string& summary) {
  CommandLine line("convert", summary,
                   "  headshare convert runs/mha --kv-heads 2 --out runs/gqa\n"
                   "  headshare uptrain runs/gqa --alpha 0.05 --out runs/gqa-uptrained",
                   {"RUN"});
  line.options()("kv-heads", "Key/value heads after the conversion", cxxopts::value<Size>())(
      "pooling", "How a group's heads become one: mean, first, random, aligned or subspace",
      cxxopts::value<std::string>()->default_value("mean"))(
      "calibration", "Text for aligned and subspace: PATH.en and PATH.de; without it, the run's training text",
      cxxopts::value<std::string>())(
      "sites", "decoder (its self- and cross-attention, as Ainslie 2023) or all (the encoder too, as Shazeer 2019)",
      cxxopts::value<std::string>()->default_value("decoder"))(
      "seed", "For --pooling random; with the seed of the training, its first weights would come back",
      cxxopts::value<std::uint64_t>()->default_value("1001"))("out", "Folder of the converted run",
                                                              cxxopts::value<std::string>());
  const auto arguments = line.parse(words);
  if (!arguments) return;
  const std::filesystem::path from = (*arguments)["RUN"].as<std::string>();
  const RunPaths source{from}, destination{required(*arguments, "out", "convert")};
  if (arguments->count("kv-heads") == 0)
    throw UsageError("convert: --kv-heads is missing; see: headshare convert --help");
  const std::string sites = (*arguments)["sites"].as<std::string>();
  if (sites != "decoder" && sites != "all")
    throw UsageError(text("convert: --sites '", sites, "' must be decoder or all"));
  const Pooling pooling = parse_pooling((*arguments)["pooling"].as<std::string>());
  check_new_run(destination);

  const LoadedRun loaded = load_run(from);
  const AttentionSites& before = loaded.model.config().attention;
  const Size kv_heads = (*arguments)["kv-heads"].as<Size>();
  const auto shared = [&](const AttentionMode& mode) { return with_kv_heads(mode, kv_heads); };
  const AttentionSites after{sites == "all" ? shared(before.encoder_self) : before.encoder_self,
                             shared(before.decoder_self), shared(before.cross)};
  const auto seed = (*arguments)["seed"].as<std::uint64_t>();
  const EncodedCorpus text = needs_calibration(pooling) ? calibration_text(*arguments, loaded) : EncodedCorpus{};
  const auto convert = [&](const Transformer& model) {
    return convert_attention(model, after, pooling, seed,
                             needs_calibration(pooling) ? calibrate(model, text) : Calibration{});
  };
  const Transformer converted = convert(loaded.model);
  Metadata note = {{"converted.from", from.string()}, {"converted.pooling", name(pooling)}, {"converted.sites", sites}};
  loaded.tokenizer.save(destination.tokenizer());
  if (std::filesystem::exists(source.training())) {
    const LoadedModel training = load_training_model(source.training());
    convert_training(source.training(), destination.training(), training.model, convert(training.model), pooling, note);
  }
  Metadata metadata = loaded.metadata;
  std::erase_if(metadata, [](const auto& entry) { return entry.first.starts_with("model."); });
  note.merge(metadata);
  save_model(destination.model(), converted, note);
  std::cout << name(before.decoder_self) << " -> " << name(after.decoder_self) << ", " << name(pooling)
            << ", sites: " << sites << "\nparameters " << with_thousands(count_parameters(loaded.model)) << " -> "
            << with_thousands(count_parameters(converted)) << ", cache bytes per token "
            << with_thousands(cache_bytes_per_token(loaded.model)) << " -> "
            << with_thousands(cache_bytes_per_token(converted)) << '\n';
  if (!std::filesystem::exists(destination.training())) return;
  const auto keep = loaded.metadata.find("run.keep");
  if (keep != loaded.metadata.end() && keep->second != "last")
    std::cout << "uptraining goes on from the last step of the run, not from its " << keep->second << " model\n";
  std::cout << "next: headshare uptrain " << destination.folder.string() << " --out " << destination.folder.string()
            << "-uptrained\n";
}

}  // namespace

Command convert_command() {
  const std::string summary = "Pool the key/value heads of a trained model into fewer";
  return {"convert", summary, [summary](const Words& words) { run(words, summary); }};
}

}  // namespace headshare::cli
