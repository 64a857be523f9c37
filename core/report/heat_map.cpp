#include "core/report/heat_map.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "core/report/axis.h"
#include "core/report/font.h"

namespace headshare {
namespace {

constexpr Size margin = 24, gap = 10, panel_gap = 28, shared_panel_gap = 16, group_gap = 24, frame_padding = 16;
constexpr Size title_scale = 3, panel_title_scale = 2;
constexpr Size bar_width = 18, bar_space = 32, shortest_bar = 130, longest_bar = 320;
constexpr Size longest_label = 150, longest_panel_title = 360, widest_for_title = 1600;
constexpr Color not_a_number{196, 200, 206}, inside_frame{247, 248, 250};

double as_double(Size value) { return static_cast<double>(value); }
Size size_of(const auto& items) { return static_cast<Size>(items.size()); }

// What all panels of a picture have in common; lengths in pixels.
struct Layout {
  Size cell, label_scale;
  bool labels_once;  // words beside the first column and above the first row of a group alone
  bool framed;
  Size columns, rows;              // of groups
  Size group_columns, group_rows;  // of panels in the largest group
  Size gap_between_panels;
  Size title_height, group_title_height;               // of a panel, of a group
  Size row_label_width, column_label_height;           // with the gap to the cells
  Size matrix_width, matrix_height;                    // of the largest matrix
  Size group_width, group_height, gap_between_groups;  // with frame
  Size top;                                            // of the first group
  Size bar_top, bar_height;                            // of the colour bar
  Size width, height;                                  // of the picture

