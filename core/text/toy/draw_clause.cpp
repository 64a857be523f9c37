#include "core/text/toy/calendar.h"
#include "core/text/toy/draw.h"
#include "core/text/toy_language.h"

namespace headshare::toy {

namespace {

constexpr Word frequencies[] = {{"often", "oft"}, {"always", "immer"}, {"sometimes", "manchmal"}, {"never", "nie"}};
constexpr Word past_times[] = {{"yesterday", "gestern"}, {"last week", "letzte Woche"}, {"last year", "letztes Jahr"}};
constexpr Word future_times[] = {
    {"tomorrow", "morgen"}, {"next week", "nächste Woche"}, {"next year", "nächstes Jahr"}};
constexpr Word repeated_times[] = {
    {"every day", "jeden Tag"}, {"every evening", "jeden Abend"}, {"every week", "jede Woche"}};
constexpr Word parts_of_day[] = {
    {"in the morning", "am Morgen"}, {"in the afternoon", "am Nachmittag"}, {"in the evening", "am Abend"}};
constexpr Word units_of_time[] = {
    {"days", "Tagen"}, {"weeks", "Wochen"}, {"months", "Monaten"}, {"years", "Jahren"}};  // German dative

constexpr Word paces[] = {{"quickly", "schnell"}, {"slowly", "langsam"}};
constexpr Word vehicles[] = {{"by train", "mit dem Zug"},
                             {"by bus", "mit dem Bus"},
                             {"by car", "mit dem Auto"},
                             {"by bicycle", "mit dem Fahrrad"}};

Bilingual weekday(Draw& draw) {
  const Word& day = draw.pick(weekdays());
  return {join({"on", day.english}), join({"am", day.german})};
}

// "on Monday, the third of May,": the second comma goes when the sentence ends there.
Bilingual date(Draw& draw, Length length) {
  const Date date = draw_date(draw);
  const Bilingual rest = date_after_preposition(date.day, date.month);
  if (length == Length::brief || draw.chance(60)) return {"on " + rest.english, "am " + rest.german};
  const Bilingual day = weekday(draw);
  return {day.english + ", " + rest.english + ",", day.german + ", dem " + rest.german + ","};
}

Bilingual month_or_year(Draw& draw, const Clause& clause) {
  if (clause.tense == Tense::past && draw.chance(60)) {
    const Bilingual year = draw_year(draw);
    return {"in " + year.english, "im Jahr " + year.german};
  }
  const Word& month = draw.pick(months());
  return {join({"in", month.english}), join({"im", month.german})};
}

// "yesterday", "today" or "tomorrow" and their like, as the tense allows.
Bilingual around_now(Draw& draw, const Clause& clause) {
  if (clause.tense == Tense::past) return bilingual(draw.pick(past_times));
  if (clause.modal != nullptr && draw.chance(75)) return bilingual(draw.pick(future_times));
  return {"today", "heute"};
}

Bilingual distance_in_time(Draw& draw, const Clause& clause) {
  const Word& unit = draw.pick(units_of_time);
  const Bilingual count = number(draw.between(2, 12));
  if (clause.tense == Tense::past) {
    return {join({count.english, unit.english, "ago"}), join({"vor", count.german, unit.german})};
  }
  return {join({"in", count.english, unit.english}), join({"in", count.german, unit.german})};
}

// Never "I see me": the first person is not object where it is subject.
const Pronoun& draw_object_pronoun(Draw& draw, const Nominal& subject) {
  const bool first_person = subject.english == "I" || subject.english == "we";
  for (;;) {
    const Pronoun& pronoun = draw.pick(pronouns());
    if (!first_person || pronoun.person != 1) return pronoun;
  }
}

Bilingual draw_manner(Draw& draw, Manner manner, const Nominal& subject) {
  switch (manner) {
    case Manner::none:
      return {};
    case Manner::pace:
      return bilingual(draw.pick(paces));
    case Manner::vehicle:
      return bilingual(draw.pick(vehicles));
    case Manner::company:
      break;
  }
  if (draw.chance(25)) return {"alone", "allein"};
  const Nominal company = draw.chance(25) ? nominal(draw_object_pronoun(draw, subject))
                                          : nominal(draw_noun_phrase(draw, {.kinds = living, .adjective_percent = 15}));
  return {"with " + company.english_object, "mit " + company.in(Case::dative)};
}

// The English past of "read" looks like its present, except after "he" and "she": without this it would have two
// translations.
bool past_is_clear(const Clause& clause) {
  return clause.verb->english != clause.verb->english_past || clause.subject.agreement == Agreement::third_singular;
}

Nominal draw_object(Draw& draw, const Clause& clause, const Noun* subject, Length length) {
  const Verb& verb = *clause.verb;
  if ((verb.objects & person) != 0 && draw.chance(22)) return nominal(draw_object_pronoun(draw, clause.subject));
  const NounWishes wishes{.kinds = verb.objects,
                          .standing = draw.chance(55) ? Standing::definite : Standing::indefinite,
                          .negation = clause.negation == Negation::none ? Negation::none : Negation::kein,
                          .except = subject,
                          .adjective_percent = length == Length::full ? 30 : 8};
  const NounPhrase phrase = draw_noun_phrase(draw, wishes);
  if (verb.frame == Frame::transitive) draw.use_pairing(verb.english, phrase.noun->english);
  return nominal(phrase);
}

}  // namespace

Nominal draw_subject(Draw& draw, const SubjectWishes& wishes, const Noun*& noun) {
  if ((wishes.kinds & person) != 0 && draw.chance(30)) return nominal(draw.pick(pronouns()));
  const bool definite = !draw.chance(wishes.indefinite_percent);
  const NounPhrase phrase = draw_noun_phrase(draw, {.kinds = wishes.kinds,
                                                    .standing = definite ? Standing::definite : Standing::indefinite,
                                                    .adjective_percent = wishes.adjective_percent,
                                                    .plural_percent = definite ? 25 : 50,
                                                    .count_percent = 80});
  noun = phrase.noun;
  return nominal(phrase);
}

Nominal draw_known_subject(Draw& draw, Kinds kinds) {
  const Noun* noun = nullptr;
  return draw_subject(draw, {.kinds = kinds}, noun);
}

void draw_time(Draw& draw, Length length, Clause& clause) {
  const bool full = length == Length::full;
  const bool negated = clause.negation != Negation::none;
  const bool plain_present = clause.tense == Tense::present && clause.modal == nullptr;
  // What is denied is not denied of a clock time or of "often": there "nicht" would move.
  const Size exact = negated ? 0 : 1;
  switch (draw.weighted(
      {20, 15, 10, 20, full ? 8 : 0, 20 * exact, full ? 10 * exact : 0, 7 * exact, plain_present ? 30 * exact : 0})) {
    case 0:
      clause.time = weekday(draw);
      return;
    case 1:
      clause.time = date(draw, length);
      return;
    case 2:
      clause.time = bilingual(draw.pick(parts_of_day));
      return;
    case 3:
      clause.time = around_now(draw, clause);
      return;
    case 4:
      clause.time = month_or_year(draw, clause);
      return;
    case 5:
      clause.time = draw_clock_time(draw);
      return;
    case 6: {
      const Bilingual day = weekday(draw);
      const Bilingual clock = draw_clock_time(draw);
      clause.time = {join({day.english, clock.english}), join({day.german, clock.german})};
      return;
    }
    case 7:
      if (!plain_present)
        clause.time = distance_in_time(draw, clause);
      else
        clause.time = bilingual(draw.pick(repeated_times));
      return;
    default:
      clause.frequency = bilingual(draw.pick(frequencies));
      return;
  }
}

Clause draw_clause(Draw& draw, const ClauseWishes& wishes) {
  Clause clause;
  clause.verb = wishes.verb != nullptr ? wishes.verb : &draw.pick(verbs());
  const Verb& verb = *clause.verb;
  const bool full = wishes.length == Length::full;
  if (draw.chance(wishes.past_percent))
    clause.tense = Tense::past;
  else if (draw.chance(wishes.modal_percent))
    clause.modal = &draw.pick(modals());
  const bool can_be_negated = clause.modal == nullptr || !clause.modal->english_negated.empty();
  if (can_be_negated && draw.chance(wishes.negation_percent)) clause.negation = Negation::nicht;

  const Noun* subject = nullptr;
  // "A man does not sleep" is hard to say well in German: what is denied is denied of somebody known.
  const SubjectWishes subject_wishes{.kinds = verb.subjects,
                                     .indefinite_percent = clause.negation != Negation::none ? 0
                                                           : full                            ? 15
                                                                                             : 5,
                                     .adjective_percent = full ? 12 : 4};
  if (wishes.asked == Asked::subject)
    clause.subject = {"who", "", {"wer", "", ""}};
  else
    clause.subject = draw_subject(draw, subject_wishes, subject);
  if (clause.negation == Negation::none && !past_is_clear(clause)) clause.tense = Tense::present;
  if (draw.chance(full ? wishes.time_percent : wishes.time_percent / 3)) draw_time(draw, wishes.length, clause);

  const bool may_say_where = verb.frame == Frame::intransitive || verb.frame == Frame::transitive;
  if (may_say_where && draw.chance(full ? wishes.place_percent : wishes.place_percent / 3)) {
    clause.place = draw_place(draw);
  }
  if (draw.chance(full ? 30 : 5)) clause.manner = draw_manner(draw, verb.manner, clause.subject);

  switch (verb.frame) {
    case Frame::intransitive:
    case Frame::routine:
      break;
    case Frame::motion:
      if (wishes.asked != Asked::direction) clause.direction = draw_direction(draw, verb.manner);
      break;
    case Frame::laying:
      clause.direction = draw_spot(draw, Case::accusative);
      [[fallthrough]];
    case Frame::transitive:
    case Frame::dative:
      if (wishes.asked != Asked::object) clause.object = draw_object(draw, clause, subject, wishes.length);
      break;
    case Frame::giving:
      clause.recipient =
          draw.chance(30)
              ? nominal(draw_object_pronoun(draw, clause.subject))
              : nominal(draw_noun_phrase(draw, {.kinds = person, .except = subject, .adjective_percent = 10}));
      clause.object = draw_object(draw, clause, subject, wishes.length);
      break;
  }
  if (clause.negation == Negation::nicht && !clause.object.english.empty() &&
      clause.object.standing == Standing::indefinite) {
    clause.negation = Negation::kein;
  }
  return clause;
}

}  // namespace headshare::toy
