#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/size.h"

namespace headshare {

struct Color {
  std::uint8_t red, green, blue;
  bool operator==(const Color&) const = default;
};

namespace colors {
inline constexpr Color white{255, 255, 255};
inline constexpr Color black{0, 0, 0};
inline constexpr Color ink{38, 42, 48};       // text
inline constexpr Color pale{110, 116, 125};   // second-rank text
inline constexpr Color frame{150, 156, 165};  // axes
inline constexpr Color grid{230, 233, 237};
}  // namespace colors

// A position on a canvas in pixels, x to the right and y down. The centre of the first pixel is (0.5, 0.5).
struct Point {
  double x, y;
};

// Which part of a text, along its reading direction or across it, stands at the given point.
enum class Anchor { start, middle, end };

enum class TextDirection { rightwards, upwards };

struct TextStyle {
  Size scale = 2;  // pixels per dot of the font
  Color color = colors::ink;
  Anchor along = Anchor::start;   // start: the text begins at the point
  Anchor across = Anchor::start;  // start: the point is at the top of the letters (at the left of an upward text)
  TextDirection direction = TextDirection::rightwards;
};

// A picture of RGB pixels to draw on. What falls outside is cut off.
class Canvas {
 public:
  // Fails unless both sides are between 1 and 20,000 pixels.
  Canvas(Size width, Size height, Color background = colors::white);

  Size width() const { return width_; }
  Size height() const { return height_; }

  // Fails outside the canvas.
  Color pixel(Size x, Size y) const;

  void fill_rectangle(Size left, Size top, Size width, Size height, Color color);

  // The border of that rectangle, one pixel wide and inside it.
  void draw_rectangle(Size left, Size top, Size width, Size height, Color color);

  // One anti-aliased line through all points, `thickness` pixels wide, with round ends.
  void draw_line(std::span<const Point> points, double thickness, Color color);

  // An anti-aliased disc.
  void fill_circle(Point centre, double radius, Color color);

  // UTF-8 in the font of font.h. Diagonal strokes are rounded, so that scale 2 and more does not look like stairs.
  void draw_text(Point at, std::string_view utf8, const TextStyle& style);

  std::string encode_png() const;

 private:
  void blend(Size x, Size y, Color color, double coverage);

  Size width_, height_;
  std::vector<Color> pixels_;  // [height, width]
};

void write_png(const Canvas& canvas, const std::filesystem::path& path);

}  // namespace headshare
