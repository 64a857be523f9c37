#include "tutorials/support/check.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "tutorials/support/awards.h"

namespace headshare::lesson {

namespace {

// Ends the test case; what came and what was expected stand in the message.
template <class... Parts>
void fail_test(const Parts&... parts) {
  FAIL(text(parts...));
}

bool close(double got, double expected, double tolerance) {
  if (got == expected) return true;  // also equal infinities, from which anything finite is far
  return std::isfinite(expected) && std::abs(got - expected) <= tolerance * std::max(1.0, std::abs(expected));
}

// The position of element `index` of a tensor of this shape, for people: "[1, 3]".
std::string position(Size index, const Shape& shape) {
  std::string words;
  for (int dimension = shape.rank() - 1; dimension >= 0; --dimension) {
    words = text(index % shape[dimension], words.empty() ? "" : ", ", words);
    index /= shape[dimension];
  }
  return text('[', words, ']');
}

template <class T>
void check_all_close(const std::vector<T>& got, const std::vector<T>& expected, const Shape& shape,
                     const std::string& what, double tolerance) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double x = static_cast<double>(got[i]), y = static_cast<double>(expected[i]);
    if (!close(x, y, tolerance))
      fail_test(what, ": expected ", y, ", got ", x,
                shape.count() > 1 ? " at " + position(static_cast<Size>(i), shape) : "");
  }
}

template <class T>
void check_vectors(const std::vector<T>& got, const std::vector<T>& expected, const std::string& what,
                   double tolerance) {
  if (got.size() != expected.size()) fail_test(what, ": expected ", expected.size(), " numbers, got ", got.size());
  check_all_close(got, expected, Shape{static_cast<Size>(expected.size())}, what, tolerance);
}

template <class T>
void check_same(const T& got, const T& expected, const std::string& what) {
  if (!(got == expected)) fail_test(what, ": expected ", expected, ", got ", got);
}

}  // namespace

void check_close(const Tensor& got, const Tensor& expected, const std::string& what, double tolerance) {
  if (!got.defined()) fail_test(what, ": expected a tensor of shape ", expected.shape(), ", got an empty one");
  check_same(got.shape(), expected.shape(), what + ": shape");
  check_all_close(got.to(ElementType::float64).to_vector<double>(),
                  expected.to(ElementType::float64).to_vector<double>(), expected.shape(), what, tolerance);
}

void check_close(double got, double expected, const std::string& what, double tolerance) {
  if (!close(got, expected, tolerance)) fail_test(what, ": expected ", expected, ", got ", got);
}

void check_close(const std::vector<double>& got, const std::vector<double>& expected, const std::string& what,
                 double tolerance) {
  check_vectors(got, expected, what, tolerance);
}

void check_close(const std::vector<float>& got, const std::vector<float>& expected, const std::string& what,
                 double tolerance) {
  check_vectors(got, expected, what, tolerance);
}

void check_equal(long long got, long long expected, const std::string& what) { check_same(got, expected, what); }
void check_equal(const std::string& got, const std::string& expected, const std::string& what) {
  if (got != expected) fail_test(what, ": expected \"", expected, "\", got \"", got, '"');
}
void check_equal(const Shape& got, const Shape& expected, const std::string& what) { check_same(got, expected, what); }

void check_equal(const std::vector<int>& got, const std::vector<int>& expected, const std::string& what) {
  const auto words = [](const std::vector<int>& numbers) {
    std::string list;
    for (const int number : numbers) list += text(list.empty() ? "" : ", ", number);
    return "[" + list + "]";
  };
  if (got != expected) fail_test(what, ": expected ", words(expected), ", got ", words(got));
}

void check_fails(const std::function<void()>& function, const std::string& part, const std::string& what) {
  try {
    function();
  } catch (const NotImplemented&) {
    throw;
  } catch (const Error& error) {
    if (std::string(error.what()).find(part) == std::string::npos)
      fail_test(what, ": expected an error that says \"", part, "\", got \"", error.what(), '"');
    return;
  }
  fail_test(what, ": expected an error that says \"", part, "\", got none");
}

void award(const std::string& what, double gain, double full_gain) {
  if (!(full_gain > 1)) fail("award: all points at a gain of ", full_gain, "; needs more than 1");
  const double share = std::isfinite(gain) ? std::clamp((gain - 1) / (full_gain - 1), 0.0, 1.0) : 0.0;
  awards().push_back({what, gain, full_gain, share});
}

std::vector<Award>& awards() {
  static std::vector<Award> given;
  return given;
}

Tensor random_tensor(const Shape& shape, std::uint64_t seed, TensorOptions options) {
  Generator generator(seed);
  std::vector<double> values(static_cast<std::size_t>(shape.count()));
  for (double& value : values) value = generator.normal();
  return from_values(values, shape, options.device).to(options.type);
}

std::uint64_t grading_seed() {
  const char* seed = std::getenv("HEADSHARE_GRADING_SEED");
  return seed == nullptr ? 0 : std::strtoull(seed, nullptr, 10);
}

}  // namespace headshare::lesson
