#include "core/text/toy/calendar.h"
#include "core/text/toy/sentence_kinds.h"
#include "core/text/toy_language.h"

// Numbers, ordinals, dates and clock times, as bare phrases and in the sentences where they live.
namespace headshare::toy {

namespace {

Bilingual counted_noun(Draw& draw) {
  NounPhrase phrase = draw_noun_phrase(draw, {.kinds = ~0u, .standing = Standing::indefinite, .plural_percent = 100});
  // One above a hundred is hard on the noun ("hundertein Hunde"?): such counts are left out.
  do {
    phrase.count = draw.chance(75) ? draw_count(draw) : draw.between(100, 999);
  } while (phrase.count % 100 == 1);
  return {english_noun_phrase(phrase), german_noun_phrase(phrase, Case::nominative)};
}

Bilingual ordinal_noun(Draw& draw) {
  NounPhrase phrase = draw_noun_phrase(draw, {.kinds = ~0u, .adjective_percent = 0, .plural_percent = 0});
  phrase.determiner = &determiner::the;
  phrase.ordinal = draw.chance(80) ? draw.between(1, 31) : draw.between(32, 199);
  return {english_noun_phrase(phrase), german_noun_phrase(phrase, Case::nominative)};
}

Bilingual bare_date(Draw& draw) {
  const Date date = draw_date(draw);
  const Bilingual rest = date_after_preposition(date.day, date.month);
  const Word& weekday = draw.pick(weekdays());
  switch (draw.weighted({10, 25, 45, 20})) {
    case 0:
      return {english_date(date.day, date.month), german_date(date.day, date.month)};
    case 1:
      return {"on " + rest.english, "am " + rest.german};
    case 2:
      return {join({"on", weekday.english}) + ", " + rest.english,
              join({"am", weekday.german}) + ", dem " + rest.german};
    default:
      break;
  }
  const Bilingual year = draw_year(draw);
  return {join({"on", rest.english, year.english}), join({"am", rest.german, year.german})};
}

Bilingual bare_time(Draw& draw) {
  const Bilingual clock = draw_clock_time(draw);
  constexpr Word days[] = {{"", ""}, {"today", "heute"}, {"tomorrow", "morgen"}, {"yesterday", "gestern"}};
  const Word& day = draw.pick(days);
  if (draw.chance(40)) return {join({day.english, clock.english}), join({day.german, clock.german})};
  const Word& weekday = draw.pick(weekdays());
  return {join({"on", weekday.english, clock.english}), join({"am", weekday.german, clock.german})};
}

// "Today is Monday, the third of May."
Bilingual calendar_sentence(Draw& draw) {
  constexpr Word openings[] = {
      {"today is", "heute ist"}, {"tomorrow is", "morgen ist"}, {"yesterday was", "gestern war"}};
  const Word& opening = draw.pick(openings);
  const Date date = draw_date(draw);
  const Word& weekday = draw.pick(weekdays());
  const std::string english = english_date(date.day, date.month);
  const std::string german = german_date(date.day, date.month);
  switch (draw.weighted({25, 40, 35})) {
    case 0:
      return sentence({join({opening.english, english}), join({opening.german, german})}, '.');
    case 1:
      return sentence({join({opening.english, weekday.english}) + ", " + english,
                       join({opening.german, weekday.german}) + ", " + german},
                      '.');
    default:
      break;
  }
  return sentence({join({english, "is a", weekday.english}), join({german, "ist ein", weekday.german})}, '.');
}

Bilingual clock_sentence(Draw& draw) {
  constexpr Word openings[] = {{"it is", "es ist"}, {"it is already", "es ist schon"}, {"it was", "es war"}};
  const Word& opening = draw.pick(openings);
  const Bilingual clock = draw_clock(draw);
  return sentence({join({opening.english, clock.english}), join({opening.german, clock.german})}, '.');
}

Bilingual age(Draw& draw) {
  const Nominal subject = draw_known_subject(draw, living);
  const Bilingual years = number(draw.between(2, 99));
  constexpr std::string_view english_verbs[] = {"am", "is", "are"};
  constexpr std::string_view german_verbs[] = {"bin", "ist", "sind"};
  const auto agreement = static_cast<std::size_t>(subject.agreement);
  return sentence({join({subject.english, english_verbs[agreement], years.english, "years old"}),
                   join({subject.in(Case::nominative), german_verbs[agreement], years.german, "Jahre alt"})},
                  '.');
}

Bilingual price(Draw& draw) {
  const Nominal subject = nominal(draw_noun_phrase(draw, {.kinds = thing | food}));
  Size euros = 0;
  do {
    euros = draw.chance(85) ? draw.between(2, 999) : draw.between(1000, 9999);
  } while (euros % 100 == 1);
  const bool plural = subject.agreement == Agreement::plural;
  const Bilingual sum = number(euros);
  return sentence({join({subject.english, plural ? "cost" : "costs", sum.english, "euros"}),
                   join({subject.in(Case::nominative), plural ? "kosten" : "kostet", sum.german, "Euro"})},
                  '.');
}

Bilingual calculation(Draw& draw) {
  const Size larger = draw.between(2, 99);
  const Size smaller = draw.between(1, larger);
  const bool adds = draw.chance(50);
  const Bilingual first = number(adds ? larger - smaller : larger);
  const Bilingual second = number(smaller);
  const Bilingual result = number(adds ? larger : larger - smaller);
  return sentence({join({first.english, adds ? "plus" : "minus", second.english, "is", result.english}),
                   join({first.german, adds ? "plus" : "minus", second.german, "ist", result.german})},
                  '.');
}

Bilingual bare_year(Draw& draw) {
  const Bilingual year = draw_year(draw);
  const Word& month = draw.pick(months());
  return {join({"in", month.english, year.english}), join({"im", month.german, year.german})};
}

}  // namespace

Bilingual draw_number_or_date(Draw& draw) {
  switch (draw.weighted({16, 14, 6, 14, 8, 10, 5, 8, 10, 6, 3})) {
    case 0:
      return number(draw_number(draw));
    case 1:
      return counted_noun(draw);
    case 2:
      return ordinal_noun(draw);
    case 3:
      return bare_date(draw);
    case 4:
      return bare_time(draw);
    case 5:
      return calendar_sentence(draw);
    case 6:
      return clock_sentence(draw);
    case 7:
      return age(draw);
    case 8:
      return price(draw);
    case 9:
      return calculation(draw);
    default:
      return bare_year(draw);
  }
}

}  // namespace headshare::toy
