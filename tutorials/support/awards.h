#pragma once

#include <string>
#include <vector>

// What award() noted, for the program that runs the tests.
namespace headshare::lesson {

struct Award {
  std::string what;
  double gain;
  double full_gain;
  double share;  // of the points, 0 to 1
};
std::vector<Award>& awards();

}  // namespace headshare::lesson
