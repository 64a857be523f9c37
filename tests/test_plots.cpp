#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>

#include "core/error.h"
#include "core/file.h"
#include "core/report/axis.h"
#include "core/report/canvas.h"
#include "core/report/font.h"
#include "core/report/heat_map.h"
#include "core/report/line_chart.h"

using namespace headshare;

namespace {

constexpr double missing = std::numeric_limits<double>::quiet_NaN();

int brightness(Color color) { return color.red + color.green + color.blue; }

Size count_of(const Canvas& canvas, Color color) {
  Size count = 0;
  for (Size y = 0; y < canvas.height(); ++y)
    for (Size x = 0; x < canvas.width(); ++x) count += canvas.pixel(x, y) == color ? 1 : 0;
  return count;
}

bool same_pixels(const Canvas& a, const Canvas& b) {
  if (a.width() != b.width() || a.height() != b.height()) return false;
  for (Size y = 0; y < a.height(); ++y)
    for (Size x = 0; x < a.width(); ++x)
      if (a.pixel(x, y) != b.pixel(x, y)) return false;
  return true;
}

unsigned big_endian(const std::string& bytes, std::size_t at) {
  unsigned value = 0;
  for (std::size_t i = at; i < at + 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

std::vector<std::string> labels_of(const std::vector<Tick>& ticks) {
  std::vector<std::string> labels;
  for (const Tick& tick : ticks) labels.push_back(tick.label);
  return labels;
}

using Labels = std::vector<std::string>;
constexpr Color red{255, 0, 0};

}  // namespace

TEST_CASE("a rectangle colours exactly its pixels and is cut off at the border of the canvas") {
  Canvas canvas(5, 4);
  canvas.fill_rectangle(1, 2, 2, 1, red);
  CHECK(count_of(canvas, red) == 2);
  CHECK(canvas.pixel(1, 2) == red);
  CHECK(canvas.pixel(2, 2) == red);
  canvas.fill_rectangle(-3, -3, 4, 4, red);
  canvas.fill_rectangle(4, 3, 100, 100, red);
  CHECK(count_of(canvas, red) == 4);
  canvas.fill_rectangle(0, 0, 5, 4, colors::white);
  canvas.draw_rectangle(0, 0, 5, 4, red);
  CHECK(count_of(canvas, red) == 14);
  CHECK(canvas.pixel(2, 1) == colors::white);
}

TEST_CASE("a line covers the pixels it passes and half covers those it touches half") {
  Canvas canvas(20, 9);
  const Point along_pixels[] = {{2.5, 2.5}, {17.5, 2.5}};
  canvas.draw_line(along_pixels, 1, colors::black);
  CHECK(canvas.pixel(2, 2) == colors::black);
  CHECK(canvas.pixel(17, 2) == colors::black);
  CHECK(canvas.pixel(10, 1) == colors::white);
  CHECK(canvas.pixel(10, 3) == colors::white);
  const Point between_pixels[] = {{2.5, 7}, {17.5, 7}};
  canvas.draw_line(between_pixels, 1, colors::black);
  CHECK(canvas.pixel(10, 6) == Color{128, 128, 128});
  CHECK(canvas.pixel(10, 7) == Color{128, 128, 128});
}

TEST_CASE("where two pieces of a line meet it is as dark as elsewhere") {
  Canvas one(20, 5), two(20, 5);
  const Point whole[] = {{2, 2}, {18, 2}}, pieces[] = {{2, 2}, {10, 2}, {18, 2}};
  one.draw_line(whole, 1, colors::black);
  two.draw_line(pieces, 1, colors::black);
  CHECK(same_pixels(one, two));
}

TEST_CASE("lines far outside the canvas are harmless") {
  Canvas canvas(10, 10);
  const Point far[] = {{-1e30, 5.5}, {1e30, 5.5}}, away[] = {{50, 50}, {60, 1e30}};
  canvas.draw_line(far, 1, red);
  canvas.draw_line(away, 3, red);
  canvas.draw_line({}, 3, red);
  CHECK(canvas.pixel(0, 5) == red);
  CHECK(count_of(canvas, red) == 10);
}

TEST_CASE("a circle has the area of a circle") {
  Canvas canvas(41, 41);
  canvas.fill_circle({20.5, 20.5}, 15, colors::black);
  double area = 0;
  for (Size y = 0; y < 41; ++y)
    for (Size x = 0; x < 41; ++x) area += 1 - canvas.pixel(x, y).red / 255.0;
  CHECK(area == doctest::Approx(3.14159265 * 15 * 15).epsilon(0.005));
}

TEST_CASE("text is drawn dot by dot, and upward text is the same picture turned to the left") {
  const std::string word = "Fußgänger €5";
  for (const Size scale : {1, 2, 3}) {
    const Size width = text_pixels(word, scale), height = font_height * scale;
    Canvas level(width, height), upright(height, width);
    level.draw_text({0, 0}, word, {.scale = scale, .color = red});
    upright.draw_text({0, static_cast<double>(width)}, word,
                      {.scale = scale, .color = red, .direction = TextDirection::upwards});
    CHECK(count_of(level, red) > 100);
    Size different = 0;
    for (Size y = 0; y < height; ++y)
      for (Size x = 0; x < width; ++x) different += level.pixel(x, y) != upright.pixel(y, width - 1 - x) ? 1 : 0;
    CHECK(different == 0);
  }
  Canvas letter(5, font_height);  // an F: stem of 7, arms of 5 and 4
  letter.draw_text({0, 0}, "F", {.scale = 1, .color = red});
  CHECK(count_of(letter, red) == 7 + 4 + 3);
  CHECK(letter.pixel(0, 8) == red);
  CHECK(letter.pixel(4, 2) == red);
  CHECK(letter.pixel(0, 9) == colors::white);
}

TEST_CASE("anchors move a text by its own size") {
  const Size width = text_pixels("ab", 2);
  Canvas start(60, 30), middle(60, 30), end(60, 30);
  start.draw_text({10, 4}, "ab", {.scale = 2});
  middle.draw_text({static_cast<double>(10 + width / 2), 4 + 11}, "ab",
                   {.scale = 2, .along = Anchor::middle, .across = Anchor::middle});
  end.draw_text({static_cast<double>(10 + width), 4 + 22}, "ab",
                {.scale = 2, .along = Anchor::end, .across = Anchor::end});
  CHECK(same_pixels(start, middle));
  CHECK(same_pixels(start, end));
}

TEST_CASE("every printable letter has a picture of its own and unknown ones are an empty box") {
  const auto same_glyph = [](char32_t a, char32_t b) { return glyph(a).ink == glyph(b).ink; };
  std::u32string known;
  for (char32_t letter = U' '; letter <= U'~'; ++letter) known += letter;
  known += U"äöüÄÖÜß€…–×·→≤é";
  for (std::size_t i = 0; i < known.size(); ++i) {
    CAPTURE(static_cast<unsigned>(known[i]));
    CHECK(glyph(known[i]).width >= 1);
    CHECK_FALSE(same_glyph(known[i], U'世'));
    for (std::size_t j = 0; j < i; ++j) {
      const bool zero_and_o = known[j] == U'0' && known[i] == U'O';  // twins, as in many typefaces
      CHECK(same_glyph(known[i], known[j]) == zero_and_o);
    }
  }
  CHECK(same_glyph(U'世', U'Ж'));
  for (char32_t digit = U'0'; digit <= U'9'; ++digit) CHECK(glyph(digit).width == glyph(U'0').width);
}

TEST_CASE("a text that does not fit ends in an ellipsis and then fits") {
  CHECK(fit_text("kurz", 2, 500) == "kurz");
  CHECK(fit_text("kurz", 2, text_pixels("kurz", 2)) == "kurz");
  for (const Size pixels : {20, 57, 101}) {
    const std::string cut = fit_text("Überschwänglichkeit", 2, pixels);
    CHECK(text_pixels(cut, 2) <= pixels);
    CHECK(cut.substr(cut.size() - 3) == "…");
  }
  CHECK(fit_text("ab cd", 1, text_pixels("ab …", 1)) == "ab…");
}

TEST_CASE("a PNG has the signature, the size and the end of a PNG and replaces a file only as a whole") {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / text("headshare_plot_", static_cast<long>(::getpid()), ".png");
  write_png(Canvas(33, 7, red), path);
  const std::string png = read_file(path);
  std::filesystem::remove(path);
  CHECK(png.substr(0, 8) == "\x89PNG\r\n\x1A\n");
  CHECK(png.substr(12, 4) == "IHDR");
  CHECK(big_endian(png, 16) == 33);
  CHECK(big_endian(png, 20) == 7);
  CHECK(png[24] == 8);  // bits per channel
  CHECK(png[25] == 2);  // RGB
  CHECK(png.substr(png.size() - 8, 4) == "IEND");
}

TEST_CASE("a canvas of impossible size and a pixel outside are errors") {
  CHECK_THROWS_WITH_AS(Canvas(0, 5),
                       "picture: 0 x 5 pixels; each side must be between 1 and 20000, so draw fewer things in one "
                       "picture",
                       Error);
  CHECK_THROWS_AS(Canvas(5, 20'001), Error);
  CHECK_THROWS_WITH_AS(Canvas(3, 3).pixel(3, 0), "picture: pixel (3, 0) is outside its 3 x 3 pixels", Error);
  CHECK_THROWS_AS(Canvas(3, 3).draw_text({0, 0}, "a", {.scale = 0}), Error);
}

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
