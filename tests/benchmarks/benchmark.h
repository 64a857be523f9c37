#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "core/size.h"

namespace headshare::benchmarks {

// Median time of one call, over nine samples of as many calls as fill 20 ms; one call before that warms up.
inline double median_seconds(const std::function<void()>& work) {
  const auto time = [&](Size calls) {
    const auto start = std::chrono::steady_clock::now();
    for (Size i = 0; i < calls; ++i) work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  work();
  const Size calls = std::max(Size{1}, static_cast<Size>(0.02 / std::max(time(1), 1e-9)));
  std::vector<double> samples(9);
  for (double& sample : samples) sample = time(calls) / static_cast<double>(calls);
  std::nth_element(samples.begin(), samples.begin() + 4, samples.end());
  return samples[4];
}

// One line of the table. flops and bytes are those of the definition: each input read once, each output written once.
struct Row {
  std::string name;
  std::string size;
  double seconds;
  double flops;
  double bytes;
};

std::vector<Row> benchmark_matmul();
std::vector<Row> benchmark_attention();
std::vector<Row> benchmark_memory_kernels();  // softmax, layer norm, cross-entropy, dropout, Adam
std::vector<Row> benchmark_training_step();   // the models of docs/results.md

}  // namespace headshare::benchmarks
