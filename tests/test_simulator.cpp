#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <limits>

#include "kernels/device_memory.h"
#include "kernels/elementwise.h"
#include "kernels/elementwise_functions.h"
#include "kernels/simulator/half.h"
#include "tests/test_tools.h"

// The simulated device towards its host. What kernels may and may not do is in tests/traced/.
using namespace headshare;
using namespace headshare::kernels;
using test::contains;
using test::error_of;

namespace {

// What another process prints while it does this, and how it ends.
struct Ending {
  int code = -1;
  std::string output;
};
Ending in_another_process(const std::function<void()>& action) {
  std::array<int, 2> pipe_ends{};
  REQUIRE(pipe(pipe_ends.data()) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(pipe_ends[1], STDERR_FILENO);
    close(pipe_ends[0]);
    action();
    _exit(0);
  }
  close(pipe_ends[1]);
  Ending ending;
  std::array<char, 512> buffer{};
  for (ssize_t count; (count = read(pipe_ends[0], buffer.data(), buffer.size())) > 0;)
    ending.output.append(buffer.data(), static_cast<std::size_t>(count));
  close(pipe_ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  ending.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ending;
}

struct DeviceArray {
  float* const data;
  explicit DeviceArray(Size n) : data(static_cast<float*>(allocate_device(n * 4))) {}
  ~DeviceArray() { free_device(data); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
};

}  // namespace

TEST_CASE("a host that touches device memory is stopped, and told whose it is") {
  const DeviceArray x(100);
  for (const bool writes : {false, true}) {
    const Ending ending = in_another_process([&] {
      volatile float* const element = x.data + 8;
      if (writes)
        *element = 1;
      else
        static_cast<void>(*element);
    });
    CHECK(ending.code == 1);
    CHECK(contains(ending.output, "the host touched device memory outside a kernel: allocation "));
    CHECK(contains(ending.output, "(400 bytes) + 32"));
    CHECK(contains(ending.output, "Tensor::to(Device::cpu)"));
  }
  CHECK(in_another_process([] {}).code == 0);
}

TEST_CASE("a kernel is not started with a pointer to the host's memory") {
  const DeviceArray x(10);
  std::array<float, 10> host{};
  const std::string error = error_of([&] { map<Square>(cuda(), 10, host.data(), x.data); });
  CHECK(contains(error, "launch: argument 2 of the kernel points to address "));
  CHECK(contains(error, "kernels can only use device memory"));
}

TEST_CASE("managed memory serves both sides, and ends where it ends") {
  float* const x = static_cast<float*>(allocate_managed(40));
  for (int i = 0; i < 10; ++i) x[i] = static_cast<float>(i);
  map<Square>(cuda(), 10, x, x);
  synchronize(cuda());
  CHECK(x[9] == 81);
  free_managed(x);
  CHECK(contains(error_of([&] { map<Square>(cuda(), 10, x, x); }), "points to"));
}

TEST_CASE("memory that was given back is given out again, neighbours together") {
  void* const a = allocate_device(1 << 20);
  void* const b = allocate_device(1 << 20);
  free_device(a);
  free_device(b);
  void* const both = allocate_device(2 << 20);
  CHECK(both == a);
  free_device(both);
  CHECK_THROWS_AS(free_device(both), Error);
}

TEST_CASE("half and bfloat16 round as CUDA does") {
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(__half(1.0f).bits == 0x3c00);
  CHECK(__half(-2.0f).bits == 0xc000);
  CHECK(__half(65504.0f).bits == 0x7bff);  // the largest
  CHECK(__half(65519.0f).bits == 0x7bff);
  CHECK(__half(65520.0f).bits == 0x7c00);  // halfway to the next: infinity
  CHECK(__half(-infinity).bits == 0xfc00);
  CHECK(__half(0x1p-24f).bits == 1);  // the smallest
  CHECK(__half(0x1p-25f).bits == 0);  // halfway, to the even one
  CHECK(__half(0x1.8p-24f).bits == 2);
  CHECK(__half(-0.0f).bits == 0x8000);
  CHECK(__half(1.0f + 0x1p-11f).bits == 0x3c00);  // halfway, to the even one
  CHECK(__half(1.0f + 0x1.8p-10f).bits == 0x3c02);
  CHECK(std::isnan(static_cast<float>(__half(std::nanf("")))));
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {  // every half is a float, and comes back
    __half x;
    x.bits = static_cast<std::uint16_t>(bits);
    const float wide = x;
    if (std::isnan(wide)) continue;
    REQUIRE(__half(wide).bits == bits);
  }
  CHECK(static_cast<float>(__nv_bfloat16(1.0f)) == 1);
  CHECK(__nv_bfloat16(1.0f + 0x1p-8f).bits == 0x3f80);
  CHECK(__nv_bfloat16(1.0f + 0x1.8p-8f).bits == 0x3f81);
}
