#pragma once

#include <charconv>
#include <string>
#include <string_view>

#include "core/error.h"

namespace headshare {

// The shortest text that reads back as exactly the same number.
template <class Number>
std::string exact_text(Number number) {
  char buffer[40];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), number);
  return std::string(buffer, end);
}

// The whole text as a number of this type. Fails, saying what it was for, on anything else.
template <class Number>
Number parse_number(std::string_view digits, std::string_view what) {
  Number number{};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc{} || end != digits.data() + digits.size())
    fail(what, ": '", digits, "' is not a number of the needed kind");
  return number;
}

}  // namespace headshare
