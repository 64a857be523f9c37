#pragma once

#include <string>

#include "nn/training.h"

namespace headshare {

enum class UptrainingSchedule {
  continued,  // as if the original run had simply gone on
  decay,      // from the rate that the original schedule, without a decay of its own, has reached, linearly to 0
};
std::string name(UptrainingSchedule schedule);
UptrainingSchedule parse_uptraining_schedule(const std::string& name);

// Uptraining (Ainslie et al. 2023, 2.1): the original recipe continued for a share alpha of the original steps. `done`
// are the steps of the run so far, `original_steps` those of the run that alpha refers to.
Recipe uptraining_recipe(const Recipe& original, Size done, Size original_steps, double alpha,
                         UptrainingSchedule schedule);

}  // namespace headshare
