#include "cli/lab/grid.h"

#include <algorithm>
#include <set>

#include "nn/conversion.h"

namespace headshare::cli {

std::vector<std::string> conversion_names() {
  std::vector<std::string> names;
  for (const Pooling pooling : all_poolings) names.push_back(name(pooling));
  return names;
}

std::vector<Cell> cells_of(const Grid& grid) {
  std::set<double> alphas;
  for (const Grid::Site& site : grid.sites) alphas.insert(site.alphas.begin(), site.alphas.end());
  std::vector<Cell> cells;
  for (const Size seed : grid.seeds) {
    for (const double alpha : alphas) cells.push_back({seed, "none", "none", grid.heads, alpha});
    for (const Grid::Site& site : grid.sites)
      for (const double alpha : site.alphas)
        for (const Size kv_heads : grid.kv_heads)
          for (const std::string& conversion : grid.conversions)
            cells.push_back({seed, site.name, conversion, kv_heads, alpha});
  }
  const auto turn = [&](const Cell& cell) {
    if (cell.sites == "all") return 2;
    return cell.alpha == 0 || cell.alpha == grid.headline_alpha ? 0 : 1;
  };
  std::stable_sort(cells.begin(), cells.end(), [&](const Cell& a, const Cell& b) { return turn(a) < turn(b); });
  return cells;
}

AttentionSites converted_sites(const AttentionSites& before, const std::string& sites, Size kv_heads) {
  if (sites == "none") return before;
  return {sites == "all" ? with_kv_heads(before.encoder_self, kv_heads) : before.encoder_self,
          with_kv_heads(before.decoder_self, kv_heads), with_kv_heads(before.cross, kv_heads)};
}

}  // namespace headshare::cli
