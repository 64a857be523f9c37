#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "core/size.h"

namespace headshare {

inline double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline double median(std::vector<double> samples) {
  const auto middle = samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2);
  std::nth_element(samples.begin(), middle, samples.end());
  return *middle;
}

// Median time of one call, over nine samples of as many calls as fill 20 ms; one call before that warms up.
inline double median_seconds(const std::function<void()>& work) {
  work();
  const Size calls = std::max(Size{1}, static_cast<Size>(0.02 / std::max(seconds_of(work), 1e-9)));
  std::vector<double> samples;
  for (int sample = 0; sample < 9; ++sample)
    samples.push_back(seconds_of([&] {
                        for (Size i = 0; i < calls; ++i) work();
                      }) /
                      static_cast<double>(calls));
  return median(samples);
}

}  // namespace headshare
