#pragma once

#include <cstdint>

#include "core/size.h"
#include "kernels/cpu.h"
#include "kernels/cuda.h"

namespace headshare::kernels {

// Which elements are dropped is a pure function of these three numbers and the element's position, so no mask is ever
// stored: the backward computes it again, and every device and any number of threads gets the same one.
struct DropoutMask {
  double probability;  // of dropping an element; 0 <= probability <= 1
  std::uint64_t seed;  // the run's
  std::uint64_t site;  // different for every place in the model and every step, or masks would repeat
};

// Inverted dropout (Srivastava et al. 2014), so that nothing needs to be rescaled afterwards.
// y[i] = kept(i) ? x[i] / (1 - probability) : 0.                                          x, y: [n]; y may be x
// kept(i): of the eight 16-bit numbers in
//   philox(counter = {i / 8 low, i / 8 high, site low, site high}, key = {seed low, seed high})      (core/random.h)
// number i % 8 (word (i % 8) / 2, its low half first) is at least round(65536 probability).
// It is its own backward: dx = dropout of dy with the same mask. T is float or double; on Cuda also BFloat16.
// Throws Error when the probability is not within 0 .. 1.
template <class T>
void dropout(Cpu, Size n, const DropoutMask& mask, const T* x, T* y);
template <class T>
void dropout(Cuda, Size n, const DropoutMask& mask, const T* x, T* y);

}  // namespace headshare::kernels
