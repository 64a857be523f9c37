#include <doctest/doctest.h>

#include "core/device.h"
#include "core/error.h"
#include "tensor/elementwise.h"

using namespace headshare;

TEST_CASE("a device is found by its own name") {
  for (const Device device : {Device::cpu, Device::cuda}) CHECK(parse_device(name(device)) == device);
  CHECK(name(Device::cpu) == "cpu");
  CHECK(name(Device::cuda) == "cuda");
}

TEST_CASE("an unknown device is refused with the names that exist") {
  for (const char* wrong : {"gpu", "CPU", "", "cpu ", "cuda:0"})
    CHECK_THROWS_WITH_AS(parse_device(wrong), text("device: \"", wrong, "\" is unknown; choose cpu or cuda").c_str(),
                         Error);
}

TEST_CASE("the description of the processor says threads and instruction set") {
  const std::string description = describe_processor();
  CHECK(description.find(" thread") != std::string::npos);
  CHECK(description.find("compiled for ") != std::string::npos);
  CHECK(description.find('\n') == std::string::npos);
}

TEST_CASE("another default device lasts as long as its object") {
  const Device before = default_device();
  for (const Device device : {Device::cpu, Device::cuda}) {
    const DefaultDevice chosen(device);
    CHECK(default_device() == device);
    CHECK(zeros({2}).device() == device);
  }
  CHECK(default_device() == before);
}

TEST_CASE("a tensor keeps its numbers on the way to the other device and back") {
  const Tensor x = from_values<float>({1, 2, 3, 4, 5, 6}, {2, 3}, Device::cpu);
  const Tensor there = x.to(Device::cuda);
  CHECK(there.device() == Device::cuda);
  CHECK(there.transpose(0, 1).to_vector<float>() == std::vector<float>{1, 4, 2, 5, 3, 6});
  CHECK(there.transpose(0, 1).to(Device::cpu).to_vector<float>() == std::vector<float>{1, 4, 2, 5, 3, 6});
  CHECK(there.at({1, 1}) == 5);
  CHECK_THROWS_AS(add(x, there), Error);  // devices differ
}
