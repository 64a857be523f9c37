#include <algorithm>
#include <cmath>
#include <iostream>
#include <map>
#include <sstream>

#include "core/measure.h"
#include "core/report/line_chart.h"
#include "core/report/progress.h"
#include "core/report/table.h"
#include "lesson.h"
#include "tensor/elementwise.h"
#include "tensor/reduce.h"
#include "tutorials/support/step.h"
#include "tutorials/support/translator.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

// ---- A model small enough to see through ----------------------------------------------------------------------------

// [show rain]
// How a (made-up) model translates "It will rain on Monday.": what may follow each beginning, and how probably.
const std::map<std::string, std::map<std::string, double>> rain = {
    {"", {{"Es", 0.6}, {"Am", 0.4}}},
    {"Es", {{"regnet", 0.4}, {"gibt", 0.3}, {"wird", 0.3}}},
    {"Es regnet", {{"am", 0.7}, {"montags", 0.3}}},
    {"Es regnet am", {{"Montag", 1}}},
    {"Es gibt", {{"am", 0.5}, {"Regen", 0.5}}},
    {"Es gibt am", {{"Montag", 1}}},
    {"Es gibt am Montag", {{"Regen", 1}}},
    {"Es wird", {{"am", 0.6}, {"regnen", 0.4}}},
    {"Es wird am", {{"Montag", 1}}},
    {"Es wird am Montag", {{"regnen", 1}}},
    {"Am", {{"Montag", 1}}},
    {"Am Montag", {{"regnet", 0.9}, {"gibt", 0.1}}},
    {"Am Montag regnet", {{"es", 1}}},
    {"Am Montag gibt", {{"es", 1}}},
    {"Am Montag gibt es", {{"Regen", 1}}},
};  // every other beginning is a whole sentence: what follows is the end
// [end show]

const std::vector<std::string> words = {"<padding>", "<begin>", "<end>", "Am",      "Es",     "Montag", "Regen",
                                        "am",        "es",      "gibt",  "montags", "regnen", "regnet", "wird"};

std::string sentence_of(const TokenIds& tokens) {
  std::string sentence;
  for (const std::int32_t token : tokens)
    sentence += (sentence.empty() ? "" : " ") + words[static_cast<std::size_t>(token)];
  return sentence;
}

TokenIds tokens_of(const std::string& sentence) {
  TokenIds tokens;
  std::istringstream in(sentence);
  for (std::string word; in >> word;)
    tokens.push_back(static_cast<std::int32_t>(std::find(words.begin(), words.end(), word) - words.begin()));
  return tokens;
}

// The table as something that can be asked what comes next.
Tensor rain_scores(const std::vector<TokenIds>& beginnings) {
  constexpr double impossible = -1e4;
  const Size V = static_cast<Size>(words.size());
  Tensor scores = full({static_cast<Size>(beginnings.size()), V}, impossible);
  for (std::size_t row = 0; row < beginnings.size(); ++row) {
    const auto found = rain.find(sentence_of({beginnings[row].begin() + 1, beginnings[row].end()}));
    if (found == rain.end()) scores.set({static_cast<Size>(row), end_id}, 0);
    if (found != rain.end())
      for (const auto& [word, p] : found->second) scores.set({static_cast<Size>(row), tokens_of(word)[0]}, std::log(p));
  }
  return scores;
}

// ---- A trained model ------------------------------------------------------------------------------------------------

EncodedSources encode(const Translator& translator, const std::vector<std::string>& sentences) {
  std::vector<TokenIds> sources;
  for (const std::string& sentence : sentences) sources.push_back(encode_source(translator.tokenizer, sentence));
  return encode_sources(translator.model, sources);
}

// The translator without caches. Rows of one sentence's hypotheses all read the first sentence.
NextScores without_cache(const Transformer& model, const EncodedSources& encoded) {
  return [&model, encoded](const std::vector<TokenIds>& beginnings) {
    const Size rows = static_cast<Size>(beginnings.size()), sentences = encoded.memory.extent(0);
    if (rows == sentences) return scores_from_scratch(model, encoded, beginnings);
    const Shape memory{rows, encoded.memory.extent(1), encoded.memory.extent(2)};
    return scores_from_scratch(
        model, {broadcast_to(encoded.memory, memory), encoded.lengths.broadcast_to({rows}).contiguous()}, beginnings);
  };
}

// [show with_cache]
// The translator with caches: whatever stands in front of the newest token is in the caches already.
NextScores with_cache(const Transformer& model, CachedState& state) {
  return [&](const std::vector<TokenIds>& beginnings) {
    std::vector<std::int32_t> newest;
    for (const TokenIds& beginning : beginnings) newest.push_back(beginning.back());
    return step(model, newest, state);
  };
}
// [end show]

