#include "core/text/toy/grammar.h"

namespace headshare::toy {

namespace {

bool has(const Nominal& nominal) { return !nominal.english.empty(); }

// "carry" or "carries", "sehe", "sieht" or "sehen": the form that agrees with the subject.
std::string_view agreeing(Agreement agreement, std::string_view first, std::string_view third,
                          std::string_view plural) {
  switch (agreement) {
    case Agreement::first_singular:
      return first;
    case Agreement::third_singular:
      return third;
    case Agreement::plural:
      break;
  }
  return plural;
}

std::string_view agreeing(const Clause& clause, std::string_view base, std::string_view third) {
  return agreeing(clause.subject.agreement, base, third, base);
}

// The English verb with what stands in front of it, as in a statement.
std::string english_verb(const Clause& clause) {
  const Verb& verb = *clause.verb;
  const bool negated = clause.negation != Negation::none;
  const std::string_view frequency = clause.frequency.english;
  if (clause.modal != nullptr) {
    const Modal& modal = *clause.modal;
    const std::string_view auxiliary = negated ? agreeing(clause, modal.english_negated, modal.english_negated_third)
                                               : agreeing(clause, modal.english, modal.english_third);
    return join({auxiliary, frequency, verb.english});
  }
  if (negated) {
    const std::string_view auxiliary = clause.tense == Tense::past ? "did" : agreeing(clause, "do", "does");
    return join({auxiliary, "not", verb.english});
  }
  return join({frequency,
               clause.tense == Tense::past ? verb.english_past : agreeing(clause, verb.english, verb.english_third)});
}

// Everything behind the English verb: object, place, manner, time. The particle stands in front of the object unless
// the object is a pronoun: "picks up the child", "picks her up".
std::string english_complements(const Clause& clause, Front front) {
  const std::string_view particle = clause.verb->particle;
  const bool pronoun = clause.object.standing == Standing::pronoun;
  return join({clause.recipient.english_object, pronoun ? "" : particle, clause.object.english_object,
               pronoun ? particle : "", clause.direction.english, front == Front::place ? "" : clause.place.english,
               clause.manner.english, front == Front::time ? "" : clause.time.english});
}

// The German verb in its two places: `finite` second, first or last, `closing` at the end. A separable prefix closes a
// main clause, but joins its verb when that comes last.
struct GermanVerb {
  std::string finite, closing, together;
};

GermanVerb german_verb(const Clause& clause) {
  const Verb& verb = *clause.verb;
  const Agreement agreement = clause.subject.agreement;
  if (clause.modal != nullptr) {
    const std::string finite(agreeing(agreement, clause.modal->ich, clause.modal->er, clause.modal->wir));
    const std::string infinitive = std::string(verb.prefix) + std::string(verb.wir);
    return {finite, infinitive, join({infinitive, finite})};
  }
  if (clause.tense == Tense::past) {
    const std::string finite(verb.auxiliary == Auxiliary::haben ? agreeing(agreement, "habe", "hat", "haben")
                                                                : agreeing(agreement, "bin", "ist", "sind"));
    return {finite, std::string(verb.participle), join({verb.participle, finite})};
  }
  const std::string finite(agreeing(agreement, verb.ich, verb.er, verb.wir));
  return {finite, std::string(verb.prefix), std::string(verb.prefix) + finite};
}

// What stands between the verb's two places. What is known comes early, what is new comes late: pronouns and definite
// objects, then time, negation, manner and place, then indefinite objects, and last the direction, which belongs to the
// verb. Time before manner before place: "am Montag mit dem Zug in die Stadt".
std::string german_middle(const Clause& clause, Front front) {
  const Case object_case = clause.verb->frame == Frame::dative ? Case::dative : Case::accusative;
  const std::string object = has(clause.object) ? clause.object.in(object_case) : "";
  const bool object_is_known = clause.object.standing != Standing::indefinite;
  return join({has(clause.recipient) ? clause.recipient.in(Case::dative) : "", object_is_known ? object : "",
               clause.frequency.german, front == Front::time ? "" : clause.time.german,
               clause.negation == Negation::nicht ? "nicht" : "", clause.manner.german,
               front == Front::place ? "" : clause.place.german, object_is_known ? "" : object,
               clause.direction.german});
}

}  // namespace

std::string english_statement(const Clause& clause, Front front) {
  const std::string_view fronted = front == Front::time    ? clause.time.english
                                   : front == Front::place ? clause.place.english
                                                           : std::string_view();
  return join({fronted, clause.subject.english, english_verb(clause), english_complements(clause, front)});
}

std::string english_question(const Clause& clause) {
  const std::string complements = english_complements(clause, Front::subject);
  const std::string_view negation = clause.negation != Negation::none ? "not" : "";
  std::string_view auxiliary = clause.tense == Tense::past ? "did" : agreeing(clause, "do", "does");
  std::string_view wanting;
  if (clause.modal != nullptr) {
    if (clause.modal->english == "want to") {
      wanting = "want to";  // the one modal that asks with "do"
    } else {
      auxiliary = clause.modal->english;
    }
  }
  return join({auxiliary, clause.subject.english, negation, clause.frequency.english, wanting, clause.verb->english,
               complements});
}

std::string german_verb_second(const Clause& clause, Front front) {
  const GermanVerb verb = german_verb(clause);
  const std::string& subject = clause.subject.in(Case::nominative);
  const std::string middle = german_middle(clause, front);
  if (front == Front::subject) return join({subject, verb.finite, middle, verb.closing});
  const Bilingual& fronted = front == Front::time ? clause.time : clause.place;
  return join({fronted.german, verb.finite, subject, middle, verb.closing});
}

std::string german_verb_first(const Clause& clause) {
  const GermanVerb verb = german_verb(clause);
  return join({verb.finite, clause.subject.in(Case::nominative), german_middle(clause, Front::subject), verb.closing});
}

std::string german_verb_last(const Clause& clause) {
  return join(
      {clause.subject.in(Case::nominative), german_middle(clause, Front::subject), german_verb(clause).together});
}

}  // namespace headshare::toy
