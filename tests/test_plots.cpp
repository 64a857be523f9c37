#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/report/axis.h"
#include "core/report/heat_map.h"
#include "core/report/line_chart.h"
#include "tests/plot_helpers.h"

using namespace headshare;
using namespace headshare::test;

namespace {

constexpr double missing = std::numeric_limits<double>::quiet_NaN();

using Labels = std::vector<std::string>;

int brightness(Color color) { return color.red + color.green + color.blue; }

Labels labels_of(const std::vector<Tick>& ticks) {
  Labels labels;
  for (const Tick& tick : ticks) labels.push_back(tick.label);
  return labels;
}

}  // namespace

TEST_CASE("ticks stand at round numbers and their labels tell them apart") {
  CHECK(labels_of(Axis(AxisScale::linear, {0, 2000}).ticks(5)) == Labels{"0", "500", "1,000", "1,500", "2,000"});
  CHECK(labels_of(Axis(AxisScale::linear, {-0.3, 0.31}).ticks(4)) == Labels{"-0.2", "0.0", "0.2"});
  CHECK(labels_of(Axis(AxisScale::linear, {2.41, 2.53}).ticks(6)) ==
        Labels{"2.42", "2.44", "2.46", "2.48", "2.50", "2.52"});
  CHECK(labels_of(Axis(AxisScale::linear, {0, 2e-5}).ticks(2)) == Labels{"0", "1e-05", "2e-05"});
  CHECK(labels_of(Axis(AxisScale::logarithmic, {1, 1000}).ticks(5)) == Labels{"1", "10", "100", "1,000"});
  CHECK(labels_of(Axis(AxisScale::logarithmic, {1, 20}).ticks(8)) == Labels{"1", "2", "5", "10", "20"});
  CHECK(labels_of(Axis(AxisScale::logarithmic, {0.001, 0.1}).ticks(3)) == Labels{"0.001", "0.01", "0.1"});
  for (const double low : {0.0, 1.0, -7e5, 1e8, 3.3e12}) {
    for (const double length : {1e-3, 0.7, 12.0, 4e6}) {
      CAPTURE(low);
      CAPTURE(length);
      Labels labels = labels_of(Axis(AxisScale::linear, {low, low + length}).ticks(6));
      CHECK(labels.size() >= 2);
      CHECK(labels.size() <= 13);
      std::sort(labels.begin(), labels.end());
      CHECK(std::adjacent_find(labels.begin(), labels.end()) == labels.end());
    }
  }
}

TEST_CASE("a logarithmic axis gives every factor of ten the same length") {
  const Axis axis(AxisScale::logarithmic, {1, 10000, -5, 0, missing});
  CHECK(axis.position(1) == doctest::Approx(0));
  CHECK(axis.position(10) == doctest::Approx(0.25));
  CHECK(axis.position(1000) == doctest::Approx(0.75));
}

TEST_CASE("equal values stand in the middle of an axis") {
  for (const double value : {0.0, 5.0, -3e-9, 1e200}) {
    const Axis axis(AxisScale::linear, {value, value});
    CHECK(axis.position(value) == doctest::Approx(0.5));
    CHECK(axis.ticks(5).size() >= 2);
  }
  CHECK(Axis(AxisScale::logarithmic, {7, 7}).ticks(5).size() >= 2);
}

TEST_CASE("a rising curve rises from the lower left to the upper right") {
  LineChart chart{.title = "t", .x_label = "x", .y_label = "y", .series = {{"", {0, 1}, {0, 10}, red}}};
  const Canvas canvas = draw(chart);
  CHECK(canvas.width() == 1200);
  CHECK(canvas.height() == 720);
  Size left = 10000, right = -1, y_at_left = -1, y_at_right = -1;
  for (Size x = 0; x < canvas.width(); ++x)
    for (Size y = 0; y < canvas.height(); ++y)
      if (canvas.pixel(x, y) == red) {
        if (x < left) left = x, y_at_left = y;
        if (x > right) right = x, y_at_right = y;
      }
  CHECK(left < 150);
  CHECK(right > 1100);
  CHECK(y_at_left > 500);
  CHECK(y_at_right < 150);
}