const std::vector<std::string> easy = {"The old dog sleeps.", "The girl closes the boxes.", "The man buys a book."};

// Sentences that are harder than any in the training text, which has seven words at most.
std::vector<std::string> hard_sentences(std::size_t count) {
  std::vector<std::string> sentences;
  for (const SentencePair& pair : make_toy_language({.pairs = 2000, .seed = 1}).composition.pairs) {
    const std::ptrdiff_t length = 1 + std::count(pair.source.begin(), pair.source.end(), ' ');
    if (length >= 8 && length <= 10 && sentences.size() < count) sentences.push_back(pair.source);
  }
  return sentences;
}

constexpr Size limit = 48;  // tokens of a translation

const Reorder nothing_to_reorder = [](const std::vector<Size>&) {};

double largest_difference(const Tensor& a, const Tensor& b) {
  const Tensor distances = sqrt(square(subtract(a.contiguous(), b.contiguous())));
  return max(distances.reshape({distances.count()}), 0).value.item();
}

std::string compared(double difference, const std::string& bound) {
  return difference <= std::stod(bound) ? "below " + bound : text("~", difference);
}

// ---- The steps ------------------------------------------------------------------------------------------------------

void one_word_at_a_time() {
  const std::string chosen = sentence_of(greedy(rain_scores, 1, 10)[0]);
  std::cout << "greedy writes: " << chosen << "\n\n";
  Table table({{"sentence"}, {"log p", Alignment::right}, {"p", Alignment::right}});
  for (const std::string sentence :
       {"Am Montag regnet es", "Es wird am Montag regnen", "Es gibt am Montag Regen", "Es gibt Regen",
        "Es regnet am Montag", "Es regnet montags", "Es wird regnen", "Am Montag gibt es Regen"}) {
    const double log_p = log_probability(rain_scores, tokens_of(sentence));
    table.add_row({sentence, with_decimals(log_p, 2), with_decimals(std::exp(log_p), 3)});
  }
  std::cout << table.plain() << '\n';

  const Translator translator = toy_translator();
  const std::vector<TokenIds> written = greedy(without_cache(translator.model, encode(translator, easy)), 3, limit);
  for (std::size_t i = 0; i < easy.size(); ++i)
    std::cout << "~ " << easy[i] << "  ->  " << translator.tokenizer.decode(written[i]) << '\n';
}

void a_cache() {
  const Size B = 1, T = 8, H = 4, D = 16;
  Generator generator(1);
  const Tensor query = random_normal({B, T, H, D}, 1, generator, {}),
               key = random_normal({B, T, H, D}, 1, generator, {}),
               value = random_normal({B, T, H, D}, 1, generator, {});
  const Tensor at_once = attention(query, key, value, {{}, causal}).output;  // [B, T, H, D]
  Cache cache = make_cache(B, H, T, D);
  Table table({{"position", Alignment::right},
               {"keys and values in the cache", Alignment::right},
               {"bytes written", Alignment::right},
               {"bytes read", Alignment::right},
               {"difference to causal attention over all at once"}});
  for (Size t = 0; t < T; ++t) {
    append(cache, key.slice(1, t, t + 1), value.slice(1, t, t + 1));
    const Tensor got = attend(query.slice(1, t, t + 1).contiguous().reshape({B, H, D}), cache);
    const Size bytes = 2 * B * H * D * bytes_of(ElementType::float32);  // of one position
    table.add_row(
        {text(t), text(cache.length), with_thousands(bytes), with_thousands(cache.length * bytes),
         compared(largest_difference(got, at_once.slice(1, t, t + 1).contiguous().reshape({B, H, D})), "0.00001")});
  }
  std::cout << table.plain();
}

// The keys that each decoder layer computes for a sentence.
std::vector<Tensor> keys_of_layers(const Transformer& model, const std::vector<std::int32_t>& tokens,
                                   const EncodedSources& sources, const Mask& mask) {
  const NoGradient no_gradient;
  const Tensor row = from_values(tokens, {1, static_cast<Size>(tokens.size())});
  const double scale = std::sqrt(static_cast<double>(model.config().d_model));
  Variable x = embedding(row, Variable(model.embedding_table()), scale, Variable(model.positions()), 0);
  std::vector<Tensor> keys;
  for (const DecoderLayer& layer : model.decoder()) {
    keys.push_back(layer.self.keys_values(x).key.value());  // [1, T, H, D]
    x = layer.self_norm(layer.self(x, x, mask), x);
    x = layer.cross_norm(layer.cross(x, sources.memory, {sources.lengths, any_order}), x);
    x = layer.feed_forward_norm(layer.feed_forward(x), x);
  }
  return keys;
}

