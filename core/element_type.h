#pragma once

#include <cstdint>

#include "core/bfloat16.h"
#include "core/size.h"

namespace headshare {

// What a tensor holds, known at run time. float32 for models, float64 for gradient checks, int32 for tokens, bfloat16
// for key/value caches that take half the memory.
enum class ElementType { float32, float64, int32, bfloat16 };

constexpr Size bytes_of(ElementType type) {
  return type == ElementType::float64 ? 8 : type == ElementType::bfloat16 ? 2 : 4;
}

constexpr const char* name(ElementType type) {
  switch (type) {
    case ElementType::float64:
      return "float64";
    case ElementType::int32:
      return "int32";
    case ElementType::bfloat16:
      return "bfloat16";
    default:
      return "float32";
  }
}

// element_type_of<float> is ElementType::float32, and so on.
template <class T>
constexpr ElementType element_type_of = ElementType::float32;
template <>
inline constexpr ElementType element_type_of<double> = ElementType::float64;
template <>
inline constexpr ElementType element_type_of<std::int32_t> = ElementType::int32;
template <>
inline constexpr ElementType element_type_of<BFloat16> = ElementType::bfloat16;

}  // namespace headshare
