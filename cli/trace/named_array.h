#pragma once

#include <string>
#include <vector>

#include "core/error.h"
#include "core/random.h"
#include "kernels/device_memory.h"
#include "kernels/simulator/device_arena.h"

namespace headshare::trace {

// Device memory under a name, which is how reports show it.
template <class T>
class NamedArray {
 public:
  // Uninitialised: the tracer notices whoever reads it before it is written.
  NamedArray(const std::string& name, Size n) : memory_(static_cast<T*>(kernels::allocate_device(n * bytes))) {
    if (memory_ == nullptr) fail("out of device memory: ", name, " needs ", n * bytes, " bytes");
    simulator::name_memory(memory_, name);
  }
  NamedArray(const std::string& name, const std::vector<T>& values)
      : NamedArray(name, static_cast<Size>(values.size())) {
    kernels::copy_to_device(kernels::cuda(), values.data(), memory_, static_cast<Size>(values.size()) * bytes);
  }
  ~NamedArray() { kernels::free_device(memory_); }
  NamedArray(const NamedArray&) = delete;
  NamedArray& operator=(const NamedArray&) = delete;

  T* data() const { return memory_; }

 private:
  static constexpr Size bytes = sizeof(T);
  T* memory_;
};

// Normal numbers, the same ones every time.
template <class T = float>
NamedArray<T> random_array(const std::string& name, Size n) {
  Generator generator(1);
  std::vector<T> values(static_cast<std::size_t>(n));
  for (T& value : values) value = static_cast<T>(static_cast<float>(generator.normal()));
  return {name, values};
}

// Whole numbers in 0 .. limit - 1.
template <class T = float>
NamedArray<T> random_below(const std::string& name, Size n, Size limit) {
  Generator generator(1);
  std::vector<T> values(static_cast<std::size_t>(n));
  for (T& value : values) value = static_cast<T>(generator.below(limit));
  return {name, values};
}

}  // namespace headshare::trace