TEST_CASE("a gap interrupts a curve and a point alone between gaps is still seen") {
  const auto ink_of = [](std::vector<double> y) {
    LineChart chart;
    Series series{"", {}, std::move(y), red};
    for (std::size_t i = 0; i < series.y.size(); ++i) series.x.push_back(static_cast<double>(i));
    chart.series = {series};
    return count_of(draw(chart), red);
  };
  std::vector<double> whole(60, 1.0), broken = whole, alone(60, missing);
  for (std::size_t i = 20; i < 40; ++i) broken[i] = i % 2 == 0 ? missing : std::numeric_limits<double>::infinity();
  alone[0] = alone[30] = alone[59] = 1;
  CHECK(ink_of(whole) > 2000);
  CHECK(ink_of(broken) < ink_of(whole) * 3 / 4);
  CHECK(ink_of(broken) > ink_of(whole) / 2);
  CHECK(ink_of(alone) > 100);
  CHECK(ink_of(alone) < 250);  // three markers and no line
}

TEST_CASE("a chart without points says so and any mixture of empty, constant and negative series can be drawn") {
  const Canvas nothing = draw(LineChart{});
  CHECK(count_of(nothing, colors::pale) > 100);  // the words "no data"
  LineChart only_gaps;
  only_gaps.series = {{"", {1, 2}, {missing, missing}, {}}, {"", {}, {}, {}}};
  CHECK(same_pixels(draw(only_gaps), nothing));
  for (const AxisScale scale : {AxisScale::linear, AxisScale::logarithmic}) {
    LineChart chart{.series = {{"constant", {1, 2}, {3, 3}, red}, {"empty", {}, {}, {}}, {"negative", {1}, {-1}, {}}},
                    .y_scale = scale,
                    .width = 400,
                    .height = 300};
    CHECK(count_of(draw(chart), red) > 200);
  }
}

TEST_CASE("the legend names the series and wraps without leaving the picture") {
  LineChart chart;
  for (int i = 0; i < 12; ++i)
    chart.series.push_back({text("a series with a long name ", i), {0, 1}, {0, 1.0 * i}, red});
  const Canvas canvas = draw(chart);
  Size outside = 0;
  for (Size y = 0; y < canvas.height(); ++y)
    for (Size x = canvas.width() - 8; x < canvas.width(); ++x) outside += canvas.pixel(x, y) != colors::white ? 1 : 0;
  CHECK(outside == 0);
  const Size with_names = count_of(canvas, colors::ink);
  for (Series& series : chart.series) series.name.clear();
  CHECK(with_names > count_of(draw(chart), colors::ink) + 1000);
}

TEST_CASE("series of unequal lengths and pictures that are too small are errors") {
  LineChart chart;
  chart.series = {{"loss", {1, 2, 3}, {1, 2}, {}}};
  CHECK_THROWS_WITH_AS(draw(chart), "line chart: series \"loss\" has 3 x values but 2 y values", Error);
  chart = {};
  chart.width = 100;
  CHECK_THROWS_WITH_AS(draw(chart), "line chart: 100 x 720 pixels leave no room for it; needed at least 320 x 240",
                       Error);
}

TEST_CASE("heat colours grow brighter in steps that look equal") {
  CHECK(heat_color(-1) == heat_color(0));
  CHECK(heat_color(2) == heat_color(1));
  const auto luminance = [](Color c) { return 0.2126 * c.red + 0.7152 * c.green + 0.0722 * c.blue; };
  for (int i = 0; i < 50; ++i) {
    const double step = luminance(heat_color((i + 1) / 50.0)) - luminance(heat_color(i / 50.0));
    CHECK(step > 1);
    CHECK(step < 7);
  }
}

