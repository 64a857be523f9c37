#include "core/report/canvas.h"

#include <stb_image_write.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/file.h"
#include "core/report/font.h"
#include "core/text/utf8.h"

namespace headshare {
namespace {

constexpr Size largest_side = 20'000;

// A row or column number from a coordinate that may lie far outside the canvas.
Size clamped(double coordinate, Size limit) {
  return static_cast<Size>(std::clamp(coordinate, 0.0, static_cast<double>(limit)));
}

double distance_to_segment(Point p, Point a, Point b) {
  const double along_x = b.x - a.x, along_y = b.y - a.y;
  const double length_squared = along_x * along_x + along_y * along_y;
  double t = 0;
  if (length_squared > 0) t = std::clamp(((p.x - a.x) * along_x + (p.y - a.y) * along_y) / length_squared, 0.0, 1.0);
  return std::hypot(p.x - a.x - t * along_x, p.y - a.y - t * along_y);
}

// How much ink is on pixel (x, y) of a glyph that is drawn with scale x scale pixels per dot, from 0 to 1.
//
// Where two dots touch only at their corners, a small triangle is added on both sides of the touching point, so that
// they look like one diagonal stroke (the "character rounding" of the SAA5050 teletext chip, with anti-aliasing).
double glyph_coverage(const Glyph& glyph, Size x, Size y, Size scale) {
  const Size row = y / scale, column = x / scale;
  if (glyph.at(row, column)) return 1;
  const double in_x = (static_cast<double>(x % scale) + 0.5) / static_cast<double>(scale);
  const double in_y = (static_cast<double>(y % scale) + 0.5) / static_cast<double>(scale);
  for (const Size right : {-1, 1}) {
    for (const Size down : {-1, 1}) {
      const bool dots_touch =
          glyph.at(row, column + right) && glyph.at(row + down, column) && !glyph.at(row + down, column + right);
      if (!dots_touch) continue;
      const double to_corner = (right > 0 ? 1 - in_x : in_x) + (down > 0 ? 1 - in_y : in_y);
      const double coverage = std::clamp((0.5 - to_corner) * static_cast<double>(scale) + 0.5, 0.0, 1.0);
      if (coverage > 0) return coverage;
    }
  }
  return 0;
}

Size anchored(double coordinate, Anchor anchor, Size extent) {
  const Size at = std::llround(coordinate);
  return anchor == Anchor::start ? at : anchor == Anchor::middle ? at - extent / 2 : at - extent;
}

}  // namespace

Canvas::Canvas(Size width, Size height, Color background) : width_(width), height_(height) {
  if (width < 1 || height < 1 || width > largest_side || height > largest_side)
    fail("picture: ", width, " x ", height, " pixels; each side must be between 1 and ", largest_side,
         ", so draw fewer things in one picture");
  pixels_.assign(static_cast<std::size_t>(width * height), background);
}

Color Canvas::pixel(Size x, Size y) const {
  if (x < 0 || y < 0 || x >= width_ || y >= height_)
    fail("picture: pixel (", x, ", ", y, ") is outside its ", width_, " x ", height_, " pixels");
  return pixels_[static_cast<std::size_t>(y * width_ + x)];
}

void Canvas::blend(Size x, Size y, Color color, double coverage) {
  if (x < 0 || y < 0 || x >= width_ || y >= height_ || !(coverage > 0)) return;
  Color& below = pixels_[static_cast<std::size_t>(y * width_ + x)];
  const auto mix = [&](std::uint8_t old_value, std::uint8_t new_value) {
    return static_cast<std::uint8_t>(std::lround(old_value + coverage * (new_value - old_value)));
  };
  below = {mix(below.red, color.red), mix(below.green, color.green), mix(below.blue, color.blue)};
}

void Canvas::fill_rectangle(Size left, Size top, Size width, Size height, Color color) {
  const Size right = std::min(left + width, width_), bottom = std::min(top + height, height_);
  for (Size y = std::max<Size>(0, top); y < bottom; ++y)
    for (Size x = std::max<Size>(0, left); x < right; ++x) pixels_[static_cast<std::size_t>(y * width_ + x)] = color;
}

void Canvas::draw_rectangle(Size left, Size top, Size width, Size height, Color color) {
  fill_rectangle(left, top, width, 1, color);
  fill_rectangle(left, top + height - 1, width, 1, color);
  fill_rectangle(left, top, 1, height, color);
  fill_rectangle(left + width - 1, top, 1, height, color);
}

void Canvas::draw_line(std::span<const Point> points, double thickness, Color color) {
  if (points.empty()) return;
  const double reach = thickness / 2 + 1;
  Point low = points.front(), high = points.front();
  for (const Point& p : points) {
    low = {std::min(low.x, p.x), std::min(low.y, p.y)};
    high = {std::max(high.x, p.x), std::max(high.y, p.y)};
  }
  const Size left = clamped(low.x - reach, width_), right = clamped(high.x + reach + 1, width_);
  const Size top = clamped(low.y - reach, height_), bottom = clamped(high.y + reach + 1, height_);
  if (left >= right || top >= bottom) return;

  // The strongest coverage of any segment counts, and colour is mixed in once: mixing per segment would darken the
  // edges wherever two segments meet.
  std::vector<float> coverage(static_cast<std::size_t>((right - left) * (bottom - top)), 0.0f);
  for (std::size_t i = 0; i < points.size(); ++i) {
    const Point a = points[i], b = points[std::min(i + 1, points.size() - 1)];
    const Size from_y = clamped(std::min(a.y, b.y) - reach, height_);
    const Size to_y = clamped(std::max(a.y, b.y) + reach + 1, height_);
    const Size from_x = clamped(std::min(a.x, b.x) - reach, width_);
    const Size to_x = clamped(std::max(a.x, b.x) + reach + 1, width_);
    for (Size y = from_y; y < to_y; ++y) {
      for (Size x = from_x; x < to_x; ++x) {
        const Point centre{static_cast<double>(x) + 0.5, static_cast<double>(y) + 0.5};
        const double inside = std::clamp(thickness / 2 + 0.5 - distance_to_segment(centre, a, b), 0.0, 1.0);
        float& strongest = coverage[static_cast<std::size_t>((y - top) * (right - left) + x - left)];
        strongest = std::max(strongest, static_cast<float>(inside));
      }
    }
  }
  for (Size y = top; y < bottom; ++y)
    for (Size x = left; x < right; ++x)
      blend(x, y, color, coverage[static_cast<std::size_t>((y - top) * (right - left) + x - left)]);
}

void Canvas::fill_circle(Point centre, double radius, Color color) { draw_line({&centre, 1}, 2 * radius, color); }

void Canvas::draw_text(Point at, std::string_view utf8, const TextStyle& style) {
  if (style.scale < 1) fail("picture: text at scale ", style.scale, "; the smallest is 1");
  const bool rightwards = style.direction == TextDirection::rightwards;
  const Size along = text_pixels(utf8, style.scale), across = font_height * style.scale;
  // An upward text is the same picture turned to the left: its reading direction runs against y.
  const Size x0 = rightwards ? anchored(at.x, style.along, along) : anchored(at.x, style.across, across);
  const Size y0 = rightwards ? anchored(at.y, style.across, across) : -anchored(-at.y, style.along, along);
  Size pen = 0;
  for (const char32_t code_point : decode_utf8(utf8)) {
    const Glyph& letter = glyph(code_point);
    for (Size b = 0; b < across; ++b) {
      for (Size a = 0; a < letter.width * style.scale; ++a) {
        const double coverage = glyph_coverage(letter, a, b, style.scale);
        if (rightwards)
          blend(x0 + pen + a, y0 + b, style.color, coverage);
        else
          blend(x0 + b, y0 - 1 - pen - a, style.color, coverage);
      }
    }
    pen += (letter.width + font_letter_space) * style.scale;
  }
}

std::string Canvas::encode_png() const {
  static_assert(sizeof(Color) == 3, "the encoder reads pixels as packed bytes");
  std::string png;
  const auto collect = [](void* context, void* bytes, int size) {
    static_cast<std::string*>(context)->append(static_cast<const char*>(bytes), static_cast<std::size_t>(size));
  };
  const int width = static_cast<int>(width_), height = static_cast<int>(height_);
  if (stbi_write_png_to_func(collect, &png, width, height, 3, pixels_.data(), 3 * width) == 0)
    fail("picture: ", width_, " x ", height_, " pixels could not be encoded; is memory short?");
  return png;
}

void write_png(const Canvas& canvas, const std::filesystem::path& path) { write_file(path, canvas.encode_png()); }

}  // namespace headshare
