#include "core/report/heat_map.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "core/report/axis.h"
#include "core/report/font.h"

namespace headshare {
namespace {

constexpr Size margin = 24, gap = 10, panel_gap = 28;
constexpr Size title_scale = 3, panel_title_scale = 2;
constexpr Size bar_width = 18, bar_space = 32, shortest_bar = 130, longest_bar = 320;
constexpr Size longest_label = 150, longest_panel_title = 360, widest_for_title = 1600;
constexpr Color not_a_number{196, 200, 206};

double as_double(Size value) { return static_cast<double>(value); }

// Everything that all panels of a picture have in common, in pixels.
struct Layout {
  Size cell, label_scale;
  Size columns, rows;  // of panels
  Size top;            // of the first panel
  Size title_height;   // of a panel
  Size row_label_width, column_label_height;
  Size panel_width, panel_height;  // with labels and title
  Size matrix_height;              // of the largest matrix
  Size bar_top, bar_height;        // of the colour bar
  Size width, height;              // of the picture
};

void check(std::span<const HeatMap> panels, const HeatMapGrid& grid) {
  if (panels.empty()) fail("heat map: there is no panel to draw");
  if (grid.columns < 1) fail("heat map: ", grid.columns, " panels side by side; needed at least 1");
  if (!std::isfinite(grid.minimum) || !std::isfinite(grid.maximum.value_or(1)))
    fail("heat map: the ends of its scale must be finite numbers");
  if (grid.maximum && *grid.maximum <= grid.minimum)
    fail("heat map: the scale from ", grid.minimum, " to ", *grid.maximum, " is empty");
  for (const HeatMap& map : panels) {
    const std::size_t rows = map.row_labels.size(), columns = map.column_labels.size();
    if (rows == 0 || columns == 0)
      fail("heat map \"", map.title, "\": ", rows, " row labels and ", columns, " column labels leave nothing to draw");
    if (map.values.size() != rows * columns)
      fail("heat map \"", map.title, "\": ", rows, " row labels x ", columns, " column labels need ", rows * columns,
           " values, but there are ", map.values.size());
  }
}

float largest_value(std::span<const HeatMap> panels, float minimum) {
  float largest = minimum;
  for (const HeatMap& map : panels)
    for (const float value : map.values)
      if (std::isfinite(value)) largest = std::max(largest, value);
  return largest > minimum ? largest : minimum + 1;  // All cells are at the lower end, or below it.
}

// Large enough to read, small enough to see as one picture; thousands of cells become single pixels.
Size cell_size(Size most_cells, Size columns) {
  const Size comfortable = std::clamp<Size>((columns == 1 ? 640 : 360) / most_cells, 13, 40);
  const Size widest_picture = 6000;
  return std::max<Size>(1, std::min(comfortable, widest_picture / (most_cells * columns)));
}

Layout layout_of(std::span<const HeatMap> panels, const HeatMapGrid& grid, Size bar_label_width) {
  Layout layout{};
  const Size count = static_cast<Size>(panels.size());
  layout.columns = std::min(grid.columns, count);
  layout.rows = (count + layout.columns - 1) / layout.columns;
  Size most_rows = 0, most_columns = 0;
  for (const HeatMap& map : panels) {
    most_rows = std::max(most_rows, static_cast<Size>(map.row_labels.size()));
    most_columns = std::max(most_columns, static_cast<Size>(map.column_labels.size()));
  }
  layout.cell = cell_size(std::max(most_rows, most_columns), layout.columns);
  layout.label_scale = layout.cell >= 2 * font_height - 2 ? 2 : 1;

  Size panel_title_width = 0;
  for (const HeatMap& map : panels) {
    panel_title_width = std::max(panel_title_width, text_pixels(map.title, panel_title_scale));
    if (!map.title.empty()) layout.title_height = font_height * panel_title_scale + gap / 2;
    for (const std::string& label : map.row_labels)
      layout.row_label_width = std::max(layout.row_label_width, text_pixels(label, layout.label_scale));
    for (const std::string& label : map.column_labels)
      layout.column_label_height = std::max(layout.column_label_height, text_pixels(label, layout.label_scale));
  }
  layout.row_label_width = std::min(layout.row_label_width, longest_label);
  layout.column_label_height = std::min(layout.column_label_height, longest_label);
  layout.matrix_height = most_rows * layout.cell;
  layout.panel_width = layout.row_label_width + gap +
                       std::max(most_columns * layout.cell, std::min(panel_title_width, longest_panel_title));
  layout.panel_height = layout.title_height + layout.column_label_height + gap + layout.matrix_height;

  const Size title_width = std::min(text_pixels(grid.title, title_scale), widest_for_title);
  const Size panels_width = layout.columns * (layout.panel_width + panel_gap) - panel_gap;
  layout.top = margin + (grid.title.empty() ? 0 : font_height * title_scale + gap);
  layout.width = 2 * margin + std::max(title_width, panels_width + bar_space + bar_width + gap + bar_label_width);
  layout.height = layout.top + layout.rows * (layout.panel_height + panel_gap) - panel_gap + margin;
  layout.bar_top = layout.top + layout.panel_height - layout.matrix_height;
  layout.bar_height = std::clamp(layout.matrix_height, shortest_bar, longest_bar);
  layout.height = std::max(layout.height, layout.bar_top + layout.bar_height + margin);
  return layout;
}

void draw_panel(Canvas& canvas, const HeatMap& map, const Layout& layout, Size left, Size top, const Axis& scale) {
  const Size rows = static_cast<Size>(map.row_labels.size()), columns = static_cast<Size>(map.column_labels.size());
  const Size cell = layout.cell;
  const Size matrix_left = left + layout.row_label_width + gap;
  const Size matrix_top = top + layout.panel_height - layout.matrix_height;
  const Size title_width = layout.panel_width - layout.row_label_width - gap;
  canvas.draw_text({as_double(matrix_left), as_double(top)}, fit_text(map.title, panel_title_scale, title_width),
                   {.scale = panel_title_scale});

  // Where cells are lower than letters, only every second, third, ... label has room.
  const Size stride = (font_height * layout.label_scale - 2 + cell - 1) / cell;
  for (Size row = 0; row < rows; row += stride)
    canvas.draw_text({as_double(matrix_left - gap + 2), as_double(matrix_top + row * cell) + as_double(cell) / 2},
                     fit_text(map.row_labels[static_cast<std::size_t>(row)], layout.label_scale, longest_label),
                     {.scale = layout.label_scale, .along = Anchor::end, .across = Anchor::middle});
  for (Size column = 0; column < columns; column += stride)
    canvas.draw_text({as_double(matrix_left + column * cell) + as_double(cell) / 2, as_double(matrix_top - gap + 2)},
                     fit_text(map.column_labels[static_cast<std::size_t>(column)], layout.label_scale, longest_label),
                     {.scale = layout.label_scale, .across = Anchor::middle, .direction = TextDirection::upwards});

  const Size seam = cell >= 8 ? 1 : 0;  // a thin line between cells that are large enough for it
  for (Size row = 0; row < rows; ++row) {
    for (Size column = 0; column < columns; ++column) {
      const float value = map.values[static_cast<std::size_t>(row * columns + column)];
      canvas.fill_rectangle(matrix_left + column * cell, matrix_top + row * cell, cell - seam, cell - seam,
                            std::isfinite(value) ? heat_color(scale.position(value)) : not_a_number);
    }
  }
}

void draw_color_bar(Canvas& canvas, Size left, Size top, Size height, const Axis& scale,
                    const std::vector<Tick>& ticks) {
  for (Size y = 0; y < height; ++y)
    canvas.fill_rectangle(left, top + y, bar_width, 1, heat_color(1 - (as_double(y) + 0.5) / as_double(height)));
  for (const Tick& tick : ticks) {
    const double y = as_double(top) + (1 - scale.position(tick.value)) * as_double(height - 1);
    canvas.fill_rectangle(left + bar_width, std::llround(y), 4, 1, colors::frame);
    canvas.draw_text({as_double(left + bar_width + gap), y}, tick.label,
                     {.scale = 2, .color = colors::pale, .across = Anchor::middle});
  }
}

}  // namespace

// A path through OKLab, a colour space in which distance is perceived difference (Ottosson 2020,
// https://bottosson.github.io/posts/oklab): lightness rises evenly while the hue turns from violet to yellow. Chroma
// stays low enough that screens can show nearly all of it.
Color heat_color(double fraction) {
  const double t = std::clamp(fraction, 0.0, 1.0);
  const double lightness = 0.25 + 0.68 * t;
  const double chroma = 0.10 + 0.06 * t * t * t * t;
  const double hue = (310 - 200 * t) * std::numbers::pi / 180;
  const double a = chroma * std::cos(hue), b = chroma * std::sin(hue);

  const auto cubed = [](double x) { return x * x * x; };
  const double l = cubed(lightness + 0.3963377774 * a + 0.2158037573 * b);
  const double m = cubed(lightness - 0.1055613458 * a - 0.0638541728 * b);
  const double s = cubed(lightness - 0.0894841775 * a - 1.2914855480 * b);
  const auto screen = [](double linear) {  // the sRGB transfer curve, IEC 61966-2-1
    const double value = linear <= 0.0031308 ? 12.92 * linear : 1.055 * std::pow(linear, 1 / 2.4) - 0.055;
    return static_cast<std::uint8_t>(std::lround(255 * std::clamp(value, 0.0, 1.0)));
  };
  return {screen(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
          screen(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
          screen(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s)};
}

Canvas draw(std::span<const HeatMap> panels, const HeatMapGrid& grid) {
  check(panels, grid);
  constexpr Size ticks_wanted = 5;
  Axis scale(AxisScale::linear, {grid.minimum, grid.maximum.value_or(largest_value(panels, grid.minimum))});
  if (!grid.maximum) scale.extend_to_ticks(ticks_wanted);
  const std::vector<Tick> ticks = scale.ticks(ticks_wanted);
  Size bar_label_width = 0;
  for (const Tick& tick : ticks) bar_label_width = std::max(bar_label_width, text_pixels(tick.label, 2));
  const Layout layout = layout_of(panels, grid, bar_label_width);

  Canvas canvas(layout.width, layout.height);
  canvas.draw_text({as_double(layout.width) / 2, as_double(margin - 8)},
                   fit_text(grid.title, title_scale, layout.width - 2 * margin),
                   {.scale = title_scale, .along = Anchor::middle});
  for (Size p = 0; p < static_cast<Size>(panels.size()); ++p)
    draw_panel(canvas, panels[static_cast<std::size_t>(p)], layout,
               margin + p % layout.columns * (layout.panel_width + panel_gap),
               layout.top + p / layout.columns * (layout.panel_height + panel_gap), scale);

  const Size bar_left = margin + layout.columns * (layout.panel_width + panel_gap) - panel_gap + bar_space;
  draw_color_bar(canvas, bar_left, layout.bar_top, layout.bar_height, scale, ticks);
  return canvas;
}

void write_png(std::span<const HeatMap> panels, const std::filesystem::path& path, const HeatMapGrid& grid) {
  write_png(draw(panels, grid), path);
}

}  // namespace headshare
