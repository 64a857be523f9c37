#include "nn/uptraining.h"

namespace headshare {

std::string name(UptrainingSchedule schedule) { return schedule == UptrainingSchedule::decay ? "decay" : "continued"; }

UptrainingSchedule parse_uptraining_schedule(const std::string& word) {
  for (const UptrainingSchedule schedule : {UptrainingSchedule::continued, UptrainingSchedule::decay})
    if (word == name(schedule)) return schedule;
  fail("schedule '", word, "' is unknown; choose continued or decay");
}

Recipe uptraining_recipe(const Recipe& original, Size done, Size original_steps, double alpha,
                         UptrainingSchedule schedule) {
  if (!(alpha > 0 && alpha <= 10))
    fail("uptrain: alpha ", alpha, " must lie above 0 and at most 10; the paper uses 0.05");
  const Size steps = std::max(Size{1}, static_cast<Size>(std::llround(alpha * static_cast<double>(original_steps))));
  Recipe recipe = original;
  recipe.steps = done + steps;
  recipe.schedule.decay_steps = 0;  // a decay of the original run has ended with it
  if (schedule == UptrainingSchedule::decay) {
    recipe.schedule.decay_after = done;
    recipe.schedule.decay_steps = steps;
  }
  return recipe;
}

}  // namespace headshare
