#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/random.h"
#include "core/text/accuracy.h"
#include "core/text/bleu.h"
#include "core/text/chrf.h"
#include "tests/test_tools.h"

// Expected scores are those of sacreBLEU 2, to the last digits it prints.

using namespace headshare;

namespace {

using test::contains;
using test::error_of;

using Lines = std::vector<std::string>;
using Counts = std::array<Size, bleu_orders>;

bool close(double a, double b) { return std::abs(a - b) < 1e-9; }

std::string joined(const Lines& tokens) {
  std::string line;
  for (const std::string& token : tokens) line += (line.empty() ? "" : " ") + token;
  return line;
}

Bleu bleu_of_line(const std::string& hypothesis, const std::string& reference, const BleuOptions& options = {}) {
  return corpus_bleu({{hypothesis}}, one_reference({reference}), options);
}

const Hypotheses german_hypotheses = {
    {"Ein Mann fährt Fahrrad.", "Zwei Hunde rennen über die Wiese.", "Eine Frau kauft 1,5 kg Äpfel für 3,99 € ein."}};
const References german_references =
    one_reference({"Ein Mann fährt mit dem Fahrrad.", "Zwei Hunde laufen über eine Wiese.",
                   "Eine Frau kauft 1,5 kg Äpfel für 3,99 €."});

}  // namespace

TEST_CASE("the 13a tokenizer splits as the original does") {
  const std::vector<std::array<const char*, 2>> cases = {
      {"It's 3,000.5 dollars.", "It's 3,000.5 dollars ."},
      {"U.S.A.", "U . S . A ."},
      {"1990-1995.", "1990 - 1995 ."},
      {"A-1", "A-1"},
      {"1-A", "1 - A"},
      {"5...", "5 . . ."},
      {"...5", ". . . 5"},
      {"1,.2", "1 , . 2"},
      {"e-mail@x.de", "e-mail @ x . de"},
      {"$5.00.", "$ 5.00 ."},
      {"&amp;quot;", "& quot ;"},
      {"&apos;s", "& apos ; s"},
      {"&quot;a&lt;b&gt;", "\" a < b >"},
      {"a<skipped>b", "ab"},
      {"end-\nless\nline", "endless line"},
      {"trailing-\n", "trailing-"},  // stripped at the right first
      {"„Grüße“, sagt er…", "„Grüße“ , sagt er…"},
      {"a\u00A0b\u3000c", "a b c"},
      {"", ""},
  };
  for (const std::array<const char*, 2>& segment_and_tokens : cases) {
    const char* segment = segment_and_tokens[0];
    CAPTURE(segment);
    CHECK(joined(tokenize_13a(segment)) == segment_and_tokens[1]);
  }
}

TEST_CASE("a sentence with one wrong word has the published BLEU and chrF") {
  const Bleu bleu = bleu_of_line("The cat sat on the mat.", "The cat is on the mat.");
  CHECK(bleu.counts.matches == Counts{6, 4, 2, 1});
  CHECK(bleu.counts.totals == Counts{7, 6, 5, 4});
  CHECK(close(bleu.score, 48.892302243490086));
  CHECK(describe(bleu) == "BLEU = 48.89 85.7/66.7/40.0/25.0 (BP = 1.000 ratio = 1.000 hyp_len = 7 ref_len = 7)");
  CHECK(close(sentence_chrf("The cat sat on the mat.", {"The cat is on the mat."}), 67.17273492330233));
  CHECK(close(sentence_chrf("The cat sat on the mat.", {"The cat is on the mat."}, {.word_orders = 2}),
              69.43695278069349));
}

TEST_CASE("a repeated word counts only as often as one reference has it") {
  const References references = {{{"the cat is on the mat"}, {"there is a cat on the mat"}}};
  const Bleu bleu = corpus_bleu({{"the the the the the the the"}}, references);
  CHECK(bleu.counts.matches == Counts{2, 0, 0, 0});
  CHECK(bleu.counts.totals == Counts{7, 6, 5, 4});
  CHECK(bleu.counts.reference_length == 7);
  CHECK(close(bleu.score, 7.809849842300637));
}

TEST_CASE("the closest reference length counts, and of two as close the shorter") {
  CHECK(bleu_statistics("a b c d", Lines{"a b c d e f", "a b", "a b c"}).reference_length == 3);
  CHECK(bleu_statistics("a b c d", Lines{"a b c d e", "a b c"}).reference_length == 3);
  CHECK(bleu_statistics("a b c d", Lines{"a b c", "a b c d e"}).reference_length == 3);
}

TEST_CASE("too short hypotheses pay the brevity penalty and too long ones lose precision") {
  const Bleu brief = bleu_of_line("a b c d", "a b c d e f");
  CHECK(close(brief.brevity_penalty, std::exp(-0.5)));
  CHECK(close(brief.score, 60.653065971263366));
  CHECK(close(bleu_of_line("a b c d e f g h", "a b c d").score, 34.57207846419409));
}

