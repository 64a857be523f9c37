#pragma once

#include <optional>

#include "cli/lab/experiment.h"

namespace headshare::cli {

// Table 1 of Shazeer 2019, "Fast Transformer Decoding": eight ways to attend, all with the parameters of the first.
// What a variant saves in its projections is given back as wider feed-forward layers.
struct ShazeerRow {
  std::string attention;  // as he calls it
  AttentionMode mode;     // at all three sites
  Size window;            // of decoder self-attention; 0: it sees all positions
  TransformerConfig config;

  struct Paper {
    Size d_ff;
    double ln_perplexity, bleu_dev;
    std::optional<double> bleu_beam_1, bleu_beam_4;
  } paper;

  std::string label() const;   // "multi-query, local", "multi-head 4 x 4"
  std::string folder() const;  // "multi-query-local"
};

// The eight rows scaled to `base`: his 8 heads of 128 become those of the base, his 128 numbers divided among 1, 2, 4
// or 8 heads become those of one head of the base. d_ff is the one that comes closest to the base's parameters.
std::vector<ShazeerRow> shazeer_rows(const TransformerConfig& base, Size window);

// All functions of what was measured; `rows` are those of the seeds to show.
std::vector<LabResult::Table> shazeer_tables(const std::vector<ShazeerRow>& variants, const Row& rows);
std::vector<std::string> shazeer_findings(const std::vector<ShazeerRow>& variants, const Row& rows);
// Dev ln(PPL) of each row above that of the first, here and in the paper.
LabResult::Chart draw_shazeer_chart(const std::vector<ShazeerRow>& variants, const Row& rows,
                                    const std::filesystem::path& folder);

}  // namespace headshare::cli
