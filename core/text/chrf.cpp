#include "core/text/chrf.h"

#include <algorithm>
#include <unordered_map>

#include "core/error.h"
#include "core/text/bleu.h"
#include "core/text/utf8.h"

namespace headshare {
namespace {

using Counts = std::unordered_map<std::u32string, Size>;
using OrderCounts = std::vector<Counts>;  // characters 1 .. 6, then words 1 .. word_orders

// ASCII only, as in the original: a German low quotation mark stays with its word.
bool is_punctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

// The words of a segment; one mark is peeled off a word's end or, if there is none, off its start: "(hi)" -> "(hi" ")".
std::vector<std::u32string> words_of(std::string_view segment) {
  std::vector<std::u32string> words;
  for (const std::string_view bytes : split_white_space(segment)) {
    const std::u32string word = decode_utf8(bytes);
    if (word.size() > 1 && is_punctuation(word.back())) {
      words.push_back(word.substr(0, word.size() - 1));
      words.push_back(word.substr(word.size() - 1));
    } else if (word.size() > 1 && is_punctuation(word.front())) {
      words.push_back(word.substr(0, 1));
      words.push_back(word.substr(1));
    } else {
      words.push_back(word);
    }
  }
  return words;
}

OrderCounts count_ngrams(std::string_view segment, const ChrfOptions& options) {
  std::u32string characters = decode_utf8(options.lower_case ? lower_cased(segment) : std::string(segment));
  const std::vector<std::u32string> words = words_of(encode_utf8(characters));
  std::erase_if(characters, is_white_space);

  OrderCounts orders(chrf_character_orders + options.word_orders);
  for (Size n = 1; n <= chrf_character_orders; ++n) {
    for (Size begin = 0; begin + n <= static_cast<Size>(characters.size()); ++begin)
      ++orders[n - 1][characters.substr(begin, n)];
  }
  for (Size n = 1; n <= options.word_orders; ++n) {
    for (Size begin = 0; begin + n <= static_cast<Size>(words.size()); ++begin) {
      std::u32string ngram = words[begin];
      for (Size i = 1; i < n; ++i) ngram += U' ' + words[begin + i];
      ++orders[chrf_character_orders + n - 1][ngram];
    }
  }
  return orders;
}

ChrfStatistics compare(const OrderCounts& hypothesis, const OrderCounts& reference) {
  ChrfStatistics statistics;
  for (std::size_t order = 0; order < hypothesis.size(); ++order) {
    if (reference[order].empty()) continue;
    ChrfStatistics::Order& counts = statistics.orders[order];
    for (const auto& [ngram, count] : hypothesis[order]) {
      const auto found = reference[order].find(ngram);
      counts.hypothesis += count;
      counts.matches += found == reference[order].end() ? 0 : std::min(count, found->second);
    }
    for (const auto& [ngram, count] : reference[order]) counts.reference += count;
  }
  return statistics;
}

void check_options(const ChrfOptions& options) {
  if (options.word_orders < 0 || options.word_orders > chrf_most_word_orders)
    fail("chrf: word n-grams up to ", options.word_orders, " asked for, but it must be 0 (chrF) to ",
         chrf_most_word_orders, " (chrF++)");
}

}  // namespace

ChrfStatistics& ChrfStatistics::operator+=(const ChrfStatistics& other) {
  for (std::size_t i = 0; i < orders.size(); ++i) {
    orders[i].hypothesis += other.orders[i].hypothesis;
    orders[i].reference += other.orders[i].reference;
    orders[i].matches += other.orders[i].matches;
  }
  return *this;
}

ChrfStatistics chrf_statistics(std::string_view hypothesis, const std::vector<std::string>& references,
                               const ChrfOptions& options) {
  check_options(options);
  if (references.empty()) fail("chrf: no references were given; at least one is needed");
  const OrderCounts hypothesis_counts = count_ngrams(hypothesis, options);
  ChrfStatistics best;
  double best_score = -1.0;
  for (const std::string& reference : references) {
    const ChrfStatistics statistics = compare(hypothesis_counts, count_ngrams(reference, options));
    const double score = chrf_of(statistics);
    if (score <= best_score) continue;
    best = statistics;
    best_score = score;
  }
  return best;
}

double chrf_of(const ChrfStatistics& statistics) {
  double precision = 0.0;
  double recall = 0.0;
  double orders = 0.0;
  for (const ChrfStatistics::Order& counts : statistics.orders) {
    if (counts.hypothesis == 0 || counts.reference == 0) continue;
    precision += static_cast<double>(counts.matches) / static_cast<double>(counts.hypothesis);
    recall += static_cast<double>(counts.matches) / static_cast<double>(counts.reference);
    orders += 1.0;
  }
  if (precision + recall == 0.0) return 0.0;
  precision /= orders;
  recall /= orders;
  constexpr double factor = chrf_beta * chrf_beta;
  return 100.0 * (1.0 + factor) * precision * recall / (factor * precision + recall);
}

double corpus_chrf(const Hypotheses& hypotheses, const References& references, const ChrfOptions& options) {
  check_aligned("chrf", hypotheses, references);
  ChrfStatistics sum;
  for (Size i = 0; i < hypotheses.size(); ++i)
    sum += chrf_statistics(hypotheses.lines[i], references_of(references, i), options);
  return chrf_of(sum);
}

double sentence_chrf(std::string_view hypothesis, const std::vector<std::string>& references,
                     const ChrfOptions& options) {
  return chrf_of(chrf_statistics(hypothesis, references, options));
}

std::string chrf_name(const ChrfOptions& options) {
  check_options(options);
  return text("chrF", chrf_beta, std::string(options.word_orders, '+'));
}

std::string chrf_signature(const References& references, const ChrfOptions& options) {
  return text("nrefs:", references.sets.size(), "|case:", options.lower_case ? "lc" : "mixed",
              "|eff:yes|nc:", chrf_character_orders, "|nw:", options.word_orders, "|space:no|version:", score_version);
}

}  // namespace headshare
