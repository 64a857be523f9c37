#include <algorithm>
#include <optional>
#include <queue>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "core/error.h"
#include "core/text/tokenizer.h"

// Learning is counting. Done plainly, each merge would count all pairs of the corpus again: 8,000 passes over it. Three
// observations make it one pass and some repairs:
//   - the corpus is a list of different words, each with how often it occurs: 30 times shorter;
//   - a merge changes only words that hold the pair, so each pair remembers its words;
//   - between merges the count of an old pair only falls, so a heap may hold counts that are too high: a pair that
//     comes out with a stale count is put back with the true one.

namespace headshare {
namespace {

struct Word {
  std::vector<std::int32_t> symbols;
  Size count;  // occurrences in the corpus
};

struct PairHash {
  std::size_t operator()(const Merge& pair) const {
    return (static_cast<std::size_t>(pair.left) << 32) ^ static_cast<std::size_t>(pair.right);
  }
};

struct SamePair {
  bool operator()(const Merge& a, const Merge& b) const { return a.left == b.left && a.right == b.right; }
};

struct PairUse {
  Size count = 0;                  // occurrences in the corpus
  std::vector<std::size_t> words;  // every word that holds the pair, and perhaps some that no longer do
};

struct Candidate {
  Size count;
  Merge pair;

  // The largest candidate is the most frequent pair; of equals, the one with the smaller ids.
  bool operator<(const Candidate& other) const {
    return std::tuple(count, -pair.left, -pair.right) < std::tuple(other.count, -other.pair.left, -other.pair.right);
  }
};

class Learner {
 public:
  explicit Learner(const Corpus& corpus) {
    collect_words(corpus);
    for (std::size_t i = 0; i < words_.size(); ++i) {
      count_pairs(words_[i], words_[i].count);
      remember_word(i, [](const Merge&) { return true; });
    }
    for (const auto& [pair, use] : uses_) candidates_.push({use.count, pair});
  }

  // The pair to merge next, or nothing when all are too rare.
  std::optional<Merge> most_frequent() {
    while (!candidates_.empty()) {
      const Candidate best = candidates_.top();
      const auto use = uses_.find(best.pair);
      const Size count = use == uses_.end() ? 0 : use->second.count;
      if (count == best.count) return count >= minimum_pair_frequency ? std::optional(best.pair) : std::nullopt;
      candidates_.pop();
      if (count >= minimum_pair_frequency) candidates_.push({count, best.pair});
    }
    return std::nullopt;
  }

  void merge(Merge pair, std::int32_t id) {
    const auto is_new = [id](const Merge& neighbours) { return neighbours.left == id || neighbours.right == id; };
    const std::vector<std::size_t> affected = std::move(uses_[pair].words);
    std::unordered_set<Merge, PairHash, SamePair> new_pairs;
    for (const std::size_t i : affected) {
      std::vector<std::int32_t> merged = words_[i].symbols;
      if (!apply_merge(merged, pair, id)) continue;
      count_pairs(words_[i], -words_[i].count);
      words_[i].symbols = std::move(merged);
      count_pairs(words_[i], words_[i].count);
      remember_word(i, is_new);
      for_each_pair(words_[i], [&](const Merge& neighbours) {
        if (is_new(neighbours)) new_pairs.insert(neighbours);
      });
    }
    uses_.erase(pair);
    for (const Merge& neighbours : new_pairs) candidates_.push({uses_[neighbours].count, neighbours});
  }

 private:
  // Words in the order in which they appear, so that nothing depends on how a hash table orders them.
  void collect_words(const Corpus& corpus) {
    std::unordered_map<std::string_view, std::size_t> index;
    for (const SentencePair& sentences : corpus.pairs) {
      for (const std::string* sentence : {&sentences.source, &sentences.target}) {
        for (const std::string_view bytes : split_words(*sentence)) {
          const auto [entry, is_new] = index.emplace(bytes, words_.size());
          if (is_new) words_.push_back({bytes_to_symbols(bytes), 0});
          ++words_[entry->second].count;
        }
      }
    }
  }

  static std::vector<std::int32_t> bytes_to_symbols(std::string_view bytes) {
    std::vector<std::int32_t> symbols;
    for (const char byte : bytes) symbols.push_back(first_byte_id + static_cast<unsigned char>(byte));
    return symbols;
  }

  template <class Visit>
  static void for_each_pair(const Word& word, Visit visit) {
    for (std::size_t i = 0; i + 1 < word.symbols.size(); ++i) visit(Merge{word.symbols[i], word.symbols[i + 1]});
  }

  void count_pairs(const Word& word, Size occurrences) {
    for_each_pair(word, [&](const Merge& pair) { uses_[pair].count += occurrences; });
  }

  template <class Predicate>
  void remember_word(std::size_t i, Predicate wanted) {
    for_each_pair(words_[i], [&](const Merge& pair) {
      if (!wanted(pair)) return;
      std::vector<std::size_t>& holders = uses_[pair].words;
      if (holders.empty() || holders.back() != i) holders.push_back(i);
    });
  }

  std::vector<Word> words_;
  std::unordered_map<Merge, PairUse, PairHash, SamePair> uses_;
  std::priority_queue<Candidate> candidates_;
};

}  // namespace

Tokenizer learn_byte_pairs(const Corpus& corpus, const BytePairOptions& options) {
  if (options.merges < 0 || options.merges > INT32_MAX - first_merge_id)
    fail("byte pairs: ", options.merges, " merges asked for, but it must be 0 or more, and fit 32 bits with the ",
         first_merge_id, " other tokens");
  Learner learner(corpus);
  std::vector<Merge> merges;
  while (static_cast<Size>(merges.size()) < options.merges) {
    const std::optional<Merge> pair = learner.most_frequent();
    if (!pair) break;
    learner.merge(*pair, static_cast<std::int32_t>(first_merge_id + static_cast<Size>(merges.size())));
    merges.push_back(*pair);
  }
  return Tokenizer(merges);
}

}  // namespace headshare
