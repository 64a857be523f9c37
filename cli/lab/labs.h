#pragma once

#include "cli/command.h"

namespace headshare::cli {

// The experiments of `headshare lab NAME`, each in a file of its name. The words are those after NAME.
void lab_uptrain(const Words& words);
void lab_shazeer(const Words& words);
void lab_decode(const Words& words);
void lab_attention(const Words& words);
void lab_report(const Words& words);

}  // namespace headshare::cli
