#pragma once

#include "cli/attention_picture.h"
#include "cli/lab/lab_result.h"

namespace headshare::cli {

// How differently heads look, as total variation (see total_variation), mean over sentences.
struct HeadDistances {
  const PicturedSite* site;
  Size layer, head;  // from 0
  HeadGroup group;
  Size head_before = 0;     // its counterpart in the model before
  double apart = 0;         // from the other heads of the group, mean over them; 0 for a head alone
  double apart_before = 0;  // their counterparts, from each other
  double moved = 0;         // from its counterpart
};

// Of every head of a model; `before` is the model to compare it with, such as the one it was converted from, or the
// same model. Both read and write the same sentences. A conversion may have put heads in another order, so each head is
// compared with a counterpart: beginning with the head of the same number, two heads trade counterparts as long as that
// brings them nearer. Fails when the models have not as many layers and heads.
std::vector<HeadDistances> head_distances(const Transformer& before, const Transformer& model,
                                          std::span<const TokenPair> pairs, std::span<const PicturedSite> sites);

// The counterparts, in the order of the heads they belong to.
HeadOrder order_before(std::span<const HeadDistances> distances);

// Adds a row for each head, a table with a line for each group of heads, and a finding for each site. `before` is
// empty where the model was compared with itself.
void report_distances(std::span<const HeadDistances> distances, const std::string& before, const std::string& run,
                      LabResult& result);

}  // namespace headshare::cli
