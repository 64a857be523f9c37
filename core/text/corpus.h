#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/size.h"

namespace headshare {

// A sentence and its translation, as they stood in the file: cased, untokenized, without the line's end.
struct SentencePair {
  std::string source;
  std::string target;
};

struct Corpus {
  std::vector<SentencePair> pairs;

  Size size() const { return static_cast<Size>(pairs.size()); }
};

// The endings of the two files of a parallel corpus: {.source = "en", .target = "de"}.
struct Languages {
  std::string source;
  std::string target;
};

// Reads a parallel corpus in either of the two forms in which they are published:
//   read_corpus("toy/train", {.source = "en", .target = "de"})
//     reads toy/train.en and toy/train.de, where line n of one translates line n of the other;
//   read_corpus("deu.txt", ...)
//     where `path` itself is a file, reads lines of "source TAB target", as Tatoeba and Anki ship them. What follows a
//     second tab (their licence column) is ignored, and so are the languages: the first column is the source.
// Fails when neither is there, when the two files differ in their number of lines, or when a line has no tab.
Corpus read_corpus(const std::filesystem::path& path, const Languages& languages);

// Writes `path`.source and `path`.target, the form that read_corpus reads back unchanged. Fails when a sentence holds a
// line break, which would shift all the pairs below it.
void write_corpus(const std::filesystem::path& path, const Corpus& corpus, const Languages& languages);

// The lines of a text file without their ends. Accepts the ends of Unix (LF) and Windows (CRLF), a last line without an
// end, and a byte order mark at the start, which is not part of the first line. A compressed file is an error.
std::vector<std::string> read_lines(const std::filesystem::path& path);

}  // namespace headshare
