#include "nn/precision.h"

#include "core/error.h"
#include "kernels/device_memory.h"

namespace headshare {

std::string name(Precision precision) {
  return precision == Precision::fp32 ? "fp32" : precision == Precision::tf32 ? "tf32" : "bf16";
}

Precision parse_precision(const std::string& word) {
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16})
    if (word == name(precision)) return precision;
  fail("precision '", word, "' is unknown; choose fp32, tf32 or bf16");
}

void check(Precision precision, Device device) {
  if (precision == Precision::fp32) return;
  if (device == Device::cpu)
    fail("precision ", name(precision), ": device cpu computes in fp32 only; choose device cuda, or fp32");
  if (const int capability = kernels::compute_capability(); capability < 80)
    fail("precision ", name(precision), ": this GPU's compute capability is ", capability / 10, ".", capability % 10,
         ", but its tensor cores know bfloat16 and tf32 from 8.0 on; choose fp32");
}

}  // namespace headshare
