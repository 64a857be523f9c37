#pragma once

#include <string>
#include <vector>

#include "core/size.h"
#include "nn/transformer_config.h"

namespace headshare::cli {

// One model of `headshare lab uptrain`: a trained multi-head model, converted and trained for a share alpha of its
// steps again. The control is not converted: it only trains on.
struct Cell {
  Size seed;
  std::string sites;       // which attentions are converted: "decoder" or "all"; the control: "none"
  std::string conversion;  // the name of a Pooling; the control: "none"
  Size kv_heads;
  double alpha;

  bool is_control() const { return conversion == "none"; }
};

// The names of all conversions that there are.
std::vector<std::string> conversion_names();

// What is wanted of every seed: all conversions x KV heads x alphas, for each of the sites.
struct Grid {
  std::vector<Size> seeds;
  std::vector<std::string> conversions;
  std::vector<Size> kv_heads;  // fewer than the model has
  struct Site {
    std::string name;
    std::vector<double> alphas;
  };
  std::vector<Site> sites;
  Size heads;             // key/value heads of the multi-head model
  double headline_alpha;  // the one that people ask for first: 5 %, as in the paper
};

// All cells, each once, in the order in which they are worth having: first, seed by seed, the decoder's at alpha 0 and
// at the headline's alpha, then its other alphas, then the other sites. Controls come before what is compared with
// them.
std::vector<Cell> cells_of(const Grid& grid);

// The mode of each attention after conversion: `sites` is "decoder" (its self- and cross-attention, Ainslie et al.
// 2023), "all" (the encoder's too, Shazeer 2019) or "none".
AttentionSites converted_sites(const AttentionSites& before, const std::string& sites, Size kv_heads);

}  // namespace headshare::cli
