#include "core/text/toy_language.h"

#include <string_view>
#include <unordered_set>
#include <utility>

#include "core/error.h"
#include "core/random.h"
#include "core/text/toy/calendar.h"
#include "core/text/toy/draw.h"

namespace headshare {

namespace {

struct DrawnPair {
  SentencePair pair;
  bool held_out;
};

// Draws pairs without end, no English sentence twice.
class DistinctPairs {
 public:
  explicit DistinctPairs(std::uint64_t seed) : generator_(seed) {}

  DrawnPair next() {
    for (;;) {
      toy::Draw draw(generator_);
      toy::Bilingual words = toy::draw_pair(draw);
      if (seen_.insert(words.english).second) {
        return {{std::move(words.english), std::move(words.german)}, draw.held_out()};
      }
    }
  }

 private:
  Generator generator_;
  std::unordered_set<std::string> seen_;
};

void check_size(std::string_view what, Size size, Size capacity) {
  if (size < 0) fail("toy language: ", size, " ", what, " asked for, needed is 0 or more");
  if (size > capacity) {
    fail("toy language: ", size, " ", what, " asked for, but the grammar gives at most ", capacity, "; ask for fewer");
  }
}

Corpus take(std::vector<SentencePair>& pool, Size count) {
  Corpus corpus;
  corpus.pairs.assign(std::make_move_iterator(pool.end() - count), std::make_move_iterator(pool.end()));
  pool.resize(pool.size() - static_cast<std::size_t>(count));
  return corpus;
}

}  // namespace

Corpus draw_toy_pairs(Size count, std::uint64_t seed) {
  check_size("pairs", count, toy_capacity);
  DistinctPairs pairs(seed);
  Corpus corpus;
  while (corpus.size() < count) corpus.pairs.push_back(pairs.next().pair);
  return corpus;
}

ToyLanguage make_toy_language(const ToyOptions& options) {
  check_size("training pairs", options.pairs, toy_capacity);
  check_size("validation pairs", options.valid, toy_capacity);
  check_size("test pairs", options.test, toy_capacity);
  check_size("composition pairs", options.composition, toy_composition_capacity);
  const Size ordinary = options.pairs + options.valid + options.test;
  check_size("pairs (training, validation and test together)", ordinary, toy_capacity);

  DistinctPairs pairs(options.seed);
  std::vector<SentencePair> pool;
  ToyLanguage language;
  while (static_cast<Size>(pool.size()) < ordinary || language.composition.size() < options.composition) {
    DrawnPair drawn = pairs.next();
    if (!drawn.held_out) {
      if (static_cast<Size>(pool.size()) < ordinary) pool.push_back(std::move(drawn.pair));
    } else if (language.composition.size() < options.composition) {
      language.composition.pairs.push_back(std::move(drawn.pair));
    }
  }

  // Short sentences come early, because there are few of them and none comes twice. Shuffling makes the splits alike.
  Generator order(options.seed, 1);
  order.shuffle(pool);
  language.test = take(pool, options.test);
  language.valid = take(pool, options.valid);
  language.train = take(pool, options.pairs);
  return language;
}

std::vector<ToyPairing> toy_held_out_pairings() {
  std::vector<ToyPairing> pairings;
  const auto add_if_held_out = [&](std::string_view left, std::string_view right) {
    if (toy::is_held_out(left, right)) pairings.push_back({std::string(left), std::string(right)});
  };
  for (const toy::Adjective& adjective : toy::adjectives()) {
    for (const toy::Noun& noun : toy::nouns()) {
      if ((adjective.kinds & noun.kinds) != 0) add_if_held_out(adjective.english, noun.english);
    }
    for (const toy::Place& place : toy::places()) {
      if ((adjective.kinds & place.noun.kinds) != 0) add_if_held_out(adjective.english, place.noun.english);
    }
  }
  for (const toy::Verb& verb : toy::verbs()) {
    if (verb.frame != toy::Frame::transitive) continue;
    for (const toy::Noun& noun : toy::nouns()) {
      if ((verb.objects & noun.kinds) != 0) add_if_held_out(verb.english, noun.english);
    }
  }
  for (const toy::MinuteForm& form : toy::minute_forms()) {
    for (Size hour = 1; hour <= 12; ++hour) add_if_held_out(form.english, english_number(hour));
  }
  return pairings;
}

}  // namespace headshare
