#include "core/report/canvas.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "core/error.h"
#include "core/file.h"
#include "core/report/font.h"
#include "tests/plot_helpers.h"

using namespace headshare;
using namespace headshare::test;

namespace {

unsigned big_endian(const std::string& bytes, std::size_t at) {
  unsigned value = 0;
  for (std::size_t i = at; i < at + 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

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
