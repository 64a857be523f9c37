#pragma once

#include <cstdint>

#include "core/bfloat16.h"
#include "core/size.h"

namespace headshare {

// What a tensor holds, known at run time. float32 for models, float64 for gradient checks, int32 for tokens; bfloat16
// for what a GPU computes in half the bytes, and for key/value caches; int8 for caches of a quarter.
enum class ElementType { float32, float64, int32, bfloat16, int8 };

constexpr Size bytes_of(ElementType type) {
  switch (type) {
    case ElementType::float64:
      return 8;
    case ElementType::bfloat16:
      return 2;
    case ElementType::int8:
      return 1;
    default:
      return 4;
  }
}

constexpr const char* name(ElementType type) {
  switch (type) {
    case ElementType::float64:
      return "float64";
    case ElementType::int32:
      return "int32";
    case ElementType::bfloat16:
      return "bfloat16";
    case ElementType::int8:
      return "int8";
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
template <>
inline constexpr ElementType element_type_of<std::int8_t> = ElementType::int8;

// In which parameters, statistics and sums beside numbers of this type are kept (kernels/wide.h).
constexpr ElementType wide(ElementType type) { return type == ElementType::bfloat16 ? ElementType::float32 : type; }

}  // namespace headshare
