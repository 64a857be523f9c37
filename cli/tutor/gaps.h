#pragma once

#include <string>
#include <vector>

// A lesson's source holds each gap with its solution, between markers:
//
//   // [step 2] Hide the future: position t may look at position s only where s <= t.
//   // further lines of the task, which the student keeps
//   // [hint] Start from zeros.
//   // [hint] s from t + 1 on.
//   // [solution]                  only needed where the solution begins with a comment
//   ...the solution...
//   // [stub]                      optional: what the student gets instead of a throw, one "// " before each line
//   // // __syncthreads();
//   // [end]
//
// and regions that texts quote, between `// [show NAME]` and `// [end show]`, which may enclose gaps.
namespace headshare::cli {

struct Gap {
  int step = 0;
  std::string task;                // the marker's line
  std::vector<std::string> hints;  // from the gentlest on
  bool has_stub = false;           // the student gets other code than a throw
};

enum class Form {
  reference,   // as it is
  student,     // a stub in every gap
  switchable,  // both, chosen by lesson::solved(): for the course's own tests, which compile it once
  quoted,      // the solution without markers and hints: for texts
};

// The gaps in order. Fails on markers that do not fit together; `file` names the source in messages.
std::vector<Gap> find_gaps(const std::string& source, const std::string& file);

// The source of lesson `lesson` in another form.
std::string in_form(const std::string& source, int lesson, Form form, const std::string& file);

// A student's source with the solutions of `step` put into its gaps, everything else as it was. Fails where the
// student's markers of that step are gone.
std::string revealed(const std::string& student, const std::string& reference, int step, const std::string& file);

// The region NAME without its markers, indented as little as possible.
std::string shown_region(const std::string& source, const std::string& name, const std::string& file);

}  // namespace headshare::cli
