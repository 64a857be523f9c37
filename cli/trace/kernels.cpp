#include "cli/trace/kernels.h"

#include "core/error.h"

namespace headshare::trace {

Size Sizes::operator[](const std::string& name) const {
  for (const NamedSize& size : sizes_)
    if (size.name == name) return size.value;
  fail("trace: a kernel asks for its size ", name, ", which it does not have");
}

void Sizes::set(const std::string& name, Size value) {
  for (NamedSize& size : sizes_) {
    if (size.name != name) continue;
    if (value < 1) throw UsageError(headshare::text("trace: size ", name, " must be at least 1, not ", value));
    size.value = value;
    return;
  }
  throw UsageError(headshare::text("trace: there is no size ", name, "; this kernel has ", text()));
}

std::string Sizes::text() const {
  std::string all;
  for (const NamedSize& size : sizes_) all += headshare::text(all.empty() ? "" : " ", size.name, '=', size.value);
  return all;
}

const std::vector<TracedKernel>& traced_kernels() {
  static const std::vector<TracedKernel> all = [] {
    std::vector<TracedKernel> joined;
    for (const auto& part : {matmul_kernels(), attention_kernels(), row_kernels(), elementwise_kernels()})
      joined.insert(joined.end(), part.begin(), part.end());
    return joined;
  }();
  return all;
}

const TracedKernel& traced_kernel(const std::string& name) {
  for (const TracedKernel& kernel : traced_kernels())
    if (kernel.name == name) return kernel;
  throw UsageError("trace: there is no kernel '" + name + "'; headshare trace lists them");
}

Sizes sizes_of(const std::string& name, const std::vector<NamedSize>& sizes) {
  Sizes chosen = traced_kernel(name).sizes;
  for (const NamedSize& size : sizes) chosen.set(size.name, size.value);
  return chosen;
}

Launches run_traced(const std::string& name, const std::vector<NamedSize>& sizes) {
  return traced_kernel(name).run(sizes_of(name, sizes));
}

}  // namespace headshare::trace
