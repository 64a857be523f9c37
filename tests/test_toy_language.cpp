#include <cctype>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/text/toy_language.h"
#include "tests/toy_sentences.h"

namespace headshare {
namespace {

// One large sample that several tests look at; drawn once.
const Corpus& sample() {
  static const Corpus pairs = draw_toy_pairs(300'000, 1);
  return pairs;
}

std::vector<std::string> words_of(std::string sentence) {
  while (!sentence.empty() && std::string(".?").find(sentence.back()) != std::string::npos) sentence.pop_back();
  std::vector<std::string> words;
  std::istringstream in(sentence);
  for (std::string word; in >> word;) {
    while (!word.empty() && word.back() == ',') word.pop_back();
    words.push_back(word);
  }
  if (!words.empty() && words[0] != "I") words[0][0] = static_cast<char>(std::tolower(words[0][0]));
  return words;
}

// The forms under which the tests below find a base word again, written down here once more on purpose.
bool is_form_of(const std::string& word, const std::string& base) {
  static const std::map<std::string, std::set<std::string>> irregular = {{"man", {"men"}},
                                                                         {"woman", {"women"}},
                                                                         {"child", {"children"}},
                                                                         {"box", {"boxes"}},
                                                                         {"city", {"cities"}},
                                                                         {"church", {"churches"}},
                                                                         {"see", {"sees", "saw"}},
                                                                         {"buy", {"buys", "bought"}},
                                                                         {"sell", {"sold"}},
                                                                         {"look", {"looked"}},
                                                                         {"find", {"found"}},
                                                                         {"eat", {"ate"}},
                                                                         {"write", {"wrote"}},
                                                                         {"carry", {"carries", "carried"}},
                                                                         {"wash", {"washes", "washed"}},
                                                                         {"visit", {"visited"}},
                                                                         {"open", {"opened"}},
                                                                         {"close", {"closed"}},
                                                                         {"call", {"called"}},
                                                                         {"pick", {"picked"}},
                                                                         {"invite", {"invited"}}};
  if (word == base || word == base + "s") return true;
  const auto forms = irregular.find(base);
  return forms != irregular.end() && forms->second.count(word) > 0;
}

// What may stand between a verb and the noun that is its object.
bool may_stand_before_object(const std::string& word) {
  static const std::set<std::string> little = {
      "for",  "up",    "the",   "a",     "an",    "any",   "this",   "these",     "my",      "his",
      "her",  "our",   "their", "big",   "small", "old",   "new",    "beautiful", "red",     "green",
      "blue", "black", "white", "cheap", "good",  "young", "clever", "hungry",    "friendly"};
  static const std::set<std::string> counts = [] {
    std::set<std::string> all;
    for (Size number = 1; number < 100; ++number) {
      all.insert(english_number(number));
      all.insert(english_ordinal(number));
    }
    return all;
  }();
  return little.count(word) > 0 || counts.count(word) > 0;
}

bool holds_pairing(const std::vector<std::string>& words, const ToyPairing& pairing) {
  const std::vector<std::string> left = words_of(pairing.left);
  // "half past three", "three o'clock", "red dogs": one beside the other.
  const bool full_hour = pairing.left == "o'clock";
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (full_hour) {
      if (words[i] == "o'clock" && i > 0 && words[i - 1] == pairing.right) return true;
      continue;
    }
    bool matches = i + left.size() < words.size() && is_form_of(words[i], left[0]);
    for (std::size_t k = 1; matches && k < left.size(); ++k) matches = words[i + k] == left[k];
    if (!matches) continue;
    std::size_t next = i + left.size();
    if (is_form_of(words[next], pairing.right)) return true;
    // "buys the old book": a verb and, a little later, its object. After an adjective nothing but the noun may come.
    const bool is_verb = !may_stand_before_object(left[0]);
    while (is_verb && next < words.size() && may_stand_before_object(words[next])) ++next;
    if (is_verb && next < words.size() && is_form_of(words[next], pairing.right)) return true;
  }
  return false;
}

std::string first_pairing_in(const std::string& sentence, const std::vector<ToyPairing>& pairings) {
  const std::vector<std::string> words = words_of(sentence);
  for (const ToyPairing& pairing : pairings) {
    if (holds_pairing(words, pairing)) return pairing.left + " + " + pairing.right;
  }
  return "";
}

}  // namespace

TEST_CASE("numbers are written as words in both languages") {
  for (const auto& [number, english, german] : toy_number_table()) {
    CHECK(english_number(number) == english);
    CHECK(german_number(number) == german);
  }
  std::set<std::string> english, german;
  for (Size number = 0; number <= 30'000; ++number) {
    english.insert(english_number(number));
    german.insert(german_number(number));
  }
  CHECK(english.size() == 30'001);
  CHECK(german.size() == 30'001);
}

TEST_CASE("ordinals end as the last part of their number asks") {
  for (const auto& [number, english, german] : toy_ordinal_table()) {
    CHECK(english_ordinal(number) == english);
    CHECK(german_ordinal(number) == german);
  }
}

TEST_CASE("years, clock times and dates are said as in a calendar") {
  CHECK(english_year(1984) == "nineteen eighty-four");
  CHECK(german_year(1984) == "neunzehnhundertvierundachtzig");
  CHECK(english_year(1901) == "nineteen oh one");
  CHECK(german_year(1901) == "neunzehnhunderteins");
  CHECK(english_year(1900) == "nineteen hundred");
  CHECK(german_year(1900) == "neunzehnhundert");
  CHECK(english_year(2007) == "two thousand and seven");
  CHECK(german_year(2007) == "zweitausendsieben");
  CHECK(english_year(2021) == "twenty twenty-one");
  CHECK(german_year(2021) == "zweitausendeinundzwanzig");

  const std::vector<std::string> english = {"three o'clock",        "five past three",     "ten past three",
                                            "a quarter past three", "twenty past three",   "twenty-five past three",
                                            "half past three",      "twenty-five to four", "twenty to four",
                                            "a quarter to four",    "ten to four",         "five to four"};
  const std::vector<std::string> german = {"drei Uhr",          "fünf nach drei",      "zehn nach drei",
                                           "Viertel nach drei", "zwanzig nach drei",   "fünf vor halb vier",
                                           "halb vier",         "fünf nach halb vier", "zwanzig vor vier",
                                           "Viertel vor vier",  "zehn vor vier",       "fünf vor vier"};
  for (Size i = 0; i < 12; ++i) {
    CHECK(english_time(3, 5 * i) == english[static_cast<std::size_t>(i)]);
    CHECK(german_time(3, 5 * i) == german[static_cast<std::size_t>(i)]);
  }
  CHECK(german_time(1, 0) == "ein Uhr");
  CHECK(german_time(1, 5) == "fünf nach eins");
  CHECK(german_time(12, 30) == "halb eins");
  CHECK(english_time(12, 45) == "a quarter to one");

  CHECK(english_date(3, 5) == "the third of May");
  CHECK(german_date(3, 5) == "der dritte Mai");
  CHECK(english_date(29, 2) == "the twenty-ninth of February");
  CHECK(german_date(31, 12) == "der einunddreißigste Dezember");
}

TEST_CASE("numbers, times and dates that cannot be said are refused with the range that can") {
  CHECK_THROWS_WITH_AS(english_number(-1), "english_number: -1 is out of range, needed is a number from 0 to 999999",
                       Error);
  CHECK_THROWS_WITH_AS(german_number(1'000'000),
                       "german_number: 1000000 is out of range, needed is a number from 0 to 999999", Error);
  CHECK_THROWS_WITH_AS(english_ordinal(0), "english_ordinal: 0 is out of range, needed is a number from 1 to 999999",
                       Error);
  CHECK_THROWS_WITH_AS(german_ordinal(0), "german_ordinal: 0 is out of range, needed is a number from 1 to 999999",
                       Error);
  CHECK_THROWS_WITH_AS(german_year(1066), "german_year: 1066 is out of range, needed is a number from 1100 to 2099",
                       Error);
  CHECK_THROWS_AS(english_year(2100), Error);
  CHECK_THROWS_WITH_AS(english_time(13, 0),
                       "english_time: 13:00 cannot be said, needed are an hour from 1 to 12 and a minute from 0 to 55 "
                       "that is a multiple of 5",
                       Error);
  CHECK_THROWS_AS(german_time(0, 0), Error);
  CHECK_THROWS_AS(german_time(3, 7), Error);
  CHECK_THROWS_AS(german_time(3, 60), Error);
  CHECK_THROWS_WITH_AS(german_date(31, 6), "german_date: June has no day 31, needed is a day from 1 to 30", Error);
  CHECK_THROWS_WITH_AS(english_date(1, 13), "english_date: there is no month 13, needed is a month from 1 to 12",
                       Error);
  CHECK_THROWS_AS(english_date(0, 1), Error);
}

TEST_CASE("the grammar translates as a German would") {
  std::map<std::string, std::string> translation;
  for (const SentencePair& pair : sample().pairs) translation[pair.source] = pair.target;
  for (const TranslatedSentence& expected : toy_sentence_table()) {
    CAPTURE(expected.english);
    REQUIRE(translation.count(expected.english) == 1);
    CHECK(translation[expected.english] == expected.german);
  }
  CHECK(toy_sentence_table().size() >= 90);
}

TEST_CASE("the toy language holds more than a million distinct pairs and translates each sentence in one way") {
  // Within one call no sentence comes twice, so two translations can only show between calls.
  std::unordered_map<std::string, std::string> translation;
  Size drawn = 0;
  for (const std::uint64_t seed : {1, 2, 3, 4}) {
    const Corpus pairs = seed == 1 ? sample() : draw_toy_pairs(300'000, seed);
    std::unordered_set<std::string> sources;
    for (const SentencePair& pair : pairs.pairs) {
      sources.insert(pair.source);
      const auto [entry, is_new] = translation.emplace(pair.source, pair.target);
      if (!is_new && entry->second != pair.target) {
        FAIL_CHECK(pair.source << " has two translations: " << entry->second << " / " << pair.target);
      }
    }
    CHECK(sources.size() == pairs.pairs.size());
    drawn += pairs.size();
  }
  CHECK(drawn == 1'200'000);
  CHECK(translation.size() > 1'000'000);
}

TEST_CASE("a sentence starts with a capital and ends with its mark, and a phrase does neither") {
  Size sentences = 0;
  for (const SentencePair& pair : sample().pairs) {
    const bool ends = pair.source.back() == '.' || pair.source.back() == '?';
    const bool capital = pair.source.front() >= 'A' && pair.source.front() <= 'Z';
    if (ends != capital) FAIL_CHECK(pair.source);
    if (ends && pair.source.back() != pair.target.back()) FAIL_CHECK(pair.target);
    const bool german_capital =
        (pair.target.front() >= 'A' && pair.target.front() <= 'Z') || pair.target.starts_with("Ä");
    if (ends && !german_capital) FAIL_CHECK(pair.target);
    sentences += ends;
    for (const char* fault : {"  ", " ,", ",,", ",.", ",?", " .", " ?"}) {
      if (pair.source.find(fault) != std::string::npos || pair.target.find(fault) != std::string::npos) {
        FAIL_CHECK(pair.source << " / " << pair.target);
      }
    }
  }
  CHECK(sentences > sample().size() * 7 / 10);
  CHECK(sentences < sample().size());
}

TEST_CASE("the same options give the same pairs and another seed gives others") {
  const ToyOptions options{.pairs = 2000, .seed = 5, .valid = 100, .test = 100, .composition = 50};
  const ToyLanguage a = make_toy_language(options);
  const ToyLanguage b = make_toy_language(options);
  ToyOptions other = options;
  other.seed = 6;
  const ToyLanguage c = make_toy_language(other);
  Size equal = 0;
  for (Size i = 0; i < options.pairs; ++i) {
    const auto k = static_cast<std::size_t>(i);
    CHECK(a.train.pairs[k].source == b.train.pairs[k].source);
    CHECK(a.train.pairs[k].target == b.train.pairs[k].target);
    equal += a.train.pairs[k].source == c.train.pairs[k].source;
  }
  CHECK(a.composition.pairs[49].source == b.composition.pairs[49].source);
  CHECK(equal < 20);
}

TEST_CASE("the splits have the sizes asked for and share no sentence") {
  const ToyLanguage language = make_toy_language({.pairs = 40'000});
  CHECK(language.train.size() == 40'000);
  CHECK(language.valid.size() == 1000);
  CHECK(language.test.size() == 1000);
  CHECK(language.composition.size() == 1000);
  std::set<std::string> sources;
  for (const Corpus* split : {&language.train, &language.valid, &language.test, &language.composition}) {
    for (const SentencePair& pair : split->pairs) sources.insert(pair.source);
  }
  CHECK(sources.size() == 43'000);
}

TEST_CASE("a held-out pairing occurs only in the composition split, and both of its parts in training") {
  const ToyLanguage language = make_toy_language({});
  const std::vector<ToyPairing> held_out = toy_held_out_pairings();
  CHECK(held_out.size() > 15);
  CHECK(held_out.size() < 60);
  for (const Corpus* split : {&language.train, &language.valid, &language.test}) {
    for (const SentencePair& pair : split->pairs) {
      const std::string pairing = first_pairing_in(pair.source, held_out);
      if (!pairing.empty()) FAIL_CHECK(pair.source << " holds " << pairing);
    }
  }

  // Not in every one do they stand side by side: "the dog is red", "how many books does he buy?".
  Size found = 0;
  for (const SentencePair& pair : language.composition.pairs) found += !first_pairing_in(pair.source, held_out).empty();
  CHECK(found > language.composition.size() * 8 / 10);

  std::set<std::string> known;
  std::string all = " ";
  for (const SentencePair& pair : language.train.pairs) {
    const std::vector<std::string> words = words_of(pair.source);
    known.insert(words.begin(), words.end());
    for (const std::string& word : words) all += word + " ";
  }
  for (const ToyPairing& pairing : held_out) {
    CAPTURE(pairing.left + " + " + pairing.right);
    CHECK(all.find(" " + pairing.left + " ") != std::string::npos);
    CHECK(known.count(pairing.right) == 1);
  }
}

TEST_CASE("the mixture keeps to its plan: about three in ten are numbers and dates, and most sentences are short") {
  const ToyLanguage language = make_toy_language({});
  Size bare = 0, words = 0, long_ones = 0;
  for (const SentencePair& pair : language.train.pairs) {
    const Size count = static_cast<Size>(words_of(pair.source).size());
    bare += pair.source.back() != '.' && pair.source.back() != '?';
    words += count;
    long_ones += count > 14;
  }
  CHECK(bare > 4000);
  CHECK(bare < 9000);
  CHECK(words / language.train.size() >= 5);
  CHECK(words / language.train.size() <= 9);
  CHECK(long_ones < language.train.size() / 15);
}

TEST_CASE("more pairs than the grammar gives are refused with the number it gives") {
  CHECK_THROWS_WITH_AS(
      make_toy_language({.pairs = 3'000'000}),
      "toy language: 3000000 training pairs asked for, but the grammar gives at most 2000000; ask for fewer", Error);
  CHECK_THROWS_WITH_AS(make_toy_language({.pairs = 1'999'500}),
                       "toy language: 2001500 pairs (training, validation and test together) asked for, but the "
                       "grammar gives at most 2000000; ask for fewer",
                       Error);
  CHECK_THROWS_WITH_AS(make_toy_language({.test = -1}), "toy language: -1 test pairs asked for, needed is 0 or more",
                       Error);
  CHECK_THROWS_WITH_AS(
      make_toy_language({.composition = 100'000}),
      "toy language: 100000 composition pairs asked for, but the grammar gives at most 50000; ask for fewer", Error);
  CHECK_THROWS_AS(draw_toy_pairs(toy_capacity + 1, 1), Error);
  const ToyLanguage none = make_toy_language({.pairs = 0, .valid = 0, .test = 0, .composition = 0});
  CHECK(none.train.size() == 0);
}

}  // namespace headshare
