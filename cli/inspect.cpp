#include <algorithm>
#include <iostream>

#include "autograd/graph.h"
#include "cli/attention_picture.h"
#include "cli/command.h"
#include "core/report/progress.h"
#include "core/report/table.h"
#include "nn/run.h"

namespace headshare::cli {
namespace {

// The configuration, what else the file says of itself, and a line per parameter.
void inspect_checkpoint(const std::filesystem::path& path) {
  const std::filesystem::path file = std::filesystem::is_directory(path) ? RunPaths{path}.model() : path;
  const bool is_training = file.filename() == RunPaths{}.training().filename();
  const LoadedModel loaded = is_training ? load_training_model(file) : load_model(file);
  for (const auto& [key, value] : loaded.metadata) std::cout << key << " = " << value << '\n';
  const TransformerConfig& config = loaded.model.config();
  for (Size layer = 0; layer < config.layers; ++layer)
    if (layer == 0 || !(config.sites(layer) == config.sites(layer - 1)))
      std::cout << "attention from layer " << layer << " on: " << name(config.sites(layer)) << '\n';
  Table table({{"parameter"}, {"shape"}, {"elements", Alignment::right}});
  loaded.model.visit([&](const std::string& name, const Parameter& parameter) {
    table.add_row({name, to_string(parameter.shape()), with_thousands(parameter.value().count())});
  });
  std::cout << '\n'
            << table.plain() << '\n'
            << with_thousands(count_parameters(loaded.model)) << " parameters, "
            << with_thousands(cache_bytes_per_token(loaded.model)) << " cache bytes per token\n";
}

// The graph of one training step of the smallest Transformer, so that it fits on a page.
void inspect_graph(const std::function<std::string(const Variable&)>& show) {
  const Transformer model({.vocabulary = 7,
                           .d_model = 4,
                           .d_ff = 8,
                           .layers = 1,
                           .attention = multi_head(2),
                           .max_length = 8,
                           .dropout = 0},
                          1);
  const std::vector<EncodedPair> pairs = {{{3, 4, end_id}, {begin_id, 5, end_id}}};
  const std::vector<Size> members = {0};
  Dropout dropout = Dropout::none();
  const Variable loss = batch_loss(model, make_batch(pairs, members, Device::cpu), 0.1, dropout).loss;
  std::cout << show(loss);
}

void inspect_tokenizer(const std::filesystem::path& path, const std::string& sentence) {
  const Tokenizer tokenizer = Tokenizer::load(path.extension() == ".txt" ? path : RunPaths{path}.tokenizer());
  std::cout << with_thousands(tokenizer.size()) << " tokens, fingerprint " << tokenizer.fingerprint() << '\n';
  for (const std::int32_t id : tokenizer.encode(sentence)) std::cout << id << ' ' << tokenizer.piece(id) << '\n';
}

void run(const Words& words, const std::string& summary) {
  CommandLine line("inspect", summary,
                   "  headshare inspect checkpoint --run runs/toy\n"
                   "  headshare inspect graph --dot | dot -Tsvg > graph.svg\n"
                   "  headshare inspect attention --run runs/toy --text \"The old dog sleeps.\" --out attention.png\n"
                   "  headshare inspect tokenizer --run runs/toy --text \"The old dog sleeps.\"",
                   {"WHAT"});
  line.options()("run", "A run's folder; for a checkpoint also one of its files", cxxopts::value<std::string>())(
      "text", "The sentence to look at", cxxopts::value<std::string>()->default_value("The old dog sleeps."))(
      "out", "The picture to write", cxxopts::value<std::string>()->default_value("attention.png"))(
      "dot", "graph: for Graphviz instead of a table");
  const auto arguments = line.parse(words);
  if (!arguments) return;
  const std::string what = (*arguments)["WHAT"].as<std::string>(), sentence = (*arguments)["text"].as<std::string>();
  if (what == "graph") return inspect_graph(arguments->count("dot") > 0 ? graph_dot : graph_table);
  if (what == "checkpoint") return inspect_checkpoint(required(*arguments, "run", "inspect checkpoint"));
  if (what == "tokenizer") return inspect_tokenizer(required(*arguments, "run", "inspect tokenizer"), sentence);
  if (what != "attention")
    throw UsageError(text("inspect: '", what, "' is unknown; choose checkpoint, graph, attention or tokenizer"));
  const LoadedRun loaded = load_run(required(*arguments, "run", "inspect attention"));
  const std::filesystem::path picture = (*arguments)["out"].as<std::string>();
  if (std::filesystem::exists(picture)) fail("inspect: ", picture.string(), " is there already; choose another --out");
  std::cout << draw_cross_attention(loaded.model, loaded.tokenizer, sentence, picture) << '\n'
            << picture.string() << '\n';
}

}  // namespace

Command inspect_command() {
  const std::string summary = "Look into a checkpoint, a tokenizer, an attention or the autograd graph";
  return {"inspect", summary, [summary](const Words& words) { run(words, summary); }};
}

}  // namespace headshare::cli
