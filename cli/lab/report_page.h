#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/lab/lab_result.h"
#include "core/report/html.h"

namespace headshare::cli {

// One experiment on the page.
struct ReportPart {
  LabResult result;
  std::vector<Html> pictures;  // of result.charts, in their order
};

// The page of `headshare lab report`: findings first, then for each experiment its tables, charts, sample translations
// and what was run. It needs no other file, and the same parts make the same bytes.
Html report_page(const std::string& title, const std::vector<ReportPart>& parts);

// CSS for it: any width, light and dark, screen and paper.
extern const std::string_view report_style;

}  // namespace headshare::cli
