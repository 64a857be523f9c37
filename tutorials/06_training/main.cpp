#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <map>
#include <numeric>

#include "core/report/line_chart.h"
#include "core/report/progress.h"
#include "core/report/table.h"
#include "lesson.h"
#include "nn/decoding.h"
#include "nn/training.h"
#include "tensor/softmax.h"
#include "tutorials/support/step.h"
#include "tutorials/support/translator.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

// ---- Step 1 ---------------------------------------------------------------------------------------------------------

// [show toy]
const std::vector<std::string> sentences = {"the old dog sleeps", "the old man sleeps", "the older dog eats",
                                            "the oldest man eats", "a dog is old"};
// [end show]

// What each token stands for, a space shown as "_": the bytes, then what each merge puts together.
std::string piece(std::int32_t id, const std::vector<Merge>& merges) {
  if (id >= first_merge_id) {
    const Merge& merge = merges[static_cast<std::size_t>(id - first_merge_id)];
    return piece(merge.left, merges) + piece(merge.right, merges);
  }
  const char letter = static_cast<char>(id - first_byte_id);
  return std::string(1, letter == ' ' ? '_' : letter);
}

std::string pieces(const TokenIds& tokens, const std::vector<Merge>& merges) {
  std::string shown;
  for (const std::int32_t token : tokens) shown += (shown.empty() ? "" : " ") + piece(token, merges);
  return shown;
}

void byte_pairs() {
  const std::vector<Merge> merges = learn_merges(sentences, 100);
  // The counts once more, for the table.
  std::vector<TokenIds> words;
  for (const std::string& sentence : sentences)
    for (const TokenIds& word : words_as_bytes(sentence)) words.push_back(word);
  Table table({{"id", Alignment::right}, {"left"}, {"right"}, {"new token"}, {"seen", Alignment::right}});
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const std::int32_t id = first_merge_id + static_cast<std::int32_t>(i);
    const std::optional<PairCount> best = most_frequent_pair(words);
    for (TokenIds& word : words) word = merged(word, merges[i], id);
    if (i < 8)
      table.add_row({text(id), piece(merges[i].left, merges), piece(merges[i].right, merges), piece(id, merges),
                     text(best ? best->count : 0)});
  }
  std::cout << table.plain() << "\nmerges learned: " << merges.size() << "\n\n";
  for (const std::string sentence : {"the old dog sleeps", "the coldest dog sees a man"}) {
    const TokenIds tokens = encode_text(sentence, merges);
    std::cout << sentence << ": " << sentence.size() << " bytes, " << tokens.size() << " tokens\n  "
              << pieces(tokens, merges) << '\n';
  }
}

// ---- Step 2 ---------------------------------------------------------------------------------------------------------

// A slice of the toy language: short sentences.
Corpus slice_of_language(Size pairs) {
  Corpus kept;
  for (const SentencePair& pair : make_toy_language({.pairs = 3 * pairs, .seed = 1}).train.pairs)
    if (std::count(pair.source.begin(), pair.source.end(), ' ') < 7 && kept.size() < pairs) kept.pairs.push_back(pair);
  return kept;
}

std::string row_of(const Tensor& x, Size b) {
  std::string shown;
  for (Size t = 0; t < x.extent(1); ++t) {
    const std::string number = text(x.at({b, t}));
    shown += std::string(number.size() < 4 ? 4 - number.size() : 1, ' ') + number;
  }
  return shown;
}

void batches() {
  const Taught taught = shifted({{41, 52, 63}, {74}});
  std::cout << "two sentences, 41 52 63 and 74\n\n";
  Table box({{""}, {"sentence 0"}, {"sentence 1"}});
  box.add_row({"input", row_of(taught.input.tokens, 0), row_of(taught.input.tokens, 1)});
  box.add_row({"output", row_of(taught.output.tokens, 0), row_of(taught.output.tokens, 1)});
  box.add_row({"mask", row_of(taught.output.mask, 0), row_of(taught.output.mask, 1)});
  std::cout << box.plain() << '\n';

  std::vector<Size> lengths;
  for (const SentencePair& pair : make_toy_language({.pairs = 3000, .seed = 1}).train.pairs)
    lengths.push_back(static_cast<Size>(pair.target.size()));  // a byte is a token here
  std::vector<Size> as_they_come(lengths.size());
  std::iota(as_they_come.begin(), as_they_come.end(), Size{0});
  std::vector<Size> by_length = as_they_come;
  std::stable_sort(by_length.begin(), by_length.end(), [&](Size a, Size b) {
    return lengths[static_cast<std::size_t>(a)] < lengths[static_cast<std::size_t>(b)];
  });
  std::cout << "3000 German sentences as bytes, boxes of at most 4096 places\n\n";
  Table table({{"order"}, {"batches", Alignment::right}, {"padding", Alignment::right}});
  for (const bool sorted : {false, true}) {
    const std::vector<std::vector<Size>> cut = cut_into_batches(lengths, sorted ? by_length : as_they_come, 4096);
    table.add_row({sorted ? "by length" : "as they come", text(cut.size()),
                   with_decimals(100 * share_of_padding(lengths, cut), 2) + " %"});
  }
  std::cout << table.plain();
}

