#include "core/text/toy/calendar.h"
#include "core/text/toy/draw.h"
#include "core/text/toy/sentence_kinds.h"
#include "core/text/toy_language.h"

namespace headshare::toy {

namespace {

void drop_comma(std::string& words) {
  if (words.ends_with(',')) words.pop_back();
}

const Verb* draw_verb(Draw& draw, std::initializer_list<Frame> frames, Kinds objects = ~0u) {
  for (;;) {
    const Verb& verb = draw.pick(verbs());
    const bool fits = objects == ~0u || (verb.objects & objects) != 0;
    for (const Frame frame : frames) {
      if (fits && verb.frame == frame) return &verb;
    }
  }
}

// Two clauses with a comma between them. English has one only after a clause that comes first.
Bilingual with_comma(Bilingual first, const Bilingual& second, bool english_comma) {
  drop_comma(first.english);
  drop_comma(first.german);
  return {first.english + (english_comma ? ", " : " ") + second.english, first.german + ", " + second.german};
}

Bilingual statement(Draw& draw) {
  const Clause clause = draw_clause(draw, {});
  Front front = Front::subject;
  if (!clause.time.empty() && draw.chance(40))
    front = Front::time;
  else if (!clause.place.empty() && draw.chance(20))
    front = Front::place;
  return sentence({english_statement(clause, front), german_verb_second(clause, front)}, '.');
}

Bilingual yes_no_question(Draw& draw) {
  const Clause clause = draw_clause(draw, {.negation_percent = 0, .time_percent = 40});
  return sentence({english_question(clause), german_verb_first(clause)}, '?');
}

Bilingual asking(const Word& word, const Clause& clause) {
  return sentence({join({word.english, english_question(clause)}), join({word.german, german_verb_first(clause)})},
                  '?');
}

// "Who sees the dog?": the question word is the subject, so English asks without "does".
Bilingual who_question(Draw& draw) {
  const Clause clause =
      draw_clause(draw, {.past_percent = 40, .negation_percent = 0, .time_percent = 40, .asked = Asked::subject});
  return sentence({english_statement(clause), german_verb_second(clause)}, '?');
}

// The question word is the object: "Wen" for persons, "Was" for things, "Wem" where the verb takes the dative.
Bilingual object_question(Draw& draw) {
  const bool about_person = draw.chance(50);
  const Verb* verb = about_person ? draw_verb(draw, {Frame::transitive, Frame::dative}, person)
                                  : draw_verb(draw, {Frame::transitive}, thing | food | readable | openable);
  const Clause clause =
      draw_clause(draw, {.verb = verb, .negation_percent = 0, .time_percent = 40, .asked = Asked::object});
  if (!about_person && draw.chance(40)) {
    const NounPhrase asked{&draw_noun(draw, verb->objects & ~person), &determiner::a, GrammaticalNumber::plural};
    draw.use_pairing(verb->english, asked.noun->english);
    const Bilingual how_many{"how many " + english_noun_phrase(asked),
                             "wie viele " + german_noun_phrase(asked, Case::accusative)};
    return asking({how_many.english, how_many.german}, clause);
  }
  if (!about_person) return asking({"what", "was"}, clause);
  return asking({"who", verb->frame == Frame::dative ? "wem" : "wen"}, clause);
}

Bilingual adverbial_question(Draw& draw) {
  switch (draw.weighted({35, 35, 30})) {
    case 0:
      return asking({"when", "wann"}, draw_clause(draw, {.negation_percent = 0, .time_percent = 0}));
    case 1: {
      const Verb* verb = draw_verb(draw, {Frame::intransitive, Frame::transitive, Frame::motion});
      const Clause clause =
          draw_clause(draw, {.verb = verb, .negation_percent = 0, .place_percent = 0, .asked = Asked::direction});
      return asking({"where", verb->frame == Frame::motion ? "wohin" : "wo"}, clause);
    }
    default:
      return asking({"why", "warum"}, draw_clause(draw, {.negation_percent = 40, .place_percent = 15}));
  }
}

Bilingual question(Draw& draw) {
  switch (draw.weighted({25, 35, 40})) {
    case 0:
      return who_question(draw);
    case 1:
      return object_question(draw);
    default:
      return adverbial_question(draw);
  }
}

// Verbs that a clause with "that" or "whether" depends on.
struct Reporting {
  std::string_view english, english_third, ich, er, wir;
  Word conjunction;
};

Bilingual reported(Draw& draw) {
  constexpr Reporting reporting[] = {
      {"say", "says", "sage", "sagt", "sagen", {"that", "dass"}},
      {"believe", "believes", "glaube", "glaubt", "glauben", {"that", "dass"}},
      {"hope", "hopes", "hoffe", "hofft", "hoffen", {"that", "dass"}},
      {"know", "knows", "weiß", "weiß", "wissen", {"that", "dass"}},
      {"ask", "asks", "frage", "fragt", "fragen", {"whether", "ob"}},
      {"do not know", "does not know", "weiß nicht", "weiß nicht", "wissen nicht", {"whether", "ob"}},
      {"do not know", "does not know", "weiß nicht", "weiß nicht", "wissen nicht", {"when", "wann"}},
      {"do not know", "does not know", "weiß nicht", "weiß nicht", "wissen nicht", {"why", "warum"}},
  };
  const Reporting& verb = draw.pick(reporting);
  const Nominal subject = draw_known_subject(draw, person);
  const bool third = subject.agreement == Agreement::third_singular;
  const std::string_view german = third                                            ? verb.er
                                  : subject.agreement == Agreement::first_singular ? verb.ich
                                                                                   : verb.wir;
  const bool asks_when = verb.conjunction.english == "when";
  const Clause clause = draw_clause(
      draw, {.length = Length::brief, .negation_percent = asks_when ? 0 : 14, .time_percent = asks_when ? 0 : 60});
  return sentence({join({subject.english, third ? verb.english_third : verb.english, verb.conjunction.english,
                         english_statement(clause)}),
                   join({subject.in(Case::nominative), std::string(german) + ",", verb.conjunction.german,
                         german_verb_last(clause)})},
                  '.');
}

// "because" and "if", in front of the main clause or behind it. In front, the whole clause takes the first place, so
// the German main clause goes on with its verb.
Bilingual with_subordinate(Draw& draw, const Word& conjunction, const ClauseWishes& main_wishes,
                           const ClauseWishes& subordinate_wishes) {
  const Clause main = draw_clause(draw, main_wishes);
  const Clause subordinate = draw_clause(draw, subordinate_wishes);
  const Bilingual dependent{join({conjunction.english, english_statement(subordinate)}),
                            join({conjunction.german, german_verb_last(subordinate)})};
  if (draw.chance(35)) {
    return sentence(with_comma(dependent, {english_statement(main), german_verb_first(main)}, true), '.');
  }
  return sentence(with_comma({english_statement(main), german_verb_second(main)}, dependent, false), '.');
}

Bilingual with_reason(Draw& draw) {
  const ClauseWishes wishes{.length = Length::brief, .past_percent = draw.chance(35) ? 100 : 0, .modal_percent = 20};
  return with_subordinate(draw, {"because", "weil"}, wishes, wishes);
}

Bilingual with_condition(Draw& draw) {
  const ClauseWishes main{.length = Length::brief, .past_percent = 0, .modal_percent = 40};
  const ClauseWishes condition{.length = Length::brief, .past_percent = 0, .modal_percent = 0};
  return with_subordinate(draw, {"if", "wenn"}, main, condition);
}

}  // namespace

Bilingual sentence(Bilingual words, char mark) {
  for (std::string* side : {&words.english, &words.german}) {
    drop_comma(*side);
    const bool lower = side->front() >= 'a' && side->front() <= 'z';  // no sentence starts with an umlaut
    if (lower) side->front() = static_cast<char>(side->front() - 'a' + 'A');
    *side += mark;
  }
  return words;
}

Bilingual draw_pair(Draw& draw) {
  switch (draw.weighted({30, 10, 37, 7, 7, 5, 2, 2})) {
    case 0:
      return draw_number_or_date(draw);
    case 1:
      return draw_description(draw);
    case 2:
      return statement(draw);
    case 3:
      return yes_no_question(draw);
    case 4:
      return question(draw);
    case 5:
      return reported(draw);
    case 6:
      return with_reason(draw);
    default:
      return with_condition(draw);
  }
}

}  // namespace headshare::toy