TEST_CASE("orders without a match are smoothed by halves, quarters and so on") {
  CHECK(close(bleu_of_line("a x c y e", "a b c d e").score, 14.058533129758727));
}

TEST_CASE("a short sentence scores 0 unless the order is the effective one") {
  CHECK(bleu_of_line("x y", "x y").score == 0.0);
  CHECK(close(bleu_of_line("x y", "x y", {.effective_order = true}).score, 100.0));
  CHECK(close(sentence_bleu("x y", {"x y"}).score, 100.0));
}

TEST_CASE("empty segments are no error and score 0") {
  CHECK(bleu_of_line("", "a b c d").score == 0.0);
  CHECK(bleu_of_line("", "a b c d").brevity_penalty == 0.0);
  CHECK(bleu_of_line("a b c d", "").score == 0.0);
  CHECK(bleu_of_line("", "").score == 0.0);
  CHECK(sentence_chrf("", {"a"}) == 0.0);
  CHECK(sentence_chrf("a", {""}) == 0.0);
}

TEST_CASE("lower case makes case disappear, in umlauts too") {
  CHECK(bleu_of_line("GRÜSSE an Ärzte alle", "grüsse an ärzte alle").score < 100.0);
  CHECK(close(bleu_of_line("GRÜSSE an Ärzte alle", "grüsse an ärzte alle", {.lower_case = true}).score, 100.0));
  CHECK(close(sentence_chrf("GRÜSSE", {"grüsse"}, {.lower_case = true}), 100.0));
}

TEST_CASE("chrF counts code points and not bytes") {
  CHECK(close(sentence_chrf("Grüße, Welt", {"Gruesse, Welt"}), 40.60882011877806));
  CHECK(close(sentence_chrf("Grüße, Welt", {"Gruesse, Welt"}, {.word_orders = 2}), 45.11267624614309));
}

TEST_CASE("chrF++ peels one mark off a word's end or else off its start") {
  CHECK(close(sentence_chrf("say (hi)", {"say hi"}, {.word_orders = 2}), 33.68328181807415));
  CHECK(close(sentence_chrf("say (hi", {"say hi"}, {.word_orders = 2}), 41.460041960709525));
}

TEST_CASE("chrF leaves out what was written where the reference is empty") {
  CHECK(close(corpus_chrf({{"abc", "ab"}}, one_reference({"", "ab"})), 100.0));
}

TEST_CASE("chrF takes the best of several references") {
  const double best = sentence_chrf("ein Mann", {"ein Mann geht"});
  CHECK(close(sentence_chrf("ein Mann", {"zwei Frauen", "ein Mann geht", "kein Hund"}), best));
}

TEST_CASE("a German corpus has the published scores, as a whole and by sentence") {
  const Bleu bleu = corpus_bleu(german_hypotheses, german_references);
  CHECK(bleu.counts.matches == Counts{20, 13, 8, 6});
  CHECK(bleu.counts.totals == Counts{23, 20, 17, 14});
  CHECK(bleu.counts.hypothesis_length == 23);
  CHECK(bleu.counts.reference_length == 24);
  CHECK(close(bleu.score, 55.63365338230852));
  CHECK(close(corpus_chrf(german_hypotheses, german_references), 74.54031505276193));
  CHECK(close(corpus_chrf(german_hypotheses, german_references, {.word_orders = 2}), 74.22204690045923));

  const std::array<double, 3> sentences = {33.51600230178196, 19.64073254502566, 80.70557274927978};
  for (Size i = 0; i < 3; ++i)
    CHECK(close(sentence_bleu(german_hypotheses.lines[i], references_of(german_references, i)).score, sentences[i]));
}

TEST_CASE("swapping hypotheses and references changes the score") {
  const double swapped = corpus_bleu({german_references.sets[0]}, one_reference(german_hypotheses.lines)).score;
  CHECK_FALSE(close(swapped, 55.63365338230852));
}

TEST_CASE("the signature names every condition") {
  CHECK(bleu_signature(german_references) == "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:headshare.1");
  const References two = {{{"a"}, {"b"}}};
  CHECK(bleu_signature(two, {.lower_case = true, .effective_order = true}) ==
        "nrefs:2|case:lc|eff:yes|tok:13a|smooth:exp|version:headshare.1");
  CHECK(chrf_signature(two, {.word_orders = 2}) == "nrefs:2|case:mixed|eff:yes|nc:6|nw:2|space:no|version:headshare.1");
  CHECK(chrf_name() == "chrF2");
  CHECK(chrf_name({.word_orders = 2}) == "chrF2++");
}

