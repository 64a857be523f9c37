#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "core/random.h"
#include "tensor/tensor.h"
#include "tutorials/support/step.h"

// What the tests of lessons need. A test case is named after its step: TEST_CASE("4.2 nobody sees what comes later").
// Doctest's own CHECK serves too; these say what was expected and what came, in one line.
namespace headshare::lesson {

// Ends the test case unless shape and every number agree: |got - expected| <= tolerance max(1, |expected|).
//   "the weights of the second word: expected 0.25, got 0.5 at [1, 3]"
void check_close(const Tensor& got, const Tensor& expected, const std::string& what, double tolerance = 1e-5);
void check_close(double got, double expected, const std::string& what, double tolerance = 1e-5);
void check_close(const std::vector<double>& got, const std::vector<double>& expected, const std::string& what,
                 double tolerance = 1e-5);
void check_close(const std::vector<float>& got, const std::vector<float>& expected, const std::string& what,
                 double tolerance = 1e-5);
// Ends the test case unless they are equal.
void check_equal(long long got, long long expected, const std::string& what);
void check_equal(const std::string& got, const std::string& expected, const std::string& what);
void check_equal(const std::vector<int>& got, const std::vector<int>& expected, const std::string& what);
void check_equal(const Shape& got, const Shape& expected, const std::string& what);
// Ends the test case unless the function throws an Error whose text contains `part`. NotImplemented passes through.
void check_fails(const std::function<void()>& function, const std::string& part, const std::string& what);

// Points in proportion, beside those for being right: none at gain 1 (no better than the naive version), all at
// `full_gain`. Measure both versions in the same run: gain = bytes or time of the naive one / of the student's.
void award(const std::string& what, double gain, double full_gain);

// Normal numbers from a seed. Hidden tests add grading_seed(), so that their numbers are new in every grading.
Tensor random_tensor(const Shape& shape, std::uint64_t seed, TensorOptions options = {});
std::uint64_t grading_seed();  // environment variable HEADSHARE_GRADING_SEED; 0 without it

}  // namespace headshare::lesson
