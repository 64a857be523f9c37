#pragma once

#include <string>
#include <vector>

#include "core/report/line_chart.h"

namespace headshare {

struct Tick {
  double value;
  std::string label;
};

// One axis of a chart: which numbers it covers and where they stand.
class Axis {
 public:
  // Covers all values that can be shown, with some room when they are equal; 0 to 1 (1 to 10) when there are none.
  Axis(AxisScale scale, const std::vector<double>& values);

  // Can the value stand on this kind of axis?
  static bool shows(AxisScale scale, double value);

  // 0 at the lower end, 1 at the upper.
  double position(double value) const;

  // At round numbers (1, 2 or 5 times a power of ten), about `wanted` of them.
  std::vector<Tick> ticks(Size wanted) const;

  // Moves the ends outwards to the next tick, so that curves do not touch the frame.
  void extend_to_ticks(Size wanted);

 private:
  double measure(double value) const;  // the value, or its logarithm

  AxisScale scale_;
  double low_, high_;
};

}  // namespace headshare