// ---- Step 3 ---------------------------------------------------------------------------------------------------------

// One token of `vocabulary`: the right one has the logit `lead`, all others 0.
Tensor leading(Size vocabulary, double lead) {
  const Tensor logits = zeros({1, vocabulary}, {ElementType::float64});
  logits.set({0, 0}, lead);
  return logits;
}

void label_smoothing() {
  constexpr Size V = 1000;
  std::cout << "a vocabulary of 1,000; the right token has a logit of x, the others of 0\n\n";
  Table table({{"x", Alignment::right},
               {"p(right)", Alignment::right},
               {"loss, eps 0", Alignment::right},
               {"loss, eps 0.1", Alignment::right},
               {"gradient at the right one, eps 0.1", Alignment::right}});
  for (const double x : {0.0, 4.0, 8.0, 9.105, 12.0, 16.0, 24.0}) {
    const Tensor logits = leading(V, x);
    const double slope = smoothed_gradient(logits, {0}, 0.1, 1).at({0, 0});
    table.add_row({with_decimals(x, 3), with_decimals(softmax(logits).at({0, 0}), 4),
                   with_decimals(smoothed_loss(logits, {0}, 0), 4), with_decimals(smoothed_loss(logits, {0}, 0.1), 4),
                   with_decimals(std::abs(slope) < 5e-5 ? 0 : slope, 4)});
  }
  std::cout << table.plain() << "\nsmallest loss: " << with_decimals(smallest_loss(V, 0), 4) << " for eps 0, "
            << with_decimals(smallest_loss(V, 0.1), 4) << " for eps 0.1\n";
}

// ---- Step 4 ---------------------------------------------------------------------------------------------------------

// [show plans]
const RatePlan translator_plan = {.peak = 3e-3, .warmup = 500, .decay_after = 1800, .decay_steps = 1200};
const RatePlan without_decay = {.peak = 3e-3, .warmup = 500};
const RatePlan longer_warmup = {.peak = 3e-3, .warmup = 1500};
// [end show]

void the_rate() {
  Table table({{"step", Alignment::right},
               {"warm-up 500", Alignment::right},
               {"with decay", Alignment::right},
               {"warm-up 1500", Alignment::right}});
  const std::vector<const RatePlan*> plans = {&without_decay, &translator_plan, &longer_warmup};
  for (const Size step : {1, 100, 250, 500, 1000, 1800, 2000, 2400, 3000}) {
    std::vector<std::string> row = {text(step)};
    for (const RatePlan* plan : plans) row.push_back(with_decimals(rate_at(*plan, step), 6));
    table.add_row(row);
  }
  std::cout << table.plain()
            << "\nthe peak of Vaswani et al., d_model 512, warm-up 4000: " << with_decimals(vaswani_peak(512, 4000), 6)
            << '\n';
  LineChart chart{.title = "The learning rate",
                  .x_label = "step",
                  .y_label = "rate",
                  .series = {{"warm-up 500"}, {"warm-up 500, decay after 1800"}, {"warm-up 1500"}},
                  .width = 900,
                  .height = 540};
  for (std::size_t i = 0; i < plans.size(); ++i)
    for (Size step = 1; step <= 3000; step += step < 3000 - 5 ? 5 : 1) {
      chart.series[i].x.push_back(static_cast<double>(step));
      chart.series[i].y.push_back(rate_at(*plans[i], step));
    }
  write_png(chart, "06_schedule.png");
  std::cout << "06_schedule.png\n";
}

// ---- Step 5 ---------------------------------------------------------------------------------------------------------

constexpr Size run_steps = 400;

// What training a very small model showed, step by step. A run that meets a loss that is not finite ends there.
struct Curve {
  std::vector<double> nll;  // mean per token
  std::vector<CountedLoss> batches;
};

Curve trained(const std::string& name, const EncodedCorpus& pairs, Size vocabulary, const Schedule& schedule) {
  const Transformer model({.vocabulary = vocabulary,
                           .d_model = 48,
                           .d_ff = 96,
                           .layers = 1,
                           .attention = multi_head(4),
                           .max_length = 64,
                           .dropout = 0},
                          1);
  Trainer trainer(model, pairs, {.steps = run_steps, .tokens_per_batch = 512, .schedule = schedule, .seed = 1});
  Curve curve;
  Progress progress(name, run_steps);
  for (Size step = 1; step <= run_steps; ++step) {
    StepReport report{};
    try {
      report = trainer.step();
    } catch (const Error&) {
      report.nll = std::numeric_limits<double>::quiet_NaN();
    }
    curve.nll.push_back(report.nll);
    curve.batches.push_back({report.nll * static_cast<double>(report.target_tokens), report.target_tokens});
    progress.update(step, "");
  }
  progress.finish();
  return curve;
}

