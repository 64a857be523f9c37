#pragma once

#include "kernels/cuda.h"

// Kernels that are wrong, each in one way, and two that only look wrong (planted.cu). x and y are device memory.
namespace headshare::test {

void missing_barrier(kernels::Cuda device, const float* x, float* y);                // x, y: [64]
void missing_syncwarp(kernels::Cuda device, const float* x, float* y);               // x, y: [32]
void syncwarp_of_halves(kernels::Cuda device, const float* x, float* y);             // x, y: [32]
void shuffle_for_syncwarp(kernels::Cuda device, const float* x, float* y);           // x, y: [32]
void histogram_without_atomics(kernels::Cuda device, const int* bins, int* counts);  // bins: [64], counts: [7]
void blocks_that_share(kernels::Cuda device, float* sum);                            // sum: [1]
void read_past_the_end(kernels::Cuda device, const float* x, float* y, int n);       // x, y: [n]
void index_past_shared(kernels::Cuda device, const float* x, float* y);              // x, y: [64]
void index_past_dynamic_shared(kernels::Cuda device, const float* x, float* y);      // x, y: [64]
void read_unwritten_shared(kernels::Cuda device, float* y);                          // y: [64]
void copy_all(kernels::Cuda device, const float* x, float* y, int n);                // x, y: [n]; nothing wrong with it
void misaligned_vectors(kernels::Cuda device, const float* x, float* y);             // x, y: [132]

struct Hidden {
  const float* values;  // the launch checks arguments that are pointers, and does not look into structures
};
void read_hidden_pointer(kernels::Cuda device, Hidden x, float* y);  // y: [32]

void divergent_barrier(kernels::Cuda device, float* y);           // y: [64]
void deadlock(kernels::Cuda device, float* y);                    // y: [32]
void shuffle_from_inactive_lane(kernels::Cuda device, float* y);  // y: [32]

// Right: lanes that return early, and groups of lanes that work on their own.
void early_return(kernels::Cuda device, const float* x, float* y, int n);        // x, y: [n]
void shuffles_of_partial_warps(kernels::Cuda device, const float* x, float* y);  // x, y: [32]

}  // namespace headshare::test
