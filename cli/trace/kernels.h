#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/size.h"
#include "kernels/simulator/tracer/tracer.h"

// The kernels that `headshare trace` knows, and how to run each on arrays with names.
namespace headshare::trace {

struct NamedSize {
  std::string name;
  Size value;
};

// Sizes by their names, as the comments of the kernels have them: B, T, M, rows, ...
class Sizes {
 public:
  explicit Sizes(std::vector<NamedSize> sizes) : sizes_(std::move(sizes)) {}
  Size operator[](const std::string& name) const;
  void set(const std::string& name, Size value);  // throws UsageError when there is none of that name
  std::string text() const;                       // "M=64 N=64 K=64"

 private:
  std::vector<NamedSize> sizes_;
};

using Launches = std::vector<simulator::LaunchReport>;

struct TracedKernel {
  std::string name;
  std::string summary;  // one line
  Sizes sizes;          // where nothing else is asked for
  std::function<Launches(const Sizes&)> run;
};

std::vector<TracedKernel> matmul_kernels();
std::vector<TracedKernel> attention_kernels();
std::vector<TracedKernel> row_kernels();          // softmax, layer norm, cross-entropy
std::vector<TracedKernel> elementwise_kernels();  // and those that move memory

const std::vector<TracedKernel>& traced_kernels();           // all of them
const TracedKernel& traced_kernel(const std::string& name);  // throws UsageError when there is none

// A kernel's own sizes, with others where they are given.
Sizes sizes_of(const std::string& name, const std::vector<NamedSize>& sizes);

// Runs a kernel by its name, with other sizes than its own where they are given.
Launches run_traced(const std::string& name, const std::vector<NamedSize>& sizes = {});

// What body() launches.
template <class Body>
Launches launches_of(const Body& body) {
  simulator::start_recording();
  body();
  return simulator::stop_recording();
}

}  // namespace headshare::trace