void why_it_is_exact() {
  const Transformer random({.vocabulary = 50,
                            .d_model = 32,
                            .d_ff = 64,
                            .layers = 3,
                            .attention = multi_head(4),
                            .max_length = 32,
                            .dropout = 0},
                           1);
  const EncodedSources source = encode_sources(random, {{7, 12, 30, end_id}});
  std::cout << "A sixth token is written. How much do the keys of the first five change?\n\n";
  Table change({{"keys of"}, {"causal mask", Alignment::right}, {"no mask", Alignment::right}});
  const auto largest_change = [&](const Mask& mask, std::size_t layer) {
    const Tensor before = keys_of_layers(random, {begin_id, 9, 4, 17, 23}, source, mask)[layer];
    const Tensor after = keys_of_layers(random, {begin_id, 9, 4, 17, 23, 41}, source, mask)[layer].slice(1, 0, 5);
    const double difference = largest_difference(before, after);
    return difference < 1e-5 ? "0" : with_decimals(difference, 3);  // another length may be rounded another way
  };
  for (std::size_t layer = 0; layer < 3; ++layer)
    change.add_row({text("layer ", layer + 1), largest_change({{}, causal}, layer), largest_change({}, layer)});
  std::cout << change.plain() << '\n';

  const Translator translator = toy_translator();
  const std::vector<std::string> sentences = hard_sentences(50);
  const Size count = static_cast<Size>(sentences.size());
  const EncodedSources encoded = encode(translator, sentences);
  CachedState compared_state = start(translator.model, encoded, limit), state = start(translator.model, encoded, limit);
  double largest = 0;
  const NextScores plain = without_cache(translator.model, encoded),
                   quick = with_cache(translator.model, compared_state);
  std::vector<TokenIds> expected, got;
  greedy(
      [&](const std::vector<TokenIds>& beginnings) {
        const Tensor scores = plain(beginnings);
        largest = std::max(largest, largest_difference(scores, quick(beginnings)));
        return scores;
      },
      count, limit);
  const double plain_seconds = seconds_of([&] { expected = greedy(plain, count, limit); });
  const double quick_seconds = seconds_of([&] { got = greedy(with_cache(translator.model, state), count, limit); });
  Size same = 0;
  for (std::size_t i = 0; i < got.size(); ++i) same += got[i] == expected[i] ? 1 : 0;
  std::cout << count << " sentences, with and without caches: " << same << " translations are the same\n"
            << "largest difference of any score: " << compared(largest, "0.001") << '\n'
            << "without caches ~" << with_decimals(plain_seconds, 2) << " s, with caches ~"
            << with_decimals(quick_seconds, 2) << " s\n\n";

  Table work({{"tokens written", Alignment::right},
              {"positions, no cache", Alignment::right},
              {"with", Alignment::right},
              {"pairs, no cache", Alignment::right},
              {"with", Alignment::right}});
  LineChart chart{.title = "Products of a query with a key",
                  .x_label = "tokens",
                  .y_label = "pairs",
                  .series = {{"without a cache"}, {"with a cache"}},
                  .x_scale = AxisScale::logarithmic,
                  .y_scale = AxisScale::logarithmic,
                  .width = 900,
                  .height = 540};
  Work without{0, 0}, with{0, 0};
  for (Size t = 1; t <= 1024; ++t) {
    const Work a = work_of_step(t, Caching::off), b = work_of_step(t, Caching::on);
    without = {without.positions + a.positions, without.pairs + a.pairs};
    with = {with.positions + b.positions, with.pairs + b.pairs};
    if ((t & (t - 1)) != 0) continue;  // powers of two
    for (std::size_t i = 0; i < 2; ++i) {
      chart.series[i].x.push_back(static_cast<double>(t));
      chart.series[i].y.push_back(static_cast<double>(i == 0 ? without.pairs : with.pairs));
    }
    if (t == 1 || t == 16 || t == 64 || t == 256 || t == 1024)
      work.add_row({with_thousands(t), with_thousands(without.positions), with_thousands(with.positions),
                    with_thousands(without.pairs), with_thousands(with.pairs)});
  }
  std::cout << work.plain();
  write_png(chart, "07_work.png");
  std::cout << "07_work.png\n";
}

