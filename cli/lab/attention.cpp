#include <algorithm>
#include <iostream>

#include "cli/lab/attention_change.h"
#include "cli/lab/labs.h"
#include "cli/toy_setup.h"
#include "core/file.h"
#include "core/report/progress.h"
#include "nn/conversion.h"

namespace headshare::cli {
namespace {

// A model to look into, under the name that pictures and tables call it by.
struct Subject {
  std::string name;
  Transformer model;
  Tokenizer tokenizer;
};

// The text to look at. The first pair is drawn; distances are means over all. A sentence that was typed has no
// reference.
struct LookedAt {
  std::vector<SentencePair> pairs;
  std::string description;
};

// Folder names are what people know their runs by; two of the same name are told apart by a number.
std::vector<Subject> load_subjects(const std::vector<std::string>& runs) {
  std::vector<Subject> subjects;
  for (const std::string& run : runs) {
    LoadedRun loaded = load_run(run);
    const std::filesystem::path folder = (std::filesystem::absolute(run).lexically_normal() / "").parent_path();
    std::string name = folder.filename().string();
    for (const Subject& other : subjects)
      if (other.name == name) name += text("-", subjects.size() + 1);
    if (!subjects.empty() && loaded.tokenizer.fingerprint() != subjects[0].tokenizer.fingerprint())
      fail("lab attention: ", run, " and ", runs[0], " have different tokenizers; their words cannot be compared");
    subjects.push_back({name, std::move(loaded.model), std::move(loaded.tokenizer)});
  }
  return subjects;
}

// --quick without a run: a model smaller than the quickstart's, trained for seconds, and the same with shared heads.
struct QuickSubjects {
  std::vector<Subject> subjects;
  Corpus valid;
};
QuickSubjects train_quick_subjects() {
  const ToyLanguage toy = make_toy_language({.pairs = 4000, .valid = 50, .test = 10, .composition = 10});
  const Tokenizer tokenizer = learn_byte_pairs(toy.train, {.merges = toy_merges});
  TransformerConfig config = toy_model(tokenizer.size());
  config.d_model = 64;
  config.d_ff = 128;
  Transformer original(config, 1);
  train(original, toy.train, tokenizer, toy_recipe(200, 1));
  Transformer shared = convert_attention(original, grouped_query(8, 2));
  train(shared, toy.train, tokenizer, toy_recipe(20, 2));
  QuickSubjects quick{{}, toy.valid};
  quick.subjects.push_back({"multi-head", std::move(original), tokenizer});
  quick.subjects.push_back({"grouped-query", std::move(shared), tokenizer});
  return quick;
}

LookedAt sentence_of(const cxxopts::ParseResult& arguments) {
  return {{{arguments["sentence"].as<std::string>(), ""}}, "a sentence of the command line"};
}

// `count` lines from the chosen one on, or as many as there are.
LookedAt lines_of(const Corpus& corpus, const std::string& data, Size line, Size count) {
  if (line > corpus.size()) fail("lab attention: --line ", line, ", but ", data, " has ", corpus.size(), " lines");
  const Size end = std::min(corpus.size(), line - 1 + count);
  return {{corpus.pairs.begin() + line - 1, corpus.pairs.begin() + end}, text(data, ", lines ", line, " to ", end)};
}

std::vector<PicturedSite> chosen_sites(const std::string& name) {
  std::vector<PicturedSite> sites;
  for (const PicturedSite& site : pictured_sites())
    if (name == "all" || name == site.name) sites.push_back(site);
  if (sites.empty()) throw UsageError("lab attention: --site must be all, encoder, decoder or cross, not " + name);
  return sites;
}

Size count_of(const cxxopts::ParseResult& arguments, const std::string& option) {
  const Size value = arguments[option].as<Size>();
  if (value < 1) throw UsageError(text("lab attention: --", option, " must be at least 1"));
  return value;
}

class AttentionLab {
 public:
  AttentionLab(const std::vector<Subject>& subjects, const LookedAt& looked_at, std::vector<PicturedSite> sites,
               std::filesystem::path folder)
      : subjects_(subjects), text_(looked_at), sites_(std::move(sites)), folder_(std::move(folder)) {}

