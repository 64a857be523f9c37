#pragma once

#include <string>
#include <vector>

namespace headshare::cli {

// A test case as its source has it: TEST_CASE("4.2 nobody sees what comes later").
struct ListedTest {
  std::string name;
  std::vector<std::string> awards;  // the first words of each award("...", gain, full_gain) in it
};

// All test cases of a source, in order. A run is believed only when it reports exactly these, so that leaving before
// the end, or a test that vanished, is no success.
std::vector<ListedTest> tests_in(const std::string& source);

// Those of one step, "4.2".
std::vector<ListedTest> tests_of_step(const std::vector<ListedTest>& tests, const std::string& step);

}  // namespace headshare::cli
