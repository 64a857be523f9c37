#pragma once

#include <array>
#include <string>
#include <string_view>

#include "core/size.h"

namespace headshare {

// A proportional pixel font, part of the program so that a picture looks the same on every machine. It knows ASCII,
// the German letters, a few of their neighbours' and some signs; anything else is shown as an empty box.
inline constexpr Size font_height = 11;       // rows: 2 for the dots of capitals, 7 for capitals, 2 below the line
inline constexpr Size font_letter_space = 1;  // columns between two glyphs

struct Glyph {
  Size width;                                        // columns, at most 5
  std::array<std::array<bool, 5>, font_height> ink;  // [row][column]
  bool at(Size row, Size column) const {             // false outside the glyph
    return row >= 0 && row < font_height && column >= 0 && column < width &&
           ink[static_cast<std::size_t>(row)][static_cast<std::size_t>(column)];
  }
};

const Glyph& glyph(char32_t code_point);

// How many pixels wide a UTF-8 text is when each dot of the font is scale x scale pixels.
Size text_pixels(std::string_view utf8, Size scale);

// The text itself if it is not wider than `pixels`, otherwise its beginning with "…" behind it.
std::string fit_text(std::string_view utf8, Size scale, Size pixels);

}  // namespace headshare