void two_ways_at_once() {
  std::cout << "It will rain on Monday.\n\n";
  Table table({{"beam", Alignment::right}, {"found"}, {"p", Alignment::right}});
  for (const Size beam : {1, 2, 3}) {
    const Hypothesis found = beam_search(rain_scores, nothing_to_reorder, {.beam = beam, .alpha = 0, .limit = 10});
    table.add_row({text(beam), sentence_of(found.tokens), with_decimals(std::exp(found.log_probability), 3)});
  }
  std::cout << table.plain() << '\n';

  std::cout << "Two finished hypotheses compete:\n\n";
  Table penalty({{"alpha", Alignment::right},
                 {"4 tokens, log p = -3.0", Alignment::right},
                 {"9 tokens, log p = -4.2", Alignment::right},
                 {"wins"}});
  for (const double alpha : {0.0, 0.3, 0.6, 1.0}) {
    const double brief = penalized(-3.0, 4, alpha), lengthy = penalized(-4.2, 9, alpha);
    penalty.add_row({with_decimals(alpha, 1), with_decimals(brief, 2), with_decimals(lengthy, 2),
                     brief > lengthy ? "4 tokens" : "9 tokens"});
  }
  std::cout << penalty.plain() << '\n';

  const Translator translator = toy_translator();
  Size better = 0, worse = 0;
  double greedy_sum = 0, beam_sum = 0, most = -1e9;
  std::string example;
  const std::vector<std::string> sentences = hard_sentences(60);
  for (const std::string& sentence : sentences) {
    const NextScores next = without_cache(translator.model, encode(translator, {sentence}));
    const TokenIds one = greedy(next, 1, limit)[0];
    const Hypothesis four = beam_search(next, nothing_to_reorder, {.beam = 4, .alpha = 0, .limit = limit});
    const double log_p = log_probability(next, one), gain = four.log_probability - log_p;
    greedy_sum += log_p;
    beam_sum += four.log_probability;
    better += gain > 1e-3 ? 1 : 0;
    worse += gain < -1e-3 ? 1 : 0;
    if (gain <= most) continue;
    most = gain;
    example = text("~ English  ", sentence, "\n~ greedy   ", translator.tokenizer.decode(one), "  (log p ",
                   with_decimals(log_p, 2), ")\n~ beam 4   ", translator.tokenizer.decode(four.tokens), "  (log p ",
                   with_decimals(four.log_probability, 2), ")\n");
  }
  const double count = static_cast<double>(sentences.size());
  std::cout << sentences.size() << " sentences, mean log p: greedy ~" << with_decimals(greedy_sum / count, 3)
            << ", beam 4 ~" << with_decimals(beam_sum / count, 3) << '\n'
            << "beam 4 found a more probable translation for ~" << better << ", a less probable one for ~" << worse
            << "\n\n"
            << example;
}

void caches_that_follow() {
  const Translator translator = toy_translator();
  const Transformer& model = translator.model;
  // Of the rows that there are, the first stay where they are, whoever their parents were.
  const auto stay = [](CachedState& state, const std::vector<Size>& rows) {
    std::vector<Size> same(rows.size());
    for (std::size_t r = 0; r < rows.size(); ++r)
      same[r] = std::min(static_cast<Size>(r), state.source_lengths.extent(0) - 1);
    select(state, same);
  };
  const std::vector<std::string> sentences = hard_sentences(30);
  Size followed = 0, stayed = 0;
  double plain_seconds = 0, cached_seconds = 0;
  double most = -1e9;
  std::string example;  // where staying costs most
  for (const std::string& sentence : sentences) {
    const EncodedSources encoded = encode(translator, {sentence});
    const BeamOptions options{.beam = 4, .alpha = 0.6, .limit = limit};
    CachedState good = start(model, encoded, limit), bad = start(model, encoded, limit);
    Hypothesis plain, right, wrong;
    plain_seconds +=
        seconds_of([&] { plain = beam_search(without_cache(model, encoded), nothing_to_reorder, options); });
    cached_seconds += seconds_of([&] {
      right = beam_search(
          with_cache(model, good), [&](const std::vector<Size>& rows) { select(good, rows); }, options);
    });
    wrong = beam_search(
        with_cache(model, bad), [&](const std::vector<Size>& rows) { stay(bad, rows); }, options);
    followed += right.tokens == plain.tokens ? 1 : 0;
    stayed += wrong.tokens == plain.tokens ? 1 : 0;
    const double log_p = log_probability(without_cache(model, encoded), wrong.tokens);
    if (right.log_probability - log_p <= most) continue;
    most = right.log_probability - log_p;
    example = text("~ English             ", sentence,  //
                   "\n~ caches that follow  ", translator.tokenizer.decode(right.tokens), "  (log p ",
                   with_decimals(right.log_probability, 2), ")\n~ caches that stay    ",
                   translator.tokenizer.decode(wrong.tokens), "  (log p ", with_decimals(log_p, 2), ")\n");
  }
  std::cout << sentences.size() << " sentences, beam 4. The same translation as without a cache:\n"
            << "  caches that follow their hypotheses: " << followed << '\n'
            << "  caches that stay where they are: ~" << stayed << '\n'
            << "without caches ~" << with_decimals(plain_seconds, 2) << " s, with caches ~"
            << with_decimals(cached_seconds, 2) << " s\n\n"
            << example;
}

}  // namespace

int main(int count, char** arguments) {
  return lesson_program(7, {one_word_at_a_time, a_cache, why_it_is_exact, two_ways_at_once, caches_that_follow}, count,
                        arguments);
}
