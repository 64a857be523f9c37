#pragma once

#include <cstdint>

#include "core/size.h"

namespace headshare {

// What a tensor holds, known at run time. float32 for models, float64 for gradient checks, int32 for tokens.
enum class ElementType { float32, float64, int32 };

constexpr Size bytes_of(ElementType type) { return type == ElementType::float64 ? 8 : 4; }

constexpr const char* name(ElementType type) {
  return type == ElementType::float32 ? "float32" : type == ElementType::float64 ? "float64" : "int32";
}

// element_type_of<float> is ElementType::float32, and so on.
template <class T>
constexpr ElementType element_type_of = ElementType::float32;
template <>
inline constexpr ElementType element_type_of<double> = ElementType::float64;
template <>
inline constexpr ElementType element_type_of<std::int32_t> = ElementType::int32;

}  // namespace headshare
