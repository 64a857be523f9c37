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

// Times of one call, nine samples of as many calls as fill `sample_seconds`; one call before that warms up.
inline std::vector<double> samples_of_seconds(const std::function<void()>& work, double sample_seconds = 0.02) {
  work();
  const Size calls = std::max(Size{1}, static_cast<Size>(sample_seconds / std::max(seconds_of(work), 1e-9)));
  std::vector<double> samples;
  for (int sample = 0; sample < 9; ++sample)
    samples.push_back(seconds_of([&] {
                        for (Size i = 0; i < calls; ++i) work();
                      }) /
                      static_cast<double>(calls));
  return samples;
}

inline double median_seconds(const std::function<void()>& work) { return median(samples_of_seconds(work)); }

// For what a machine can do at most: all else that it does at the same time only adds to the other samples.
inline double least_seconds(const std::function<void()>& work, double sample_seconds = 0.02) {
  const std::vector<double> samples = samples_of_seconds(work, sample_seconds);
  return *std::min_element(samples.begin(), samples.end());
}

}  // namespace headshare
