#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/report/canvas.h"
#include "core/size.h"

namespace headshare {

// A matrix with a word beside each row and above each column: for attention, the rows are the positions that look
// (queries) and the columns what they look at (keys).
struct HeatMap {
  std::string title{};
  std::vector<std::string> row_labels{}, column_labels{};
  std::vector<float> values{};  // [row_labels.size(), column_labels.size()], row by row
};

// Panels that belong together, in a frame of their own under one title.
struct HeatMapGroup {
  std::string title{};
  std::vector<HeatMap> panels{};
  Size columns = 4;  // panels side by side
};

struct HeatMapGrid {
  std::string title{};
  std::string note{};  // under the title: what rows, columns and cells are
  Size columns = 4;    // panels side by side; where there are groups, groups side by side
  // All panels share one scale, so that a cell of one panel can be compared with one of another. What lies outside
  // gets the colour of the nearer end.
  float minimum = 0;
  std::optional<float> maximum{};  // default: the largest finite value of all panels; both ends then made round
};

// From dark violet (0) over blue and green to light yellow (1). Lightness grows evenly, so that equal steps of the
// value look like equal steps, also in grey and to colour-blind eyes.
Color heat_color(double fraction);

// Draws one panel for each map, row by row, and a colour bar. A larger value is brighter; NaN and infinite values are
// grey. Where all panels have the same words, these stand once: beside the first column and above the first row of
// panels. Fails when there is no map, a map has no cells, or labels and values of a map do not fit.
Canvas draw(std::span<const HeatMap> panels, const HeatMapGrid& grid = {});
Canvas draw(std::span<const HeatMapGroup> groups, const HeatMapGrid& grid = {});
void write_png(std::span<const HeatMap> panels, const std::filesystem::path& path, const HeatMapGrid& grid = {});
void write_png(std::span<const HeatMapGroup> groups, const std::filesystem::path& path, const HeatMapGrid& grid = {});

}  // namespace headshare
