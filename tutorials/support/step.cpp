#include "tutorials/support/step.h"

#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>

namespace headshare::lesson {

void not_implemented(int lesson, int step, const char* task) {
  throw NotImplemented(text("not implemented: lesson ", lesson, ", step ", step, ": ", task));
}

bool solved(int lesson, int step) {
  const char* last = std::getenv("HEADSHARE_SOLVED");
  if (last == nullptr) return true;
  std::istringstream in(last);
  int last_lesson = 0, last_step = 0;
  char dot = 0;
  if (!(in >> last_lesson >> dot >> last_step) || dot != '.')
    fail("HEADSHARE_SOLVED=", last, ": needs a lesson and a step, such as 4.2");
  return lesson < last_lesson || (lesson == last_lesson && step <= last_step);
}

int lesson_program(int lesson, const std::vector<std::function<void()>>& steps, int count, char** arguments) {
  const int all = static_cast<int>(steps.size());
  int first = 1, last = all;
  if (count > 1) {
    std::istringstream in(arguments[1]);
    if (count > 2 || !(in >> first) || !in.eof() || first < 1 || first > all) {
      std::cerr << "lesson " << lesson << ": which step? a number from 1 to " << all << ", or nothing for all\n";
      return 2;
    }
    last = first;
  }
  try {
    for (int step = first; step <= last; ++step) {
      if (step > first) std::cout << '\n';
      steps[step - 1]();
    }
    std::cout.flush();
    return 0;
  } catch (const std::exception& error) {
    std::cout.flush();
    std::cerr << error.what() << '\n';
    return 1;
  }
}

}  // namespace headshare::lesson
