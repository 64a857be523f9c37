#pragma once

#include <array>
#include <string>
#include <vector>

#include "core/size.h"
#include "core/text/toy/lexicon.h"

// The grammar of both languages, without any chance in it: the same input always gives the same words.
namespace headshare::toy {

enum class GrammaticalNumber { singular, plural };

// What the verb agrees with. German has more forms, but without "du" and "ihr" three are enough in both languages.
enum class Agreement { first_singular, third_singular, plural };

// A noun with what stands in front of it: "the third red book", "twenty-one dogs" (then `determiner` is `a`).
struct NounPhrase {
  const Noun* noun;
  const Determiner* determiner;
  GrammaticalNumber number = GrammaticalNumber::singular;
  const Adjective* adjective = nullptr;
  Size count = 0;    // 0: not counted; otherwise at least 2
  Size ordinal = 0;  // 0: none
};
std::string english_noun_phrase(const NounPhrase& phrase);
std::string german_noun_phrase(const NounPhrase& phrase, Case grammatical_case);

// "in" and "dem Garten" give "im Garten", "zu" and "der Schule" give "zur Schule".
std::string german_prepositional(std::string_view preposition, std::string_view noun_phrase);

// Anything that can be subject or object, spelled out in all its cases.
enum class Standing { pronoun, definite, indefinite };
struct Nominal {
  std::string english, english_object;
  std::array<std::string, 3> german;  // by Case
  Agreement agreement = Agreement::third_singular;
  Standing standing = Standing::definite;

  const std::string& in(Case grammatical_case) const { return german[static_cast<std::size_t>(grammatical_case)]; }
};
Nominal nominal(const NounPhrase& phrase);
Nominal nominal(const Pronoun& pronoun);

enum class Tense { present, past };         // English simple past is German perfect: "bought" - "hat ... gekauft"
enum class Negation { none, nicht, kein };  // `kein` is already in the object; English is "not" for both

// One clause. Empty parts are left out.
struct Clause {
  Nominal subject;
  const Verb* verb = nullptr;
  const Modal* modal = nullptr;  // only with Tense::present
  Tense tense = Tense::present;
  Negation negation = Negation::none;
  Nominal recipient, object;  // `recipient` is dative
  Bilingual frequency;        // "often"
  Bilingual time, manner, place, direction;
};

enum class Front { subject, time, place };

// Without the first capital and the final mark.
std::string english_statement(const Clause& clause, Front front = Front::subject);
std::string english_question(const Clause& clause);  // "does the man buy a book"

// German puts the finite verb second, first or last, and closes the clause with what belongs to it.
std::string german_verb_second(const Clause& clause, Front front = Front::subject);  // der Mann ruft die Frau an
std::string german_verb_first(const Clause& clause);                                 // ruft der Mann die Frau an
std::string german_verb_last(const Clause& clause);                                  // der Mann die Frau anruft

}  // namespace headshare::toy
