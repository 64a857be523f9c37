#include "core/text/toy/draw.h"

#include <numeric>

#include "core/text/toy/calendar.h"
#include "core/text/toy_language.h"

namespace headshare::toy {

namespace {

constexpr Word fixed_places[] = {
    {"here", "hier"}, {"there", "dort"}, {"at home", "zu Hause"}, {"in Berlin", "in Berlin"}, {"in Vienna", "in Wien"}};
constexpr Word fixed_directions[] = {{"home", "nach Hause"}, {"to Berlin", "nach Berlin"}, {"to Vienna", "nach Wien"}};

// FNV-1a (Fowler, Noll, Vo), a hash that is the same everywhere, unlike std::hash.
std::uint32_t fnv1a(std::string_view bytes) {
  std::uint32_t hash = 2166136261u;
  for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 16777619u;
  return hash;
}

const Determiner& draw_definite(Draw& draw, const Noun& noun) {
  const bool can_be_owned = (noun.kinds & nobodys) == 0;
  switch (draw.weighted({60, can_be_owned ? 30 : 0, 10})) {
    case 0:
      return determiner::the;
    case 1:
      return draw.pick(determiner::possessives());
    default:
      return determiner::this_one;
  }
}

NounPhrase draw_place_phrase(Draw& draw, const Place& place) {
  NounPhrase phrase{&place.noun, &determiner::the};
  if (draw.chance(10))
    phrase.determiner = &determiner::a;
  else if (place.can_be_owned && draw.chance(25))
    phrase.determiner = &draw.pick(determiner::possessives());
  if (draw.chance(20)) phrase.adjective = draw_adjective(draw, place.noun);
  return phrase;
}

}  // namespace

bool is_held_out(std::string_view left, std::string_view right) {
  constexpr std::uint32_t held_out_percent = 3;
  return philox({fnv1a(left), fnv1a(right), 0, 0}, {0, 0})[0] % 100 < held_out_percent;
}

Size Draw::weighted(std::initializer_list<Size> weights) {
  Size rest = below(std::accumulate(weights.begin(), weights.end(), Size{0}));
  Size index = 0;
  for (const Size weight : weights) {
    if (rest < weight) break;
    rest -= weight;
    ++index;
  }
  return index;
}

const Noun& draw_noun(Draw& draw, Kinds kinds, const Noun* except) {
  for (;;) {
    const Noun& noun = draw.pick(nouns());
    if ((noun.kinds & kinds) != 0 && &noun != except) return noun;
  }
}

const Adjective* draw_adjective(Draw& draw, const Noun& noun) {
  for (;;) {
    const Adjective& adjective = draw.pick(adjectives());
    if ((adjective.kinds & noun.kinds) == 0) continue;
    draw.use_pairing(adjective.english, noun.english);
    return &adjective;
  }
}

NounPhrase draw_noun_phrase(Draw& draw, const NounWishes& wishes) {
  NounPhrase phrase{&draw_noun(draw, wishes.kinds, wishes.except), &determiner::a};
  const bool definite = wishes.standing == Standing::definite;
  if (definite)
    phrase.determiner = &draw_definite(draw, *phrase.noun);
  else if (wishes.negation == Negation::kein)
    phrase.determiner = &determiner::no;
  if (draw.chance(wishes.plural_percent)) phrase.number = GrammaticalNumber::plural;
  const bool plural = phrase.number == GrammaticalNumber::plural;
  if (plural && phrase.determiner == &determiner::a && draw.chance(wishes.count_percent)) {
    phrase.count = draw_count(draw);
  }
  if (!plural && definite && phrase.determiner != &determiner::this_one && draw.chance(6)) {
    phrase.ordinal = draw.between(1, 12);
  } else if (draw.chance(wishes.adjective_percent)) {
    phrase.adjective = draw_adjective(draw, *phrase.noun);
  }
  return phrase;
}

Bilingual number(Size value) { return {english_number(value), german_number(value)}; }

Size draw_number(Draw& draw) {
  switch (draw.weighted({30, 60, 6, 4})) {
    case 0:
      return draw.below(100);
    case 1:
      return draw.between(100, 999);
    case 2:
      return draw.between(1000, 9999);
    default:
      break;
  }
  return draw.chance(50) ? 1000 * draw.between(10, 999) : draw.between(10'000, 999'999);
}

Size draw_count(Draw& draw) { return draw.chance(60) ? draw.between(2, 12) : draw.between(13, 99); }

Bilingual draw_clock(Draw& draw) {
  const Size hour = draw.between(1, 12);
  const Size minute = draw.chance(35) ? 0 : 5 * draw.between(1, 11);
  const MinuteForm& form = minute_forms()[static_cast<std::size_t>(minute / 5)];
  draw.use_pairing(form.english, english_number(hours_later(hour, form.english_hours_ahead)));
  return {english_time(hour, minute), german_time(hour, minute)};
}

Bilingual draw_clock_time(Draw& draw) {
  const Bilingual clock = draw_clock(draw);
  return {"at " + clock.english, "um " + clock.german};
}

Date draw_date(Draw& draw) {
  const Size month = draw.between(1, 12);
  return {draw.between(1, days_in_month(month)), month};
}

Bilingual draw_year(Draw& draw) {
  const Size year = draw.between(1900, 2029);
  if (draw.chance(25)) return {std::to_string(year), std::to_string(year)};
  return {english_year(year), german_year(year)};
}

Bilingual draw_place(Draw& draw) {
  if (draw.chance(20)) return bilingual(draw.pick(fixed_places));
  const Place& place = draw.pick(places());
  const NounPhrase phrase = draw_place_phrase(draw, place);
  return {join({place.english_at, english_noun_phrase(phrase)}),
          german_prepositional(place.german_at, german_noun_phrase(phrase, Case::dative))};
}

Bilingual draw_direction(Draw& draw, Manner manner) {
  if (draw.chance(20)) return bilingual(draw.pick(fixed_directions));
  const bool is_far = manner == Manner::vehicle;  // nobody takes the train into the kitchen
  const Place* chosen = nullptr;
  do {
    chosen = &draw.pick(places());
  } while (is_far && chosen->can_be_owned);
  const Place& place = *chosen;
  const NounPhrase phrase = draw_place_phrase(draw, place);
  return {join({place.english_to, english_noun_phrase(phrase)}),
          german_prepositional(place.german_to, german_noun_phrase(phrase, place.case_to))};
}

Bilingual draw_spot(Draw& draw, Case grammatical_case, const Noun* except) {
  const bool fills_containers = except != nullptr && (except->kinds & standing) != 0;  // no table stands in a box
  const SpatialPreposition* preposition = nullptr;
  do {
    preposition = &draw.pick(spatial_prepositions());
  } while (fills_containers && preposition->landmarks == container);
  NounPhrase phrase{&draw_noun(draw, preposition->landmarks, except), &determiner::the};
  if (draw.chance(15)) phrase.determiner = &draw.pick(determiner::possessives());
  if (draw.chance(20)) phrase.adjective = draw_adjective(draw, *phrase.noun);
  return {join({preposition->english, english_noun_phrase(phrase)}),
          german_prepositional(preposition->german, german_noun_phrase(phrase, grammatical_case))};
}

}  // namespace headshare::toy
