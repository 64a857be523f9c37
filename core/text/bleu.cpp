#include "core/text/bleu.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "core/random.h"
#include "core/text/utf8.h"

namespace headshare {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_period_or_comma(char c) { return c == '.' || c == ','; }

// ASCII signs that are always tokens of their own; not the four that also occur inside words and numbers.
bool is_separate_sign(char c) {
  const bool is_sign =
      (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
  return is_sign && c != '\'' && c != ',' && c != '-' && c != '.';
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (;;) {
    const std::size_t found = text.find(from);
    out += text.substr(0, found);
    if (found == std::string_view::npos) return out;
    out += to;
    text.remove_prefix(found + from.size());
  }
}

// Puts a space between two neighbours of the given kinds, and one on the other side of the sign. Pairs are found from
// left to right and do not overlap, as with a regular expression: of "..5" in the third pass, only ".5" is a pair.
enum class Sign { first, second };

template <class First, class Second>
std::string split_pairs(std::string_view text, First is_first, Second is_second, Sign sign) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_pair = i + 1 < text.size() && is_first(text[i]) && is_second(text[i + 1]);
    if (!is_pair) {
      out += text[i];
      continue;
    }
    if (sign == Sign::first) out += ' ';
    out += text[i];
    out += ' ';
    out += text[++i];
    if (sign == Sign::second) out += ' ';
  }
  return out;
}

std::string split_separate_signs(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (is_separate_sign(c))
      out += {' ', c, ' '};
    else
      out += c;
  }
  return out;
}

// n-gram -> how often. Tokens hold no space, so joined by spaces, n-grams of one length are told apart.
using Counts = std::unordered_map<std::string, Size>;

Counts count_ngrams(const std::vector<std::string>& tokens, Size n) {
  Counts counts;
  for (Size begin = 0; begin + n <= static_cast<Size>(tokens.size()); ++begin) {
    std::string ngram = tokens[begin];
    for (Size i = 1; i < n; ++i) ngram += ' ' + tokens[begin + i];
    ++counts[ngram];
  }
  return counts;
}

std::vector<std::string> tokens_of(std::string_view segment, const BleuOptions& options) {
  return options.lower_case ? tokenize_13a(lower_cased(segment)) : tokenize_13a(segment);
}

}  // namespace

std::vector<std::string> tokenize_13a(std::string_view segment) {
  std::string line = replace_all(strip_right(segment), "<skipped>", "");
  line = replace_all(line, "-\n", "");
  line = replace_all(line, "\n", " ");
  // In this order and only once: "&amp;quot;" stays "&quot;".
  line = replace_all(line, "&quot;", "\"");
  line = replace_all(line, "&amp;", "&");
  line = replace_all(line, "&lt;", "<");
  line = replace_all(line, "&gt;", ">");

  const auto is_no_digit = [](char c) { return !is_digit(c); };
  const auto is_hyphen = [](char c) { return c == '-'; };
  line = split_separate_signs(' ' + line + ' ');
  line = split_pairs(line, is_no_digit, is_period_or_comma, Sign::second);
  line = split_pairs(line, is_period_or_comma, is_no_digit, Sign::first);
  line = split_pairs(line, is_digit, is_hyphen, Sign::second);

  std::vector<std::string> tokens;
  for (const std::string_view token : split_white_space(line)) tokens.emplace_back(token);
  return tokens;
}

BleuStatistics& BleuStatistics::operator+=(const BleuStatistics& other) {
  for (Size n = 0; n < bleu_orders; ++n) {
    matches[n] += other.matches[n];
    totals[n] += other.totals[n];
  }
  hypothesis_length += other.hypothesis_length;
  reference_length += other.reference_length;
  return *this;
}

BleuStatistics bleu_statistics(std::string_view hypothesis, const std::vector<std::string>& references,
                               const BleuOptions& options) {
  if (references.empty()) fail("bleu: no references were given; at least one is needed");
  const std::vector<std::string> tokens = tokens_of(hypothesis, options);
  std::vector<std::vector<std::string>> reference_tokens;
  for (const std::string& reference : references) reference_tokens.push_back(tokens_of(reference, options));

  BleuStatistics statistics;
  statistics.hypothesis_length = static_cast<Size>(tokens.size());
  const auto closeness = [&](const std::vector<std::string>& reference) {
    const auto length = static_cast<Size>(reference.size());
    return std::pair(std::abs(length - statistics.hypothesis_length), length);
  };
  const auto closest = std::min_element(reference_tokens.begin(), reference_tokens.end(),
                                        [&](const auto& a, const auto& b) { return closeness(a) < closeness(b); });
  statistics.reference_length = static_cast<Size>(closest->size());

  for (Size n = 1; n <= bleu_orders; ++n) {
    Counts allowed;  // the most that any one reference has
    for (const std::vector<std::string>& reference : reference_tokens) {
      for (const auto& [ngram, count] : count_ngrams(reference, n)) allowed[ngram] = std::max(allowed[ngram], count);
    }
    for (const auto& [ngram, count] : count_ngrams(tokens, n)) {
      const auto found = allowed.find(ngram);
      statistics.matches[n - 1] += found == allowed.end() ? 0 : std::min(count, found->second);
      statistics.totals[n - 1] += count;
    }
  }
  return statistics;
}

