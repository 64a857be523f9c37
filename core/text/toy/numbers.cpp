#include <array>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/text/toy_language.h"

namespace headshare {

namespace {

using Words = std::array<std::string_view, 20>;
using Tens = std::array<std::string_view, 10>;

constexpr Words english_small = {"zero",     "one",     "two",     "three",     "four",     "five",    "six",
                                 "seven",    "eight",   "nine",    "ten",       "eleven",   "twelve",  "thirteen",
                                 "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
constexpr Tens english_tens = {"", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"};

// "eins" stands alone or at the end of a number; in front of anything else it is "ein" (see german_below_hundred).
constexpr Words german_small = {"null",     "eins",     "zwei",     "drei",     "vier",     "fünf",    "sechs",
                                "sieben",   "acht",     "neun",     "zehn",     "elf",      "zwölf",   "dreizehn",
                                "vierzehn", "fünfzehn", "sechzehn", "siebzehn", "achtzehn", "neunzehn"};
constexpr Tens german_tens = {"",        "",        "zwanzig", "dreißig", "vierzig",
                              "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"};

std::string_view at(const Words& words, Size i) { return words[static_cast<std::size_t>(i)]; }
std::string_view at(const Tens& tens, Size i) { return tens[static_cast<std::size_t>(i)]; }

void check_range(std::string_view who, Size number, Size least, Size most) {
  if (number < least || number > most) {
    fail(who, ": ", number, " is out of range, needed is a number from ", least, " to ", most);
  }
}

std::string english_below_hundred(Size number) {
  if (number < 20) return std::string(at(english_small, number));
  const std::string tens(at(english_tens, number / 10));
  return number % 10 == 0 ? tens : tens + "-" + std::string(at(english_small, number % 10));
}

std::string english_below_thousand(Size number) {
  if (number < 100) return english_below_hundred(number);
  const std::string hundreds = std::string(at(english_small, number / 100)) + " hundred";
  return number % 100 == 0 ? hundreds : hundreds + " and " + english_below_hundred(number % 100);
}

// What a German number is followed by decides whether its last one is "eins" (nothing) or "ein" (tausend, hundert).
enum class Position { last, before_more };

std::string german_below_hundred(Size number, Position position) {
  if (number == 1 && position == Position::before_more) return "ein";
  if (number < 20) return std::string(at(german_small, number));
  const std::string tens(at(german_tens, number / 10));
  if (number % 10 == 0) return tens;
  return german_below_hundred(number % 10, Position::before_more) + "und" + tens;  // the units come first
}

std::string german_below_thousand(Size number, Position position) {
  if (number < 100) return german_below_hundred(number, position);
  const std::string hundreds = german_below_hundred(number / 100, Position::before_more) + "hundert";
  return number % 100 == 0 ? hundreds : hundreds + german_below_hundred(number % 100, position);
}

// Replaces the end of `word` if it is `ending`.
bool replace_ending(std::string& word, std::string_view ending, std::string_view replacement) {
  if (!word.ends_with(ending)) return false;
  word.replace(word.size() - ending.size(), ending.size(), replacement);
  return true;
}

}  // namespace

std::string english_number(Size number) {
  check_range("english_number", number, 0, 999'999);
  if (number < 1000) return english_below_thousand(number);
  const std::string thousands = english_below_thousand(number / 1000) + " thousand";
  const Size rest = number % 1000;
  if (rest == 0) return thousands;
  return thousands + (rest < 100 ? " and " : " ") + english_below_thousand(rest);
}

std::string german_number(Size number) {
  check_range("german_number", number, 0, 999'999);
  if (number < 1000) return german_below_thousand(number, Position::last);
  const std::string thousands = german_below_thousand(number / 1000, Position::before_more) + "tausend";
  return number % 1000 == 0 ? thousands : thousands + german_below_thousand(number % 1000, Position::last);
}

std::string english_ordinal(Size number) {
  check_range("english_ordinal", number, 1, 999'999);
  std::string word = english_number(number);
  constexpr std::array<std::array<std::string_view, 2>, 8> irregular = {{{"one", "first"},
                                                                         {"two", "second"},
                                                                         {"three", "third"},
                                                                         {"five", "fifth"},
                                                                         {"eight", "eighth"},
                                                                         {"nine", "ninth"},
                                                                         {"twelve", "twelfth"},
                                                                         {"y", "ieth"}}};
  for (const auto& [cardinal, ordinal] : irregular) {
    if (replace_ending(word, cardinal, ordinal)) return word;
  }
  return word + "th";
}

std::string german_ordinal(Size number) {
  check_range("german_ordinal", number, 1, 999'999);
  std::string word = german_number(number);
  const Size last_two = number % 100;
  if (last_two == 1) replace_ending(word, "eins", "ers");
  if (last_two == 3) replace_ending(word, "drei", "drit");
  if (last_two == 7) replace_ending(word, "sieben", "sieb");
  if (last_two == 8) replace_ending(word, "acht", "ach");
  const bool short_ending = last_two >= 1 && last_two <= 19;  // der vierte, but der zwanzigste, der hundertste
  return word + (short_ending ? "te" : "ste");
}

std::string english_year(Size year) {
  check_range("english_year", year, 1100, 2099);
  if (year >= 2000 && year <= 2009) return english_number(year);
  const std::string century = english_below_hundred(year / 100);
  if (year % 100 == 0) return century + " hundred";
  if (year % 100 < 10) return century + " oh " + english_below_hundred(year % 100);
  return century + " " + english_below_hundred(year % 100);
}

std::string german_year(Size year) {
  check_range("german_year", year, 1100, 2099);
  if (year >= 2000) return german_number(year);
  const std::string century = german_below_hundred(year / 100, Position::before_more) + "hundert";
  return year % 100 == 0 ? century : century + german_below_hundred(year % 100, Position::last);
}

}  // namespace headshare