  // Where the cells of a panel begin inside its group.
  Size matrix_left(Size column) const {
    return padding() + (labels_once ? 1 : column + 1) * row_label_width + column * (matrix_width + gap_between_panels);
  }
  Size matrix_top(Size row) const {
    return padding() + group_title_height + (labels_once ? 1 : row + 1) * column_label_height +
           (row + 1) * title_height + row * (matrix_height + gap_between_panels);
  }
  Size padding() const { return framed ? frame_padding : 0; }
};

void check(std::span<const HeatMapGroup> groups, const HeatMapGrid& grid) {
  Size count = 0;
  for (const HeatMapGroup& group : groups) count += size_of(group.panels);
  if (count == 0) fail("heat map: there is no panel to draw");
  if (grid.columns < 1) fail("heat map: ", grid.columns, " panels side by side; needed at least 1");
  if (!std::isfinite(grid.minimum) || !std::isfinite(grid.maximum.value_or(1)))
    fail("heat map: the ends of its scale must be finite numbers");
  if (grid.maximum && *grid.maximum <= grid.minimum)
    fail("heat map: the scale from ", grid.minimum, " to ", *grid.maximum, " is empty");
  for (const HeatMapGroup& group : groups) {
    if (group.columns < 1) fail("heat map: ", group.columns, " panels side by side; needed at least 1");
    if (group.panels.empty()) fail("heat map \"", group.title, "\": there is no panel to draw");
    for (const HeatMap& map : group.panels) {
      const std::size_t rows = map.row_labels.size(), columns = map.column_labels.size();
      if (rows == 0 || columns == 0)
        fail("heat map \"", map.title, "\": ", rows, " row labels and ", columns,
             " column labels leave nothing to draw");
      if (map.values.size() != rows * columns)
        fail("heat map \"", map.title, "\": ", rows, " row labels x ", columns, " column labels need ", rows * columns,
             " values, but there are ", map.values.size());
    }
  }
}

float largest_value(std::span<const HeatMapGroup> groups, float minimum) {
  float largest = minimum;
  for (const HeatMapGroup& group : groups)
    for (const HeatMap& map : group.panels)
      for (const float value : map.values)
        if (std::isfinite(value)) largest = std::max(largest, value);
  return largest > minimum ? largest : minimum + 1;  // All cells are at the lower end, or below it.
}

// Large enough to read, small enough to see as one picture; thousands of cells become single pixels.
Size cell_size(Size most_cells, Size panels_across) {
  const Size comfortable_panel = std::min<Size>(640, 1440 / panels_across), widest_picture = 6000;
  // As long as two screens are not filled, cells stay as high as a line of easily read letters.
  const Size lowest = most_cells * panels_across * 20 <= 2000 ? 20 : 13;
  const Size comfortable = std::clamp<Size>(comfortable_panel / most_cells, lowest, 40);
  return std::max<Size>(1, std::min(comfortable, widest_picture / (most_cells * panels_across)));
}

Layout layout_of(std::span<const HeatMapGroup> groups, const HeatMapGrid& grid, Size bar_label_width) {
  Layout layout{};
  layout.columns = std::min(grid.columns, size_of(groups));
  layout.rows = (size_of(groups) + layout.columns - 1) / layout.columns;
  layout.labels_once = true;
  const HeatMap& first = groups[0].panels[0];
  Size most_rows = 0, most_columns = 0, panel_title_width = 0, group_title_width = 0;
  for (const HeatMapGroup& group : groups) {
    const Size columns = std::min(group.columns, size_of(group.panels));
    layout.framed = layout.framed || !group.title.empty();
    group_title_width = std::max(group_title_width, text_pixels(group.title, panel_title_scale));
    layout.group_columns = std::max(layout.group_columns, columns);
    layout.group_rows = std::max(layout.group_rows, (size_of(group.panels) + columns - 1) / columns);
    for (const HeatMap& map : group.panels) {
      most_rows = std::max(most_rows, size_of(map.row_labels));
      most_columns = std::max(most_columns, size_of(map.column_labels));
      panel_title_width = std::max(panel_title_width, text_pixels(map.title, panel_title_scale));
      layout.labels_once =
          layout.labels_once && map.row_labels == first.row_labels && map.column_labels == first.column_labels;
    }
  }
  layout.cell = cell_size(std::max(most_rows, most_columns), layout.columns * layout.group_columns);
  layout.label_scale = layout.cell >= 2 * font_height - 2 ? 2 : 1;
  for (const HeatMapGroup& group : groups)
    for (const HeatMap& map : group.panels) {
      for (const std::string& label : map.row_labels)
        layout.row_label_width = std::max(layout.row_label_width, text_pixels(label, layout.label_scale));
      for (const std::string& label : map.column_labels)
        layout.column_label_height = std::max(layout.column_label_height, text_pixels(label, layout.label_scale));
    }
  layout.row_label_width = std::min(layout.row_label_width, longest_label) + gap;
  layout.column_label_height = std::min(layout.column_label_height, longest_label) + gap;
  layout.title_height = panel_title_width > 0 ? font_height * panel_title_scale + gap / 2 : 0;
  layout.group_title_height = layout.framed ? font_height * panel_title_scale + gap : 0;
  layout.gap_between_panels = layout.labels_once ? shared_panel_gap : panel_gap;
  layout.matrix_height = most_rows * layout.cell;
  layout.matrix_width = std::max(most_columns * layout.cell, std::min(panel_title_width, longest_panel_title));
  layout.group_width = std::max(layout.matrix_left(layout.group_columns - 1) + layout.matrix_width,
                                layout.padding() + std::min(group_title_width, widest_for_title)) +
                       layout.padding();
  layout.group_height = layout.matrix_top(layout.group_rows - 1) + layout.matrix_height + layout.padding();

  const Size between = layout.gap_between_groups = layout.framed ? group_gap : panel_gap;
  const Size title_width = std::min(text_pixels(grid.title, title_scale), widest_for_title);
  layout.top = margin + (grid.title.empty() ? 0 : font_height * title_scale + gap) +
               (grid.note.empty() ? 0 : font_height * panel_title_scale + gap);
  layout.width = 2 * margin + std::max(title_width, layout.columns * (layout.group_width + between) - between +
                                                        bar_space + bar_width + gap + bar_label_width);
  layout.height = layout.top + layout.rows * (layout.group_height + between) - between + margin;
  layout.bar_top = layout.top + layout.matrix_top(0);
  layout.bar_height = std::clamp(layout.matrix_height, shortest_bar, longest_bar);
  layout.height = std::max(layout.height, layout.bar_top + layout.bar_height + margin);
  return layout;
}

enum class Beside { nothing, words };  // what stands at the left of a panel, and above it

// left, top: of the panel's cells.
void draw_panel(Canvas& canvas, const HeatMap& map, const Layout& layout, Size left, Size top, Beside at_left,
                Beside above, const Axis& scale) {
  const Size rows = size_of(map.row_labels), columns = size_of(map.column_labels), cell = layout.cell;
  const Size title_top = top - (above == Beside::words ? layout.column_label_height : 0) - layout.title_height;
  canvas.draw_text({as_double(left), as_double(title_top)}, fit_text(map.title, panel_title_scale, layout.matrix_width),
                   {.scale = panel_title_scale});

  // Where cells are lower than letters, only every second, third, ... label has room.
  const Size stride = (font_height * layout.label_scale - 2 + cell - 1) / cell;
  for (Size row = 0; row < rows && at_left == Beside::words; row += stride)
    canvas.draw_text({as_double(left - gap + 2), as_double(top + row * cell) + as_double(cell) / 2},
                     fit_text(map.row_labels[static_cast<std::size_t>(row)], layout.label_scale, longest_label),
                     {.scale = layout.label_scale, .along = Anchor::end, .across = Anchor::middle});
  for (Size column = 0; column < columns && above == Beside::words; column += stride)
    canvas.draw_text({as_double(left + column * cell) + as_double(cell) / 2, as_double(top - gap + 2)},
                     fit_text(map.column_labels[static_cast<std::size_t>(column)], layout.label_scale, longest_label),
                     {.scale = layout.label_scale, .across = Anchor::middle, .direction = TextDirection::upwards});

  const Size seam = cell >= 8 ? 1 : 0;  // a thin line between cells that are large enough for it
  for (Size row = 0; row < rows; ++row) {
    for (Size column = 0; column < columns; ++column) {
      const float value = map.values[static_cast<std::size_t>(row * columns + column)];
      canvas.fill_rectangle(left + column * cell, top + row * cell, cell - seam, cell - seam,
                            std::isfinite(value) ? heat_color(scale.position(value)) : not_a_number);
    }
  }
}

// left, top: of the group.
void draw_group(Canvas& canvas, const HeatMapGroup& group, const Layout& layout, Size left, Size top,
                const Axis& scale) {
  if (layout.framed) {
    canvas.fill_rectangle(left, top, layout.group_width, layout.group_height, inside_frame);
    canvas.draw_rectangle(left, top, layout.group_width, layout.group_height, colors::frame);
    canvas.draw_text({as_double(left + frame_padding), as_double(top + frame_padding - 4)},
                     fit_text(group.title, panel_title_scale, layout.group_width - 2 * frame_padding),
                     {.scale = panel_title_scale});
  }
  for (Size p = 0; p < size_of(group.panels); ++p) {
    const Size row = p / group.columns, column = p % group.columns;
    const bool has_words_at_left = column == 0 || !layout.labels_once;
    const bool has_words_above = row == 0 || !layout.labels_once;
    draw_panel(canvas, group.panels[static_cast<std::size_t>(p)], layout, left + layout.matrix_left(column),
               top + layout.matrix_top(row), has_words_at_left ? Beside::words : Beside::nothing,
               has_words_above ? Beside::words : Beside::nothing, scale);
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

Canvas draw(std::span<const HeatMapGroup> groups, const HeatMapGrid& grid) {
  check(groups, grid);
  constexpr Size ticks_wanted = 5;
  Axis scale(AxisScale::linear, {grid.minimum, grid.maximum.value_or(largest_value(groups, grid.minimum))});
  if (!grid.maximum) scale.extend_to_ticks(ticks_wanted);
  const std::vector<Tick> ticks = scale.ticks(ticks_wanted);
  Size bar_label_width = 0;
  for (const Tick& tick : ticks) bar_label_width = std::max(bar_label_width, text_pixels(tick.label, 2));
  const Layout layout = layout_of(groups, grid, bar_label_width);

  Canvas canvas(layout.width, layout.height);
  const Size text_width = layout.width - 2 * margin;
  canvas.draw_text({as_double(layout.width) / 2, as_double(margin - 8)}, fit_text(grid.title, title_scale, text_width),
                   {.scale = title_scale, .along = Anchor::middle});
  canvas.draw_text({as_double(layout.width) / 2, as_double(layout.top - gap)},
                   fit_text(grid.note, panel_title_scale, text_width),
                   {.scale = panel_title_scale, .color = colors::pale, .along = Anchor::middle, .across = Anchor::end});
  for (Size g = 0; g < size_of(groups); ++g)
    draw_group(canvas, groups[static_cast<std::size_t>(g)], layout,
               margin + g % layout.columns * (layout.group_width + layout.gap_between_groups),
               layout.top + g / layout.columns * (layout.group_height + layout.gap_between_groups), scale);

  const Size bar_left = margin + layout.columns * (layout.group_width + layout.gap_between_groups) -
                        layout.gap_between_groups + bar_space;
  draw_color_bar(canvas, bar_left, layout.bar_top, layout.bar_height, scale, ticks);
  return canvas;
}

Canvas draw(std::span<const HeatMap> panels, const HeatMapGrid& grid) {
  const HeatMapGroup all{.panels = {panels.begin(), panels.end()}, .columns = grid.columns};
  HeatMapGrid one_group = grid;
  one_group.columns = 1;
  return draw(std::span(&all, 1), one_group);
}

void write_png(std::span<const HeatMap> panels, const std::filesystem::path& path, const HeatMapGrid& grid) {
  write_png(draw(panels, grid), path);
}

void write_png(std::span<const HeatMapGroup> groups, const std::filesystem::path& path, const HeatMapGrid& grid) {
  write_png(draw(groups, grid), path);
}

}  // namespace headshare
