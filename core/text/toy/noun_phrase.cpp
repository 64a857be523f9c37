#include <utility>

#include "core/text/toy/grammar.h"
#include "core/text/toy_language.h"

namespace headshare::toy {

namespace {

// One row per case, in the order masculine, feminine, neuter, plural.
using Column = std::size_t;
constexpr Column plural_column = 3;
using Endings = std::array<std::array<std::string_view, 4>, 3>;

constexpr Endings der_forms = {{{"der", "die", "das", "die"},  //
                                {"den", "die", "das", "die"},
                                {"dem", "der", "dem", "den"}}};
constexpr Endings dieser_endings = {{{"er", "e", "es", "e"},  //
                                     {"en", "e", "es", "e"},
                                     {"em", "er", "em", "en"}}};
constexpr Endings ein_endings = {{{"", "e", "", "e"},  //
                                  {"en", "e", "", "e"},
                                  {"em", "er", "em", "en"}}};

// Adjectives show gender and case only where nothing in front of them has done so.
constexpr Endings weak_endings = {{{"e", "e", "e", "en"},  // der alte Hund
                                   {"en", "e", "e", "en"},
                                   {"en", "en", "en", "en"}}};
constexpr Endings mixed_endings = {{{"er", "e", "es", "en"},  // ein alter Hund
                                    {"en", "e", "es", "en"},
                                    {"en", "en", "en", "en"}}};
constexpr std::array<std::string_view, 3> strong_plural_endings = {"e", "e", "en"};  // alte Hunde, mit alten Hunden

bool is_plural(const NounPhrase& phrase) { return phrase.number == GrammaticalNumber::plural; }

Column column(const NounPhrase& phrase) {
  return is_plural(phrase) ? plural_column : static_cast<Column>(phrase.noun->gender);
}

// "ein" has no plural; what follows then stands alone.
bool has_no_article(const NounPhrase& phrase) { return is_plural(phrase) && phrase.determiner == &determiner::a; }

std::string german_determiner(const NounPhrase& phrase, Case grammatical_case) {
  if (has_no_article(phrase)) return "";
  const auto row = static_cast<std::size_t>(grammatical_case);
  const std::string stem(phrase.determiner->german);
  switch (phrase.determiner->declension) {
    case Determiner::Declension::der:
      return std::string(der_forms[row][column(phrase)]);
    case Determiner::Declension::dieser:
      return stem + std::string(dieser_endings[row][column(phrase)]);
    case Determiner::Declension::ein:
      break;
  }
  return stem + std::string(ein_endings[row][column(phrase)]);
}

std::string_view adjective_ending(const NounPhrase& phrase, Case grammatical_case) {
  const auto row = static_cast<std::size_t>(grammatical_case);
  if (has_no_article(phrase)) return strong_plural_endings[row];
  const bool after_ein = phrase.determiner->declension == Determiner::Declension::ein;
  return (after_ein ? mixed_endings : weak_endings)[row][column(phrase)];
}

std::string german_noun(const NounPhrase& phrase, Case grammatical_case) {
  const Noun& noun = *phrase.noun;
  if (!is_plural(phrase)) {
    const bool oblique = grammatical_case != Case::nominative && !noun.german_oblique.empty();
    return std::string(oblique ? noun.german_oblique : noun.german);
  }
  std::string plural(noun.german_plural);
  const bool takes_n = !plural.ends_with('n') && !plural.ends_with('s');  // mit den Hunden, but mit den Frauen, Autos
  return grammatical_case == Case::dative && takes_n ? plural + "n" : plural;
}

bool starts_with_vowel(std::string_view word) {
  return !word.empty() && std::string_view("aeiou").find(word.front()) != std::string_view::npos;
}

}  // namespace

std::string english_noun_phrase(const NounPhrase& phrase) {
  const std::string_view noun = is_plural(phrase) ? phrase.noun->english_plural : phrase.noun->english;
  const std::string rest = join({phrase.ordinal > 0 ? english_ordinal(phrase.ordinal) : "",
                                 phrase.count > 0 ? english_number(phrase.count) : "",
                                 phrase.adjective != nullptr ? phrase.adjective->english : "", noun});
  std::string_view article =
      is_plural(phrase) ? phrase.determiner->english_plural : phrase.determiner->english_singular;
  if (article == "a" && starts_with_vowel(rest)) article = "an";
  return join({article, rest});
}

std::string german_noun_phrase(const NounPhrase& phrase, Case grammatical_case) {
  const std::string ending(adjective_ending(phrase, grammatical_case));
  // german_ordinal ends in the weak "e"; the stem takes the ending of an adjective.
  std::string ordinal = phrase.ordinal > 0 ? german_ordinal(phrase.ordinal) : "";
  if (!ordinal.empty()) ordinal.replace(ordinal.size() - 1, 1, ending);
  return join({german_determiner(phrase, grammatical_case), ordinal,
               phrase.count > 0 ? german_number(phrase.count) : "",
               phrase.adjective != nullptr ? std::string(phrase.adjective->german) + ending : "",
               german_noun(phrase, grammatical_case)});
}

std::string german_prepositional(std::string_view preposition, std::string_view noun_phrase) {
  struct Contraction {
    std::string_view preposition, article, contracted;
  };
  constexpr std::array<Contraction, 6> contractions = {{{"in", "dem ", "im "},
                                                        {"an", "dem ", "am "},
                                                        {"zu", "dem ", "zum "},
                                                        {"zu", "der ", "zur "},
                                                        {"in", "das ", "ins "},
                                                        {"an", "das ", "ans "}}};
  for (const Contraction& c : contractions) {
    if (preposition == c.preposition && noun_phrase.starts_with(c.article)) {
      return std::string(c.contracted) + std::string(noun_phrase.substr(c.article.size()));
    }
  }
  return join({preposition, noun_phrase});
}

Nominal nominal(const NounPhrase& phrase) {
  const std::string english = english_noun_phrase(phrase);
  const bool indefinite = phrase.determiner == &determiner::a || phrase.determiner == &determiner::no;
  return {english,
          english,
          {german_noun_phrase(phrase, Case::nominative), german_noun_phrase(phrase, Case::accusative),
           german_noun_phrase(phrase, Case::dative)},
          is_plural(phrase) ? Agreement::plural : Agreement::third_singular,
          indefinite ? Standing::indefinite : Standing::definite};
}

Nominal nominal(const Pronoun& pronoun) {
  const Agreement agreement = pronoun.plural        ? Agreement::plural
                              : pronoun.person == 1 ? Agreement::first_singular
                                                    : Agreement::third_singular;
  return {std::string(pronoun.english),
          std::string(pronoun.english_object),
          {std::string(pronoun.nominative), std::string(pronoun.accusative), std::string(pronoun.dative)},
          agreement,
          Standing::pronoun};
}

}  // namespace headshare::toy
