#include "lesson.h"

#include <set>

#include "tutorials/support/step.h"

namespace headshare::lesson {

// [show sectors]
int sectors_of_warp(Size first, Size stride) {
  // [step 2] Count the different sectors of 32 bytes that the 32 lanes of a warp touch.
  // [hint] Which sector holds float number i? Eight floats share one.
  // [hint] Put the sectors of all lanes into a std::set; its size is the answer.
  std::set<Size> sectors;
  for (int lane = 0; lane < warp_lanes; ++lane) sectors.insert((first + lane * stride) / 8);
  return static_cast<int>(sectors.size());
  // [end]
}
// [end show]

}  // namespace headshare::lesson
