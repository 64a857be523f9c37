#pragma once

#include <initializer_list>
#include <span>
#include <string_view>

#include "core/random.h"
#include "core/text/toy/grammar.h"

// Everything random in the toy language: which words, which number, which construction.
namespace headshare::toy {

// Is this pairing kept for the split `composition`? The same answer for every seed: about 3 of 100 pairings are.
bool is_held_out(std::string_view left, std::string_view right);

// The choices that lead to one pair. Remembers whether a held-out pairing was among them.
class Draw {
 public:
  explicit Draw(Generator& generator) : generator_(generator) {}

  Size below(Size n) { return generator_.below(n); }
  Size between(Size least, Size most) { return least + below(most - least + 1); }
  bool chance(Size percent) { return below(100) < percent; }

  template <class Range>
  const auto& pick(const Range& range) {
    return range[static_cast<std::size_t>(below(static_cast<Size>(std::size(range))))];
  }

  // 0 with probability weights[0] / sum, and so on.
  Size weighted(std::initializer_list<Size> weights);

  void use_pairing(std::string_view left, std::string_view right) { held_out_ = held_out_ || is_held_out(left, right); }
  bool held_out() const { return held_out_; }

 private:
  Generator& generator_;
  bool held_out_ = false;
};

// What a noun phrase may be.
struct NounWishes {
  Kinds kinds;
  Standing standing = Standing::definite;  // which of definite and indefinite; pronouns are drawn elsewhere
  Negation negation = Negation::none;      // with `kein`, an indefinite phrase is negated
  const Noun* except = nullptr;
  Size adjective_percent = 25;
  Size plural_percent = 25;
  Size count_percent = 40;  // of the plural indefinite phrases
};
NounPhrase draw_noun_phrase(Draw& draw, const NounWishes& wishes);
const Adjective* draw_adjective(Draw& draw, const Noun& noun);
const Noun& draw_noun(Draw& draw, Kinds kinds, const Noun* except = nullptr);

Bilingual number(Size value);
Size draw_number(Draw& draw);           // most are below 1000
Size draw_count(Draw& draw);            // 2 to 99, most are small
Bilingual draw_clock(Draw& draw);       // "half past three"
Bilingual draw_clock_time(Draw& draw);  // "at half past three"
struct Date {
  Size day, month;
};
Date draw_date(Draw& draw);
Bilingual draw_year(Draw& draw);  // in digits or in words

Bilingual draw_place(Draw& draw);                     // "in the garden" - "im Garten"
Bilingual draw_direction(Draw& draw, Manner manner);  // "into the garden" - "in den Garten"

// "on the table", with German dative for where and accusative for where to. `except` is what is there or goes there: it
// is not the landmark itself, and no furniture is in a box.
Bilingual draw_spot(Draw& draw, Case grammatical_case, const Noun* except = nullptr);

enum class Length { full, brief };
// What a question asks for is left out of its clause.
enum class Asked { nothing, subject, object, direction };
struct ClauseWishes {
  const Verb* verb = nullptr;  // null: any
  Length length = Length::full;
  Size past_percent = 30;
  Size modal_percent = 25;
  Size negation_percent = 14;
  Size time_percent = 50;
  Size place_percent = 30;
  Asked asked = Asked::nothing;
};
Clause draw_clause(Draw& draw, const ClauseWishes& wishes);
struct SubjectWishes {
  Kinds kinds;
  Size indefinite_percent = 0;
  Size adjective_percent = 10;
};
// `noun` learns which noun the subject has; it stays what it was when the subject is a pronoun.
Nominal draw_subject(Draw& draw, const SubjectWishes& wishes, const Noun*& noun);
Nominal draw_known_subject(Draw& draw, Kinds kinds);        // a pronoun or a definite noun phrase
void draw_time(Draw& draw, Length length, Clause& clause);  // sets `time` or `frequency`

// One sentence or phrase with its translation, of any kind.
Bilingual draw_pair(Draw& draw);

}  // namespace headshare::toy
