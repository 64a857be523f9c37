#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "cli/trace/named_array.h"
#include "core/file.h"
#include "kernels/simulator/simulator.h"
#include "kernels/simulator/tracer/tracer.h"

namespace headshare::test {

using trace::NamedArray;

// 0, 1, 2, ..., then from 0 again at `limit`.
template <class T = float>
NamedArray<T> counting(const std::string& name, Size n, Size limit = 1 << 20) {
  std::vector<T> values(static_cast<std::size_t>(n));
  for (Size i = 0; i < n; ++i) values[static_cast<std::size_t>(i)] = static_cast<T>(i % limit);
  return {name, values};
}

// Problems stand in the report and are not thrown, while one lives.
class OnlyReport {
 public:
  OnlyReport() { simulator::set_strictness(simulator::Strictness::report); }
  ~OnlyReport() { simulator::set_strictness(simulator::Strictness::fail); }
  OnlyReport(const OnlyReport&) = delete;
  OnlyReport& operator=(const OnlyReport&) = delete;
};

}  // namespace headshare::test
