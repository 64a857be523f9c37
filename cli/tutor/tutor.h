#pragma once

#include "cli/command.h"

// The commands of `headshare tutor`. Each takes the words after its name.
namespace headshare::cli {

void tutor_list(const Words& words);
void tutor_start(const Words& words);
void tutor_run(const Words& words);
void tutor_check(const Words& words);
void tutor_watch(const Words& words);
void tutor_hint(const Words& words);
void tutor_reveal(const Words& words);
void tutor_grade(const Words& words);
void tutor_export(const Words& words);
void tutor_text(const Words& words);  // for who writes lessons
void tutor_form(const Words& words);  // for the build

}  // namespace headshare::cli
