#include "core/text/accuracy.h"

#include <algorithm>
#include <string_view>

#include "core/text/utf8.h"

namespace headshare {
namespace {

struct Positions {
  Size right = 0;
  Size all = 0;

  double share() const { return all == 0 ? 1.0 : static_cast<double>(right) / static_cast<double>(all); }
};

Positions compare(std::string_view hypothesis, std::string_view reference) {
  const std::vector<std::string_view> ours = split_white_space(hypothesis);
  const std::vector<std::string_view> theirs = split_white_space(reference);
  Positions positions;
  positions.all = static_cast<Size>(std::max(ours.size(), theirs.size()));
  for (std::size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i)
    positions.right += ours[i] == theirs[i] ? 1 : 0;
  return positions;
}

}  // namespace

double exact_match(const Hypotheses& hypotheses, const References& references) {
  check_aligned("exact match", hypotheses, references);
  Size equal = 0;
  for (Size i = 0; i < hypotheses.size(); ++i) {
    const bool found = std::any_of(references.sets.begin(), references.sets.end(),
                                   [&](const auto& set) { return strip(hypotheses.lines[i]) == strip(set[i]); });
    equal += found ? 1 : 0;
  }
  return static_cast<double>(equal) / static_cast<double>(hypotheses.size());
}

double token_accuracy(const Hypotheses& hypotheses, const References& references) {
  check_aligned("token accuracy", hypotheses, references);
  Positions sum;
  for (Size i = 0; i < hypotheses.size(); ++i) {
    Positions best = compare(hypotheses.lines[i], references.sets[0][i]);
    for (const std::vector<std::string>& set : references.sets) {
      const Positions positions = compare(hypotheses.lines[i], set[i]);
      if (positions.share() > best.share()) best = positions;
    }
    sum.right += best.right;
    sum.all += best.all;
  }
  return sum.share();
}

}  // namespace headshare