  // translation: what every model is made to write for the first sentence; empty: what the first model writes.
  // layer: counted from 1; 0 draws all.
  LabResult run(const std::string& translation, Size layer) {
    const Transformer& first = subjects_[0].model;
    if (layer > first.config().layers)
      throw UsageError(text("lab attention: --layer ", layer, ", but the model has ", first.config().layers));
    choose_tokens(translation);
    describe();
    for (const Subject& subject : subjects_) {
      const bool is_first = &subject == &subjects_[0];
      if (is_first && subjects_.size() > 1) {  // its figures stand beside those of each other model
        orders_.emplace_back();
        continue;
      }
      const std::vector<HeadDistances> distances = head_distances(first, subject.model, pairs_, sites_);
      report_distances(distances, is_first ? "" : subjects_[0].name, subject.name, result_);
      orders_.push_back(order_before(distances));
    }
    draw(layer);
    return result_;
  }

 private:
  void choose_tokens(const std::string& translation) {
    const Subject& first = subjects_[0];
    const auto longest = static_cast<std::size_t>(first.model.config().max_length);
    std::vector<TokenIds> sources;
    for (const SentencePair& pair : text_.pairs) {
      sources.push_back(encode_source(first.tokenizer, pair.source));
      if (sources.back().size() <= longest) continue;
      if (sources.size() == 1)
        fail("lab attention: the sentence has ", sources[0].size(), " tokens, the model reads at most ", longest);
      sources.pop_back();
    }
    pairs_ = translate_tokens(first.model, sources);
    if (!translation.empty()) pairs_[0].target = first.tokenizer.encode(translation);
  }

  void describe() {
    const Tokenizer& tokenizer = subjects_[0].tokenizer;
    const std::string source = tokenizer.decode(pairs_[0].source), target = tokenizer.decode(pairs_[0].target);
    result_ = {.lab = "attention", .title = "Attention maps: who looks at what", .machine = describe_machine()};
    LabResult::Sample sample{source, text_.pairs[0].target, {}};
    for (const Subject& subject : subjects_) {
      const AttentionSites& sites = subject.model.config().sites(subject.model.config().layers - 1);
      result_.configuration.push_back(
          {"model " + subject.name, text(subject.model.config().layers, " layers; in the last ", name(sites))});
      sample.translations.push_back(
          {subject.name, tokenizer.decode(translate_tokens(subject.model, {pairs_[0].source})[0].target)});
    }
    result_.configuration.push_back({"sentence drawn", source});
    result_.configuration.push_back({"translation drawn", target});
    result_.configuration.push_back(
        {"distances over",
         text(pairs_.size(), pairs_.size() == 1 ? " sentence: " : " sentences: ", text_.description)});
    result_.samples.push_back(std::move(sample));
  }

  void draw(Size layer) {
    std::vector<AttentionView> views;
    for (const Subject& subject : subjects_)
      views.push_back({"", subject.model, attention_weights(subject.model, pairs_[0].source, pairs_[0].target)});
    for (std::size_t i = 0; i < views.size(); ++i)
      for (const PicturedSite& site : sites_)
        draw_frames(site, {&views[i], 1}, layer, subjects_[i].name, text(subjects_[i].name, "-", site.name));
    // One model's heads below those of the other, framed as the second shares them.
    for (std::size_t i = 1; i < views.size(); ++i)
      for (const PicturedSite& site : sites_) {
        const AttentionView both[] = {{"before", views[0].model, views[0].weights, orders_[i]},
                                      {"after", views[i].model, views[i].weights}};
        draw_frames(site, both, layer, text(subjects_[0].name, " before, ", subjects_[i].name, " after"),
                    text(subjects_[0].name, "-to-", subjects_[i].name, "-", site.name));
      }
  }

  void draw_frames(const PicturedSite& site, std::span<const AttentionView> views, Size layer,
                   const std::string& models, const std::string& file) {
    const Size layers = views[0].model.config().layers;
    std::vector<HeatMapGroup> frames;
    for (Size l = layer == 0 ? 0 : layer - 1; l < (layer == 0 ? layers : layer); ++l)
      for (HeatMapGroup& frame : attention_frames(site, l, views, subjects_[0].tokenizer, pairs_[0]))
        frames.push_back(std::move(frame));
    const LabResult::Chart chart{text(site.title, ": ", models), file + ".png"};
    write_png(frames, folder_ / chart.file,
              {.title = chart.title, .note = site.axes, .columns = frames_side_by_side(frames), .maximum = 1.0f});
    result_.charts.push_back(chart);
  }

