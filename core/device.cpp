#include "core/device.h"

#include <omp.h>

#include "core/error.h"
#include "core/file.h"

namespace headshare {
namespace {

// The vector instructions that the compiler was allowed to use, not those that the processor has.
constexpr const char* instruction_set =
#if defined(__AVX512F__)
    "AVX-512";
#elif defined(__AVX2__)
    "AVX2";
#elif defined(__ARM_NEON)
    "NEON";
#else
    "the baseline instruction set";
#endif

// "model name	: AMD Ryzen 7 ..." is how Linux spells it on x86-64; elsewhere there may be no such line.
std::string processor_name() {
  const std::filesystem::path path = "/proc/cpuinfo";
  if (!std::filesystem::exists(path)) return "processor";
  const std::string information = read_file(path);
  const std::size_t key = information.find("model name");
  const std::size_t colon = information.find(": ", key);
  if (key == std::string::npos || colon == std::string::npos) return "processor";
  return information.substr(colon + 2, information.find('\n', colon) - colon - 2);
}

Device chosen_default = Device::cpu;

}  // namespace

std::string name(Device device) { return device == Device::cpu ? "cpu" : "cuda"; }

Device parse_device(const std::string& name) {
  for (const Device device : {Device::cpu, Device::cuda})
    if (name == headshare::name(device)) return device;
  fail("device: \"", name, "\" is unknown; choose cpu or cuda");
}

std::string describe_processor() {
  const int threads = omp_get_max_threads();
  return text(processor_name(), ", ", threads, threads == 1 ? " thread" : " threads", ", compiled for ",
              instruction_set);
}

Device default_device() { return chosen_default; }
DefaultDevice::DefaultDevice(Device device) : before_(chosen_default) { chosen_default = device; }
DefaultDevice::~DefaultDevice() { chosen_default = before_; }

}  // namespace headshare
