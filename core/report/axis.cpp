#include "core/report/axis.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/report/progress.h"

namespace headshare {
namespace {

// 1, 2 or 5 times a power of ten, the smallest of them that is not below `step`.
double round_step(double step) {
  const double power = std::pow(10, std::floor(std::log10(step)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= step * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

// "1,500", "0.25", "2e-05": with the digits that tell it from a neighbour `step` away.
std::string tick_label(double value, double step) {
  const double magnitude = std::max(std::abs(value), step);
  char label[64];
  if (magnitude >= 1e8 || step < 1e-4) {
    const int digits = 1 + static_cast<int>(std::ceil(std::log10(magnitude / step)));
    std::snprintf(label, sizeof label, "%.*g", digits, std::abs(value) < step / 2 ? 0.0 : value);
    return label;
  }
  if (step >= 1 - 1e-9) return with_thousands(std::llround(value));
  const int decimals = static_cast<int>(std::ceil(-std::log10(step) - 1e-9));
  std::snprintf(label, sizeof label, "%.*f", decimals, std::abs(value) < step / 2 ? 0.0 : value);
  return label;
}

}  // namespace

Axis::Axis(AxisScale scale, const std::vector<double>& values) : scale_(scale), low_(0), high_(1) {
  bool any = false;
  for (const double value : values) {
    if (!shows(scale, value)) continue;
    low_ = any ? std::min(low_, value) : value;
    high_ = any ? std::max(high_, value) : value;
    any = true;
  }
  if (!any && scale == AxisScale::logarithmic) low_ = 1, high_ = 10;
  // Equal values stand in the middle. So do values that differ only in their last bits: ticks between them would all
  // have the same label.
  const double middle = low_ + (high_ - low_) / 2;
  if (scale == AxisScale::logarithmic && high_ / low_ < 1 + 1e-6) low_ = middle / 2, high_ = middle * 2;
  if (scale == AxisScale::linear && high_ - low_ <= 1e-9 * std::abs(middle)) {
    const double room = middle == 0 ? 1 : std::abs(middle) / 2;
    low_ = middle - room;
    high_ = middle + room;
  }
}

bool Axis::shows(AxisScale scale, double value) {
  // Beyond these, differences of values would overflow or vanish.
  const double magnitude = std::abs(value);
  if (!(magnitude < 1e300)) return false;
  return scale == AxisScale::linear || value > 1e-300;
}

double Axis::measure(double value) const { return scale_ == AxisScale::linear ? value : std::log10(value); }

double Axis::position(double value) const {
  return (measure(value) - measure(low_)) / (measure(high_) - measure(low_));
}

std::vector<Tick> Axis::ticks(Size wanted) const {
  std::vector<Tick> ticks;
  const double count = static_cast<double>(std::max<Size>(2, wanted));
  const double decades = scale_ == AxisScale::logarithmic ? std::log10(high_ / low_) : 0;
  if (scale_ == AxisScale::linear || decades < 0.7) {
    // Over less than a decade a logarithmic axis is nearly straight, and even steps read best.
    const double step = round_step((high_ - low_) / count);
    const double slack = step * 1e-6;
    for (double i = std::ceil((low_ - slack) / step); i * step <= high_ + slack; ++i)
      ticks.push_back({i * step, tick_label(i * step, step)});
    return ticks;
  }
  // Powers of ten, with 2 and 5 times them when there are few, and with some left out when there are many.
  const double every = std::max(1.0, std::ceil(decades / count));
  for (double power = std::floor(std::log10(low_)); power <= std::ceil(std::log10(high_)); ++power) {
    if (std::fmod(power, every) != 0) continue;
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double value = factor * std::pow(10, power);
      const bool inside = value >= low_ * (1 - 1e-9) && value <= high_ * (1 + 1e-9);
      if (inside && (factor == 1 || 3 * decades <= count)) ticks.push_back({value, tick_label(value, value)});
    }
  }
  return ticks;
}

void Axis::extend_to_ticks(Size wanted) {
  if (scale_ == AxisScale::linear) {
    // A second time, because a longer axis may have larger steps.
    for (int pass = 0; pass < 2; ++pass) {
      const double step = round_step((high_ - low_) / static_cast<double>(std::max<Size>(2, wanted)));
      low_ = std::floor(low_ / step + 1e-6) * step;
      high_ = std::ceil(high_ / step - 1e-6) * step;
    }
    return;
  }
  // A twentieth of the length on each side: going to the next power of ten could leave half the chart empty.
  const double room = std::pow(high_ / low_, 0.05);
  low_ /= room;
  high_ *= room;
}

}  // namespace headshare
