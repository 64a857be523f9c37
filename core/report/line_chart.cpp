#include "core/report/line_chart.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "core/error.h"
#include "core/report/axis.h"
#include "core/report/font.h"

namespace headshare {
namespace {

constexpr Size margin = 28;
constexpr Size title_scale = 3, label_scale = 2;
constexpr Size label_height = font_height * label_scale;
constexpr Size gap = 12;  // between neighbouring parts
constexpr Size pixels_per_x_tick = 130, pixels_per_y_tick = 75;
constexpr double line_thickness = 2.5, marker_radius = 4.5;
constexpr Size longest_marked_series = 25;

// Okabe and Ito, "Color Universal Design", 2008, without its yellow, which white paper swallows.
constexpr std::array<Color, 7> palette{
    {{0, 114, 178}, {213, 94, 0}, {0, 158, 115}, {204, 121, 167}, {86, 180, 233}, {230, 159, 0}, {70, 70, 70}}};

Color color_of(const LineChart& chart, std::size_t index) {
  return chart.series[index].color.value_or(palette[index % palette.size()]);
}

// The inner rectangle that the axes enclose.
struct Frame {
  Size left, top, right, bottom;
};

struct Axes {
  Axis x, y;
};

Point place(const Frame& frame, const Axes& axes, double x, double y) {
  return {static_cast<double>(frame.left) + axes.x.position(x) * static_cast<double>(frame.right - frame.left),
          static_cast<double>(frame.bottom) - axes.y.position(y) * static_cast<double>(frame.bottom - frame.top)};
}

bool is_shown(const LineChart& chart, const Series& series, std::size_t i) {
  return Axis::shows(chart.x_scale, series.x[i]) && Axis::shows(chart.y_scale, series.y[i]);
}

// Only points that are shown count: the x of a gap must not stretch the axis.
Axes axes_for(const LineChart& chart) {
  std::vector<double> x, y;
  for (const Series& series : chart.series) {
    for (std::size_t i = 0; i < series.x.size(); ++i) {
      if (!is_shown(chart, series, i)) continue;
      x.push_back(series.x[i]);
      y.push_back(series.y[i]);
    }
  }
  return {Axis(chart.x_scale, x), Axis(chart.y_scale, y)};
}

// Names side by side above the frame, where they cannot hide a curve; a new line where one is full. Returns the y
// below.
Size draw_legend(Canvas& canvas, const LineChart& chart, Size left, Size top, Size right) {
  constexpr Size sample = 28, space = 8;
  Size x = left, y = top;
  bool any = false;
  for (std::size_t s = 0; s < chart.series.size(); ++s) {
    if (chart.series[s].name.empty()) continue;
    const std::string name = fit_text(chart.series[s].name, label_scale, right - left - sample - space);
    const Size width = sample + space + text_pixels(name, label_scale);
    if (any && x + width > right) {
      x = left;
      y += label_height + space / 2;
    }
    const double middle = static_cast<double>(y) + static_cast<double>(label_height) / 2;
    const std::array<Point, 2> line{
        {{static_cast<double>(x) + 2, middle}, {static_cast<double>(x + sample) - 2, middle}}};
    canvas.draw_line(line, 4, color_of(chart, s));
    canvas.draw_text({static_cast<double>(x + sample + space), static_cast<double>(y)}, name, {.scale = label_scale});
    x += width + 2 * gap + space;
    any = true;
  }
  return any ? y + label_height + gap : top;
}

void draw_grid(Canvas& canvas, const Frame& frame, const Axes& axes, const std::vector<Tick>& x_ticks,
               const std::vector<Tick>& y_ticks) {
  const Size width = frame.right - frame.left, height = frame.bottom - frame.top;
  for (const Tick& tick : x_ticks) {
    const double x = static_cast<double>(frame.left) + axes.x.position(tick.value) * static_cast<double>(width);
    canvas.fill_rectangle(static_cast<Size>(x), frame.top, 1, height, colors::grid);
    canvas.fill_rectangle(static_cast<Size>(x), frame.bottom, 1, 6, colors::frame);
    canvas.draw_text({x, static_cast<double>(frame.bottom + 8)}, tick.label,
                     {.scale = label_scale, .color = colors::pale, .along = Anchor::middle});
  }
  for (const Tick& tick : y_ticks) {
    const double y = static_cast<double>(frame.bottom) - axes.y.position(tick.value) * static_cast<double>(height);
    canvas.fill_rectangle(frame.left, static_cast<Size>(y), width, 1, colors::grid);
    canvas.fill_rectangle(frame.left - 6, static_cast<Size>(y), 6, 1, colors::frame);
    canvas.draw_text({static_cast<double>(frame.left - gap), y}, tick.label,
                     {.scale = label_scale, .color = colors::pale, .along = Anchor::end, .across = Anchor::middle});
  }
  canvas.draw_rectangle(frame.left, frame.top, width + 1, height + 1, colors::frame);
}

void draw_series(Canvas& canvas, const LineChart& chart, std::size_t index, const Frame& frame, const Axes& axes) {
  const Series& series = chart.series[index];
  const Color color = color_of(chart, index);
  const bool is_short = static_cast<Size>(series.x.size()) <= longest_marked_series;
  std::vector<Point> stretch;  // the points since the last gap
  const auto draw_stretch = [&] {
    canvas.draw_line(stretch, line_thickness, color);
    if (is_short || stretch.size() == 1)
      for (const Point& point : stretch) canvas.fill_circle(point, marker_radius, color);
    stretch.clear();
  };
  for (std::size_t i = 0; i < series.x.size(); ++i) {
    if (is_shown(chart, series, i))
      stretch.push_back(place(frame, axes, series.x[i], series.y[i]));
    else
      draw_stretch();
  }
  draw_stretch();
}

}  // namespace

Canvas draw(const LineChart& chart) {
  if (chart.width < 320 || chart.height < 240)
    fail("line chart: ", chart.width, " x ", chart.height, " pixels leave no room for it; needed at least 320 x 240");
  for (const Series& series : chart.series)
    if (series.x.size() != series.y.size())
      fail("line chart: series \"", series.name, "\" has ", series.x.size(), " x values but ", series.y.size(),
           " y values");

  Canvas canvas(chart.width, chart.height);
  Axes axes = axes_for(chart);
  const bool has_data = std::any_of(chart.series.begin(), chart.series.end(), [&](const Series& series) {
    for (std::size_t i = 0; i < series.x.size(); ++i)
      if (is_shown(chart, series, i)) return true;
    return false;
  });

  // From the outside inwards; the width of the labels at the y axis decides where the frame begins.
  Frame frame{margin, margin, chart.width - margin, chart.height - margin};
  if (!chart.title.empty()) {
    const std::string title = fit_text(chart.title, title_scale, frame.right - frame.left);
    canvas.draw_text({static_cast<double>(chart.width) / 2, static_cast<double>(frame.top - 8)}, title,
                     {.scale = title_scale, .along = Anchor::middle});
    frame.top += font_height * title_scale + gap / 2;
  }
  frame.bottom -= label_height + gap / 2;
  if (!chart.x_label.empty()) frame.bottom -= label_height + gap;
  const Size x_ticks_wanted = (frame.right - frame.left) / pixels_per_x_tick;
  const Size y_ticks_wanted = (frame.bottom - frame.top) / pixels_per_y_tick;
  axes.y.extend_to_ticks(y_ticks_wanted);
  const std::vector<Tick> x_ticks = has_data ? axes.x.ticks(x_ticks_wanted) : std::vector<Tick>{};
  const std::vector<Tick> y_ticks = has_data ? axes.y.ticks(y_ticks_wanted) : std::vector<Tick>{};
  Size widest = 0;
  for (const Tick& tick : y_ticks) widest = std::max(widest, text_pixels(tick.label, label_scale));
  frame.left += widest + gap;
  if (!chart.y_label.empty()) frame.left += label_height + gap;
  // The last label of the x axis is centred below its tick and may reach beyond the frame.
  if (!x_ticks.empty()) frame.right -= std::max<Size>(0, text_pixels(x_ticks.back().label, label_scale) / 2 - gap);
  frame.top = draw_legend(canvas, chart, frame.left, frame.top, frame.right);

  draw_grid(canvas, frame, axes, x_ticks, y_ticks);
  const Point centre{static_cast<double>(frame.left + frame.right) / 2,
                     static_cast<double>(frame.top + frame.bottom) / 2};
  canvas.draw_text({centre.x, static_cast<double>(chart.height - margin - label_height)},
                   fit_text(chart.x_label, label_scale, frame.right - frame.left),
                   {.scale = label_scale, .along = Anchor::middle});
  canvas.draw_text({static_cast<double>(margin - 4), centre.y},
                   fit_text(chart.y_label, label_scale, frame.bottom - frame.top),
                   {.scale = label_scale, .along = Anchor::middle, .direction = TextDirection::upwards});
  for (std::size_t s = 0; s < chart.series.size(); ++s) draw_series(canvas, chart, s, frame, axes);
  if (!has_data)
    canvas.draw_text(centre, "no data",
                     {.scale = title_scale, .color = colors::pale, .along = Anchor::middle, .across = Anchor::middle});
  return canvas;
}

void write_png(const LineChart& chart, const std::filesystem::path& path) { write_png(draw(chart), path); }

}  // namespace headshare
