#include <iostream>

#include "cli/lab/labs.h"
#include "core/report/table.h"

namespace headshare::cli {
namespace {

struct Lab {
  std::string name;
  std::string summary;  // one line
  std::function<void(const Words&)> run;
};

const std::vector<Lab>& labs() {
  static const std::vector<Lab> all = {
      {"uptrain", "Convert one multi-head model in many ways, train each a little more, compare", lab_uptrain},
      {"shazeer", "The eight rows of Shazeer's table 1 at toy scale, with equal parameter counts", lab_shazeer},
      {"decode", "Decoding time against batch, lengths, key/value heads and beam, beside its prediction", lab_decode},
      {"attention", "Pictures of who looks at what, before and after heads are shared", lab_attention},
      {"report", "The results of these labs on one HTML page", lab_report},
  };
  return all;
}

void print_labs() {
  Table table({{"lab"}, {"what it shows"}});
  for (const Lab& lab : labs()) table.add_row({lab.name, lab.summary});
  std::cout << table.plain() << "\nheadshare lab NAME --help shows the options of a lab and an example.\n";
}

void run(const Words& words, const std::string& summary) {
  if (words.empty()) return print_labs();
  for (const Lab& lab : labs())
    if (lab.name == words[0]) return lab.run(Words(words.begin() + 1, words.end()));
  if (!words[0].starts_with('-')) throw UsageError(text("lab: there is no lab '", words[0], "'; see: headshare lab"));
  CommandLine line("lab", summary,
                   "  headshare lab                                          # which labs there are\n"
                   "  headshare lab decode --quick --out runs/lab-decode\n"
                   "  headshare lab report runs/lab-decode --out report.html");
  line.parse(words);
}

}  // namespace

Command lab_command() {
  const std::string summary = "Experiments on shared heads: quality, speed, and why; and a report of them";
  return {"lab", summary, [summary](const Words& words) { run(words, summary); }};
}

}  // namespace headshare::cli