TEST_CASE("a larger value is a brighter cell and NaN is grey") {
  const auto drawn = [](float left, float right) {
    const HeatMap map{"", {"r"}, {"a", "b"}, {left, right}};
    return draw({&map, 1}, {.maximum = 1.0f});
  };
  const Canvas low_high = drawn(0.2f, 0.9f), high_low = drawn(0.9f, 0.2f);
  bool first = true;
  Size last_x = 0, last_y = 0;
  for (Size y = 0; y < low_high.height(); ++y)
    for (Size x = 0; x < low_high.width(); ++x) {
      if (low_high.pixel(x, y) == high_low.pixel(x, y)) continue;
      if (first) CHECK(brightness(low_high.pixel(x, y)) < brightness(high_low.pixel(x, y)));  // the left cell
      first = false;
      last_x = x, last_y = y;
    }
  REQUIRE_FALSE(first);
  CHECK(low_high.pixel(last_x, last_y) == heat_color(static_cast<double>(0.9f)));  // the right cell
  CHECK(high_low.pixel(last_x, last_y) == heat_color(static_cast<double>(0.2f)));
  const Color grey = drawn(0.2f, std::numeric_limits<float>::quiet_NaN()).pixel(last_x, last_y);
  CHECK(grey.red > 180);
  CHECK(std::abs(grey.red - grey.blue) < 20);
}

TEST_CASE("rows run down and columns run to the right") {
  const auto drawn = [](std::size_t bright) {
    HeatMap map{"", {"a", "b"}, {"c", "d", "e"}, std::vector<float>(6, 0.0f)};
    map.values[bright] = 1;
    return draw({&map, 1}, {.maximum = 1.0f});
  };
  // Where the bright cell begins, seen as the first pixel that differs from a picture with another bright cell.
  const auto corner_of = [&](std::size_t cell) {
    const Canvas canvas = drawn(cell), other = drawn(cell == 0 ? 1 : 0);
    for (Size y = 0; y < canvas.height(); ++y)
      for (Size x = 0; x < canvas.width(); ++x)
        if (canvas.pixel(x, y) != other.pixel(x, y) && canvas.pixel(x, y) == heat_color(1))
          return Point{static_cast<double>(x), static_cast<double>(y)};
    return Point{-1, -1};
  };
  const Point first = corner_of(0), end_of_first_row = corner_of(2), second_row = corner_of(3), last = corner_of(5);
  CHECK(first.x > 0);
  CHECK(end_of_first_row.y == first.y);
  CHECK(second_row.x == first.x);
  CHECK(last.x == end_of_first_row.x);
  CHECK(last.y == second_row.y);
  CHECK((last.x - first.x) == 2 * (last.y - first.y));  // two columns, one row
}

TEST_CASE("the scale of a heat map is common to all panels and ends at the largest value") {
  const std::vector<HeatMap> panels{{"weak", {"r"}, {"a"}, {0.25f}}, {"strong", {"r"}, {"a"}, {0.5f}}};
  const Canvas canvas = draw(panels);
  CHECK(count_of(canvas, heat_color(1)) > 1000);    // the strong cell
  CHECK(count_of(canvas, heat_color(0.5)) > 1000);  // the weak one is half of it, not the end of its own scale
}

TEST_CASE("panels fill rows of the given length, and many cells do not make the picture endless") {
  const HeatMap map{"head", {"a", "b"}, {"c", "d", "e"}, std::vector<float>(6, 0.5f)};
  const std::vector<HeatMap> eight(8, map);
  const Canvas wide = draw(eight, {.columns = 8}), square = draw(eight, {.columns = 3}),
               narrow = draw(eight, {.columns = 1});
  CHECK(wide.width() > square.width());
  CHECK(square.width() > narrow.width());
  CHECK(wide.height() < square.height());
  CHECK(square.height() < narrow.height());

  const Size long_text = 900;
  HeatMap large{"", {}, {}, std::vector<float>(static_cast<std::size_t>(long_text * long_text), 0.1f)};
  large.row_labels.assign(static_cast<std::size_t>(long_text), "a word of thirty-three characters");
  large.column_labels = large.row_labels;
  const std::vector<HeatMap> two(2, large);
  CHECK(draw(two).width() < 7000);
}

