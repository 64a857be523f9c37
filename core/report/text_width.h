#pragma once

#include <string_view>

#include "core/size.h"
#include "core/text/utf8.h"

namespace headshare {

// How many columns a text takes on a terminal, counted in code points.
inline Size text_width(std::string_view utf8) { return static_cast<Size>(decode_utf8(utf8).size()); }

// The longest beginning of the text that is not wider than `width`. Never cuts inside a character.
inline std::string_view cut_text(std::string_view utf8, Size width) {
  Size end = 0;
  for (Size taken = 0; end < static_cast<Size>(utf8.size()) && taken < width; ++taken)
    end += code_point_at(utf8, end).bytes;
  return utf8.substr(0, static_cast<std::size_t>(end));
}

}  // namespace headshare
