#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/size.h"

namespace headshare {

// What every score compares: what a model wrote, and what people wrote. Two types, because most of the scores change
// when the two are swapped, and nothing in the result shows it.
struct Hypotheses {
  std::vector<std::string> lines;

  Size size() const { return static_cast<Size>(lines.size()); }
};

// sets[r][i] is the r-th translation that people gave for segment i.
struct References {
  std::vector<std::vector<std::string>> sets;
};

inline References one_reference(std::vector<std::string> lines) { return References{{std::move(lines)}}; }

// All references of one segment.
inline std::vector<std::string> references_of(const References& references, Size segment) {
  std::vector<std::string> all;
  for (const std::vector<std::string>& set : references.sets) all.push_back(set[segment]);
  return all;
}

// Fails unless there is something to score and every set of references has a line for every hypothesis. `who` is the
// score that asks.
inline void check_aligned(const char* who, const Hypotheses& hypotheses, const References& references) {
  if (references.sets.empty()) fail(who, ": no references were given; at least one set is needed");
  for (std::size_t r = 0; r < references.sets.size(); ++r) {
    if (references.sets[r].size() != hypotheses.lines.size())
      fail(who, ": ", hypotheses.size(), " hypotheses, but ", references.sets[r].size(), " references in set ", r + 1,
           "; line n of one must be compared with line n of the other");
  }
  if (hypotheses.lines.empty()) fail(who, ": there is nothing to score; at least one hypothesis is needed");
}

}  // namespace headshare
