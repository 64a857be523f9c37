#pragma once

#include <algorithm>
#include <cmath>

#include "core/size.h"

namespace headshare {

// The learning rate at each step, counted from 1: linear warm-up to `peak`, then proportional to 1 / sqrt(step)
// (Vaswani et al. 2017, 5.3, with the peak given directly), and, where decay_steps > 0, from step decay_after on
// linearly to 0, which the last step has.
struct Schedule {
  double peak = 1e-3;
  Size warmup = 1000;    // steps
  Size decay_after = 0;  // last step before the decay
  Size decay_steps = 0;  // length of the decay; 0: none

  double learning_rate(Size step) const {
    if (decay_steps > 0 && step > decay_after) {
      const double left = static_cast<double>(decay_after + decay_steps - step) / static_cast<double>(decay_steps);
      return without_decay(std::max(decay_after, Size{1})) * std::max(left, 0.0);
    }
    return without_decay(step);
  }

 private:
  double without_decay(Size step) const {
    const double s = static_cast<double>(step), w = static_cast<double>(std::max(warmup, Size{1}));
    return peak * std::min(s / w, std::sqrt(w / s));
  }
};

}  // namespace headshare