TEST_CASE("different numbers of hypotheses and references are an error for every score") {
  const Hypotheses two = {{"a", "b"}};
  const References three = one_reference({"a", "b", "c"});
  CHECK(contains(error_of([&] { corpus_bleu(two, three); }), "bleu: 2 hypotheses, but 3 references in set 1"));
  CHECK(contains(error_of([&] { corpus_chrf(two, three); }), "chrf: 2 hypotheses, but 3 references"));
  CHECK(contains(error_of([&] { exact_match(two, three); }), "exact match: 2 hypotheses, but 3"));
  CHECK(contains(error_of([&] { token_accuracy(two, three); }), "token accuracy: 2 hypotheses, but 3"));
  const References uneven = {{{"a", "b"}, {"a"}}};
  CHECK(contains(error_of([&] { corpus_bleu(two, uneven); }), "1 references in set 2"));
  CHECK(contains(error_of([&] { corpus_bleu(two, {}); }), "no references"));
  CHECK(contains(error_of([&] { corpus_bleu({}, one_reference({})); }), "nothing to score"));
  CHECK(contains(error_of([&] { sentence_bleu("a", {}); }), "no references"));
  CHECK(contains(error_of([&] { sentence_chrf("a", {"a"}, {.word_orders = 3}); }), "chrf: word n-grams up to 3"));
}

TEST_CASE("exact match counts identical lines, white space at the ends aside") {
  const Hypotheses hypotheses = {{"a b", " c d\u00A0", "e  f", ""}};
  CHECK(exact_match(hypotheses, one_reference({"a b ", "c d", "e f", "x"})) == 0.5);
  CHECK(exact_match(hypotheses, {{{"a b", "x", "x", "x"}, {"x", "c d", "e  f", "y"}}}) == 0.75);
}

TEST_CASE("token accuracy counts equal positions of the longer segment") {
  CHECK(token_accuracy({{"a b c"}}, one_reference({"a x c"})) == 2.0 / 3.0);
  CHECK(token_accuracy({{"a b c d"}}, one_reference({"a b"})) == 0.5);
  CHECK(token_accuracy({{"a b"}}, one_reference({"a b c d"})) == 0.5);
  CHECK(token_accuracy({{"x a b c"}}, one_reference({"a b c"})) == 0.0);
  CHECK(token_accuracy({{"a", "b b b"}}, one_reference({"a", "c c c"})) == 0.25);  // of all positions, not of lines
  CHECK(token_accuracy({{"a b"}}, {{{"x y"}, {"a y"}}}) == 0.5);
  CHECK(token_accuracy({{""}}, one_reference({" "})) == 1.0);
}

TEST_CASE("the bootstrap interval surrounds the score and depends only on the seed") {
  Hypotheses hypotheses;
  Lines references;
  Generator generator(3);
  for (int line = 0; line < 97; ++line) {
    std::string hypothesis;
    std::string reference;
    for (int word = 0; word < 9; ++word) {
      const auto letter = static_cast<char>('a' + generator.below(9));
      reference += std::string(1, letter) + ' ';
      hypothesis += std::string(1, generator.below(5) == 0 ? 'z' : letter) + ' ';
    }
    hypotheses.lines.push_back(hypothesis);
    references.push_back(reference);
  }
  const std::vector<BleuStatistics> segments = bleu_statistics(hypotheses, one_reference(references));
  const double score = corpus_bleu(hypotheses, one_reference(references)).score;
  const BootstrapInterval interval = bootstrap_interval(segments);
  CHECK(interval.low < score);
  CHECK(score < interval.high);
  CHECK(std::abs(interval.mean - score) < 0.25 * (interval.high - interval.low));

  const BootstrapInterval same = bootstrap_interval(segments);
  CHECK(same.low == interval.low);
  CHECK(same.high == interval.high);
  CHECK(bootstrap_interval(segments, {}, {.seed = 2}).mean != interval.mean);

  // A quarter of the sentences: about twice as wide.
  const std::vector<BleuStatistics> quarter(segments.begin(), segments.begin() + 24);
  const BootstrapInterval wide = bootstrap_interval(quarter);
  CHECK(wide.high - wide.low > 1.3 * (interval.high - interval.low));
}

TEST_CASE("the bootstrap interval leaves out 2.5 percent at each end") {
  // All draws hit the one sentence that scores 0 with probability 1/27 = 3.7 %, or 1/256 = 0.4 %.
  std::vector<BleuStatistics> segments(3, bleu_statistics("a b c d", Lines{"a b c d"}));
  segments[0] = bleu_statistics("x x x x", Lines{"a b c d"});
  CHECK(bootstrap_interval(segments).low == 0.0);
  segments.push_back(segments[1]);
  CHECK(bootstrap_interval(segments).low > 0.0);
  CHECK(close(bootstrap_interval(segments).high, 100.0));
}

TEST_CASE("the bootstrap interval of equal sentences has no width") {
  const std::vector<BleuStatistics> segments(7, bleu_statistics("a b c d x", Lines{"a b c d e"}));
  const BootstrapInterval interval = bootstrap_interval(segments);
  CHECK(close(interval.low, bleu_of(segments[0]).score));
  CHECK(interval.low == interval.high);
  CHECK(contains(error_of([] { bootstrap_interval({}); }), "nothing to draw from"));
  CHECK(contains(error_of([&] { bootstrap_interval(segments, {}, {.samples = 0}); }), "0 samples"));
}
