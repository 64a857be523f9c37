#pragma once

#include <string>

#include "core/device.h"

namespace headshare {

// In what a model computes. Its parameters, their gradients' sums and Adam's moments are float32 whatever this says
// (Micikevicius et al. 2018, "Mixed Precision Training"), so a model can be computed with in another way at any time.
//   fp32  float32 throughout
//   tf32  float32 in memory; products round their factors to ten bits of fraction, for the tensor cores
//   bf16  activations and their gradients are bfloat16: half the bytes, and the tensor cores' full speed. Products,
//         softmax, layer norm and loss still add up in float32
enum class Precision { fp32, tf32, bf16 };

std::string name(Precision precision);
Precision parse_precision(const std::string& word);

// Fails, saying what to do, where the device cannot compute in it: tf32 and bf16 take Device::cuda, and of a GPU
// compute capability 8.0.
void check(Precision precision, Device device);

}  // namespace headshare
