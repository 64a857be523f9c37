#include "cli/lab/report_page.h"

#include <algorithm>

#include "cli/version.h"
#include "core/error.h"
#include "core/text/utf8.h"

namespace headshare::cli {
namespace {

using Field = LabResult::Field;

// Where links of the table of contents lead; numbers, because two parts may be the same lab.
struct Entry {
  std::string id, title;
};

std::string id_of(std::size_t part) { return text("lab-", part + 1); }
std::string id_of(std::size_t part, std::size_t table) { return text(id_of(part), "-table-", table + 1); }

std::vector<Entry> entries_of(const LabResult& result, std::size_t part) {
  std::vector<Entry> entries;
  for (std::size_t t = 0; t < result.tables.size(); ++t) entries.push_back({id_of(part, t), result.tables[t].title});
  if (!result.charts.empty()) entries.push_back({id_of(part) + "-charts", "Charts"});
  if (!result.samples.empty()) entries.push_back({id_of(part) + "-samples", "Sample translations"});
  entries.push_back({id_of(part) + "-run", "What was run"});
  return entries;
}

Html heading(const char* level, const std::string& title, const std::string& id = {}) {
  return html_element(level, id.empty() ? HtmlAttributes{} : HtmlAttributes{{"id", id}}, html_text(title));
}

Html link(const Entry& entry) { return html_element("a", {{"href", "#" + entry.id}}, html_text(entry.title)); }

// ---- Contents and findings ------------------------------------------------------------------------------------------
Html contents(const std::vector<ReportPart>& parts, bool has_findings) {
  Html list;
  if (has_findings) list += html_element("li", {}, link({"findings", "Findings"}));
  for (std::size_t p = 0; p < parts.size(); ++p) {
    Html inner;
    for (const Entry& entry : entries_of(parts[p].result, p)) inner += html_element("li", {}, link(entry));
    Html item = link({id_of(p), parts[p].result.title});
    item += html_element("ul", {}, inner);
    list += html_element("li", {}, item);
  }
  Html nav = heading("h2", "Contents", "contents");
  nav += html_element("ul", {}, list);
  return html_element("nav", {{"aria-labelledby", "contents"}}, nav);
}

Html findings(const std::vector<ReportPart>& parts) {
  Html section = heading("h2", "Findings", "findings");
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const LabResult& result = parts[p].result;
    if (result.findings.empty()) continue;
    if (parts.size() > 1) section += html_element("h3", {}, link({id_of(p), result.title}));
    Html list;
    for (const std::string& finding : result.findings) list += html_element("li", {}, html_text(finding));
    section += html_element("ul", {{"class", "findings"}}, list);
  }
  return html_element("section", {{"aria-labelledby", "findings"}}, section);
}

// ---- Tables and charts ----------------------------------------------------------------------------------------------
// A box that scrolls by itself where the screen is narrower than the table; tabindex lets the keyboard scroll it.
Html table_of(const LabResult::Table& table, const std::string& id) {
  Html shown = heading("h3", table.title, id);
  shown += html_element("div", {{"class", "scroll"}, {"role", "region"}, {"aria-labelledby", id}, {"tabindex", "0"}},
                        html_table(table.columns, table.rows));
  if (!table.note.empty()) shown += html_element("p", {{"class", "note"}}, html_text(table.note));
  return shown;
}

Html charts_of(const ReportPart& part, const std::string& id) {
  Html shown = heading("h3", "Charts", id);
  for (std::size_t c = 0; c < part.pictures.size(); ++c) {
    Html figure = part.pictures[c];
    figure += html_element("figcaption", {}, html_text(part.result.charts[c].title));
    shown += html_element("figure", {}, figure);
  }
  return shown;
}

// ---- Sample translations --------------------------------------------------------------------------------------------
// Which words of a translation are part of its longest common subsequence with the reference.
std::vector<bool> words_in_common(const std::vector<std::string_view>& words,
                                  const std::vector<std::string_view>& reference) {
  const std::size_t n = words.size(), m = reference.size();
  // longest[i * (m + 1) + j]: of the words from i on and the reference from j on.
  std::vector<Size> longest((n + 1) * (m + 1), 0);
  const auto at = [&](std::size_t i, std::size_t j) -> Size& { return longest[i * (m + 1) + j]; };
  for (std::size_t i = n; i-- > 0;)
    for (std::size_t j = m; j-- > 0;)
      at(i, j) = words[i] == reference[j] ? 1 + at(i + 1, j + 1) : std::max(at(i + 1, j), at(i, j + 1));
  std::vector<bool> common(n, false);
  for (std::size_t i = 0, j = 0; i < n && j < m;) {
    if (words[i] == reference[j]) {
      common[i] = true;
      ++i, ++j;
    } else {
      at(i + 1, j) >= at(i, j + 1) ? ++i : ++j;
    }
  }
  return common;
}

Html marked_differences(const std::string& translation, const std::string& reference) {
  const std::vector<std::string_view> words = split_white_space(translation);
  const std::vector<bool> common = words_in_common(words, split_white_space(reference));
  Html shown;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) shown += html_text(" ");
    shown += common[i] ? html_text(words[i]) : html_element("mark", {}, html_text(words[i]));
  }
  return shown;
}

