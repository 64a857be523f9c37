#include "core/text/corpus.h"

#include <algorithm>
#include <ostream>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/file.h"

namespace headshare {
namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

// "toy/train" and "en" give "toy/train.en". Appended, not replaced: "data/v1.2" must keep its ".2".
std::filesystem::path with_language(std::filesystem::path path, const std::string& language) {
  if (language.empty()) fail("corpus ", path.string(), ": a language is empty; give both, for example en and de");
  path += "." + language;
  return path;
}

// Compressed bytes would otherwise be read as one odd sentence, or blamed for a missing tab.
void refuse_compressed(const std::filesystem::path& path, std::string_view bytes) {
  if (bytes.starts_with("\x1F\x8B"))
    fail(path.string(),
         " is compressed with gzip, but text was needed: unpack it with gunzip -k, and give the file it makes");
  if (bytes.starts_with("PK\x03\x04"))
    fail(path.string(), " is a zip archive, but text was needed: unpack it with unzip, and give the file inside");
}

[[noreturn]] void fail_missing(const std::filesystem::path& path, const std::vector<std::filesystem::path>& sides) {
  std::string missing;
  std::string hint;
  for (const std::filesystem::path& side : sides) {
    if (std::filesystem::is_regular_file(side)) continue;
    missing += (missing.empty() ? "" : " and ") + side.string();
    std::filesystem::path packed = side;
    packed += ".gz";
    if (std::filesystem::is_regular_file(packed)) hint += text("; unpack it with: gunzip -k ", packed.string());
  }
  fail("corpus ", path.string(), ": looked for ", sides[0].string(), " and ", sides[1].string(),
       ", or for a tab-separated file ", path.string(), "; missing: ", missing, hint);
}

Corpus read_tab_separated(const std::filesystem::path& path) {
  Corpus corpus;
  for (const std::string& line : read_lines(path)) {
    const std::size_t first_tab = line.find('\t');
    if (first_tab == std::string::npos)
      fail("corpus ", path.string(), ": line ", corpus.size() + 1, " has no tab between source and target");
    const std::size_t second_tab = std::min(line.find('\t', first_tab + 1), line.size());
    corpus.pairs.push_back({line.substr(0, first_tab), line.substr(first_tab + 1, second_tab - first_tab - 1)});
  }
  return corpus;
}

}  // namespace

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  refuse_compressed(path, bytes);
  std::string_view rest = bytes;
  if (rest.starts_with(byte_order_mark)) rest.remove_prefix(byte_order_mark.size());

  std::vector<std::string> lines;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.emplace_back(line);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return lines;
}

Corpus read_corpus(const std::filesystem::path& path, const Languages& languages) {
  if (std::filesystem::is_regular_file(path)) return read_tab_separated(path);

  const std::filesystem::path source_path = with_language(path, languages.source);
  const std::filesystem::path target_path = with_language(path, languages.target);
  if (!std::filesystem::is_regular_file(source_path) || !std::filesystem::is_regular_file(target_path))
    fail_missing(path, {source_path, target_path});

  std::vector<std::string> sources = read_lines(source_path);
  std::vector<std::string> targets = read_lines(target_path);
  if (sources.size() != targets.size())
    fail("corpus ", path.string(), ": ", source_path.string(), " has ", sources.size(), " lines, but ",
         target_path.string(), " has ", targets.size(), "; line n of one must translate line n of the other");

  Corpus corpus;
  corpus.pairs.reserve(sources.size());
  for (std::size_t i = 0; i < sources.size(); ++i)
    corpus.pairs.push_back({std::move(sources[i]), std::move(targets[i])});
  return corpus;
}

void write_corpus(const std::filesystem::path& path, const Corpus& corpus, const Languages& languages) {
  const std::filesystem::path source_path = with_language(path, languages.source);
  const std::filesystem::path target_path = with_language(path, languages.target);
  if (source_path == target_path)
    fail("corpus ", path.string(), ": source and target would both be written to ", source_path.string());
  // Everything is checked before anything is written, so that a failure leaves the old pair of files as it was.
  for (Size i = 0; i < corpus.size(); ++i) {
    if ((corpus.pairs[i].source + corpus.pairs[i].target).find_first_of("\r\n") != std::string::npos)
      fail("corpus ", path.string(), ": pair ", i + 1, " holds a line break, which one line of a file cannot");
  }
  write_file(source_path, [&](std::ostream& out) {
    for (const SentencePair& pair : corpus.pairs) out << pair.source << '\n';
  });
  write_file(target_path, [&](std::ostream& out) {
    for (const SentencePair& pair : corpus.pairs) out << pair.target << '\n';
  });
}

}  // namespace headshare
