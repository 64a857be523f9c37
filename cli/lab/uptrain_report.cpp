#include "cli/lab/uptrain_report.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "core/report/line_chart.h"
#include "core/report/progress.h"

namespace headshare::cli {
namespace {

// The different values of an entry, in the order in which they come.
template <class Value>
std::vector<Value> values_of(const Row& rows, const Row& settings, const std::string& entry) {
  std::vector<Value> values;
  for (const Row& row : rows)
    if (agrees(row, settings))
      if (const Value value = row.at(entry).get<Value>();
          std::find(values.begin(), values.end(), value) == values.end())
        values.push_back(value);
  return values;
}

template <class Value>
std::vector<Value> sorted(std::vector<Value> values) {
  std::sort(values.begin(), values.end());
  return values;
}

Row control(double alpha) { return {{"conversion", "none"}, {"alpha", alpha}}; }
Row converted(const std::string& sites, const std::string& conversion, Size kv_heads, double alpha) {
  return {{"sites", sites}, {"conversion", conversion}, {"kv_heads", kv_heads}, {"alpha", alpha}};
}

std::vector<std::string> sites_of(const Row& rows) {
  std::vector<std::string> sites = values_of<std::string>(rows, {}, "sites");
  std::erase(sites, "none");
  return sites;
}

std::string percent(double share) { return text(100 * share, " %"); }
std::string heads_text(Size kv_heads) { return text(kv_heads, " KV head", kv_heads == 1 ? "" : "s"); }
std::string sites_text(const std::string& sites) {
  return sites == "all" ? "all three sites" : "decoder self- and cross-attention";
}
std::string short_text(const std::string& sites) { return sites == "all" ? "all sites" : "decoder"; }
std::string nll(double value) { return with_decimals(value, 4); }

// Seed by seed: only seeds that both have.
struct Comparison {
  Spread difference;  // first - second
  Spread first, second;
  Size lower;  // seeds in which the first is lower
};
Comparison compare(const Row& rows, const Row& first, const Row& second, const std::string& entry) {
  std::map<Size, double> a = by_seed(rows, first, entry), b = by_seed(rows, second, entry), difference;
  std::erase_if(a, [&](const auto& value) { return !b.contains(value.first); });
  std::erase_if(b, [&](const auto& value) { return !a.contains(value.first); });
  for (const auto& [seed, value] : a) difference[seed] = value - b.at(seed);
  return {spread(difference), spread(a), spread(b),
          std::count_if(difference.begin(), difference.end(), [](const auto& d) { return d.second < 0; })};
}

// Conversions by their mean NLL, the best first.
std::vector<std::pair<double, std::string>> ranking(const Row& rows, const std::string& sites, Size kv_heads,
                                                    double alpha) {
  std::vector<std::pair<double, std::string>> ranked;
  const Row settings = {{"sites", sites}, {"kv_heads", kv_heads}, {"alpha", alpha}};
  for (const std::string& conversion : values_of<std::string>(rows, settings, "conversion"))
    ranked.emplace_back(spread(by_seed(rows, converted(sites, conversion, kv_heads, alpha), "validation_nll")).mean,
                        conversion);
  return sorted(ranked);
}

// ---- Tables ---------------------------------------------------------------------------------------------------------

std::vector<std::string> table_row(const Row& rows, const Row& settings, const std::string& name,
                                   const std::string& rank, double alpha) {
  const auto of = [&](const char* entry) { return spread(by_seed(rows, settings, entry)); };
  const Row* any = find_row(rows, settings);
  const Comparison to_control = compare(rows, settings, control(alpha), "validation_nll");
  Spread exact = of("exact_match");
  exact = {100 * exact.mean, 100 * exact.deviation, exact.count};
  return {any->at("kv_heads").dump(),
          name,
          rank,
          text_of(of("validation_nll"), 4),
          to_control.difference.count == 0 || rank.empty() ? "" : text_of(to_control.difference, 4),
          text_of(of("bleu"), 2),
          with_decimals(of("bleu_low").mean, 2) + " to " + with_decimals(of("bleu_high").mean, 2),
          text_of(exact, 1),
          with_decimals(of("chrf").mean, 2),
          with_thousands(any->at("parameters").get<Size>()),
          with_thousands(any->at("cache_bytes_per_token").get<Size>()),
          with_decimals(of("seconds").mean, 1)};
}

LabResult::Table table_of(const Row& rows, const std::string& sites, double alpha) {
  LabResult::Table table{.title = alpha == 0 ? "Right after conversion" : percent(alpha) + " more training",
                         .note = {},
                         .columns = {{"KV heads", Alignment::right},
                                     {"conversion"},
                                     {"rank", Alignment::right},
                                     {"validation NLL", Alignment::right},
                                     {"less the control's", Alignment::right},
                                     {"BLEU", Alignment::right},
                                     {"95 % interval"},
                                     {"exact match %", Alignment::right},
                                     {"chrF2", Alignment::right},
                                     {"parameters", Alignment::right},
                                     {"cache B/token", Alignment::right},
                                     {"seconds", Alignment::right}},
                         .rows = {}};
  table.title += ", " + sites_text(sites);
  const Size seeds = static_cast<Size>(by_seed(rows, control(alpha), "seed").size());
  table.note =
      text("Mean", seeds > 1 ? text(" ± standard deviation of ", seeds, " seeds") : " of 1 seed",
           "; the interval is that of each seed's test text, its bounds averaged. Rank by validation NLL. The control "
           "is the multi-head model given the same extra steps and schedule.");
  if (find_row(rows, control(alpha)) != nullptr)
    table.rows.push_back(table_row(rows, control(alpha), "none (control)", "", alpha));
  const Row settings = {{"sites", sites}, {"alpha", alpha}};
  std::vector<Size> kv_heads = sorted(values_of<Size>(rows, settings, "kv_heads"));
  std::reverse(kv_heads.begin(), kv_heads.end());
  for (const Size heads : kv_heads) {
    Size rank = 0;
    for (const auto& [mean, conversion] : ranking(rows, sites, heads, alpha))
      table.rows.push_back(
          table_row(rows, converted(sites, conversion, heads, alpha), conversion, std::to_string(++rank), alpha));
  }
  return table;
}

// ---- Findings -------------------------------------------------------------------------------------------------------

std::string order_of_conversions(const Row& rows, const std::string& sites, Size kv_heads, double alpha) {
  std::string sentence = text(heads_text(kv_heads), ", ", sites_text(sites), ", ",
                              alpha == 0 ? "right after conversion" : "after " + percent(alpha), ", validation NLL: ");
  const auto ranked = ranking(rows, sites, kv_heads, alpha);
  for (std::size_t i = 0; i < ranked.size(); ++i)
    sentence += text(i > 0 ? " < " : "", ranked[i].second, " ", nll(ranked[i].first));
  if (find_row(rows, control(alpha)) != nullptr)
    sentence += "; the control " + nll(spread(by_seed(rows, control(alpha), "validation_nll")).mean);

  // Ainslie et al. 2023, section 3.3: mean above first above random.
  const auto of = [&](const char* conversion) {
    return by_seed(rows, converted(sites, conversion, kv_heads, alpha), "validation_nll");
  };
  const auto mean = of("mean"), first = of("first"), random = of("random");
  Size seeds = 0, in_order = 0;
  for (const auto& [seed, value] : mean)
    if (first.contains(seed) && random.contains(seed)) {
      ++seeds;
      if (value < first.at(seed) && first.at(seed) < random.at(seed)) ++in_order;
    }
  if (seeds > 0) sentence += text(". mean < first < random in ", in_order, " of ", seeds, " seeds");
  return sentence + ".";
}

std::string against_mean(const Row& rows, const std::string& sites, const std::string& conversion,
                         const std::vector<Size>& all_heads, const std::set<double>& alphas) {
  std::string sentence = text(conversion, " against mean, ", sites_text(sites), ", validation NLL");
  for (const double alpha : alphas) {
    std::string differences;
    for (const Size kv_heads : all_heads) {
      const Comparison nlls = compare(rows, converted(sites, conversion, kv_heads, alpha),
                                      converted(sites, "mean", kv_heads, alpha), "validation_nll");
      if (nlls.difference.count == 0) continue;
      differences += text(differences.empty() ? " " : ", ", nll(std::abs(nlls.difference.mean)),
                          nlls.difference.mean < 0 ? " lower" : " higher", " with ", heads_text(kv_heads),
                          " (lower in ", nlls.lower, " of ", nlls.difference.count, ")");
    }
    if (differences.empty()) continue;
    sentence += text(sentence.back() == ')' ? "; " : ": ",
                     alpha == 0 ? "right after conversion" : "after " + percent(alpha), differences);
  }
  return sentence.back() == ')' ? sentence + "." : "";
}

std::string best_against_control(const Row& rows, const std::string& sites, Size kv_heads, double alpha) {
  const auto ranked = ranking(rows, sites, kv_heads, alpha);
  if (ranked.empty()) return "";
  const Row best = converted(sites, ranked[0].second, kv_heads, alpha);
  const Comparison exact = compare(rows, best, control(alpha), "exact_match"),
                   bleu = compare(rows, best, control(alpha), "bleu"),
                   nlls = compare(rows, best, control(alpha), "validation_nll");
  if (exact.difference.count == 0) return "";
  const auto away = [](double difference, int decimals) {
    return with_decimals(std::abs(difference), decimals) + (difference < 0 ? " lower" : " higher");
  };
  const auto points_away = [](double difference) {
    return with_decimals(std::abs(difference), 1) + (difference < 0 ? " points lower" : " points higher");
  };
  return text(heads_text(kv_heads), ", ", sites_text(sites), ", by ", ranked[0].second,
              alpha == 0 ? ", right after conversion" : ", after " + percent(alpha),
              ", against the control: exact match ", with_decimals(100 * exact.first.mean, 1), " against ",
              with_decimals(100 * exact.second.mean, 1), " %, ", points_away(100 * exact.difference.mean), "; BLEU ",
              with_decimals(bleu.first.mean, 2), " against ", with_decimals(bleu.second.mean, 2), ", ",
              away(bleu.difference.mean, 2), "; validation NLL ", away(nlls.difference.mean, 4), ".");
}

std::string gain_of_control(const Row& rows, double alpha) {
  const Comparison gain = compare(rows, control(alpha), control(0), "validation_nll");
  if (alpha == 0 || gain.difference.count == 0) return "";
  return text("The multi-head model itself goes from validation NLL ", nll(gain.second.mean), " to ",
              nll(gain.first.mean), " with the same ", percent(alpha),
              " more training: only a control that got it too shows what sharing heads costs.");
}

std::string alphas_of(const Row& rows, const std::string& sites, const std::string& conversion, Size kv_heads) {
  const Row settings = {{"sites", sites}, {"conversion", conversion}, {"kv_heads", kv_heads}};
  const std::vector<double> alphas = sorted(values_of<double>(rows, settings, "alpha"));
  if (alphas.size() < 3) return "";
  std::string sentence = text("How far ", conversion, " with ", heads_text(kv_heads),
                              " is behind the control of the same alpha, in validation NLL: ");
  for (std::size_t i = 0; i < alphas.size(); ++i) {
    const Comparison nlls =
        compare(rows, converted(sites, conversion, kv_heads, alphas[i]), control(alphas[i]), "validation_nll");
    sentence += text(i > 0 ? ", " : "", nll(nlls.difference.mean), " at ", percent(alphas[i]));
  }
  return sentence + ".";
}

std::string all_sites_against_decoder(const Row& rows, const std::string& conversion, Size kv_heads, double alpha) {
  const Comparison nlls = compare(rows, converted("all", conversion, kv_heads, alpha),
                                  converted("decoder", conversion, kv_heads, alpha), "validation_nll");
  if (nlls.difference.count == 0) return "";
  return text("Sharing the encoder's heads too (Shazeer 2019) costs ", nll(nlls.difference.mean), " NLL more with ",
              heads_text(kv_heads), " by ", conversion,
              alpha == 0 ? ", right after conversion: " : text(", after ", percent(alpha), ": "), nll(nlls.first.mean),
              " against ", nll(nlls.second.mean), ".");
}

}  // namespace

Row rows_in_view(const Row& rows, const UptrainView& view) {
  Row seen = Row::array();
  for (const Row& row : rows)
    if (agrees(row, {{"beam", view.beam}, {"length_penalty", view.length_penalty}}) &&
        (row.at("alpha") == 0 || row.at("schedule") == view.schedule))
      seen.push_back(row);
  return seen;
}

std::vector<LabResult::Table> uptrain_tables(const Row& rows) {
  std::vector<LabResult::Table> tables;
  for (const std::string& sites : sites_of(rows))
    for (const double alpha : sorted(values_of<double>(rows, {{"sites", sites}}, "alpha")))
      tables.push_back(table_of(rows, sites, alpha));
  return tables;
}

std::vector<std::string> uptrain_findings(const Row& rows, double headline_alpha) {
  std::vector<std::string> findings;
  const auto say = [&](const std::string& sentence) {
    if (!sentence.empty()) findings.push_back(sentence);
  };
  say(gain_of_control(rows, headline_alpha));
  const std::vector<std::string> all_sites = sites_of(rows);
  if (all_sites.empty()) return findings;
  // The paper's sites in full; of the others, what they cost beside these.
  const bool has_decoder = std::find(all_sites.begin(), all_sites.end(), "decoder") != all_sites.end();
  const std::string sites = has_decoder ? "decoder" : all_sites[0];
  const Row settings = {{"sites", sites}};
  const std::vector<Size> all_heads = sorted(values_of<Size>(rows, settings, "kv_heads"));
  for (const double alpha : std::set<double, std::greater<>>{headline_alpha, 0})
    for (const Size kv_heads : all_heads)
      if (find_row(rows, {{"sites", sites}, {"kv_heads", kv_heads}, {"alpha", alpha}}) != nullptr)
        say(order_of_conversions(rows, sites, kv_heads, alpha));
  for (const std::string& conversion : values_of<std::string>(rows, settings, "conversion"))
    if (conversion != "mean" && conversion != "first" && conversion != "random" &&
        find_row(rows, {{"sites", sites}, {"conversion", "mean"}}) != nullptr)
      say(against_mean(rows, sites, conversion, all_heads, {0, headline_alpha}));
  for (const Size kv_heads : all_heads) {
    say(best_against_control(rows, sites, kv_heads, headline_alpha));
    if (const auto ranked = ranking(rows, sites, kv_heads, headline_alpha); !ranked.empty()) {
      say(alphas_of(rows, sites, ranked[0].second, kv_heads));
      say(all_sites_against_decoder(rows, ranked[0].second, kv_heads, headline_alpha));
    }
  }
  return findings;
}

std::vector<LabResult::Chart> draw_uptrain_charts(const Row& rows, double headline_alpha,
                                                  const std::filesystem::path& folder) {
  std::vector<LabResult::Chart> charts;
  const auto add = [&](const std::string& file, const LineChart& chart) {
    write_png(chart, folder / file);
    charts.push_back({chart.title, file});
  };
  const auto mean_of = [&](const Row& settings, const std::string& entry) {
    return spread(by_seed(rows, settings, entry)).mean;  // NaN, a gap, where there is none
  };
  for (const std::string& sites : sites_of(rows)) {
    const Row settings = {{"sites", sites}};
    const std::vector<double> alphas = sorted(values_of<double>(rows, settings, "alpha"));
    const std::vector<Size> all_heads = sorted(values_of<Size>(rows, settings, "kv_heads"));
    const std::vector<std::string> conversions = values_of<std::string>(rows, settings, "conversion");
    for (const Size kv_heads : all_heads) {
      LineChart chart{.title = text("Loss against more training: ", heads_text(kv_heads), ", ", short_text(sites)),
                      .x_label = "alpha: more training in % of the original steps",
                      .y_label = "validation NLL per token",
                      .y_scale = AxisScale::logarithmic};
      const auto curve = [&](const std::string& name, const auto& settings_at) {
        Series series{.name = name};
        for (const double alpha : alphas) {
          series.x.push_back(100 * alpha);
          series.y.push_back(mean_of(settings_at(alpha), "validation_nll"));
        }
        chart.series.push_back(series);
      };
      curve("control (not converted)", control);
      for (const std::string& conversion : conversions)
        curve(conversion, [&](double alpha) { return converted(sites, conversion, kv_heads, alpha); });
      add(text("nll-alpha-", sites, "-", kv_heads, ".png"), chart);
    }
    for (const auto& [entry, title, label] :
         {std::tuple{"validation_nll", "Loss", "validation NLL per token"}, std::tuple{"bleu", "BLEU", "BLEU"}}) {
      const Row* original = find_row(rows, control(headline_alpha));
      if (original == nullptr) continue;
      LineChart chart{
          .title = text(title, " against KV heads after ", percent(headline_alpha), ", ", short_text(sites)),
          .x_label = "key/value heads",
          .y_label = label,
          .x_scale = AxisScale::logarithmic};
      const double all = static_cast<double>(original->at("kv_heads").get<Size>()),
                   level = mean_of(control(headline_alpha), entry);
      chart.series.push_back({.name = "control (not converted)", .x = {1, all}, .y = {level, level}});
      for (const std::string& conversion : conversions) {
        Series series{.name = conversion};
        for (const Size kv_heads : all_heads) {
          series.x.push_back(static_cast<double>(kv_heads));
          series.y.push_back(mean_of(converted(sites, conversion, kv_heads, headline_alpha), entry));
        }
        chart.series.push_back(series);
      }
      add(text(std::string(entry) == "bleu" ? "bleu" : "nll", "-kv-heads-", sites, ".png"), chart);
    }
  }
  return charts;
}

}  // namespace headshare::cli
