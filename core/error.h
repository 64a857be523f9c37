#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace headshare {

// The one exception of this project. Its text is one line: who, what came, what was needed, and, where a user can
// act, what to do. The command prints it and exits with 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The command line itself is wrong (unknown option, missing argument). The command exits with 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

// Joins anything that has an operator<< into one string.
template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// fail("attention: ", heads, " query heads cannot share ", kv_heads, " key/value heads evenly")
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(text(parts...));
}

}  // namespace headshare
