#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "core/size.h"
#include "core/text/segments.h"

namespace headshare {

// chrF (Popovic 2015, "chrF: character n-gram F-score for automatic MT evaluation") as sacreBLEU 2 computes it: n-grams
// of 1 to 6 characters without white space, recall counted beta = 2 times as much as precision. With word n-grams
// beside them it is chrF++ (Popovic 2017). Between 0 and 100. Unlike BLEU it gives credit for a nearly right word, and
// it does not fall to 0 on short sentences. Hypotheses always come first, references second.
constexpr Size chrf_character_orders = 6;
constexpr Size chrf_most_word_orders = 2;
constexpr double chrf_beta = 2.0;

struct ChrfOptions {
  bool lower_case = false;
  Size word_orders = 0;  // 0 for chrF, 2 for chrF++
};

struct ChrfStatistics {
  struct Order {
    Size hypothesis = 0;  // n-grams there; 0 in a segment where the reference has none of this order
    Size reference = 0;
    Size matches = 0;
  };
  std::array<Order, chrf_character_orders + chrf_most_word_orders> orders{};  // characters first, then words

  ChrfStatistics& operator+=(const ChrfStatistics& other);
};

// Against several references: the statistics of the one with the highest score, the first of equals.
ChrfStatistics chrf_statistics(std::string_view hypothesis, const std::vector<std::string>& references,
                               const ChrfOptions& options = {});

double chrf_of(const ChrfStatistics& statistics);
double corpus_chrf(const Hypotheses& hypotheses, const References& references, const ChrfOptions& options = {});
double sentence_chrf(std::string_view hypothesis, const std::vector<std::string>& references,
                     const ChrfOptions& options = {});

// The name that goes with the options, "chrF2" or "chrF2++", and the conditions under which a score is comparable:
// "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:..."
std::string chrf_name(const ChrfOptions& options = {});
std::string chrf_signature(const References& references, const ChrfOptions& options = {});

}  // namespace headshare
