#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/report/canvas.h"
#include "core/size.h"

namespace headshare {

// One curve. A point whose x or y is NaN or infinite (or not positive on a logarithmic axis) is a gap. Points alone
// between gaps, and all points of a short series, get a marker.
struct Series {
  std::string name{};            // for the legend; may be empty
  std::vector<double> x{}, y{};  // of equal length
  std::optional<Color> color{};  // default: the next of a palette that colour-blind people can tell apart
};

enum class AxisScale { linear, logarithmic };

struct LineChart {
  std::string title{}, x_label{}, y_label{};
  std::vector<Series> series{};
  AxisScale x_scale = AxisScale::linear, y_scale = AxisScale::linear;
  Size width = 1200, height = 720;  // pixels, at least 320 x 240
};

// Draws axes, grid, legend and curves. A chart without any point says "no data". Fails when x and y of a series differ
// in length.
Canvas draw(const LineChart& chart);
void write_png(const LineChart& chart, const std::filesystem::path& path);

}  // namespace headshare