std::vector<BleuStatistics> bleu_statistics(const Hypotheses& hypotheses, const References& references,
                                            const BleuOptions& options) {
  check_aligned("bleu", hypotheses, references);
  std::vector<BleuStatistics> segments;
  for (Size i = 0; i < hypotheses.size(); ++i)
    segments.push_back(bleu_statistics(hypotheses.lines[i], references_of(references, i), options));
  return segments;
}

Bleu bleu_of(const BleuStatistics& statistics, const BleuOptions& options) {
  Bleu bleu;
  bleu.counts = statistics;
  const auto hypothesis_length = static_cast<double>(statistics.hypothesis_length);
  const auto reference_length = static_cast<double>(statistics.reference_length);
  if (statistics.hypothesis_length >= statistics.reference_length)
    bleu.brevity_penalty = 1.0;
  else if (statistics.hypothesis_length > 0)
    bleu.brevity_penalty = std::exp(1.0 - reference_length / hypothesis_length);
  if (std::all_of(statistics.matches.begin(), statistics.matches.end(), [](Size m) { return m == 0; })) return bleu;

  // Smoothing "exp": an order without a match counts as half a match, the next such order as a quarter, and so on.
  double smoothing = 1.0;
  Size reached = 0;
  for (Size n = 0; n < bleu_orders && statistics.totals[n] > 0; ++n) {
    const auto matches = static_cast<double>(statistics.matches[n]);
    const auto total = static_cast<double>(statistics.totals[n]);
    if (statistics.matches[n] == 0) smoothing *= 2.0;
    bleu.precisions[n] = statistics.matches[n] == 0 ? 100.0 / (smoothing * total) : 100.0 * matches / total;
    reached = n + 1;
  }
  const Size orders = options.effective_order ? reached : bleu_orders;
  if (orders > reached) return bleu;  // the geometric mean with a precision of 0
  double sum_of_logarithms = 0.0;
  for (Size n = 0; n < orders; ++n) sum_of_logarithms += std::log(bleu.precisions[n]);
  bleu.score = bleu.brevity_penalty * std::exp(sum_of_logarithms / static_cast<double>(orders));
  return bleu;
}

Bleu corpus_bleu(const Hypotheses& hypotheses, const References& references, const BleuOptions& options) {
  BleuStatistics sum;
  for (const BleuStatistics& segment : bleu_statistics(hypotheses, references, options)) sum += segment;
  return bleu_of(sum, options);
}

Bleu sentence_bleu(std::string_view hypothesis, const std::vector<std::string>& references,
                   const BleuOptions& options) {
  return bleu_of(bleu_statistics(hypothesis, references, options), options);
}

std::string bleu_signature(const References& references, const BleuOptions& options) {
  return text("nrefs:", references.sets.size(), "|case:", options.lower_case ? "lc" : "mixed",
              "|eff:", options.effective_order ? "yes" : "no", "|tok:13a|smooth:exp|version:", score_version);
}

std::string describe(const Bleu& bleu) {
  const double ratio = bleu.counts.reference_length == 0 ? 0.0
                                                         : static_cast<double>(bleu.counts.hypothesis_length) /
                                                               static_cast<double>(bleu.counts.reference_length);
  char line[256];
  std::snprintf(line, sizeof line,
                "BLEU = %.2f %.1f/%.1f/%.1f/%.1f (BP = %.3f ratio = %.3f hyp_len = %lld ref_len = %lld)", bleu.score,
                bleu.precisions[0], bleu.precisions[1], bleu.precisions[2], bleu.precisions[3], bleu.brevity_penalty,
                ratio, static_cast<long long>(bleu.counts.hypothesis_length),
                static_cast<long long>(bleu.counts.reference_length));
  return line;
}

BootstrapInterval bootstrap_interval(std::span<const BleuStatistics> segments, const BleuOptions& options,
                                     const BootstrapOptions& bootstrap) {
  if (segments.empty()) fail("bootstrap: there is nothing to draw from; at least one segment is needed");
  if (bootstrap.samples < 1) fail("bootstrap: ", bootstrap.samples, " samples asked for; at least one is needed");
  Generator generator(bootstrap.seed);
  std::vector<double> scores;
  for (Size sample = 0; sample < bootstrap.samples; ++sample) {
    BleuStatistics sum;
    for (std::size_t i = 0; i < segments.size(); ++i)
      sum += segments[generator.below(static_cast<Size>(segments.size()))];
    scores.push_back(bleu_of(sum, options).score);
  }
  std::sort(scores.begin(), scores.end());
  const Size tail = bootstrap.samples / 40;  // 2.5 % at each end
  const double mean = std::accumulate(scores.begin(), scores.end(), 0.0) / static_cast<double>(bootstrap.samples);
  return {mean, scores[tail], scores[bootstrap.samples - 1 - tail]};
}

}  // namespace headshare
