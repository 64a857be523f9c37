#include "cli/tutor/tutor.h"

namespace headshare::cli {

Command tutor_command() {
  return family_of_commands(
      "tutor", "The course: thirteen lessons with exercises, tests and a grader", "what it does",
      {
          {"list", "The lessons, their steps, and what you have done", tutor_list},
          {"start", "Make a folder of exercises to work in", tutor_start},
          {"run", "Show what a step shows: with your code in your folder, elsewhere with the solutions", tutor_run},
          {"check", "Compile and test, up to the first step that is not done", tutor_check},
          {"watch", "Check again whenever a file changes", tutor_watch},
          {"hint", "One more hint for a step", tutor_hint},
          {"reveal", "Put the solution of a step into your file", tutor_reveal},
          {"grade", "Grade a submission; writes Gradescope's results.json", tutor_grade},
          {"export", "Make the folder to hand out, or the instructor's", tutor_export},
          {"text", "For who writes lessons: quote sources and outputs in their texts, or check them", tutor_text},
          {"form", "For the build: a lesson's source with stubs, with solutions, or with both", tutor_form},
      },
      "  headshare tutor start my_course\n"
      "  cd my_course\n"
      "  headshare tutor check             # the first thing to do\n"
      "  headshare tutor run 4.2           # see what step 2 of lesson 4 shows");
}

}  // namespace headshare::cli
