#include <doctest/doctest.h>

#include "core/device.h"
#include "core/error.h"

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

TEST_CASE("the description has one line per device, and the processor's says threads and instruction set") {
  const std::string description = describe_devices();
  CHECK(description.starts_with("cpu   "));
  const std::size_t end = description.find('\n');
  REQUIRE(end != std::string::npos);
  const std::string processor = description.substr(0, end);
  CHECK(processor.find(" thread") != std::string::npos);
  CHECK(processor.find("compiled for ") != std::string::npos);
  CHECK(description.substr(end + 1).starts_with("cuda  "));
  CHECK(description.find('\n', end + 1) == description.size() - 1);
}