// The loss of a model that knows how often each token occurs, and nothing else: the entropy of the targets' tokens.
double loss_of_counting(const EncodedCorpus& pairs) {
  std::map<std::int32_t, double> counts;
  double all = 0, loss = 0;
  for (const EncodedPair& pair : pairs.pairs)
    for (std::size_t t = 1; t < pair.target.size(); ++t, ++all) ++counts[pair.target[t]];
  for (const auto& [token, count] : counts) loss -= count / all * std::log(count / all);
  return loss;
}

std::string yes_no(bool fact) { return fact ? "yes" : "no"; }

void a_loss_curve() {
  const Corpus corpus = slice_of_language(2000);
  const Tokenizer tokenizer = learn_byte_pairs(corpus, {.merges = 241});  // a vocabulary of 500
  const EncodedCorpus pairs = headshare::encode(corpus, tokenizer, 64);
  // [show runs]
  const std::vector<std::pair<std::string, Schedule>> recipes = {
      {"3e-3, warm-up 80", {.peak = 3e-3, .warmup = 80}},
      {"1e-1, no warm-up", {.peak = 1e-1, .warmup = 1}},
      {"2e-5, warm-up 80", {.peak = 2e-5, .warmup = 80}},
  };
  // [end show]
  const double counting = loss_of_counting(pairs), guessing = std::log(static_cast<double>(tokenizer.size()));
  std::cout << pairs.pairs.size() << " sentence pairs, a vocabulary of " << tokenizer.size() << ", " << run_steps
            << " steps\n"
            << "all tokens alike: " << with_decimals(guessing, 3)
            << "; knowing how often each occurs: " << with_decimals(counting, 3) << "\n\n";

  LineChart chart{.title = "Three learning rates: mean of the last 20 steps",
                  .x_label = "step",
                  .y_label = "-log p per token",
                  .series = {},
                  .y_scale = AxisScale::logarithmic,
                  .width = 900,
                  .height = 540};
  std::vector<double> steps(static_cast<std::size_t>(run_steps));
  std::iota(steps.begin(), steps.end(), 1.0);
  Table table({{"peak rate"}, {"first loss"}, {"last 20"}, {"perplexity"}});
  std::vector<double> last;
  std::vector<std::optional<Size>> below;
  for (const auto& [name, schedule] : recipes) {
    const Curve curve = trained(name, pairs, tokenizer.size(), schedule);
    const std::vector<double> smooth = running_mean(curve.nll, 20);
    below.push_back(down_to_stay(smooth, counting));
    const double end = perplexity({curve.batches.end() - 20, curve.batches.end()});
    last.push_back(smooth.back());
    table.add_row({name, text("~", with_decimals(curve.nll.front(), 2)), text("~", with_decimals(smooth.back(), 2)),
                   text("~", with_decimals(end, 1))});
    chart.series.push_back({name, steps, smooth});
  }
  chart.series.push_back(
      {"knowing how often each occurs", {1.0, static_cast<double>(run_steps)}, {counting, counting}});
  std::cout << table.plain() << "\nthe good rate ends below half of counting: " << yes_no(last[0] < 0.5 * counting)
            << "\nthe high rate ends below half of counting: " << yes_no(last[1] < 0.5 * counting)
            << "\nthe low rate ends below half of counting:  " << yes_no(last[2] < 0.5 * counting) << '\n';
  const auto step = [](const std::optional<Size>& at) { return at ? text("from step ~", *at) : "never"; };
  std::cout << "better than counting, to stay: the good rate " << step(below[0]) << ", the low rate " << step(below[2])
            << '\n';
  write_png(chart, "06_curves.png");
  std::cout << "06_curves.png\n\n";

  const Translator translator = toy_translator();
  const std::vector<std::string> easy = {"The old dog sleeps.", "The girl closes the boxes.", "The man buys a book."};
  const std::vector<std::string> german = translate(Decoder(translator.model), translator.tokenizer, easy);
  for (std::size_t i = 0; i < easy.size(); ++i) std::cout << easy[i] << "  ->  " << german[i] << '\n';
}

}  // namespace

int main(int count, char** arguments) {
  return lesson_program(6, {byte_pairs, batches, label_smoothing, the_rate, a_loss_curve}, count, arguments);
}
