#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "nn/precision.h"
#include "tensor/tensor.h"

// What headshare_gpu_benchmarks measures, and how it takes the time.
namespace headshare::gpu_benchmarks {

// Seconds of one call of something, a sample of about 20 ms, taken anew each time.
using Stopwatch = std::function<double()>;

// The work is queued many times and only the last one is waited for; where a call takes less than half a millisecond it
// is recorded first, so that the host's time for each launch does not count.
Stopwatch stopwatch(std::function<void()> work);

// A case with its memory allocated and filled. What is compared is measured in turns: clocks drift.
struct Prepared {
  Stopwatch work;
  Stopwatch reference = {};
  double flops = 0;              // of the definition, a multiply-add is two
  double bytes = 0;              // each input read once, each output written once
  double tokens = 0;             // that one call produces
  double predicted_seconds = 0;  // by bytes and FLOPs at the speeds that were measured; 0: no prediction
  int turns = 7;
  std::function<void()> check = {};  // after the measurement: fails when the result is wrong
};

struct Case {
  std::string group;
  std::string kernel;
  std::string size;
  std::string reference;  // whose time stands beside; empty: nobody's
  std::function<Prepared()> prepare;

  std::string name() const { return kernel + ", " + size; }
};

// `small`: sizes at which only the program itself is tried.
enum class Scale { full, small };

std::vector<Case> ceiling_cases(Scale scale);
std::vector<Case> matmul_cases(Scale scale);
std::vector<Case> attention_cases(Scale scale);
std::vector<Case> decode_attention_cases(Scale scale);
std::vector<Case> training_cases(Scale scale);
std::vector<Case> shazeer_cases(Scale scale);
std::vector<Case> ainslie_cases(Scale scale);

// ---- What this GPU can do at most, measured when it is first asked for ----------------------------------------------

double copy_bandwidth(Scale scale);                   // bytes per second, read and written
double peak_flops(Scale scale, Precision precision);  // per second, of cuBLAS on random numbers

// ---- Numbers to work on ---------------------------------------------------------------------------------------------

// Normally distributed; of int8, uniform. Not zeros: with them a GPU needs less power, keeps a higher clock, and looks
// faster than it is. Up to a million are different, then they repeat.
Tensor random_tensor(const Shape& shape, ElementType type);

// Tests are small; a kernel may go wrong where numbers are as many as here. Fails when |x - wanted| / |wanted|, over
// the first and the last million numbers, is above the tolerance or no number.
void expect_close(const char* what, const Tensor& x, const Tensor& wanted, double tolerance);

}  // namespace headshare::gpu_benchmarks
