#pragma once

#include "core/text/segments.h"

namespace headshare {

// For tasks with one right answer, where BLEU says little: an output of three tokens scores 0 there even when it is
// right. Both are shares between 0 and 1. Of several references, the one that is best for the hypothesis counts.

// The share of hypotheses equal to a reference, white space at both ends aside.
double exact_match(const Hypotheses& hypotheses, const References& references);

// The share of positions at which hypothesis and reference have the same token, over the whole corpus. Tokens are what
// white space separates. A position that only the longer one has is wrong; so everything after a missing or an extra
// token is usually wrong too. Two empty segments have no positions; a corpus of nothing else is entirely right.
double token_accuracy(const Hypotheses& hypotheses, const References& references);

}  // namespace headshare
