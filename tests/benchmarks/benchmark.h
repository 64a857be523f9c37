#pragma once

#include <array>
#include <string>
#include <vector>

#include "core/size.h"

namespace headshare::benchmarks {

// [M, K] times [K, N], of a training step and of decoding: rows are tokens.
struct ProductSizes {
  Size m, n, k;
};
constexpr auto product_sizes = std::to_array<ProductSizes>({{4096, 256, 256},
                                                            {4096, 1024, 256},
                                                            {4096, 256, 1024},
                                                            {4096, 8000, 256},
                                                            {1024, 1024, 1024},
                                                            {1, 256, 256},
                                                            {32, 256, 256},
                                                            {128, 1024, 256}});

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
std::vector<Row> benchmark_training_step();
std::vector<Row> benchmark_decoding();
std::vector<Row> benchmark_texts();  // no arithmetic: bytes are those of the text

}  // namespace headshare::benchmarks
