#pragma once

#include "cli/lab/experiment.h"

namespace headshare::cli {

// Which rows of `headshare lab uptrain` are compared with each other. A folder may hold more: of another schedule,
// or decoded in another way.
struct UptrainView {
  std::string schedule;
  Size beam;
  double length_penalty;
  double headline_alpha;  // the share of training that the findings are about
};
Row rows_in_view(const Row& rows, const UptrainView& view);

// All of these are functions of the rows alone; nothing in them is known beforehand.
std::vector<LabResult::Table> uptrain_tables(const Row& rows);
std::vector<std::string> uptrain_findings(const Row& rows, double headline_alpha);
// Writes PNGs to the folder.
std::vector<LabResult::Chart> draw_uptrain_charts(const Row& rows, double headline_alpha,
                                                  const std::filesystem::path& folder);

}  // namespace headshare::cli
