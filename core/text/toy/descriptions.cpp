#include "core/text/toy/calendar.h"
#include "core/text/toy/sentence_kinds.h"
#include "core/text/toy_language.h"

namespace headshare::toy {

namespace {

struct BeForms {
  std::string_view first, third, plural;
};
constexpr BeForms english_present = {"am", "is", "are"};
constexpr BeForms german_present = {"bin", "ist", "sind"};
constexpr BeForms english_past = {"was", "was", "were"};
constexpr BeForms german_past = {"war", "war", "waren"};

std::string_view form(const BeForms& forms, Agreement agreement) {
  switch (agreement) {
    case Agreement::first_singular:
      return forms.first;
    case Agreement::third_singular:
      return forms.third;
    case Agreement::plural:
      break;
  }
  return forms.plural;
}

Word be(Tense tense, Agreement agreement) {
  return {form(tense == Tense::past ? english_past : english_present, agreement),
          form(tense == Tense::past ? german_past : german_present, agreement)};
}

Tense draw_tense(Draw& draw) { return draw.chance(30) ? Tense::past : Tense::present; }

// "The dog is old.", with "very", "not" or as a question.
Bilingual quality(Draw& draw) {
  Nominal subject;
  const Adjective* adjective = nullptr;
  if (draw.chance(15)) {
    subject = nominal(draw.pick(pronouns()));
    do {
      adjective = &draw.pick(adjectives());
    } while ((adjective->kinds & (person | grown)) == 0);
  } else {
    const NounPhrase phrase = draw_noun_phrase(draw, {.kinds = ~0u, .adjective_percent = 0});
    subject = nominal(phrase);
    adjective = draw_adjective(draw, *phrase.noun);
  }
  const Word is = be(draw_tense(draw), subject.agreement);
  constexpr Word modifiers[] = {{"", ""}, {"", ""}, {"very", "sehr"}, {"not", "nicht"}};
  const Word& modifier = draw.pick(modifiers);
  const std::string& german_subject = subject.in(Case::nominative);
  if (draw.chance(20)) {
    const Word asked = modifier.english == "not" ? Word{} : modifier;
    return sentence({join({is.english, subject.english, asked.english, adjective->english}),
                     join({is.german, german_subject, asked.german, adjective->german})},
                    '?');
  }
  return sentence({join({subject.english, is.english, modifier.english, adjective->english}),
                   join({german_subject, is.german, modifier.german, adjective->german})},
                  '.');
}

// "The book lies on the table.": the same preposition as in "lays the book on the table", but with the dative.
Bilingual posture(Draw& draw) {
  struct Posture {
    std::string_view english, english_third, german_third, german_plural;
    Kinds subjects;
  };
  constexpr Posture postures[] = {{"lie", "lies", "liegt", "liegen", small_thing},
                                  {"stand", "stands", "steht", "stehen", standing},
                                  {"sit", "sits", "sitzt", "sitzen", living}};
  const Posture& verb = draw.pick(postures);
  const bool definite = draw.chance(75);
  const NounPhrase phrase = draw_noun_phrase(draw, {.kinds = verb.subjects,
                                                    .standing = definite ? Standing::definite : Standing::indefinite,
                                                    .plural_percent = definite ? 25 : 60,
                                                    .count_percent = 100});
  const Nominal subject = nominal(phrase);
  const bool third = subject.agreement == Agreement::third_singular;
  const Bilingual spot = draw_spot(draw, Case::dative, phrase.noun);
  return sentence({join({subject.english, third ? verb.english_third : verb.english, spot.english}),
                   join({subject.in(Case::nominative), third ? verb.german_third : verb.german_plural, spot.german})},
                  '.');
}

// "There are three dogs in the garden." - "Im Garten sind drei Hunde."
Bilingual existence(Draw& draw) {
  const bool on_furniture = draw.chance(35);
  const Nominal subject = nominal(draw_noun_phrase(draw, {.kinds = on_furniture ? small_thing : living,
                                                          .standing = Standing::indefinite,
                                                          .plural_percent = 60,
                                                          .count_percent = 85}));
  const Bilingual where = on_furniture ? draw_spot(draw, Case::dative) : draw_place(draw);
  const Word is = be(draw_tense(draw), subject.agreement);
  return sentence({join({"there", is.english, subject.english, where.english}),
                   join({where.german, is.german, subject.in(Case::nominative)})},
                  '.');
}

// "My brother is in the garden."
Bilingual whereabouts(Draw& draw) {
  const Nominal subject = draw_known_subject(draw, living);
  const Bilingual where = draw_place(draw);
  const Word is = be(draw_tense(draw), subject.agreement);
  const Word modifier = draw.chance(20) ? Word{"not", "nicht"} : Word{};
  return sentence({join({subject.english, is.english, modifier.english, where.english}),
                   join({subject.in(Case::nominative), is.german, modifier.german, where.german})},
                  '.');
}

}  // namespace

Bilingual draw_description(Draw& draw) {
  switch (draw.weighted({40, 30, 20, 10})) {
    case 0:
      return quality(draw);
    case 1:
      return posture(draw);
    case 2:
      return existence(draw);
    default:
      return whereabouts(draw);
  }
}

}  // namespace headshare::toy
