#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/size.h"
#include "core/text/segments.h"

namespace headshare {

// BLEU (Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation"), in every detail as
// sacreBLEU 2 computes it by default (Post 2018, "A call for clarity in reporting BLEU scores"): tokenizer 13a,
// smoothing "exp". Scores lie between 0 and 100. Hypotheses always come first, references second.
constexpr Size bleu_orders = 4;                            // n-grams of 1 to 4 tokens
constexpr std::string_view score_version = "headshare.1";  // changes whenever a score could

struct BleuOptions {
  bool lower_case = false;
  // Average only over the orders that the hypotheses are long enough for. For single sentences: without it, one of
  // three tokens scores 0 even when it is right.
  bool effective_order = false;
};

// All that a score needs to know, for one segment or, added up, for a corpus. The score is a function of the sums: that
// is why the mean of sentence scores is not the score of the corpus, and why resampling is cheap.
struct BleuStatistics {
  std::array<Size, bleu_orders>
      matches{};  // n-grams of the hypothesis found in a reference, each as often as it is there
  std::array<Size, bleu_orders> totals{};  // n-grams of the hypothesis
  Size hypothesis_length = 0;              // tokens
  Size reference_length = 0;               // tokens of the reference closest in length, the shorter of two as close

  BleuStatistics& operator+=(const BleuStatistics& other);
};

struct Bleu {
  double score = 0;
  std::array<double, bleu_orders> precisions{};  // in percent, smoothed
  double brevity_penalty = 0;                    // 1, or less when the hypotheses are shorter than the references
  BleuStatistics counts;
};

// The tokens of one segment: "Don't pay $3.50." -> "Don't" "pay" "$" "3.50" "."
std::vector<std::string> tokenize_13a(std::string_view segment);

BleuStatistics bleu_statistics(std::string_view hypothesis, const std::vector<std::string>& references,
                               const BleuOptions& options = {});
std::vector<BleuStatistics> bleu_statistics(const Hypotheses& hypotheses, const References& references,
                                            const BleuOptions& options = {});  // one for each segment

Bleu bleu_of(const BleuStatistics& statistics, const BleuOptions& options = {});
Bleu corpus_bleu(const Hypotheses& hypotheses, const References& references, const BleuOptions& options = {});
Bleu sentence_bleu(std::string_view hypothesis, const std::vector<std::string>& references,
                   const BleuOptions& options = {.effective_order = true});

// The conditions under which a BLEU score is comparable: "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:..."
std::string bleu_signature(const References& references, const BleuOptions& options = {});

// "BLEU = 48.89 85.7/66.7/40.0/25.0 (BP = 1.000 ratio = 1.000 hyp_len = 7 ref_len = 7)"
std::string describe(const Bleu& bleu);

// How much a corpus score depends on which sentences happened to be in the test set (Koehn 2004, "Statistical
// significance tests for machine translation evaluation"): the corpus is drawn again, sentence by sentence with
// replacement, and scored, `samples` times. 95 % of these scores lie between low and high.
struct BootstrapOptions {
  Size samples = 1000;
  std::uint64_t seed = 1;
};

struct BootstrapInterval {
  double mean;
  double low;
  double high;
};

BootstrapInterval bootstrap_interval(std::span<const BleuStatistics> segments, const BleuOptions& options = {},
                                     const BootstrapOptions& bootstrap = {});

}  // namespace headshare
