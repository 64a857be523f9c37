#include "cli/lab/shazeer_table.h"

#include <algorithm>
#include <cmath>

#include "core/report/line_chart.h"
#include "core/report/progress.h"

namespace headshare::cli {
namespace {

Size parameters_of(TransformerConfig config, Size d_ff) {
  config.d_ff = d_ff;
  return count_parameters(Transformer(config, 1));
}

// The d_ff with which `config` has about as many parameters as wanted: they grow by the same number for each unit.
Size fitting_d_ff(const TransformerConfig& config, Size wanted) {
  const Size with_one = parameters_of(config, 1), each = parameters_of(config, 2) - with_one;
  const double more = static_cast<double>(wanted - with_one) / static_cast<double>(each);
  return std::max(Size{1}, 1 + static_cast<Size>(std::llround(more)));
}

// The rows with this label, by seed.
std::map<Size, double> measured(const Row& rows, const ShazeerRow& variant, const std::string& entry) {
  return by_seed(rows, {{"attention", variant.label()}}, entry);
}

double mean_of(const Row& rows, const ShazeerRow& variant, const std::string& entry) {
  return spread(measured(rows, variant, entry)).mean;  // NaN while there is none
}

std::string figure(const std::optional<double>& value) { return value ? with_decimals(*value, 1) : ""; }

std::string higher_or_lower(double difference, int decimals) {
  return with_decimals(std::abs(difference), decimals) + (difference < 0 ? " lower" : " higher");
}

}  // namespace

std::string ShazeerRow::label() const {
  const bool small = mode.head_size != 0;
  return attention + (small ? text(" ", mode.heads, " x ", mode.head_size) : "");
}

std::string ShazeerRow::folder() const {
  std::string name;
  for (const char letter : label())
    if (letter == ' ')
      name += '-';
    else if (letter != ',')
      name += letter;
  return name;
}

std::vector<ShazeerRow> shazeer_rows(const TransformerConfig& base, Size window) {
  const AttentionMode full = multi_head(base.attention.cross.heads), shared = multi_query(full.heads);
  const Size D = head_size(base.attention.cross, base.d_model);
  if (D % 8 != 0)
    fail("lab shazeer: heads of ", D, " numbers cannot be divided among 8; choose a d_model that is a multiple of ",
         8 * full.heads);
  const auto divided = [&](Size heads) { return with_head_size(multi_head(heads), D / heads); };
  std::vector<ShazeerRow> rows = {
      {"multi-head", full, 0, base, {4096, 1.424, 26.7, 27.7, 28.4}},
      {"multi-query", shared, 0, base, {5440, 1.439, 26.5, 27.5, 28.5}},
      {"multi-head, local", full, window, base, {4096, 1.427, 26.6, 27.5, 28.3}},
      {"multi-query, local", shared, window, base, {5440, 1.437, 26.5, 27.6, 28.2}},
      {"multi-head", divided(1), 0, base, {6784, 1.518, 25.8, {}, {}}},
      {"multi-head", divided(2), 0, base, {6784, 1.480, 26.2, 26.8, 27.9}},
      {"multi-head", divided(4), 0, base, {6784, 1.488, 26.1, {}, {}}},
      {"multi-head", divided(8), 0, base, {6784, 1.513, 25.8, {}, {}}},
  };
  const Size wanted = parameters_of(base, checked(base).d_ff);
  for (ShazeerRow& row : rows) {
    row.config.attention = {row.mode, local_window(row.mode, row.window), row.mode};
    row.config.attention_per_layer.clear();
    row.config.d_ff = fitting_d_ff(row.config, wanted);
    row.config = checked(row.config);
  }
  return rows;
}

std::vector<LabResult::Table> shazeer_tables(const std::vector<ShazeerRow>& variants, const Row& rows) {
  LabResult::Table table{.title = "Shazeer's table 1 at toy scale",
                         .note = {},
                         .columns = {{"attention"},
                                     {"h", Alignment::right},
                                     {"d_k", Alignment::right},
                                     {"window", Alignment::right},
                                     {"d_ff", Alignment::right},
                                     {"parameters", Alignment::right},
                                     {"to the first", Alignment::right},
                                     {"cache B/token", Alignment::right},
                                     {"dev ln(PPL)", Alignment::right},
                                     {"BLEU dev", Alignment::right},
                                     {"95 % interval"},
                                     {"BLEU test, beam 1", Alignment::right},
                                     {"beam 4", Alignment::right},
                                     {"paper: d_ff", Alignment::right},
                                     {"dev ln(PPL)", Alignment::right},
                                     {"BLEU dev", Alignment::right},
                                     {"BLEU test, beam 1", Alignment::right},
                                     {"beam 4", Alignment::right}},
                         .rows = {}};
  const Size base = count_parameters(Transformer(variants[0].config, 1));
  Size seeds = 0;
  for (const ShazeerRow& variant : variants) {
    const Row* any = find_row(rows, {{"attention", variant.label()}});
    if (any == nullptr) continue;
    const auto cell = [&](const char* entry, int decimals) {
      return text_of(spread(measured(rows, variant, entry)), decimals);
    };
    const Size parameters = any->at("parameters").get<Size>();
    const double percent = 100.0 * static_cast<double>(parameters - base) / static_cast<double>(base);
    seeds = std::max(seeds, static_cast<Size>(measured(rows, variant, "seed").size()));
    table.rows.push_back(
        {variant.attention, std::to_string(variant.mode.heads),
         std::to_string(head_size(variant.mode, variant.config.d_model)),
         variant.window == 0 ? "" : std::to_string(variant.window), with_thousands(variant.config.d_ff),
         with_thousands(parameters), (percent < 0 ? "" : "+") + with_decimals(percent, 2) + " %",
         with_thousands(any->at("cache_bytes_per_token").get<Size>()), cell("validation_nll", 4), cell("bleu_dev", 2),
         with_decimals(mean_of(rows, variant, "bleu_dev_low"), 2) + " to " +
             with_decimals(mean_of(rows, variant, "bleu_dev_high"), 2),
         cell("bleu_beam_1", 2), cell("bleu_beam_4", 2), with_thousands(variant.paper.d_ff),
         with_decimals(variant.paper.ln_perplexity, 3), with_decimals(variant.paper.bleu_dev, 1),
         figure(variant.paper.bleu_beam_1), figure(variant.paper.bleu_beam_4)});
  }
  table.note = text(
      "Heads are shared at all three sites. Windows are those of decoder self-attention; the paper's is 32 "
      "positions. dev ln(PPL) is the validation NLL per token, BLEU dev is decoded greedily, beam 4 with "
      "length penalty 0.6. ",
      seeds > 1 ? text("Mean ± standard deviation of ", seeds, " seeds.") : "One seed.");
  return {table};
}

std::vector<std::string> shazeer_findings(const std::vector<ShazeerRow>& variants, const Row& rows) {
  std::vector<std::string> findings;
  const auto nll = [&](std::size_t i) { return mean_of(rows, variants[i], "validation_nll"); };
  const auto compare = [&](std::size_t first, std::size_t second) {
    const double here = nll(first) - nll(second);
    if (std::isnan(here)) return;
    findings.push_back(text(
        variants[first].label(), " against ", variants[second].label(), ": dev ln(PPL) ", with_decimals(nll(first), 4),
        " against ", with_decimals(nll(second), 4), ", ", higher_or_lower(here, 4), "; in the paper ",
        higher_or_lower(variants[first].paper.ln_perplexity - variants[second].paper.ln_perplexity, 3), "."));
  };
  compare(1, 0);
  compare(2, 0);
  compare(3, 1);

  // His point: fewer or smaller heads shrink the cache too, and cost more quality than sharing it.
  std::size_t best = 4;
  for (std::size_t i = 5; i < variants.size(); ++i)
    if (nll(i) < nll(best)) best = i;
  compare(best, 1);

  Size pairs = 0, agreeing = 0;
  for (std::size_t i = 0; i < variants.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      if (std::isnan(nll(i) - nll(j))) continue;
      ++pairs;
      const bool here = nll(i) < nll(j), there = variants[i].paper.ln_perplexity < variants[j].paper.ln_perplexity;
      if (here == there) ++agreeing;
    }
  if (pairs > 0)
    findings.push_back(text("Of all ", pairs, " pairs of rows, ", agreeing,
                            " are in the paper's order of dev ln(PPL); the order of two equally good rows is chance."));
  double deviation = 0;
  for (const ShazeerRow& variant : variants)
    if (const Spread values = spread(measured(rows, variant, "validation_nll")); values.count > 1)
      deviation = std::max(deviation, values.deviation);
  if (deviation > 0)
    findings.push_back(text("From seed to seed the dev ln(PPL) of a row varies by up to ", with_decimals(deviation, 4),
                            " (standard deviation)."));
  return findings;
}

LabResult::Chart draw_shazeer_chart(const std::vector<ShazeerRow>& variants, const Row& rows,
                                    const std::filesystem::path& folder) {
  Series here{.name = "here"}, there{.name = "the paper"};
  for (std::size_t i = 0; i < variants.size(); ++i) {
    for (Series* series : {&here, &there}) series->x.push_back(static_cast<double>(i + 1));
    here.y.push_back(mean_of(rows, variants[i], "validation_nll") - mean_of(rows, variants[0], "validation_nll"));
    there.y.push_back(variants[i].paper.ln_perplexity - variants[0].paper.ln_perplexity);
  }
  const LineChart chart{.title = "What each row of the table costs against the first",
                        .x_label = "row of the table",
                        .y_label = "dev ln(PPL) above the first row's",
                        .series = {here, there}};
  write_png(chart, folder / "ln-perplexity.png");
  return {chart.title, "ln-perplexity.png"};
}

}  // namespace headshare::cli
