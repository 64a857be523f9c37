#pragma once

#include "cli/lab/decode_sweep.h"

namespace headshare::cli {

// What the sweep says, in sentences with numbers: how good the predictions are, what sharing heads gains where the
// cache is what a step waits for, and where it gains little and why.
std::vector<std::string> decode_findings(const std::vector<DecodeRow>& rows);

LabResult::Table decode_table(const std::vector<DecodeRow>& rows);
LabResult::Table unpredicted_table(const std::vector<DecodeRow>& rows);  // without rows where all are predicted
LabResult::Table ceilings_table(CeilingMeter& meter, Device device);
nlohmann::ordered_json decode_row_objects(const std::vector<DecodeRow>& rows);

// roofline.png (Williams et al. 2009: what is reached, against operations per byte) and kv-heads.png (how much faster
// fewer key/value heads are, predicted and measured), in the folder.
std::vector<LabResult::Chart> draw_decode_charts(const std::vector<DecodeRow>& rows, CeilingMeter& meter,
                                                 const std::filesystem::path& folder);

}  // namespace headshare::cli