TEST_CASE("words that all panels share stand once, others beside every panel") {
  const HeatMap map{"", {"green", "dog"}, {"cat", "sees", "we"}, std::vector<float>(6, 0.5f)};
  std::vector<HeatMap> panels(4, map);
  const auto text_ink = [&](Size columns) {
    return count_of(draw(panels, {.columns = columns, .maximum = 1.0f}), colors::ink);
  };
  const Size once = count_of(draw({&map, 1}, {.columns = 1, .maximum = 1.0f}), colors::ink);
  const Size in_line = text_ink(4), in_column = text_ink(1), shared_width = draw(panels, {.columns = 4}).width();
  CHECK(in_line > once);
  CHECK(in_column > once);
  CHECK(in_line + in_column == 5 * once);  // words above all four and beside one, then above one and beside all four
  CHECK(text_ink(2) == 2 * once);
  std::swap(panels[3].row_labels[0], panels[3].row_labels[1]);
  for (const Size columns : {1, 2, 4}) CHECK(text_ink(columns) == 4 * once);
  CHECK(draw(panels, {.columns = 4}).width() > shared_width);
}

TEST_CASE("panels of a group stand in one frame, and groups run to the right, then down") {
  const HeatMap dark{"", {"a", "b"}, {"c", "d"}, std::vector<float>(4, 0.0f)};
  HeatMap bright = dark;
  bright.values.assign(4, 1.0f);
  const std::vector<HeatMapGroup> groups = {{"first", {dark, dark}, 2}, {"second", {bright, bright}, 2}};
  struct Box {
    Size left = 1 << 20, top = 1 << 20, right = -1, bottom = -1;
  };
  const auto box_of = [](const Canvas& canvas, Color color) {
    Box box;
    for (Size y = 0; y < canvas.height(); ++y)
      for (Size x = 0; x < canvas.width() - 100; ++x)  // not the colour bar
        if (canvas.pixel(x, y) == color)
          box = {std::min(box.left, x), std::min(box.top, y), std::max(box.right, x), std::max(box.bottom, y)};
    return box;
  };
  for (const Size across : {1, 2}) {
    CAPTURE(across);
    const Canvas canvas = draw(groups, {.columns = across, .maximum = 1.0f});
    const Box frames = box_of(canvas, colors::frame), first = box_of(canvas, heat_color(0)),
              second = box_of(canvas, heat_color(1));
    CHECK(frames.left < first.left);
    CHECK(frames.top < first.top);
    CHECK(frames.right > second.right);
    CHECK(frames.bottom > second.bottom);
    CHECK((second.left > first.right) == (across == 2));
    CHECK((second.top > first.bottom) == (across == 1));
    // Between the cells of the two groups lie the right border of one frame and the left of the other.
    Size borders = 0;
    for (Size i = across == 2 ? first.right : first.bottom; i < (across == 2 ? second.left : second.top); ++i)
      borders += canvas.pixel(across == 2 ? i : first.left, across == 2 ? first.bottom : i) == colors::frame ? 1 : 0;
    CHECK(borders == 2);
  }
  CHECK(draw(groups, {.note = "rows look at columns"}).height() > draw(groups).height());
  const std::vector<HeatMapGroup> empty = {{"nobody", {}, 2}, groups[0]};
  CHECK_THROWS_WITH_AS(draw(empty), "heat map \"nobody\": there is no panel to draw", Error);
}

TEST_CASE("labels that do not fit the values, and empty maps and scales, are errors") {
  const HeatMap good{"head 1", {"a", "b"}, {"c"}, {0.5f, 0.5f}};
  HeatMap bad = good;
  bad.values.push_back(1);
  CHECK_THROWS_WITH_AS(draw({&bad, 1}),
                       "heat map \"head 1\": 2 row labels x 1 column labels need 2 values, but there are 3", Error);
  bad = good;
  bad.column_labels.clear();
  CHECK_THROWS_WITH_AS(draw({&bad, 1}), "heat map \"head 1\": 2 row labels and 0 column labels leave nothing to draw",
                       Error);
  CHECK_THROWS_WITH_AS(draw(std::span<const HeatMap>{}), "heat map: there is no panel to draw", Error);
  CHECK_THROWS_WITH_AS(draw({&good, 1}, {.columns = 0}), "heat map: 0 panels side by side; needed at least 1", Error);
  CHECK_THROWS_WITH_AS(draw({&good, 1}, {.minimum = 1, .maximum = 0.5f}), "heat map: the scale from 1 to 0.5 is empty",
                       Error);
}
