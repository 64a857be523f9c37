#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/text/corpus.h"
#include "tests/test_tools.h"

using namespace headshare;

namespace {

using test::contains;
using test::error_of;
using test::TemporaryFolder;

const Languages english_german = {.source = "en", .target = "de"};

}  // namespace

TEST_CASE("lines are read the same with any line ends, a byte order mark, and no last line end") {
  const TemporaryFolder folder;
  const auto file = folder.path / "lines.txt";
  const auto lines_of = [&](const std::string& bytes) {
    write_file(file, bytes);
    return read_lines(file);
  };
  const std::vector<std::string> expected = {"ein Mann", "", "zwei"};
  CHECK(lines_of("ein Mann\n\nzwei\n") == expected);
  CHECK(lines_of("ein Mann\n\nzwei") == expected);
  CHECK(lines_of("ein Mann\r\n\r\nzwei\r\n") == expected);
  CHECK(lines_of("\xEF\xBB\xBF"
                 "ein Mann\n\nzwei\n") == expected);
  CHECK(lines_of("").empty());
  CHECK(lines_of("\n") == std::vector<std::string>{""});
  CHECK(lines_of("a\rb\r\r\n") == std::vector<std::string>{"a\rb\r"});  // only the end of the line is taken off
}

TEST_CASE("two files are read as pairs, and an ending that is part of the name stays") {
  const TemporaryFolder folder;
  write_file(folder.path / "v1.2.en", "one\ntwo\n");
  write_file(folder.path / "v1.2.de", "eins\r\nzwei");
  const Corpus corpus = read_corpus(folder.path / "v1.2", english_german);
  REQUIRE(corpus.size() == 2);
  CHECK(corpus.pairs[0].source == "one");
  CHECK(corpus.pairs[1].target == "zwei");
  const Corpus reversed = read_corpus(folder.path / "v1.2", {.source = "de", .target = "en"});
  CHECK(reversed.pairs[0].source == "eins");
}

TEST_CASE("two files of different length are an error that names both counts") {
  const TemporaryFolder folder;
  write_file(folder.path / "t.en", "one\ntwo\nthree\n");
  write_file(folder.path / "t.de", "eins\nzwei\n");
  const std::string error = error_of([&] { read_corpus(folder.path / "t", english_german); });
  CHECK(contains(error, "t.en has 3 lines"));
  CHECK(contains(error, "t.de has 2;"));
}

TEST_CASE("a file of its own is read as tab-separated, without what follows the second tab") {
  const TemporaryFolder folder;
  write_file(folder.path / "deu.txt", "Hi.\tHallo!\tCC-BY 2.0 #1 & #2\r\nGo.\tGeh.\r\n");
  const Corpus corpus = read_corpus(folder.path / "deu.txt", english_german);
  REQUIRE(corpus.size() == 2);
  CHECK(corpus.pairs[0].source == "Hi.");
  CHECK(corpus.pairs[0].target == "Hallo!");
  CHECK(corpus.pairs[1].target == "Geh.");
}

TEST_CASE("a line without a tab is an error with its number") {
  const TemporaryFolder folder;
  write_file(folder.path / "deu.txt", "Hi.\tHallo!\nGo. Geh.\n");
  const std::string error = error_of([&] { read_corpus(folder.path / "deu.txt", english_german); });
  CHECK(contains(error, "line 2 has no tab"));
}

TEST_CASE("a missing corpus is an error that says where it was looked for") {
  const TemporaryFolder folder;
  const auto base = folder.path / "train";
  std::string error = error_of([&] { read_corpus(base, english_german); });
  CHECK(contains(error, "looked for " + base.string() + ".en and " + base.string() + ".de"));
  CHECK(contains(error, "missing: " + base.string() + ".en and " + base.string() + ".de"));
  CHECK_FALSE(contains(error, "gunzip"));

  write_file(folder.path / "train.en", "one\n");
  write_file(folder.path / "train.de.gz", "\x1F\x8B...");
  error = error_of([&] { read_corpus(base, english_german); });
  CHECK(contains(error, "missing: " + base.string() + ".de;"));
  CHECK(contains(error, "gunzip -k " + base.string() + ".de.gz"));
  CHECK(contains(error_of([&] { read_corpus(base, {.source = "en", .target = ""}); }), "a language is empty"));
}

TEST_CASE("compressed files are refused and not read as text") {
  const TemporaryFolder folder;
  write_file(folder.path / "deu.gz", "\x1F\x8B\x08...\t...");
  CHECK(contains(error_of([&] { read_corpus(folder.path / "deu.gz", english_german); }), "gunzip -k"));
  write_file(folder.path / "deu-eng.zip", "PK\x03\x04...\t...");
  CHECK(contains(error_of([&] { read_corpus(folder.path / "deu-eng.zip", english_german); }), "unzip"));
}

TEST_CASE("a written corpus reads back unchanged") {
  const TemporaryFolder folder;
  const Corpus corpus = {{{"A man.", "Ein Mann."}, {"", " Tab\there "}, {"last", "\xFF"}}};
  write_corpus(folder.path / "new/folder/train", corpus, english_german);
  const Corpus again = read_corpus(folder.path / "new/folder/train", english_german);
  REQUIRE(again.size() == corpus.size());
  for (Size i = 0; i < corpus.size(); ++i) {
    CHECK(again.pairs[i].source == corpus.pairs[i].source);
    CHECK(again.pairs[i].target == corpus.pairs[i].target);
  }
}

TEST_CASE("a corpus that one line per sentence cannot hold is refused before anything is written") {
  const TemporaryFolder folder;
  write_corpus(folder.path / "t", {{{"old", "alt"}}}, english_german);
  const Corpus broken = {{{"fine", "gut"}, {"two\nlines", "zwei"}}};
  CHECK(contains(error_of([&] { write_corpus(folder.path / "t", broken, english_german); }),
                 "pair 2 holds a line break"));
  CHECK(read_file(folder.path / "t.en") == "old\n");
  CHECK(contains(error_of([&] { write_corpus(folder.path / "t", {}, {.source = "en", .target = "en"}); }), "both"));
}