Html term(const std::string& name, const Html& description) {
  Html pair = html_element("dt", {}, html_text(name));
  pair += html_element("dd", {}, description);
  return html_element("div", {}, pair);  // HTML allows a div around each group of a dl
}

Html samples_of(const LabResult& result, const std::string& id) {
  Html shown = heading("h3", "Sample translations", id);
  shown += html_element(
      "p", {{"class", "note"}},
      html_text(
          "Underlined: words that the reference does not have there. What a translation leaves out is not marked, "
          "and another wording need not be wrong."));
  for (const LabResult::Sample& sample : result.samples) {
    Html list = term("source", html_text(sample.source));
    list += term("reference", html_text(sample.reference));
    for (const Field& translation : sample.translations)
      list += term(translation.name, marked_differences(translation.value, sample.reference));
    shown += html_element("dl", {{"class", "sample"}}, list);
  }
  return shown;
}

// ---- What was run ---------------------------------------------------------------------------------------------------
Html fields_of(const std::string& title, const std::vector<Field>& fields) {
  if (fields.empty()) return {};
  Html list;
  for (const Field& field : fields) list += term(field.name, html_text(field.value));
  Html shown = heading("h4", title);
  shown += html_element("dl", {{"class", "fields"}}, list);
  return html_element("div", {}, shown);
}

Html what_was_run(const LabResult& result, const std::string& id) {
  Html columns = fields_of("Configuration", result.configuration);
  columns += fields_of("Machine and program", result.machine);
  Html shown = heading("h3", "What was run", id);
  shown += html_element("div", {{"class", "side-by-side"}}, columns);
  if (result.signatures.empty()) return shown;
  Html list;
  for (const std::string& signature : result.signatures)
    list += html_element("li", {}, html_element("code", {}, html_text(signature)));
  shown += heading("h4", "Signatures of the scores");
  shown += html_element("ul", {{"class", "signatures"}}, list);
  return shown;
}

Html part_of_page(const ReportPart& part, std::size_t p) {
  const LabResult& result = part.result;
  const std::string id = id_of(p);
  Html section = html_element("p", {{"class", "kind"}}, html_text("headshare lab " + result.lab));
  section += heading("h2", result.title, id);
  for (std::size_t t = 0; t < result.tables.size(); ++t) section += table_of(result.tables[t], id_of(p, t));
  if (!result.charts.empty()) section += charts_of(part, id + "-charts");
  if (!result.samples.empty()) section += samples_of(result, id + "-samples");
  section += what_was_run(result, id + "-run");
  return html_element("section", {{"aria-labelledby", id}}, section);
}

}  // namespace

Html report_page(const std::string& title, const std::vector<ReportPart>& parts) {
  const bool has_findings =
      std::any_of(parts.begin(), parts.end(), [](const ReportPart& part) { return !part.result.findings.empty(); });
  Html header = heading("h1", title);
  header += html_element("p", {},
                         html_text(text("Written by headshare ", program_version(), ", commit ", program_commit(),
                                        "; each experiment names its own.")));
  Html main;
  if (has_findings) main += findings(parts);
  for (std::size_t p = 0; p < parts.size(); ++p) main += part_of_page(parts[p], p);

  Html body = html_element("header", {}, header);
  body += contents(parts, has_findings);
  body += html_element("main", {}, main);
  return html_page(title, report_style, body);
}

}  // namespace headshare::cli