  const std::vector<Subject>& subjects_;
  const LookedAt& text_;
  std::vector<PicturedSite> sites_;
  std::filesystem::path folder_;
  std::vector<TokenPair> pairs_;
  std::vector<HeadOrder> orders_;  // by subject: the heads of the first model, beside its own
  LabResult result_;
};

}  // namespace

void lab_attention(const Words& words) {
  CommandLine line(
      "lab attention", "Draw what each head looks at, and how that changed when heads came to share keys and values",
      "  headshare lab attention runs/mha runs/gqa --sentence \"The old dog sleeps.\" --out runs/lab-attention\n"
      "  headshare lab attention runs/mha runs/mha-more runs/gqa-more --data toy/test --line 7 --out "
      "runs/lab-attention\n"
      "The first run is what the others are compared with; mha-more, trained as long as gqa-more, shows what training\n"
      "alone changes.",
      {"RUN..."});
  line.options()("sentence", "The sentence to read", cxxopts::value<std::string>())(
      "data", "Or text to take it from: PATH.en and PATH.de, or one tab-separated file", cxxopts::value<std::string>())(
      "source", "Ending of the source file", cxxopts::value<std::string>()->default_value("en"))(
      "target", "Ending of the target file", cxxopts::value<std::string>()->default_value("de"))(
      "line", "Of --data, counted from 1", cxxopts::value<Size>()->default_value("1"))(
      "sentences", "Distances are means over this many lines, from that one on",
      cxxopts::value<Size>()->default_value("50"))("translation",
                                                   "What all models are made to write (default: what the first writes)",
                                                   cxxopts::value<std::string>()->default_value(""))(
      "layer", "Draw this one alone, counted from 1", cxxopts::value<Size>())(
      "site", "all, encoder, decoder or cross", cxxopts::value<std::string>()->default_value("all"))(
      "out", "Folder for the pictures, lab.json and results.md", cxxopts::value<std::string>())(
      "json", "Write the rows to this file as well", cxxopts::value<std::string>())(
      "quick", "In seconds: at most 10 sentences; without RUN, of a toy model trained now")(
      "threads", "Processor cores to use", cxxopts::value<Size>())("device", "Where to compute: cpu or cuda",
                                                                   cxxopts::value<std::string>());
  const auto parsed = line.parse(words);
  if (!parsed) return;
  const cxxopts::ParseResult& arguments = *parsed;
  use_threads(arguments);
  use_device(arguments);
  const bool quick = arguments.count("quick") > 0;
  const std::vector<std::string> runs = all_words(arguments, "RUN");
  const std::vector<PicturedSite> sites = chosen_sites(arguments["site"].as<std::string>());
  const Size number = count_of(arguments, "line"), sentences = count_of(arguments, "sentences");
  const Size layer = arguments.count("layer") > 0 ? count_of(arguments, "layer") : 0;
  const std::filesystem::path folder = required(arguments, "out", "lab attention");
  if (runs.empty() && !quick) throw UsageError("lab attention: RUN is missing; see: headshare lab attention --help");
  if (arguments.count("sentence") > 0 && arguments.count("data") > 0)
    throw UsageError("lab attention: --sentence and --data exclude each other");
  if (!runs.empty() && arguments.count("sentence") + arguments.count("data") == 0)
    throw UsageError("lab attention: --sentence or --data is missing; see: headshare lab attention --help");
  if (std::filesystem::exists(folder) && !std::filesystem::is_empty(folder))
    fail("lab attention: ", folder.string(), " is there already; choose another --out");

  QuickSubjects toy;
  if (runs.empty()) toy = train_quick_subjects();
  const std::vector<Subject> subjects = runs.empty() ? std::move(toy.subjects) : load_subjects(runs);
  const Size most = quick ? std::min<Size>(sentences, 10) : sentences;
  const std::string data = arguments.count("data") > 0 ? arguments["data"].as<std::string>() : "";
  const LookedAt looked_at =
      arguments.count("sentence") > 0 ? sentence_of(arguments)
      : data.empty()
          ? lines_of(toy.valid, "toy language", number, most)
          : lines_of(read_corpus(data, {arguments["source"].as<std::string>(), arguments["target"].as<std::string>()}),
                     data, number, most);

  const LabResult result =
      AttentionLab(subjects, looked_at, sites, folder).run(arguments["translation"].as<std::string>(), layer);
  save(result, folder);
  if (arguments.count("json") > 0) write_rows(result, arguments["json"].as<std::string>());
  for (const LabResult::Table& table : result.tables) {
    Table shown(table.columns);
    for (const std::vector<std::string>& row : table.rows) shown.add_row(row);
    std::cout << '\n' << table.title << "\n\n" << shown.plain() << table.note << '\n';
  }
  std::cout << '\n';
  for (const std::string& finding : result.findings) std::cout << finding << '\n';
  std::cout << "\nIn " << folder.string() << ": " << result.charts.size() << " pictures, lab.json and results.md\n";
}

}  // namespace headshare::cli
