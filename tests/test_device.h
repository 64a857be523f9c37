#pragma once

#include <cstdlib>
#include <new>
#include <string>
#include <type_traits>
#include <vector>

#include "core/device.h"
#include "kernels/cpu.h"
#include "kernels/device_memory.h"

// The same tests run on every device: HEADSHARE_TEST_DEVICE=cpu or cuda says which, cpu when it is not set.
namespace headshare::test {

inline Device test_device() {
  static const Device device = [] {
    const char* const chosen = std::getenv("HEADSHARE_TEST_DEVICE");
    return parse_device(chosen == nullptr ? "cpu" : chosen);
  }();
  return device;
}

// The simulated device is about a thousand times slower than the processor: tests that go through many sizes, seeds or
// steps take fewer of them there. What is left out there, the same test does on the processor and on a GPU.
inline bool on_simulated_device() { return test_device() == Device::cuda && kernels::cuda_is_simulated(); }

template <class T>
T fewer(const T& everywhere, const std::type_identity_t<T>& simulated) {
  return on_simulated_device() ? simulated : everywhere;
}

// For the cases of nested loops: `if (!turn()) continue;` takes one of `period` on the simulated device, and all
// elsewhere. A period that divides none of the loops' lengths lets all values of each loop have their turn.
class Turn {
 public:
  explicit Turn(Size period) : period_(fewer(Size{1}, period)) {}
  bool operator()() { return count_++ % period_ == 0; }

 private:
  Size period_;
  Size count_ = 0;
};

// Memory that the test and the kernels under test may both touch.
template <class T>
struct DeviceAllocator {
  using value_type = T;
  DeviceAllocator() = default;
  template <class Other>
  DeviceAllocator(const DeviceAllocator<Other>&) {}

  T* allocate(std::size_t n) {
    if (test_device() == Device::cpu) return static_cast<T*>(::operator new(n * sizeof(T)));
    return static_cast<T*>(kernels::allocate_managed(static_cast<Size>(n * sizeof(T))));
  }
  void deallocate(T* memory, std::size_t) {
    if (test_device() == Device::cpu)
      ::operator delete(memory);
    else
      kernels::free_managed(memory);
  }
  friend bool operator==(const DeviceAllocator&, const DeviceAllocator&) { return true; }
};

template <class T>
using Array = std::vector<T, DeviceAllocator<T>>;

// body(kernels::Cpu{}) or body(kernels::Cuda{...}); the device is done when this returns.
template <class Body>
void on_device(const Body& body) {
  if (test_device() == Device::cpu) {
    body(kernels::Cpu{});
  } else {
    body(kernels::cuda());
    kernels::synchronize(kernels::cuda());
  }
}

}  // namespace headshare::test
