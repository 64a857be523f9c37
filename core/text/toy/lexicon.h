#pragma once

#include <span>
#include <string_view>

#include "core/text/toy/phrase.h"

// Every word of the toy language, with the forms that cannot be computed. Each English word has one German translation
// in the places where the grammar uses it; that is what makes the translation a function.
namespace headshare::toy {

enum class Gender { masculine, feminine, neuter };

// What a noun names, as a set of bits: verbs, adjectives and prepositions say which they go with, so that nobody eats a
// bicycle.
using Kinds = unsigned;
constexpr Kinds person = 1u << 0;
constexpr Kinds animal = 1u << 1;
constexpr Kinds thing = 1u << 2;  // can be bought, sold and carried away
constexpr Kinds food = 1u << 3;
constexpr Kinds readable = 1u << 4;
constexpr Kinds written = 1u << 5;
constexpr Kinds openable = 1u << 6;
constexpr Kinds washable = 1u << 7;
constexpr Kinds small_thing = 1u << 8;  // can be laid on a table
constexpr Kinds standing = 1u << 9;     // stands on its own: a lamp, a chair
constexpr Kinds surface = 1u << 10;     // something can be on it and under it
constexpr Kinds container = 1u << 11;
constexpr Kinds landmark = 1u << 12;  // something can be next to it
constexpr Kinds location = 1u << 13;
constexpr Kinds nobodys = 1u << 14;  // never "my": "my man" says more than "mein Mann" does
constexpr Kinds grown = 1u << 15;    // may be called young without saying it twice: not "ein junger Junge"
constexpr Kinds living = person | animal;

struct Noun {
  std::string_view english, english_plural;
  std::string_view german, german_plural;
  Gender gender;
  Kinds kinds;
  std::string_view german_oblique = {};  // accusative and dative singular where they differ: der Junge, den Jungen
};

struct Adjective {
  std::string_view english, german;
  Kinds kinds;
};

// What else a verb takes, which also says what it may not take.
enum class Frame {
  intransitive,  // may say where
  routine,       // gets up: never says where
  transitive,    // an accusative object
  dative,        // helps: the German object is dative
  giving,        // a dative recipient and an accusative object
  laying,        // an accusative object and a direction
  motion         // a direction
};
enum class Manner { none, company, pace, vehicle };
enum class Auxiliary { haben, sein };

struct Verb {
  std::string_view english, english_third, english_past;
  std::string_view particle;  // "up" in "picks the child up"
  std::string_view ich, er, wir;
  std::string_view prefix;  // the separable one: "an" in "ruft ... an"
  std::string_view participle;
  Auxiliary auxiliary;
  Frame frame;
  Kinds subjects, objects;
  Manner manner;
};

// English "auxiliary + base", German "finite + ... + infinitive". `english_negated` is empty where the two languages
// negate different things ("must not" is "darf nicht"): such a modal is never negated.
struct Modal {
  std::string_view english, english_third, english_negated, english_negated_third;
  std::string_view ich, er, wir;
};

// "in the garden" - "im Garten", "into the garden" - "in den Garten", "to the station" - "zum Bahnhof".
enum class Case { nominative, accusative, dative };
struct Place {
  Noun noun;
  std::string_view english_at, german_at;  // German always with dative
  std::string_view english_to, german_to;
  Case case_to;
  bool can_be_owned;  // "our garden", but not "our station"
};

// "on the table": dative for where something is, accusative for where it is put.
struct SpatialPreposition {
  std::string_view english, german;
  Kinds landmarks;
};

struct Pronoun {
  std::string_view english, english_object;
  std::string_view nominative, accusative, dative;
  int person;  // 1 or 3
  bool plural;
};

struct Determiner {
  std::string_view english_singular, english_plural;
  std::string_view german;  // the stem of an ein-word; "der" and "dies" for the two that follow der
  enum class Declension { der, dieser, ein } declension;
};
namespace determiner {
extern const Determiner the, this_one, a, no;  // `a` is no word at all in the plural; `no` is "a" or "any" after "not"
std::span<const Determiner> possessives();
}  // namespace determiner

std::span<const Noun> nouns();
std::span<const Adjective> adjectives();
std::span<const Verb> verbs();
std::span<const Modal> modals();
std::span<const Place> places();
std::span<const SpatialPreposition> spatial_prepositions();
std::span<const Pronoun> pronouns();

}  // namespace headshare::toy
