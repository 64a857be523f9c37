#pragma once

#include <string>
#include <vector>

namespace headshare::benchmarks {

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
