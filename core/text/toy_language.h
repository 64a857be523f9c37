#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/size.h"
#include "core/text/corpus.h"

namespace headshare {

// The toy language: English sentences with their German translations, made by a small grammar written for this project.
// It is small enough that a model trained for minutes translates it without a mistake, and it still holds what makes
// the real task hard: words that change with gender, case and number ("with the old dog" - "mit dem alten Hund"), verbs
// that travel ("Am Montag ruft die Frau den Arzt an", "weil die Frau den Arzt anruft"), and numbers whose digits swap
// places (forty-two - zweiundvierzig).
//
// The translation is a function: no English sentence ever has two different German ones. So an exact match is a fair
// score, and 100 % is possible.
//
// Four splits, no sentence in two of them. `train`, `valid` and `test` are uniform samples of one distribution.
// `composition` asks for more: each of its sentences holds a pairing (an adjective with a noun, a verb with its object,
// a minute with an hour) that never occurs in the other three, while both of its parts do.
// How compositional generalization is tested this way: Lake and Baroni 2018, "Generalization without systematicity".
struct ToyOptions {
  Size pairs = 40000;  // in `train`
  std::uint64_t seed = 1;
  Size valid = 1000;
  Size test = 1000;
  Size composition = 1000;
};

struct ToyLanguage {
  Corpus train, valid, test, composition;
};

// The most pairs that one call may ask for, all splits but `composition` together, and in `composition`. The grammar
// holds many more, but past these sizes drawing distinct ones begins to bend the mixture of sentence kinds.
constexpr Size toy_capacity = 2'000'000;
constexpr Size toy_composition_capacity = 50'000;

// All pairs are distinct; the same options give the same pairs on every machine. Fails on sizes below zero and on more
// pairs than the capacities above.
ToyLanguage make_toy_language(const ToyOptions& options);

// `count` distinct pairs in the order in which they are drawn, held-out pairings included. Fails above toy_capacity.
Corpus draw_toy_pairs(Size count, std::uint64_t seed);

// The pairings that only `composition` holds, as English base words: {"red", "dog"}, {"buy", "book"} and
// {"half past", "three"}. They do not depend on the seed, so models trained on different samples stay comparable.
struct ToyPairing {
  std::string left;
  std::string right;
};
std::vector<ToyPairing> toy_held_out_pairings();

// Numbers in words, 0 to 999,999. British "and": 305 is "three hundred and five" - "dreihundertfünf".
std::string english_number(Size number);
std::string german_number(Size number);

// Ordinals, 1 to 999,999, the German one as it stands after "der": 21 is "twenty-first" - "einundzwanzigste".
std::string english_ordinal(Size number);
std::string german_ordinal(Size number);

// Years as they are spoken, 1100 to 2099: 1984 is "nineteen eighty-four" - "neunzehnhundertvierundachtzig".
std::string english_year(Size year);
std::string german_year(Size year);

// The time on a twelve-hour clock, hour 1 to 12, minute a multiple of five from 0 to 55:
// (3, 30) is "half past three" - "halb vier", (7, 0) is "seven o'clock" - "sieben Uhr".
std::string english_time(Size hour, Size minute);
std::string german_time(Size hour, Size minute);

// A day of the year, month 1 to 12: (3, 5) is "the third of May" - "der dritte Mai". Fails on days a month lacks.
std::string english_date(Size day, Size month);
std::string german_date(Size day, Size month);

}  // namespace headshare
