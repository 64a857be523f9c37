#pragma once

#include "core/report/canvas.h"
#include "core/size.h"

// What tests ask about a picture.

namespace headshare::test {

inline constexpr Color red{255, 0, 0};

inline Size count_of(const Canvas& canvas, Color color) {
  Size count = 0;
  for (Size y = 0; y < canvas.height(); ++y)
    for (Size x = 0; x < canvas.width(); ++x) count += canvas.pixel(x, y) == color ? 1 : 0;
  return count;
}

inline bool same_pixels(const Canvas& a, const Canvas& b) {
  if (a.width() != b.width() || a.height() != b.height()) return false;
  for (Size y = 0; y < a.height(); ++y)
    for (Size x = 0; x < a.width(); ++x)
      if (a.pixel(x, y) != b.pixel(x, y)) return false;
  return true;
}

}  // namespace headshare::test
