#include "cli/lab/labs.h"

namespace headshare::cli {

Command lab_command() {
  return family_of_commands(
      "lab", "Experiments on shared heads: quality, speed, and why; and a report of them", "what it shows",
      {
          {"uptrain", "Convert one multi-head model in many ways, train each a little more, compare", lab_uptrain},
          {"shazeer", "The eight rows of Shazeer's table 1 at toy scale, with equal parameter counts", lab_shazeer},
          {"decode", "Decoding time against batch, lengths, key/value heads and beam, beside its prediction",
           lab_decode},
          {"attention", "Pictures of who looks at what, before and after heads are shared", lab_attention},
          {"report", "The results of these labs on one HTML page", lab_report},
      },
      "  headshare lab                                          # which labs there are\n"
      "  headshare lab decode --quick --out runs/lab-decode\n"
      "  headshare lab report runs/lab-decode --out report.html");
}

}  // namespace headshare::cli
